//! PgBouncer: its configuration, the lookup of tenants' passwords, its admin console.
//!
//! | module | holds |
//! |---|---|
//! | [`version`] | PgBouncer's releases, and what came with which |
//! | [`settings`] | the settings under `[pgbouncer]` that there are and that are written |
//! | [`safety`] | what would be unsafe, or not as the tiers promise |
//! | [`ini`] | the text of the files |
//! | [`files`] | writes them, all or none |
//! | [`lookup`] | the function in the registry that PgBouncer asks, and its role |
//! | [`console`] | has a running PgBouncer read its files, and looks whether it did |
//!
//! Tenants are authenticated by what the server itself holds of them: there is no file of their passwords, a rotated
//! password counts at once, and PgBouncer logs in to the server as the tenant. A pool belongs to a database and a role, so
//! two tenants never share a server connection.

pub mod console;
pub mod files;
pub mod ini;
pub mod lookup;
pub mod safety;
pub mod settings;
pub mod version;

use std::collections::BTreeMap;

use self::version::Version;
use crate::config::PoolerPolicy;

/// The main file.
pub const INI_FILE: &str = "pgbouncer.ini";
/// The file with the limits by user, which the main one includes.
pub const USERS_FILE: &str = "tenantctl_users.ini";
/// The file with the password of the pooler's own role.
pub const USERLIST_FILE: &str = "userlist.txt";
/// Where packages keep these files.
pub const USUAL_FOLDER: &str = "/etc/pgbouncer";

/// A tenant as the pooler knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooled {
    /// Its login role.
    pub role: String,
    /// Its tier.
    pub tier: String,
    /// Its limit of connections; none: unlimited.
    pub limit: Option<u64>,
}

/// A server that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its host, address or socket's folder.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub dbname: String,
}

/// The tenants and the server that the pooler stands before.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Every registered tenant that is active.
    pub tenants: Vec<Pooled>,
    /// Standbys that tenants can read from.
    pub replicas: Vec<Endpoint>,
    /// Connections of the server that are not kept for superusers; none: not known.
    pub usable_connections: Option<u64>,
}

impl Fleet {
    /// The server connections that a tenant's pool may have, without the reserve.
    pub fn pool_size(&self, policy: &PoolerPolicy, tier: &str, limit: Option<u64>) -> u32 {
        let size = policy
            .pool_size_by_tier
            .get(tier)
            .copied()
            .unwrap_or(policy.default_pool_size);
        limit.map_or(size, |limit| size.min(u32::try_from(limit).unwrap_or(size)))
    }

    /// The limit for every user where there can be none by user: the smallest limit of a tenant, if all have at least their
    /// pool under it. It then takes the reserve from those who may not use it, and nothing from anybody else.
    pub fn common_limit(&self, policy: &PoolerPolicy, version: Version) -> Option<u64> {
        if version >= Version::LIMITS_BY_USER {
            return None;
        }
        let smallest = self.tenants.iter().filter_map(|tenant| tenant.limit).min()?;
        (smallest >= u64::from(policy.default_pool_size)).then_some(smallest)
    }

    /// Tier and limit, with how many tenants have both, in words.
    fn tiers(&self) -> Vec<(String, Option<u64>, String)> {
        let mut counted: BTreeMap<(&str, Option<u64>), usize> = BTreeMap::new();
        for tenant in &self.tenants {
            *counted.entry((&tenant.tier, tenant.limit)).or_default() += 1;
        }
        let named = counted.into_iter();
        named
            .map(|((tier, limit), n)| {
                (
                    tier.to_owned(),
                    limit,
                    format!("{n} tenant{}", if n == 1 { "" } else { "s" }),
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    /// The built-in policy with these keys changed, as a mapping or its inside.
    pub fn policy(text: &str) -> PoolerPolicy {
        let text = if text.starts_with('{') {
            format!("pgbouncer: {text}")
        } else {
            format!("pgbouncer: {{{text}}}")
        };
        Config::parse(&text, "test", Path::new(""))
            .expect("a valid configuration")
            .pgbouncer
    }

    /// Tenants with these limits, each in the tier `t<limit>`.
    pub fn fleet(limits: &[u64]) -> Fleet {
        let tenant = |(i, limit): (usize, &u64)| Pooled {
            role: format!("tenant_{i:012x}_user"),
            tier: format!("t{limit}"),
            limit: Some(*limit),
        };
        Fleet {
            tenants: limits.iter().enumerate().map(tenant).collect(),
            replicas: Vec::new(),
            usable_connections: None,
        }
    }

    #[test]
    fn limits_and_pools() {
        let all = fleet(&[25, 100]);
        let seed = policy("pool_mode: session");
        assert_eq!(all.common_limit(&seed, Version::new(1, 18, 0)), Some(25));
        assert_eq!(all.common_limit(&seed, Version::new(1, 23, 0)), None);
        assert_eq!(fleet(&[5, 100]).common_limit(&seed, Version::new(1, 18, 0)), None);
        assert_eq!(all.pool_size(&seed, "t5", Some(5)), 5);
        assert_eq!(all.pool_size(&seed, "t100", Some(100)), 25);
        let sized = policy("pool_size_by_tier: {t100: 200}");
        assert_eq!(all.pool_size(&sized, "t100", Some(100)), 100);
        assert_eq!(all.pool_size(&sized, "t100", None), 200);
    }
}

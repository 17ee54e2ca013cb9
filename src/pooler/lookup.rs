//! The lookup in the registry's schema: what is there of it, and the pooler's entry in the password file.

use super::{Fleet, Pooled, Version};
use crate::catalog::tenants;
use crate::config::PoolerPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::conninfo::ConnInfo;
use crate::pg::password::Password;
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;
use crate::plan::Plan;
use crate::plan::pooler::Observed;
use crate::pooler::Endpoint;
use crate::tenant::POOLER_ROLE;

/// What is there of the pooler's role and lookup.
///
/// # Errors
/// When the server refuses the query.
pub async fn observe(session: &Session) -> Result<Observed> {
    let sql = Sql::new(include_str!("../../sql/pooler/observe.sql"));
    let row = session.query_one(&sql, &[], "look for the pooler's lookup").await?;
    Ok(Observed {
        database: column(&row, "database")?,
        superuser: column(&row, "superuser")?,
        role_exists: column(&row, "role_exists")?,
        plain: column(&row, "plain")?,
        member_of: column(&row, "member_of")?,
        members: column(&row, "members")?,
        settings: column(&row, "settings")?,
        may_connect: column(&row, "may_connect")?,
        may_use_registry: column(&row, "may_use_registry")?,
        beyond: column(&row, "beyond")?,
        connects: column(&row, "connects")?,
        owns: column(&row, "owns")?,
        default_grantees: column(&row, "default_grantees")?,
        signatures: column(&row, "signatures")?,
        body: column(&row, "body")?,
        shape: column(&row, "shape")?,
        pinned: column(&row, "pinned")?,
        owner_is_super: column(&row, "owner_is_super")?,
        closed: column(&row, "closed")?,
        granted: column(&row, "granted")?,
    })
}

/// Refuses a role of the pooler's name that owns something: it is not one that tenantctl has made.
///
/// # Errors
/// Kind `unsupported`.
pub fn require_ours(now: &Observed) -> Result<()> {
    match now.owns.first() {
        None => Ok(()),
        Some(thing) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("role {POOLER_ROLE} exists and owns {thing}"),
        )
        .with_cause("the pooler's role may call the lookup and nothing else")
        .with_hint(
            "tenantctl does not adopt it. Give what it owns to somebody else with REASSIGN OWNED, or rename the role.",
        )),
    }
}

/// Refuses to change anything without a superuser, with what one can do.
///
/// # Errors
/// Kind `permission`, with the SQL for a superuser.
pub fn require_superuser(now: &Observed, user: &str, plan: &Plan) -> Result<()> {
    if now.superuser || plan.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Permission,
        format!("{user:?} cannot set the pooler's lookup up: it is no superuser"),
    )
    .with_cause("only a function of a superuser can read the password verifiers of pg_authid")
    .with_hint(
        "Run `tenantctl pgbouncer --setup` as a superuser, or have one run what `tenantctl pgbouncer --setup --dry-run` prints.",
    )
    .with_sqlstate("42501"))
}

/// Tenants, replicas and what the server takes.
///
/// # Errors
/// When the registry cannot be read; kind `config` for a replica that cannot be.
pub async fn fleet(session: &Session, replicas: &[String]) -> Result<Fleet> {
    let rows = tenants::list(session, None).await?;
    let mut tenants: Vec<Pooled> = rows
        .into_iter()
        .filter(|row| row.status == "active")
        .map(|row| Pooled {
            limit: row.limits.max_connections.max(),
            role: row.role_name,
            tier: row.tier,
        })
        .collect();
    tenants.sort_by(|a, b| a.role.cmp(&b.role));
    let sql = Sql::new(
        "SELECT pg_catalog.current_setting('max_connections')::bigint - pg_catalog.current_setting('superuser_reserved_connections')::bigint
    - COALESCE(pg_catalog.current_setting('reserved_connections', true), '0')::bigint AS usable",
    );
    let row = session
        .query_one(&sql, &[], "read the server's limit of connections")
        .await?;
    Ok(Fleet {
        tenants,
        replicas: endpoints(replicas)?,
        usable_connections: u64::try_from(column::<i64>(&row, "usable")?).ok(),
    })
}

/// The servers that these connection strings lead to first.
fn endpoints(replicas: &[String]) -> Result<Vec<Endpoint>> {
    let endpoint = |text: &String| {
        // Without the environment: PGHOST and its like are about the primary.
        let info = ConnInfo::resolve(Some(text), &|_| None)?;
        let host = &info.hosts[0];
        let address = host.hostaddr.map(|address| address.to_string());
        Ok(Endpoint {
            host: address
                .or_else(|| host.host.clone())
                .unwrap_or_else(|| "localhost".into()),
            port: host.port,
            dbname: info.dbname.clone(),
        })
    };
    replicas.iter().map(endpoint).collect()
}

/// The password file as it is: the pooler's password, and the other lines.
#[derive(Debug, Default)]
pub struct Userlist {
    /// The pooler's.
    pub password: Option<Password>,
    /// Of others, such as those who may use the admin console.
    pub others: Vec<String>,
}

impl Userlist {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Kind `config` where a tenant stands in it, whose password would then hold for ever.
    pub fn read(text: &str) -> Result<Self> {
        let mut list = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut fields = line.split('"').skip(1).step_by(2);
            match (fields.next(), fields.next()) {
                (Some(POOLER_ROLE), Some(password)) => list.password = Some(Password::from_text(password.to_owned())),
                (Some(name), _) if name.starts_with("tenant_") && name.ends_with("_user") && !line.starts_with(';') => {
                    return Err(Error::config(format!("{} holds a password of {name}", super::USERLIST_FILE))
                        .with_cause("whoever stands there is not looked up: a rotated password or a suspended tenant would make no difference")
                        .with_hint("Take the line out; tenants need none."));
                }
                _ => list.others.push(line.to_owned()),
            }
        }
        Ok(list)
    }
}

/// Whether the pooler's role can log in with this password. Other failures than a refused login are errors.
///
/// # Errors
/// When the server cannot be reached.
pub async fn logs_in(connector: &Connector, password: &Password) -> Result<bool> {
    let info = connector.info().with_login(POOLER_ROLE, Some(password.reveal()));
    match connector.with_info(info).connect().await {
        Ok(_) => Ok(true),
        Err(error)
            if error
                .sqlstate()
                .is_some_and(|code| code.starts_with("28") || code == "42501") =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Refuses tiers that there are not.
///
/// # Errors
/// Kind `config`.
pub fn require_known_tiers(policy: &PoolerPolicy, known: &[&str]) -> Result<()> {
    match policy
        .pool_size_by_tier
        .keys()
        .find(|tier| !known.contains(&tier.as_str()))
    {
        None => Ok(()),
        Some(tier) => Err(Error::config(format!(
            "pgbouncer.pool_size_by_tier names tier {tier:?}, which there is not"
        ))
        .with_hint(format!("Tiers: {}.", known.join(", ")))),
    }
}

/// The version that is assumed where none can be found out.
pub const ASSUMED: Version = Version::OLDEST;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_file_is_kept_but_for_tenants() {
        let list =
            Userlist::read("\"tenantctl_pooler\" \"s3cret\"\n;note\n\"ops\" \"SCRAM-SHA-256$x\"\n").expect("a list");
        assert_eq!(list.password.as_ref().map(Password::reveal), Some("s3cret"));
        assert_eq!(list.others, [";note", "\"ops\" \"SCRAM-SHA-256$x\""]);
        assert!(!format!("{list:?}").contains("s3cret"));
        let error = Userlist::read("\"tenant_0123456789ab_user\" \"x\"").expect_err("a tenant");
        assert_eq!(error.kind().exit_code(), 2);
        assert!(Userlist::read("").expect("empty").password.is_none());
    }

    #[test]
    fn replicas_are_read_without_the_environment() {
        let found =
            endpoints(&["host=r1 port=5433 dbname=shop".into(), "postgresql://r2/shop".into()]).expect("replicas");
        assert_eq!(
            (found[0].host.as_str(), found[0].port, found[0].dbname.as_str()),
            ("r1", 5433, "shop")
        );
        assert_eq!((found[1].host.as_str(), found[1].port), ("r2", 5432));
    }
}

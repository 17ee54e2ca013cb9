//! The settings under `[pgbouncer]`: which there are, which are tenantctl's, and what is written.

use std::collections::BTreeMap;

use super::version::Version;
use super::{Fleet, USERLIST_FILE};
use crate::config::{PoolerPolicy, nearest};
use crate::error::{Error, Result};
use crate::tenant::{POOLER_ROLE, quoted};

/// The query that PgBouncer sends with the name of whoever logs in. All names are qualified and there is no operator in it: a
/// search_path that a client could bring along changes nothing (CVE-2025-12819).
pub const AUTH_QUERY: &str = "SELECT role_name, verifier FROM tenantctl.pooler_lookup($1::pg_catalog.text)";

/// What tenantctl decides, with where the user has a say instead.
const OURS: [(&str, &str); 20] = [
    ("auth_type", "tenants log in with their SCRAM password"),
    ("auth_user", "the lookup is called by the role tenantctl_pooler"),
    ("auth_query", "tenants' passwords are looked up by tenantctl's function"),
    (
        "auth_file",
        "it holds the password of tenantctl_pooler and stands beside pgbouncer.ini",
    ),
    (
        "auth_hba_file",
        "tenants log in with their SCRAM password, from wherever",
    ),
    (
        "auth_dbname",
        "a database entry for lookups would be open to tenants, who could fill it and lock all others out",
    ),
    ("auth_ident_file", "tenants log in with their SCRAM password"),
    ("auth_ldap_options", "tenants log in with their SCRAM password"),
    (
        "disable_pqexec",
        "the admin console and tenants' scripts send simple queries",
    ),
    ("conffile", "it is where the file was read from"),
    ("service_name", "it is another name for job_name"),
    ("pool_mode", "it is pgbouncer.pool_mode of the configuration"),
    (
        "max_client_conn",
        "it is pgbouncer.max_client_conn of the configuration",
    ),
    (
        "default_pool_size",
        "it is pgbouncer.default_pool_size of the configuration",
    ),
    (
        "reserve_pool_size",
        "it is pgbouncer.reserve_pool_size of the configuration",
    ),
    (
        "reserve_pool_timeout",
        "it is pgbouncer.reserve_pool_timeout of the configuration",
    ),
    (
        "server_lifetime",
        "it is pgbouncer.server_lifetime of the configuration",
    ),
    (
        "server_idle_timeout",
        "it is pgbouncer.server_idle_timeout of the configuration",
    ),
    (
        "max_db_connections",
        "it is pgbouncer.max_db_connections of the configuration",
    ),
    ("max_user_connections", "each tenant's follows from its tier"),
];

/// Since before the oldest version that is written for.
const OLD: Version = Version::new(0, 0, 0);

/// The others, each with the version that it came with. From PgBouncer's own lists, up to 1.25.2.
const KNOWN: &[(&str, Version)] = &[
    ("admin_users", OLD),
    ("application_name_add_host", OLD),
    ("autodb_idle_timeout", OLD),
    ("cancel_wait_timeout", Version::new(1, 19, 0)),
    ("client_idle_timeout", OLD),
    ("client_login_timeout", OLD),
    ("client_tls13_ciphers", Version::new(1, 25, 0)),
    ("client_tls_ca_file", OLD),
    ("client_tls_cert_file", OLD),
    ("client_tls_ciphers", OLD),
    ("client_tls_dheparams", OLD),
    ("client_tls_ecdhcurve", OLD),
    ("client_tls_key_file", OLD),
    ("client_tls_protocols", OLD),
    ("client_tls_sslmode", OLD),
    ("dns_max_ttl", OLD),
    ("dns_nxdomain_ttl", OLD),
    ("dns_zone_check_period", OLD),
    ("idle_transaction_timeout", OLD),
    ("ignore_startup_parameters", OLD),
    ("job_name", OLD),
    ("listen_addr", OLD),
    ("listen_backlog", OLD),
    ("listen_port", OLD),
    ("log_connections", OLD),
    ("log_disconnections", OLD),
    ("log_pooler_errors", OLD),
    ("log_stats", OLD),
    ("logfile", OLD),
    ("max_db_client_connections", Version::new(1, 24, 0)),
    ("max_packet_size", OLD),
    ("max_prepared_statements", Version::new(1, 21, 0)),
    ("max_user_client_connections", Version::new(1, 24, 0)),
    ("min_pool_size", OLD),
    ("peer_id", Version::new(1, 19, 0)),
    ("pidfile", OLD),
    ("pkt_buf", OLD),
    ("query_timeout", OLD),
    ("query_wait_notify", Version::new(1, 25, 0)),
    ("query_wait_timeout", OLD),
    ("resolv_conf", OLD),
    ("sbuf_loopcnt", OLD),
    ("scram_iterations", Version::new(1, 25, 0)),
    ("server_check_delay", OLD),
    ("server_check_query", OLD),
    ("server_connect_timeout", OLD),
    ("server_fast_close", OLD),
    ("server_login_retry", OLD),
    ("server_reset_query", OLD),
    ("server_reset_query_always", OLD),
    ("server_round_robin", OLD),
    ("server_tls13_ciphers", Version::new(1, 25, 0)),
    ("server_tls_ca_file", OLD),
    ("server_tls_cert_file", OLD),
    ("server_tls_ciphers", OLD),
    ("server_tls_key_file", OLD),
    ("server_tls_protocols", OLD),
    ("server_tls_sslmode", OLD),
    ("so_reuseport", OLD),
    ("stats_period", OLD),
    ("stats_users", OLD),
    ("suspend_timeout", OLD),
    ("syslog", OLD),
    ("syslog_facility", OLD),
    ("syslog_ident", OLD),
    ("tcp_defer_accept", OLD),
    ("tcp_keepalive", OLD),
    ("tcp_keepcnt", OLD),
    ("tcp_keepidle", OLD),
    ("tcp_keepintvl", OLD),
    ("tcp_socket_buffer", OLD),
    ("tcp_user_timeout", OLD),
    ("track_extra_parameters", Version::new(1, 20, 0)),
    ("transaction_timeout", Version::new(1, 25, 0)),
    ("unix_socket_dir", OLD),
    ("unix_socket_group", OLD),
    ("unix_socket_mode", OLD),
    ("user", OLD),
    ("verbose", OLD),
];

/// Those that are whole numbers, switches among them.
const WHOLE: [&str; 30] = [
    "application_name_add_host",
    "listen_backlog",
    "listen_port",
    "log_connections",
    "log_disconnections",
    "log_pooler_errors",
    "log_stats",
    "max_db_client_connections",
    "max_packet_size",
    "max_prepared_statements",
    "max_user_client_connections",
    "min_pool_size",
    "peer_id",
    "pkt_buf",
    "sbuf_loopcnt",
    "scram_iterations",
    "server_fast_close",
    "server_reset_query_always",
    "server_round_robin",
    "so_reuseport",
    "stats_period",
    "syslog",
    "tcp_defer_accept",
    "tcp_keepalive",
    "tcp_keepcnt",
    "tcp_keepidle",
    "tcp_keepintvl",
    "tcp_socket_buffer",
    "tcp_user_timeout",
    "verbose",
];

/// What is written where the configuration says nothing else.
const DEFAULTS: [(&str, &str); 11] = [
    ("listen_addr", "127.0.0.1"),
    ("listen_port", "6432"),
    ("unix_socket_dir", "/var/run/postgresql"),
    ("logfile", "/var/log/postgresql/pgbouncer.log"),
    ("pidfile", "/var/run/postgresql/pgbouncer.pid"),
    ("admin_users", ""),
    ("stats_users", ""),
    ("server_reset_query", "DISCARD ALL"),
    ("ignore_startup_parameters", ""),
    ("client_tls_sslmode", "disable"),
    ("server_tls_sslmode", "prefer"),
];

/// Refuses settings that are tenantctl's, that PgBouncer does not have, or not yet in this version: it would not start.
///
/// # Errors
/// Kind `config`.
pub fn require_known(policy: &PoolerPolicy, version: Version) -> Result<()> {
    for (name, value) in &policy.settings {
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == name) {
            return Err(Error::config(format!("pgbouncer.settings.{name} is not yours to set"))
                .with_cause(*why)
                .with_hint("Take the line out of pgbouncer.settings."));
        }
        match KNOWN.iter().find(|(known, _)| known == name) {
            Some((_, since)) if version < *since => {
                return Err(Error::config(format!("PgBouncer {version} has no setting {name}"))
                    .with_cause(format!(
                        "it came with {since}; PgBouncer refuses to start over what it does not know"
                    ))
                    .with_hint("Take the line out of pgbouncer.settings, or upgrade PgBouncer."));
            }
            Some(_) if WHOLE.contains(&name.as_str()) && value.parse::<i64>().is_err() => {
                return Err(
                    Error::config(format!("pgbouncer.settings.{name} cannot be {}", quoted(value)))
                        .with_cause(
                            "it is a whole number, and PgBouncer would not start; a reload may pass over it until then",
                        )
                        .with_hint("1 switches on, 0 off."),
                );
            }
            Some(_) => {}
            None => {
                let names: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
                let hint = nearest(name, &names).map_or_else(
                    || "See the section [pgbouncer] in the manual of PgBouncer.".to_owned(),
                    |near| format!("Did you mean {near}?"),
                );
                return Err(Error::config(format!("PgBouncer has no setting {name}"))
                    .with_cause("it stands in pgbouncer.settings")
                    .with_hint(hint));
            }
        }
    }
    Ok(())
}

/// The value that counts: the configuration's, else the one written by default, else PgBouncer's own.
pub fn value<'a>(policy: &'a PoolerPolicy, name: &str) -> Option<&'a str> {
    let own = policy.settings.get(name).map(String::as_str);
    own.or_else(|| {
        DEFAULTS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    })
}

/// All that is written, by name. `folder` is where the files stand.
pub fn written(policy: &PoolerPolicy, version: Version, fleet: &Fleet, folder: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value);
    };
    set("auth_type", "scram-sha-256".into());
    set("auth_user", POOLER_ROLE.into());
    set("auth_query", AUTH_QUERY.into());
    set("auth_file", format!("{folder}/{USERLIST_FILE}"));
    set("pool_mode", policy.pool_mode.as_str().into());
    set("max_client_conn", policy.max_client_conn.to_string());
    set("default_pool_size", policy.default_pool_size.to_string());
    set("reserve_pool_size", policy.reserve_pool_size.to_string());
    set("reserve_pool_timeout", policy.reserve_pool_timeout.to_string());
    set("server_lifetime", policy.server_lifetime.to_string());
    set("server_idle_timeout", policy.server_idle_timeout.to_string());
    set("max_db_connections", policy.max_db_connections.to_string());
    set(
        "max_user_connections",
        fleet.common_limit(policy, version).unwrap_or(0).to_string(),
    );
    if version >= Version::new(1, 21, 0) {
        let number = if version >= Version::PREPARED_STATEMENTS {
            "200"
        } else {
            "0"
        };
        set("max_prepared_statements", number.into());
    }
    all.extend(policy.settings.clone());
    all
}

/// The items of a list such as `ignore_startup_parameters`.
pub fn items(value: &str) -> impl Iterator<Item = String> {
    value
        .split([',', ' '])
        .filter(|item| !item.is_empty())
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pooler::tests::{fleet, policy};

    #[test]
    fn what_is_ours_unknown_or_too_new_is_refused() {
        let refused = |setting: &str, version| {
            let policy = policy(&format!("settings: {{{setting}}}"));
            require_known(&policy, version).expect_err(setting)
        };
        let old = Version::new(1, 18, 0);
        assert!(refused("auth_query: SELECT 1", old).message().contains("not yours"));
        assert!(
            refused("max_prepared_statements: 5", old)
                .cause()
                .is_some_and(|c| c.contains("1.21.0"))
        );
        assert!(
            refused("listen_adr: x", old)
                .hint()
                .is_some_and(|h| h.contains("listen_addr"))
        );
        assert!(require_known(&policy("settings: {listen_addr: '*', user: ''}"), old).is_ok());
        for text in ["listen_backlog: 128k", "tcp_keepalive: ''", "so_reuseport: yes please"] {
            let error = refused(text, old);
            assert!(error.cause().is_some_and(|c| c.contains("whole number")), "{text}");
        }
        let switched = policy("settings: {log_connections: false, so_reuseport: true}");
        assert!(require_known(&switched, old).is_ok());
        assert_eq!(value(&switched, "log_connections"), Some("0"));
        assert_eq!(value(&switched, "so_reuseport"), Some("1"));
        assert!(WHOLE.iter().all(|name| KNOWN.iter().any(|(known, _)| known == name)));
        for (name, _) in KNOWN {
            assert!(OURS.iter().all(|(ours, _)| ours != name), "{name}");
        }
        assert!(KNOWN.is_sorted_by_key(|(name, _)| *name));
        assert!(
            DEFAULTS
                .iter()
                .all(|(name, _)| KNOWN.iter().any(|(known, _)| known == name))
        );
    }

    #[test]
    fn the_users_settings_win_over_the_defaults() {
        let policy = policy("settings: {listen_port: 7000, server_round_robin: 1}");
        let written = written(&policy, Version::new(1, 23, 1), &fleet(&[25]), "/etc/pgbouncer");
        for (name, value) in [
            ("listen_port", "7000"),
            ("server_round_robin", "1"),
            ("auth_type", "scram-sha-256"),
            ("auth_file", "/etc/pgbouncer/userlist.txt"),
            ("max_prepared_statements", "200"),
            ("max_user_connections", "0"),
            ("default_pool_size", "25"),
        ] {
            assert_eq!(written[name], value, "{name}");
        }
        assert_eq!(value(&policy, "listen_port"), Some("7000"));
        assert_eq!(value(&policy, "pkt_buf"), None);
    }
}

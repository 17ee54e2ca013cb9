//! The text of PgBouncer's files.

use std::fmt::Write;

use super::version::Version;
use super::{Endpoint, Fleet, USERLIST_FILE, USERS_FILE, settings};
use crate::config::{PoolMode, PoolerPolicy};
use crate::error::{Error, Result};
use crate::pg::password::Password;
use crate::tenant::POOLER_ROLE;

/// Server connections that look passwords up at a time. A lookup takes a millisecond, and everybody who logs in needs one.
const LOOKUPS: u32 = 5;

/// Why a key stands where it does, for whoever reads the file; a key that is not here needs no word.
const COMMENTS: [(&str, &str); 9] = [
    (
        "auth_query",
        "Called by auth_user. It answers for tenants of that database alone, and honours NOLOGIN and VALID UNTIL.",
    ),
    (
        "auth_file",
        "The password of auth_user, and of those who may use the admin console. A tenant in it would not be looked up.",
    ),
    (
        "auth_type",
        "Clients prove that they know the password; PgBouncer never sees it and logs in to the server with the proof.",
    ),
    (
        "server_reset_query",
        "In session mode, before another client of the same tenant gets the connection.",
    ),
    (
        "max_user_connections",
        "For whoever has no limit of its own below; 0 = none. The role's CONNECTION LIMIT holds on the server anyway.",
    ),
    (
        "max_db_connections",
        "Over all tenants together. A lookup takes one, too.",
    ),
    (
        "ignore_startup_parameters",
        "What clients may ask for in vain. Never search_path, options or role: they would go on believing in it.",
    ),
    (
        "admin_users",
        "Nobody: the Unix user that PgBouncer runs as gets into the console by the socket, as user pgbouncer.",
    ),
    (
        "max_client_conn",
        "PgBouncer needs as many file descriptors and those of its server connections: see LimitNOFILE of its unit.",
    ),
];

/// The order of the keys that are always there; others follow by name.
const ORDER: [&str; 26] = [
    "listen_addr",
    "listen_port",
    "unix_socket_dir",
    "logfile",
    "pidfile",
    "admin_users",
    "stats_users",
    "auth_type",
    "auth_user",
    "auth_query",
    "auth_file",
    "client_tls_sslmode",
    "server_tls_sslmode",
    "pool_mode",
    "max_client_conn",
    "default_pool_size",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "max_db_connections",
    "max_user_connections",
    "server_lifetime",
    "server_idle_timeout",
    "server_reset_query",
    "max_prepared_statements",
    "ignore_startup_parameters",
    "track_extra_parameters",
];

/// The entries under `[databases]`: name and where it leads.
///
/// # Errors
/// Kind `config` for a name or a value that PgBouncer would read as something else.
pub fn databases(policy: &PoolerPolicy, fleet: &Fleet) -> Result<Vec<(String, Endpoint)>> {
    let name = &policy.database.name;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    if !name.bytes().all(plain) || name.len() > 50 || name == "pgbouncer" || name == "users" {
        return Err(Error::config(format!(
            "pgbouncer.database.name cannot be {}",
            crate::tenant::quoted(name)
        ))
        .with_cause("`pgbouncer` is the admin console, and names are 1 to 50 letters, digits, '_', '-' and '.'")
        .with_hint("It is the name that clients connect to; pgbouncer.database.dbname is the database behind it."));
    }
    let primary = Endpoint {
        host: policy.database.host.clone(),
        port: policy.database.port,
        dbname: policy.database.dbname.clone(),
    };
    let replicas = fleet.replicas.iter().enumerate();
    let mut all = vec![(name.clone(), primary)];
    all.extend(replicas.map(|(i, replica)| (format!("{name}_replica{}", i + 1), replica.clone())));
    match all.iter().find(|(_, at)| {
        [&at.host, &at.dbname]
            .iter()
            .any(|text| text.chars().any(char::is_control))
    }) {
        Some((name, _)) => Err(Error::config(format!(
            "the server behind {name} has a control character in its name"
        ))),
        None => Ok(all),
    }
}

/// The main file. With `users` these follow in it, else it includes them from `folder`.
///
/// # Errors
/// As [`databases`].
pub fn main_file(
    policy: &PoolerPolicy,
    version: Version,
    fleet: &Fleet,
    folder: &str,
    users: Option<&str>,
) -> Result<String> {
    let mut text = format!(
        "; Written by `tenantctl pgbouncer` for PgBouncer {version}. It is written anew from tenant_templates.yaml and the registry:\n\
         ; change pgbouncer: there, not here.\n;\n{}\n[databases]\n",
        what_is_shared(policy.pool_mode)
    );
    let entries = databases(policy, fleet)?;
    for (name, at) in &entries {
        let _ = writeln!(
            text,
            "{name} = host={} port={} dbname={}",
            quoted(&at.host),
            at.port,
            quoted(&at.dbname)
        );
    }
    if entries.len() > 1 {
        text.push_str(
            "; The standbys answer reads only. Limits of connections are by server: each has the roles' own.\n",
        );
    }
    text.push_str("\n[pgbouncer]\n");
    let mut written = settings::written(policy, version, fleet, folder);
    let mut line = |key: &str, value: &str| {
        if let Some((_, comment)) = COMMENTS.iter().find(|(known, _)| *known == key)
            && (key != "admin_users" || value.is_empty())
        {
            let _ = writeln!(text, "; {comment}");
        }
        // An empty value must not leave a blank at the end of its line.
        let _ = writeln!(text, "{}", format!("{key} = {value}").trim_end());
        if key == "auth_file" {
            text.push_str(&how_the_pooler_logs_in(policy));
        }
    };
    for key in ORDER {
        if let Some(value) = written.remove(key) {
            line(key, &value);
        }
    }
    for (key, value) in &written {
        line(key, value);
    }
    text.push('\n');
    match users {
        Some(users) => text.push_str(users),
        None => {
            let _ = writeln!(text, "%include {folder}/{USERS_FILE}");
        }
    }
    Ok(text)
}

/// The file with the limits by user.
pub fn users_file(policy: &PoolerPolicy, version: Version, fleet: &Fleet) -> String {
    let mut text = String::from("[users]\n; The lookup's own connections.\n");
    let _ = writeln!(text, "{POOLER_ROLE} = max_user_connections={LOOKUPS}");
    if version < Version::LIMITS_BY_USER {
        let _ = writeln!(
            text,
            "; PgBouncer {version} looks nobody up who stands here, so tenants do not: limits by tenant take {}.",
            Version::LIMITS_BY_USER
        );
        return text;
    }
    text.push_str(
        "; Server connections of each tenant: those that wait for one, and all together, by the limit of its tier.\n",
    );
    for tenant in &fleet.tenants {
        let size = fleet.pool_size(policy, &tenant.tier, tenant.limit);
        let pool = (size != policy.default_pool_size).then(|| format!("pool_size={size}"));
        let most = tenant.limit.map(|limit| format!("max_user_connections={limit}"));
        let limits: Vec<String> = pool.into_iter().chain(most).collect();
        if !limits.is_empty() {
            let _ = writeln!(text, "{} = {}", tenant.role, limits.join(" "));
        }
    }
    text
}

/// The password file: the pooler's own entry, and what else stood in it.
pub fn userlist(password: &Password, others: &[String]) -> String {
    // The password is letters and digits alone, by construction.
    let mut text = format!("\"{POOLER_ROLE}\" \"{}\"\n", password.reveal());
    for line in others {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What clients have in common with this pool mode, precisely.
fn what_is_shared(mode: PoolMode) -> &'static str {
    match mode {
        PoolMode::Session => {
            "; Pools are by database and role, and every tenant has a role: no two tenants ever share a server connection.\n\
             ; Session mode: a client keeps its server connection until it disconnects; DISCARD ALL then clears what it left behind.\n"
        }
        PoolMode::Transaction | PoolMode::Statement => {
            "; Pools are by database and role, and every tenant has a role: no two tenants ever share a server connection.\n\
             ; Transaction mode: clients of one tenant share its server connections, a transaction each. Between clients of the SAME\n\
             ; tenant pass: SET (use SET LOCAL), temporary tables, PREPARE, advisory locks of the session (use those of the\n\
             ; transaction), LISTEN, WITH HOLD cursors. Nothing of it passes to another tenant.\n\
             ; tenantctl itself keeps settings in its sessions: have it connect to the server directly.\n"
        }
    }
}

fn how_the_pooler_logs_in(policy: &PoolerPolicy) -> String {
    format!(
        "; auth_user logs in to the server with its password in {USERLIST_FILE}, which `tenantctl pgbouncer --setup --out` made: mode\n\
         ; 0600, the one entry. --rotate gives it another. Where PgBouncer runs on the server's machine there need be none: with\n\
         ; database.host: {}, a line `local {} {POOLER_ROLE} peer map=pooler` in pg_hba.conf and\n\
         ; `pooler postgres {POOLER_ROLE}` in pg_ident.conf it logs in by its Unix user.\n",
        if policy.database.host.starts_with('/') {
            policy.database.host.as_str()
        } else {
            "/var/run/postgresql"
        },
        policy.database.dbname,
    )
}

/// A value in a line of `[databases]`: in quotes where it has blanks or quotes in it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-/:,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pooler::tests::{fleet, policy};

    #[test]
    fn values_are_quoted_as_pgbouncer_reads_them() {
        for (value, text) in [
            ("tradesage", "tradesage"),
            ("/var/run/postgresql", "/var/run/postgresql"),
            ("a b", "'a b'"),
            ("it's", "'it''s'"),
            ("", "''"),
            ("x=1", "'x=1'"),
        ] {
            assert_eq!(quoted(value), text);
        }
    }

    #[test]
    fn the_seeds_figures_are_written() {
        let mut all = fleet(&[25]);
        all.replicas.push(Endpoint {
            host: "r1".into(),
            port: 5433,
            dbname: "tradesage".into(),
        });
        let text = main_file(
            &policy("pool_mode: session"),
            Version::new(1, 18, 0),
            &all,
            "/etc/pgbouncer",
            None,
        );
        let text = text.expect("a file");
        for line in [
            "tradesage_production = host=primary.db.internal port=5432 dbname=tradesage",
            "tradesage_production_replica1 = host=r1 port=5433 dbname=tradesage",
            "auth_type = scram-sha-256",
            "auth_user = tenantctl_pooler",
            "auth_query = SELECT role_name, verifier FROM tenantctl.pooler_lookup($1::pg_catalog.text)",
            "auth_file = /etc/pgbouncer/userlist.txt",
            "pool_mode = session",
            "max_client_conn = 5000",
            "default_pool_size = 25",
            "reserve_pool_size = 5",
            "reserve_pool_timeout = 3",
            "server_lifetime = 3600",
            "server_idle_timeout = 600",
            "max_db_connections = 100",
            "max_user_connections = 25",
            "server_reset_query = DISCARD ALL",
            "admin_users =",
            "%include /etc/pgbouncer/tenantctl_users.ini",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in {text}");
        }
        assert!(
            !text.contains("max_prepared_statements") && !text.lines().any(|l| l.ends_with(' ')),
            "{text}"
        );
    }

    #[test]
    fn limits_by_user_come_with_the_version_that_takes_them() {
        let mut all = fleet(&[5, 100]);
        all.tenants.push(super::super::Pooled {
            role: "tenant_x_user".into(),
            tier: "free".into(),
            limit: None,
        });
        let seed = policy("pool_mode: session");
        let old = users_file(&seed, Version::new(1, 22, 1), &all);
        assert!(
            !old.contains("tenant_0") && old.contains("tenantctl_pooler = max_user_connections=5"),
            "{old}"
        );
        let new = users_file(&seed, Version::new(1, 23, 0), &all);
        assert!(
            new.contains("tenant_000000000000_user = pool_size=5 max_user_connections=5\n"),
            "{new}"
        );
        assert!(
            new.contains("tenant_000000000001_user = max_user_connections=100\n"),
            "{new}"
        );
        assert!(
            !new.contains("tenant_x_user"),
            "unlimited and of the common size: {new}"
        );
    }

    #[test]
    fn names_that_pgbouncer_would_misread_are_refused() {
        for name in ["pgbouncer", "a b", "x=y", "é", "*"] {
            let policy = policy(&format!("database: {{name: '{name}'}}"));
            assert!(databases(&policy, &fleet(&[])).is_err(), "{name}");
        }
    }
}

//! What would be unsafe with tenants behind one PgBouncer, or not as the tiers promise: refused, or told.

use serde::Serialize;

use super::version::Version;
use super::{Fleet, settings};
use crate::config::{PoolMode, PoolerPolicy};
use crate::error::{Error, Result};

/// Whether it may be done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is not written and not loaded.
    Refused,
    /// It is, and said.
    Warning,
}

/// One thing to know.
#[derive(Clone, Debug, Serialize)]
pub struct Concern {
    /// What becomes of it.
    pub verdict: Verdict,
    /// What it is, on one line.
    pub what: String,
    /// Why it matters here.
    pub why: String,
    /// What to do.
    pub hint: String,
}

impl Concern {
    fn new(verdict: Verdict, what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            verdict,
            what: what.into(),
            why: why.into(),
            hint: hint.into(),
        }
    }
}

/// Parameters that a client may believe in and that decide whose data it sees and what it may do.
const BELIEVED: [&str; 8] = [
    "search_path",
    "options",
    "role",
    "session_authorization",
    "session_replication_role",
    "row_security",
    "default_transaction_read_only",
    "replication",
];

/// A hole in PgBouncer, as far as it reaches what is written here.
struct Hole {
    id: &'static str,
    /// The first version that has it, and the first that has not.
    versions: (Version, Version),
    verdict: Verdict,
    /// What of the configuration it takes; none: it is there whatever the configuration.
    takes: Option<fn(&PoolerPolicy) -> bool>,
    why: &'static str,
    hint: &'static str,
}

const UPGRADE: &str = "Upgrade PgBouncer. Distributions mend holes without changing the version: look into the changelog of your package.";

/// Looked at and left out, as they do not reach what is written here. CVE-2025-2291: our lookup honours VALID UNTIL in every
/// version. CVE-2026-6665, -6666 and -6669 take a hostile PostgreSQL server.
const HOLES: [Hole; 7] = [
    Hole {
        id: "CVE-2021-3935",
        versions: (Version::new(0, 0, 0), Version::new(1, 16, 1)),
        verdict: Verdict::Refused,
        takes: None,
        why: "whoever sits between client and pooler can put statements in front of a TLS connection",
        hint: "Upgrade PgBouncer.",
    },
    Hole {
        id: "CVE-2025-12819",
        versions: (Version::new(1, 20, 0), Version::new(1, 25, 1)),
        verdict: Verdict::Refused,
        takes: Some(|policy| lists(policy, "track_extra_parameters", &["search_path"])),
        why: "a search_path in the first message of anybody, known or not, reaches the connection that looks passwords up",
        hint: "Take search_path out of pgbouncer.settings.track_extra_parameters: a tenant's role has its own.",
    },
    Hole {
        id: "CVE-2026-107349",
        versions: (Version::new(1, 20, 0), Version::new(1, 26, 1)),
        verdict: Verdict::Refused,
        takes: Some(|policy| {
            !settings::value(policy, "ignore_startup_parameters")
                .unwrap_or_default()
                .is_empty()
        }),
        why: "with any ignore_startup_parameters, one message of anybody stops the pooler for all tenants",
        hint: "Empty pgbouncer.settings.ignore_startup_parameters, or upgrade PgBouncer to 1.26.1.",
    },
    Hole {
        id: "CVE-2026-107348",
        versions: (Version::new(1, 21, 0), Version::new(1, 26, 1)),
        verdict: Verdict::Refused,
        takes: Some(|policy| {
            let size = settings::value(policy, "max_packet_size").and_then(|size| size.parse::<u64>().ok());
            size.is_some_and(|size| size > i32::MAX as u64)
        }),
        why: "with a max_packet_size above 2147483647, one message stops the pooler for all tenants",
        hint: "Take max_packet_size out of pgbouncer.settings.",
    },
    Hole {
        id: "CVE-2026-6667",
        versions: (Version::new(1, 24, 0), Version::new(1, 25, 2)),
        verdict: Verdict::Warning,
        takes: Some(|policy| !settings::value(policy, "stats_users").unwrap_or_default().is_empty()),
        why: "who is in stats_users may end any client's session, not only look",
        hint: UPGRADE,
    },
    Hole {
        id: "CVE-2026-6664",
        versions: (Version::new(0, 0, 0), Version::new(1, 25, 2)),
        verdict: Verdict::Warning,
        takes: None,
        why: "a malformed SCRAM message of anybody who reaches the port crashes the pooler; no data is exposed",
        hint: UPGRADE,
    },
    Hole {
        id: "CVE-2026-107350",
        versions: (Version::new(1, 17, 0), Version::new(1, 26, 1)),
        verdict: Verdict::Warning,
        takes: None,
        why: "who knows a password of auth_file can log in as any tenant. Here that file holds no tenant's, and must not",
        hint: "Keep userlist.txt readable for PgBouncer alone, and upgrade PgBouncer. Distributions mend holes without changing the version.",
    },
];

fn lists(policy: &PoolerPolicy, setting: &str, names: &[&str]) -> bool {
    let value = settings::value(policy, setting).unwrap_or_default();
    settings::items(value).any(|item| names.contains(&item.as_str()))
}

/// All that is to be known of this configuration with this version and these tenants.
pub fn judge(policy: &PoolerPolicy, version: Version, fleet: &Fleet) -> Vec<Concern> {
    let mut concerns = of_version(policy, version);
    concerns.extend(of_settings(policy, version));
    concerns.extend(of_limits(policy, version, fleet));
    concerns
}

/// Refuses the configuration if anything in it is to be refused.
///
/// # Errors
/// Kind `config`, with the reason.
pub fn require_safe(concerns: &[Concern]) -> Result<()> {
    match concerns.iter().find(|concern| concern.verdict == Verdict::Refused) {
        None => Ok(()),
        Some(concern) => Err(Error::config(concern.what.clone())
            .with_cause(&concern.why)
            .with_hint(concern.hint.clone())),
    }
}

fn of_version(policy: &PoolerPolicy, version: Version) -> Vec<Concern> {
    let open = |hole: &&Hole| {
        (hole.versions.0..hole.versions.1).contains(&version) && hole.takes.is_none_or(|takes| takes(policy))
    };
    let told = |hole: &Hole| {
        let what = format!("PgBouncer {version} has {}", hole.id);
        Concern::new(hole.verdict, what, hole.why, hole.hint)
    };
    HOLES.iter().filter(open).map(told).collect()
}

fn of_settings(policy: &PoolerPolicy, version: Version) -> Vec<Concern> {
    let value = |name| settings::value(policy, name).unwrap_or_default();
    let mut concerns = Vec::new();
    let mut add = |verdict, what: String, why: &str, hint: &str| concerns.push(Concern::new(verdict, what, why, hint));
    if policy.pool_mode == PoolMode::Statement {
        add(
            Verdict::Refused,
            "statement pooling is refused".into(),
            "a tenant's BEGIN is an error there, so nothing that takes two statements can be all or nothing",
            "Set pgbouncer.pool_mode to transaction or session.",
        );
    }
    for name in settings::items(value("ignore_startup_parameters")).filter(|name| BELIEVED.contains(&name.as_str())) {
        add(
            Verdict::Refused,
            format!("ignore_startup_parameters must not have {name}"),
            "a client that asks for it at the start is told nothing, goes on believing in it, and reads or writes where it did not mean to",
            "Take it out of pgbouncer.settings.ignore_startup_parameters; PgBouncer then refuses such clients.",
        );
    }
    for name in settings::items(value("track_extra_parameters")) {
        if ["role", "session_authorization", "is_superuser"].contains(&name.as_str()) {
            add(
                Verdict::Refused,
                format!("track_extra_parameters must not have {name}"),
                "PgBouncer would set it on a server connection because a client asked for it",
                "Take it out of pgbouncer.settings.track_extra_parameters.",
            );
        }
    }
    let reset = value("server_reset_query")
        .trim_end_matches(';')
        .trim()
        .to_ascii_uppercase();
    if reset.split_whitespace().collect::<Vec<_>>() != ["DISCARD", "ALL"] {
        add(
            Verdict::Refused,
            "server_reset_query must be DISCARD ALL".into(),
            "what one client leaves behind, settings, temporary tables, prepared statements, advisory locks and LISTEN, the next client of that tenant would get",
            "Take server_reset_query out of pgbouncer.settings.",
        );
    }
    let number = |name| value(name).parse::<u64>().unwrap_or(0);
    if number("max_prepared_statements") > 0 && version < Version::PREPARED_STATEMENTS {
        add(
            Verdict::Refused,
            format!("max_prepared_statements is not fit for use in PgBouncer {version}"),
            "until 1.22.1, COPY could mix a client's prepared statements up with another's",
            "Upgrade PgBouncer to 1.22.1 or later, or take the line out of pgbouncer.settings.",
        );
    }
    if policy.pool_mode == PoolMode::Transaction && version < Version::PREPARED_STATEMENTS {
        add(
            Verdict::Warning,
            format!("PgBouncer {version} does not follow prepared statements in transaction mode"),
            "a driver that prepares gets errors, or under the same name the statement of another client of the same tenant",
            "Upgrade PgBouncer to 1.22.1 or later, switch preparing off in the drivers, or use session mode.",
        );
    }
    let address = value("listen_addr");
    let local = settings::items(address).all(|item| ["127.0.0.1", "::1", "localhost"].contains(&item.as_str()));
    if !local && !["require", "verify-ca", "verify-full"].contains(&value("client_tls_sslmode")) {
        add(
            Verdict::Warning,
            format!("PgBouncer listens on {address} and does not ask clients for TLS"),
            "passwords are safe under SCRAM, but rows and statements can be read and changed on their way",
            "Set client_tls_sslmode: require with client_tls_key_file and client_tls_cert_file in pgbouncer.settings.",
        );
    }
    let host = policy.database.host.as_str();
    let near = host.starts_with('/') || ["127.0.0.1", "::1", "localhost"].contains(&host);
    if !near && !["verify-ca", "verify-full"].contains(&value("server_tls_sslmode")) {
        add(
            Verdict::Warning,
            format!("PgBouncer does not verify that it talks to {host}"),
            "whoever answers in its place is sent tenants' statements and rows",
            "Set server_tls_sslmode: verify-full and server_tls_ca_file in pgbouncer.settings.",
        );
    }
    concerns
}

fn of_limits(policy: &PoolerPolicy, version: Version, fleet: &Fleet) -> Vec<Concern> {
    let mut concerns = Vec::new();
    let mut warn =
        |what: String, why: String, hint: &str| concerns.push(Concern::new(Verdict::Warning, what, why, hint));
    let by_user = version >= Version::LIMITS_BY_USER;
    if !by_user && !policy.pool_size_by_tier.is_empty() {
        warn(
            format!("PgBouncer {version} cannot size pools by tenant, so pool_size_by_tier has no effect"),
            format!(
                "before {} whoever has an entry under [users] is not looked up and cannot log in",
                Version::LIMITS_BY_USER
            ),
            "Upgrade PgBouncer, or change default_pool_size.",
        );
    }
    let largest = u64::from(policy.default_pool_size) + u64::from(policy.reserve_pool_size);
    let common = fleet.common_limit(policy, version);
    for (tier, limit, tenants) in fleet.tiers() {
        let pool = match (by_user, common) {
            (true, _) => u64::from(fleet.pool_size(policy, &tier, limit)) + u64::from(policy.reserve_pool_size),
            (false, Some(common)) => largest.min(common),
            (false, None) => largest,
        };
        match limit {
            Some(limit) if limit > pool => warn(
                format!("{tenants} of tier {tier} may have {limit} connections and get {pool} here"),
                "the pool of a tenant, with its reserve, is smaller than the tenant's limit".into(),
                "Set pgbouncer.pool_size_by_tier, or leave it: clients beyond the pool wait for a connection.",
            ),
            Some(limit) if !by_user && limit < pool => warn(
                format!("{tenants} of tier {tier} may have {limit} connections, and PgBouncer {version} opens up to {pool}"),
                "the server refuses what is beyond the limit, and those clients get an error where they could have waited".into(),
                "Upgrade PgBouncer to 1.23 or later, which takes limits by tenant, or lower default_pool_size.",
            ),
            _ => {}
        }
    }
    let Some(usable) = fleet.usable_connections else {
        return concerns;
    };
    let wanted: u64 = fleet
        .tenants
        .iter()
        .map(|t| u64::from(fleet.pool_size(policy, &t.tier, t.limit)))
        .sum();
    match u64::from(policy.max_db_connections) {
        0 if wanted > usable => warn(
            format!("the pools together may open {wanted} connections, and the server has {usable}"),
            "what is beyond is refused, and so is the lookup of passwords: tenants cannot log in then".into(),
            "Set pgbouncer.max_db_connections below the server's max_connections, or lower default_pool_size.",
        ),
        most if most > usable => warn(
            format!("max_db_connections is {most}, and the server has {usable} for logins that are no superusers"),
            "what is beyond is refused, and so is the lookup of passwords: tenants cannot log in then".into(),
            "Lower pgbouncer.max_db_connections, or raise max_connections on the server.",
        ),
        most if most > 0 && wanted > most && policy.pool_mode == PoolMode::Session => warn(
            format!("the pools together may want {wanted} connections, and max_db_connections is {most}"),
            "in session mode whoever stays connected keeps one, and when all are taken nobody else can log in, as looking a password up takes one, too".into(),
            "Use transaction mode, raise max_db_connections, or lower default_pool_size.",
        ),
        _ => {}
    }
    concerns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pooler::tests::{fleet, policy};

    const NEW: Version = Version::new(1, 26, 1);

    fn concerns(text: &str, version: Version) -> Vec<Concern> {
        judge(&policy(text), version, &fleet(&[25]))
    }

    fn refused(text: &str, version: Version) -> Vec<String> {
        let refused = concerns(text, version)
            .into_iter()
            .filter(|c| c.verdict == Verdict::Refused);
        refused.map(|c| c.what).collect()
    }

    #[test]
    fn the_defaults_are_refused_by_no_version_that_is_written_for() {
        for version in [
            Version::OLDEST,
            Version::new(1, 18, 0),
            Version::new(1, 22, 0),
            Version::new(1, 25, 0),
            NEW,
        ] {
            assert_eq!(
                refused("pool_mode: session", version),
                Vec::<String>::new(),
                "{version}"
            );
            assert_eq!(
                refused("pool_mode: transaction", version),
                Vec::<String>::new(),
                "{version}"
            );
        }
        assert_eq!(
            refused("pool_mode: session", Version::new(1, 16, 0)),
            ["PgBouncer 1.16.0 has CVE-2021-3935"]
        );
    }

    #[test]
    fn what_is_unsafe_is_refused_with_the_reason() {
        for (text, version, what) in [
            ("pool_mode: statement", NEW, "statement pooling"),
            ("settings: {server_reset_query: ''}", NEW, "server_reset_query"),
            (
                "settings: {server_reset_query: DISCARD TEMP}",
                NEW,
                "server_reset_query",
            ),
            (
                "settings: {ignore_startup_parameters: 'extra_float_digits, search_path'}",
                NEW,
                "search_path",
            ),
            ("settings: {ignore_startup_parameters: options}", NEW, "options"),
            (
                "settings: {ignore_startup_parameters: extra_float_digits}",
                Version::new(1, 25, 2),
                "CVE-2026-107349",
            ),
            (
                "settings: {track_extra_parameters: search_path}",
                Version::new(1, 25, 0),
                "CVE-2025-12819",
            ),
            ("settings: {track_extra_parameters: 'TimeZone, Role'}", NEW, "role"),
            (
                "settings: {max_packet_size: 4294967295}",
                Version::new(1, 23, 0),
                "CVE-2026-107348",
            ),
            (
                "settings: {max_prepared_statements: 10}",
                Version::new(1, 21, 0),
                "max_prepared_statements",
            ),
        ] {
            let found = refused(text, version);
            assert!(found.len() == 1 && found[0].contains(what), "{text}: {found:?}");
        }
        let all = concerns("pool_mode: statement", NEW);
        assert_eq!(require_safe(&all).expect_err("refused").kind().exit_code(), 2);
        for text in [
            "settings: {server_reset_query: 'discard all;'}",
            "settings: {ignore_startup_parameters: extra_float_digits}",
            "settings: {track_extra_parameters: search_path}",
        ] {
            assert_eq!(refused(text, NEW), Vec::<String>::new(), "{text}");
        }
    }

    fn told(text: &str, version: Version, fleet: &Fleet) -> String {
        let all = judge(&policy(text), version, fleet);
        all.iter().map(|c| format!("{}: {}\n", c.what, c.why)).collect()
    }

    #[test]
    fn holes_are_told_by_the_versions_that_have_them() {
        let quiet = "database: {host: localhost}";
        assert_eq!(told(quiet, NEW, &fleet(&[30])), "");
        let text = told(quiet, Version::new(1, 18, 0), &fleet(&[30]));
        assert!(
            text.contains("CVE-2026-6664") && text.contains("CVE-2026-107350"),
            "{text}"
        );
        assert!(!told(quiet, Version::new(1, 26, 0), &fleet(&[30])).contains("CVE-2026-6664"));
        let stats = "{database: {host: localhost}, settings: {stats_users: watcher}}";
        assert!(told(stats, Version::new(1, 25, 0), &fleet(&[30])).contains("CVE-2026-6667"));
        assert!(!told(stats, Version::new(1, 22, 1), &fleet(&[30])).contains("CVE-2026-6667"));
    }

    #[test]
    fn pools_are_held_against_limits_and_server() {
        let mut many = fleet(&[25, 25, 25, 25, 500]);
        many.usable_connections = Some(97);
        let base = "database: {host: localhost}";
        let text = told(base, NEW, &many);
        assert!(
            text.contains("max_db_connections is 100, and the server has 97"),
            "{text}"
        );
        assert!(text.contains("may have 500 connections and get 30 here"), "{text}");
        many.usable_connections = Some(1000);
        let text = told(base, NEW, &many);
        assert!(
            text.contains("may want 125 connections, and max_db_connections is 100"),
            "{text}"
        );
        let transaction = "{database: {host: localhost}, pool_mode: transaction}";
        assert!(!told(transaction, NEW, &many).contains("may want"));
        let open = "{database: {host: localhost}, max_db_connections: 0}";
        many.usable_connections = Some(100);
        assert!(told(open, NEW, &many).contains("may open 125 connections, and the server has 100"));
        let sized = "{database: {host: localhost}, pool_size_by_tier: {t500: 495}}";
        many.usable_connections = Some(1000);
        assert!(!told(sized, NEW, &many).contains("and get"));
        assert!(told(sized, Version::new(1, 18, 0), &many).contains("pool_size_by_tier has no effect"));
        // Five connections would be clipped for all if it were the common limit; so the server refuses.
        let text = told(base, Version::new(1, 18, 0), &fleet(&[5, 100]));
        assert!(
            text.contains("may have 5 connections, and PgBouncer 1.18.0 opens up to 30"),
            "{text}"
        );
    }

    #[test]
    fn open_ways_are_told() {
        let all = fleet(&[30]);
        let text = told("settings: {listen_addr: '*'}", NEW, &all);
        assert!(
            text.contains("does not ask clients for TLS") && text.contains("does not verify"),
            "{text}"
        );
        let closed = "settings: {listen_addr: '*', client_tls_sslmode: require, server_tls_sslmode: verify-full}";
        assert_eq!(told(closed, NEW, &all), "");
    }
}

//! The checks of the server itself, judged from what was observed.

use super::checklist::{
    CONFIG_FILES, CONNECTIONS, DURABILITY, EXPOSURE, MONITORING, REGISTRY, SERVER_VERSION, TIMESCALEDB,
};
use super::observe::{Observed, Registry};
use super::{Item, Verdict, settings};
use crate::catalog;
use crate::config::{Config, Date};
use crate::error::Result;
use crate::figures::count;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::tenant::Limit;
use crate::validate::checks;

/// Major versions, and the last day on which the project mends them (postgresql.org/support/versioning).
const MAINTAINED: [(i32, &str); 4] = [
    (15, "2027-11-11"),
    (16, "2028-11-09"),
    (17, "2029-11-08"),
    (18, "2030-11-14"),
];

/// `server_version`.
///
/// # Errors
/// When the server refuses the query.
pub async fn version(session: &Session, seen: &Observed) -> Result<Item> {
    let old = match checks::find("minor_release")?.sql() {
        Some(sql) => session.query_opt(&sql, &[], "look at the server's version").await?,
        None => None,
    };
    let old = match old {
        Some(row) => Some(Item::warn(
            &SERVER_VERSION,
            column::<String>(&row, "detail")?,
            column::<String>(&row, "remedy")?,
        )),
        None => None,
    };
    Ok(worse(maintained(seen, &MAINTAINED), old))
}

/// A major version that has ended weighs more than a minor release that is not the latest.
fn worse(major: Item, minor: Option<Item>) -> Item {
    match minor {
        Some(minor) if major.status != Verdict::Fail => minor,
        _ => major,
    }
}

fn maintained(seen: &Observed, known: &[(i32, &str)]) -> Item {
    let (major, version) = (seen.server.major(), &seen.server.version);
    let Some((_, end)) = known.iter().find(|(number, _)| *number == major) else {
        return Item::warn(
            &SERVER_VERSION,
            format!("PostgreSQL {version} is newer than this tenantctl, which was tested with 15 to 18"),
            "Look for a newer tenantctl.",
        );
    };
    let today = seen.today.to_string();
    let remedy = "Upgrade to a newer major version with pg_upgrade or logical replication.";
    if today.as_str() > *end {
        let detail = format!("PostgreSQL {version} has not been mended since {end}");
        Item::fail(&SERVER_VERSION, detail, remedy)
    } else if Date::parse(end).is_some_and(|_| half_a_year_before(end).as_str() <= today.as_str()) {
        let detail = format!("PostgreSQL {version} is mended until {end} only");
        Item::warn(&SERVER_VERSION, detail, remedy)
    } else {
        let detail =
            format!("PostgreSQL {version}, mended until {end}; no newer minor release is known to this tenantctl");
        Item::pass(&SERVER_VERSION, detail)
    }
}

/// The same day half a year earlier, near enough: all of these days are in November.
fn half_a_year_before(end: &str) -> String {
    end.replace("-11-", "-05-")
}

/// `timescaledb`.
///
/// # Errors
/// When the server refuses the query.
pub async fn timescaledb(session: &Session, config: &Config, seen: &Observed) -> Result<Item> {
    let item = judge_timescaledb(config, seen);
    // Whether it is old or can be trusted, the commands that use it ask before they do.
    if item.status != Verdict::Fail
        && seen.timescaledb_installed.is_some()
        && let Err(error) = catalog::timescaledb_schema(session).await
    {
        let hint = error.hint().unwrap_or_default().to_owned();
        return Ok(Item::fail(&TIMESCALEDB, error.one_line(), hint));
    }
    Ok(item)
}

fn judge_timescaledb(config: &Config, seen: &Observed) -> Item {
    let wanted: Vec<&str> = config.template.hypertables.iter().map(|h| h.table.as_str()).collect();
    let preload = "Add timescaledb to shared_preload_libraries and restart the server.";
    match (&seen.timescaledb_installed, &seen.timescaledb_available) {
        (Some(_), _) if seen.has_extension("citus") => Item::fail(
            &TIMESCALEDB,
            "timescaledb and citus are both in this database, which neither supports",
            "Keep one of them.",
        ),
        (Some(version), _) if !seen.preloads("timescaledb") => Item::fail(
            &TIMESCALEDB,
            format!("timescaledb {version} is installed and not preloaded, so that hypertables cannot be used"),
            preload,
        ),
        (Some(version), Some(available)) if version != available => Item::warn(
            &TIMESCALEDB,
            format!("timescaledb {version} is installed, the server has {available}"),
            "ALTER EXTENSION timescaledb UPDATE; as the first statement of a new session, in every database that has it.",
        ),
        (Some(version), _) => match seen.tenants().filter(|t| t.plain > 0 && !wanted.is_empty()) {
            Some(tenants) => Item::warn(
                &TIMESCALEDB,
                format!(
                    "timescaledb {version} is ready, but {} of {} were made without it and keep plain tables",
                    tenants.plain,
                    count(usize::try_from(tenants.count).unwrap_or(usize::MAX), "tenant")
                ),
                "Back such a tenant up and restore it under another id where it should have hypertables.",
            ),
            None => Item::pass(
                &TIMESCALEDB,
                format!("timescaledb {version} is installed and preloaded"),
            ),
        },
        (None, _) if wanted.is_empty() => Item::pass(&TIMESCALEDB, "not needed: the template has no hypertables"),
        (None, Some(available)) => Item::warn(
            &TIMESCALEDB,
            format!(
                "timescaledb {available} is on the server and not in this database, so that {} will be plain tables",
                wanted.join(" and ")
            ),
            format!(
                "{}CREATE EXTENSION timescaledb; before the first tenant is made.",
                if seen.preloads("timescaledb") {
                    String::new()
                } else {
                    format!("{preload} Then ")
                }
            ),
        ),
        (None, None) => Item::warn(
            &TIMESCALEDB,
            format!(
                "the server has no timescaledb, so that {} will be plain tables",
                wanted.join(" and ")
            ),
            "Install its package on the server, or say `hypertables: []` in the template.",
        ),
    }
}

/// `config_files`.
///
/// # Errors
/// When the server refuses the query for another reason than missing rights.
pub async fn config_files(session: &Session, seen: &Observed) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let sql = Sql::new(include_str!("../../sql/preflight/file_errors.sql"));
    let seen_files = match session.query(&sql, &[], "look at the configuration files").await {
        Ok(rows) => {
            for row in &rows {
                let (name, error, place): (String, String, String) =
                    (column(row, "name")?, column(row, "error")?, column(row, "place")?);
                items.push(
                    Item::fail(
                        &CONFIG_FILES,
                        format!("{error}: the server will not start again with that"),
                        "Mend the line, then SELECT pg_catalog.pg_reload_conf();",
                    )
                    .about(format!("{place} {name}").trim_end()),
                );
            }
            true
        }
        Err(error) if error.sqlstate() == Some("42501") => false,
        Err(error) => return Err(error),
    };
    for (name, setting) in seen.settings.iter().filter(|(_, setting)| setting.pending_restart) {
        items.push(
            Item::warn(
                &CONFIG_FILES,
                format!(
                    "was changed and is still {} until the server is restarted",
                    setting.shown()
                ),
                "Restart the server, or take the change back.",
            )
            .about(name),
        );
    }
    if items.is_empty() {
        items.push(if seen_files {
            Item::pass(&CONFIG_FILES, "no errors, and nothing waits for a restart")
        } else {
            Item::unknown(
                &CONFIG_FILES,
                "nothing waits for a restart; errors in the files are shown to superusers alone",
            )
        });
    }
    Ok(items)
}

/// What switches a setting on, wherever it was switched off.
pub fn turn_on(name: &str, seen: &Observed) -> String {
    match seen.settings.get(name) {
        Some(setting) => settings::mend(name, "on", setting, seen),
        None => String::new(),
    }
}

/// `durability`.
pub fn durability(seen: &Observed) -> Vec<Item> {
    let on = |name: &str| turn_on(name, seen);
    let mut items = Vec::new();
    for (name, harm) in [
        ("fsync", "a crash of the machine can destroy the whole cluster"),
        (
            "full_page_writes",
            "a crash of the machine can leave torn pages, and with them a broken cluster",
        ),
    ] {
        if seen.is_off(name) {
            items.push(Item::fail(&DURABILITY, format!("is off: {harm}"), on(name)).about(name));
        }
    }
    if seen
        .settings
        .get("synchronous_commit")
        .is_some_and(|setting| setting.own)
    {
        let commit = seen.value("synchronous_commit");
        let item = Item::unknown(&DURABILITY, settings::only_here(commit)).about("synchronous_commit");
        items.push(item.remedy(settings::undo_own("synchronous_commit", seen)));
    } else if seen.is_off("synchronous_commit") {
        let detail = "is off: a crash loses transactions that were reported as committed";
        items.push(Item::warn(&DURABILITY, detail, on("synchronous_commit")).about("synchronous_commit"));
    }
    if seen.is_off("data_checksums") {
        items.push(
            Item::warn(
                &DURABILITY,
                "are off: pages that the storage has damaged are not noticed",
                "Stop the server and run pg_checksums --enable; it reads and writes every page.",
            )
            .about("data_checksums"),
        );
    }
    if items.is_empty() {
        let commit = seen.value("synchronous_commit");
        items.push(Item::pass(
            &DURABILITY,
            format!("fsync, full_page_writes and data_checksums are on, synchronous_commit is {commit}"),
        ));
    }
    items
}

/// `exposure`: checks of the proof of isolation that need no tenant.
///
/// # Errors
/// When the session is lost.
pub async fn exposure(session: &Session, seen: &Observed) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut ran = Vec::new();
    for id in ["cluster_settings", "hba_lines", "password_storage"] {
        // It reads the registry.
        if id == "password_storage" && seen.tenants().is_none() {
            continue;
        }
        let Some(sql) = checks::find(id)?.sql() else { continue };
        match session.query(&sql, &[], "run a check").await {
            Ok(rows) => {
                ran.push(id);
                for row in &rows {
                    let (severity, object): (String, String) = (column(row, "severity")?, column(row, "object")?);
                    let (detail, remedy): (String, String) = (column(row, "detail")?, column(row, "remedy")?);
                    let verdict = if ["critical", "high"].contains(&severity.as_str()) {
                        Verdict::Fail
                    } else {
                        Verdict::Warn
                    };
                    items.push(Item::new(&EXPOSURE, verdict, detail).about(object).remedy(remedy));
                }
            }
            Err(error) if error.sqlstate() == Some("42501") => {
                let needs = checks::find(id)?.needs.clone().unwrap_or_default();
                items.push(
                    Item::unknown(
                        &EXPOSURE,
                        format!("the login's rights do not suffice; it takes {needs}"),
                    )
                    .about(id),
                );
            }
            Err(error) => return Err(error),
        }
    }
    if items.is_empty() {
        let listens = match seen.value("listen_addresses") {
            "" => "on no network address".to_owned(),
            list => format!("on {list}, with ssl {}", seen.value("ssl")),
        };
        items.push(Item::pass(
            &EXPOSURE,
            format!(
                "{} find nothing; the server listens {listens}; password_encryption is {}",
                ran.join(", "),
                seen.value("password_encryption")
            ),
        ));
    }
    Ok(items)
}

/// `registry`.
pub fn registry(seen: &Observed) -> Item {
    match &seen.registry {
        Registry::Absent => Item::warn(
            &REGISTRY,
            format!(
                "database {:?} has no registry yet, so nothing is known of tenants",
                seen.server.database
            ),
            "Run `tenantctl init`, or check that this is the right database.",
        ),
        Registry::Unusable(error) => {
            Item::fail(&REGISTRY, error.one_line(), error.hint().unwrap_or_default().to_owned())
        }
        Registry::Ready(tenants) => Item::pass(
            &REGISTRY,
            format!(
                "installed, with {}",
                count(usize::try_from(tenants.count).unwrap_or(usize::MAX), "tenant")
            ),
        ),
    }
}

/// `monitoring`.
pub fn monitoring(seen: &Observed) -> Item {
    let (preloaded, installed) = (
        seen.preloads("pg_stat_statements"),
        seen.has_extension("pg_stat_statements"),
    );
    let add = "add pg_stat_statements to shared_preload_libraries and restart the server";
    let create = "CREATE EXTENSION pg_stat_statements; in this database";
    match (preloaded, installed) {
        (true, true) => Item::pass(&MONITORING, "pg_stat_statements is preloaded and installed"),
        (true, false) => Item::warn(
            &MONITORING,
            "pg_stat_statements is not installed in this database, so metrics show no queries of tenants",
            format!("{create}."),
        ),
        (false, there) => Item::warn(
            &MONITORING,
            "pg_stat_statements is not preloaded, so metrics show no queries of tenants",
            if there {
                format!("As a superuser {add}.")
            } else {
                format!("As a superuser {add}, then {create}.")
            },
        ),
    }
}

/// `connections`.
pub fn connections(config: &Config, seen: &Observed) -> Vec<Item> {
    let usable = seen.usable_connections();
    let max = seen.number("max_connections");
    let room = match seen.unreserved_connections() {
        all if usable < all => format!("the database lets in {usable} (its CONNECTION LIMIT)"),
        all => format!("{all} of max_connections = {max} are not reserved"),
    };
    let mut items = Vec::new();
    let pooled = u64::from(config.pgbouncer.max_db_connections);
    if pooled > usable {
        items.push(
            Item::fail(
                &CONNECTIONS,
                format!("pgbouncer.max_db_connections is {pooled}; {room}"),
                match seen.unreserved_connections() {
                    all if pooled <= all => {
                        format!("Lower it below {usable}, or raise the database's CONNECTION LIMIT.")
                    }
                    all => format!(
                        "Lower it below {usable}, or raise max_connections to {} at least.",
                        pooled + max - all
                    ),
                },
            )
            .about("pooler"),
        );
    }
    let none = Default::default();
    let tenants = seen.tenants().unwrap_or(&none);
    let tiers = || config.tiers.iter().map(|tier| (tier, tier.limits.max_connections));
    // What is given to a tenant once it is made counts as well as what has been given.
    let greedy: Vec<String> = tiers()
        .filter(|(_, limit)| limit.max().is_none_or(|n| n >= usable))
        .map(|(tier, limit)| match limit {
            Limit::Max(n) => format!("tier {} has {n}", tier.key),
            Limit::Unlimited => format!("tier {} is unlimited", tier.key),
        })
        .collect();
    let remedy = format!(
        "Lower max_connections of the tiers below {usable} and run `tenantctl secure --all`, or raise the server's."
    );
    if tenants.unlimited > 0 || tenants.most_connections >= usable && tenants.count > 0 {
        let who = if tenants.unlimited > 0 {
            format!(
                "{} without a limit",
                count(usize::try_from(tenants.unlimited).unwrap_or(usize::MAX), "tenant")
            )
        } else {
            format!("a tenant with a limit of {}", tenants.most_connections)
        };
        items.push(Item::fail(&CONNECTIONS, format!("there is {who}; {room}"), remedy).about("one tenant"));
    } else if !greedy.is_empty() {
        let detail = format!("a tenant could take all connections: {}; {room}", greedy.join(", "));
        items.push(Item::fail(&CONNECTIONS, detail, remedy).about("one tenant"));
    }
    if let Some(error) = seen.unusable() {
        let why = format!("nothing is known of tenants: {}", error.one_line());
        items.push(Item::unknown(&CONNECTIONS, why).about("all tenants"));
    }
    if tenants.connections > usable {
        let bound = match pooled {
            0 => "pgbouncer.max_db_connections does not bound them".to_owned(),
            n => format!("through the pooler they are bound to {n} (pgbouncer.max_db_connections)"),
        };
        items.push(
            Item::warn(
                &CONNECTIONS,
                format!(
                    "the limits of {} come to {}; {room}; {bound}",
                    count(usize::try_from(tenants.count).unwrap_or(usize::MAX), "tenant"),
                    tenants.connections
                ),
                "Let tenants in through the pooler alone (pg_hba.conf), or lower their limits.",
            )
            .about("all tenants"),
        );
    }
    if items.is_empty() {
        items.push(Item::pass(
            &CONNECTIONS,
            format!(
                "the limits of {} come to {}; {room}; the pooler opens up to {pooled}",
                count(usize::try_from(tenants.count).unwrap_or(usize::MAX), "tenant"),
                tenants.connections
            ),
        ));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::super::observe::Tenants;
    use super::super::observe::tests::observed;
    use super::*;

    fn worst(items: &[Item]) -> Verdict {
        items.iter().map(|item| item.status).max().expect("an item")
    }

    #[test]
    fn a_major_version_ends() {
        let mut seen = observed(&[]);
        for (today, expected) in [
            ("2026-11-27", Verdict::Pass),
            ("2027-05-10", Verdict::Pass),
            ("2027-05-11", Verdict::Warn),
            ("2027-11-11", Verdict::Warn),
            ("2027-11-12", Verdict::Fail),
        ] {
            seen.today = Date::parse(today).expect(today);
            assert_eq!(maintained(&seen, &MAINTAINED).status, expected, "{today}");
        }
        let old_minor = || Some(Item::warn(&SERVER_VERSION, "15.1 is old", "Upgrade."));
        assert_eq!(worse(maintained(&seen, &MAINTAINED), old_minor()).status, Verdict::Fail);
        seen.today = Date::parse("2026-11-27").expect("a day");
        assert_eq!(worse(maintained(&seen, &MAINTAINED), old_minor()).detail, "15.1 is old");
        assert_eq!(worse(maintained(&seen, &MAINTAINED), None).status, Verdict::Pass);
        seen.server.version_num = 190_000;
        assert_eq!(maintained(&seen, &MAINTAINED).status, Verdict::Warn);
    }

    #[test]
    fn what_is_set_for_this_login_alone_proves_nothing() {
        let mut seen = observed(&[
            ("fsync", "on", None, "bool"),
            ("synchronous_commit", "on", None, "enum"),
        ]);
        assert_eq!(worst(&durability(&seen)), Verdict::Pass);
        if let Some(setting) = seen.settings.get_mut("synchronous_commit") {
            setting.own = true;
        }
        assert_eq!(worst(&durability(&seen)), Verdict::Unknown);
    }

    #[test]
    fn timescaledb_in_every_state() {
        let config = Config::builtin().expect("built in");
        let verdict = |installed: Option<&str>, available: Option<&str>, preload: &str, citus: bool| {
            let mut seen = observed(&[("shared_preload_libraries", preload, None, "string")]);
            seen.timescaledb_installed = installed.map(str::to_owned);
            seen.timescaledb_available = available.map(str::to_owned);
            if citus {
                seen.extensions.push("citus".to_owned());
            }
            judge_timescaledb(&config, &seen).status
        };
        let (old, new) = (Some("2.27.0"), Some("2.28.3"));
        assert_eq!(verdict(new, new, "timescaledb", false), Verdict::Pass);
        assert_eq!(verdict(new, new, "", false), Verdict::Fail);
        assert_eq!(verdict(new, new, "timescaledb", true), Verdict::Fail);
        assert_eq!(verdict(old, new, "timescaledb", false), Verdict::Warn);
        assert_eq!(verdict(None, new, "timescaledb", false), Verdict::Warn);
        assert_eq!(verdict(None, None, "", false), Verdict::Warn);
    }

    #[test]
    fn durability_in_every_state() {
        let on = [
            ("fsync", "on", None, "bool"),
            ("full_page_writes", "on", None, "bool"),
            ("synchronous_commit", "on", None, "enum"),
            ("data_checksums", "on", None, "bool"),
        ];
        let with = |name: &str| {
            let changed = on.map(|s| if s.0 == name { (s.0, "off", s.2, s.3) } else { s });
            observed(&changed)
        };
        assert_eq!(worst(&durability(&observed(&on))), Verdict::Pass);
        for (name, expected) in [
            ("fsync", Verdict::Fail),
            ("full_page_writes", Verdict::Fail),
            ("synchronous_commit", Verdict::Warn),
            ("data_checksums", Verdict::Warn),
        ] {
            let items = durability(&with(name));
            assert_eq!((worst(&items), items[0].object.as_deref()), (expected, Some(name)));
        }
    }

    #[test]
    fn connections_of_one_of_all_and_of_the_pooler() {
        let mut config = Config::builtin().expect("built in");
        let server = |max: &'static str| {
            observed(&[
                ("max_connections", max, None, "integer"),
                ("superuser_reserved_connections", "3", None, "integer"),
            ])
        };
        assert_eq!(worst(&connections(&config, &server("1000"))), Verdict::Pass);
        // Tier enterprise has 500.
        let items = connections(&config, &server("503"));
        assert_eq!(worst(&items), Verdict::Fail, "{items:?}");
        assert_eq!(worst(&connections(&config, &server("504"))), Verdict::Pass);
        let mut limited = server("1000");
        limited.database_limit = Some(500);
        let items = connections(&config, &limited);
        assert_eq!(worst(&items), Verdict::Fail);
        assert!(
            items[0].detail.contains("lets in 500 (its CONNECTION LIMIT)"),
            "{items:?}"
        );
        let mut seen = server("1000");
        seen.registry = Registry::Ready(Tenants {
            count: 3,
            connections: 998,
            most_connections: 500,
            ..Tenants::default()
        });
        assert_eq!(worst(&connections(&config, &seen)), Verdict::Warn);
        seen.registry = Registry::Ready(Tenants {
            count: 1,
            unlimited: 1,
            ..Tenants::default()
        });
        assert_eq!(worst(&connections(&config, &seen)), Verdict::Fail);
        config.pgbouncer.max_db_connections = 998;
        assert_eq!(worst(&connections(&config, &server("1000"))), Verdict::Fail);
    }

    #[test]
    fn monitoring_in_every_state() {
        let mut seen = observed(&[("shared_preload_libraries", "pg_stat_statements", None, "string")]);
        assert_eq!(monitoring(&seen).status, Verdict::Warn);
        seen.extensions.push("pg_stat_statements".to_owned());
        assert_eq!(monitoring(&seen).status, Verdict::Pass);
        seen.settings.clear();
        assert_eq!(monitoring(&seen).status, Verdict::Warn);
    }
}

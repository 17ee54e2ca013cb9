//! The settings of `cluster.settings` against those of the server, scaled to its machine.

use super::checklist::SETTINGS;
use super::observe::{Observed, Setting};
use super::units::{self, Quantity};
use super::{Item, Verdict};
use crate::config::ClusterPolicy;
use crate::figures;
use crate::pg::sql::Sql;

/// How a setting is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// More does no harm.
    AtLeast,
    /// Less is a defect, more than twice as much a danger: memory that each operation of each session may take.
    UpToTwice,
    /// Anything else is another setting.
    Exactly,
}

/// The rule of a setting by its name: sizes of shared things and numbers of slots are wanted at least.
pub fn rule(name: &str) -> Rule {
    const AT_LEAST: [&str; 20] = [
        "autovacuum_max_workers",
        "effective_cache_size",
        "effective_io_concurrency",
        "maintenance_io_concurrency",
        "maintenance_work_mem",
        "max_connections",
        "max_locks_per_transaction",
        "max_logical_replication_workers",
        "max_parallel_workers",
        "max_pred_locks_per_transaction",
        "max_prepared_transactions",
        "max_replication_slots",
        "max_slot_wal_keep_size",
        "max_wal_senders",
        "max_wal_size",
        "max_worker_processes",
        "min_wal_size",
        "shared_buffers",
        "track_activity_query_size",
        "wal_keep_size",
    ];
    match name {
        "work_mem" => Rule::UpToTwice,
        "wal_buffers" => Rule::AtLeast,
        name if AT_LEAST.contains(&name) => Rule::AtLeast,
        _ => Rule::Exactly,
    }
}

/// The part of a machine's memory that a setting is written for, as a fraction; none where it does not follow from it.
fn share(name: &str) -> Option<f64> {
    match name {
        "shared_buffers" => Some(0.25),
        "effective_cache_size" => Some(0.75),
        "maintenance_work_mem" => Some(1.0 / 64.0),
        "work_mem" => Some(1.0 / 512.0),
        _ => None,
    }
}

const MIB: f64 = 1_048_576.0;

/// Settings whose value the server takes for a list of quoted names: given as one string, the list would be one name.
const QUOTED_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];
/// How those of libraries end: what is there beside the wanted ones does no harm, and without it the server may not start.
const PRELOADED: &str = "_preload_libraries";

/// The names in a list.
fn names(list: &str) -> Vec<&str> {
    list.split(',')
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .collect()
}

/// The libraries that are loaded, and those that are wanted beside them.
fn preloaded<'a>(configured: &'a str, setting: &'a Setting) -> Vec<&'a str> {
    let mut all = names(&setting.value);
    for name in names(configured) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// What a setting should be on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// As postgresql.conf takes it.
    pub text: String,
    /// As a number; none for words.
    pub quantity: Option<Quantity>,
    /// Why it is not what the configuration says, for people; none where it is.
    pub scaled: Option<String>,
}

/// The wanted value of a setting: the configured one, or its share of the machine's memory where that is less.
pub fn wanted(name: &str, configured: &str, setting: &Setting, seen: &Observed) -> Wanted {
    if name.ends_with(PRELOADED) {
        return Wanted {
            text: preloaded(configured, setting).join(", "),
            quantity: None,
            scaled: None,
        };
    }
    let quantity = units::parse(configured, setting.unit.as_deref());
    let as_written = Wanted {
        text: configured.to_owned(),
        quantity,
        scaled: None,
    };
    let (Some(memory), Some(Quantity::Bytes(bytes))) = (&seen.memory, quantity) else {
        return as_written;
    };
    // WAL buffers follow shared_buffers, of which the server itself takes a thirty-second.
    let (fraction, of) = match (share(name), name) {
        (Some(fraction), _) => (fraction, format!("{} of memory", percent(fraction))),
        (None, "wal_buffers") => (0.25 / 32.0, "1/32 of shared_buffers".to_owned()),
        (None, _) => return as_written,
    };
    // Whole MiB, and no less than the server's own default for a session.
    let scaled = ((memory.bytes as f64 * fraction / MIB).floor() * MIB).max(match name {
        "work_mem" => 4.0 * MIB,
        "maintenance_work_mem" => 64.0 * MIB,
        _ => MIB,
    });
    if scaled >= bytes {
        return as_written;
    }
    let quantity = Quantity::Bytes(scaled);
    Wanted {
        text: units::show(quantity),
        quantity: Some(quantity),
        scaled: Some(format!(
            "{of}; {configured} is for a larger machine than this one of {} ({})",
            figures::bytes(memory.bytes),
            memory.source
        )),
    }
}

fn percent(fraction: f64) -> String {
    if fraction >= 0.01 && (fraction * 100.0).fract() == 0.0 {
        format!("{:.0} %", fraction * 100.0)
    } else {
        format!("1/{:.0}", 1.0 / fraction)
    }
}

/// How the live value compares with the wanted one.
pub fn compare(name: &str, wanted: &Wanted, setting: &Setting) -> Verdict {
    let (Some(want), Some(live)) = (wanted.quantity, setting.quantity()) else {
        return if same_word(name, &wanted.text, setting) {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
    };
    // Where -1 is no limit, it is the most.
    let amount = |value: f64| match name {
        "max_slot_wal_keep_size" if value < 0.0 => f64::INFINITY,
        _ => value,
    };
    let (want, live) = (amount(want.value()), amount(live.value()));
    // The server keeps whole units, so that what it has may differ from what was said by less than one.
    let unit = units::parse("1", setting.unit.as_deref()).map_or(0.0, Quantity::value);
    let slack = if setting.vartype == "real" { 1e-9 } else { unit * 0.999 };
    match rule(name) {
        Rule::Exactly if (live - want).abs() <= slack => Verdict::Pass,
        Rule::Exactly => Verdict::Fail,
        Rule::AtLeast | Rule::UpToTwice if live < want - slack => Verdict::Fail,
        Rule::UpToTwice if live > 2.0 * want + slack => Verdict::Warn,
        Rule::AtLeast | Rule::UpToTwice => Verdict::Pass,
    }
}

/// Whether a word means the same to the server: `true`, `yes` and `1` are `on`.
fn same_word(name: &str, wanted: &str, setting: &Setting) -> bool {
    let switch = |text: &str| match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    };
    let same_switch = switch(wanted).is_some() && switch(wanted) == switch(&setting.value);
    match setting.vartype.as_str() {
        "bool" => same_switch,
        // `on` is another name of pglz to the server, which shows the latter.
        "enum" if name == "wal_compression" && setting.value == "pglz" => {
            switch(wanted) == Some(true) || wanted.eq_ignore_ascii_case("pglz")
        }
        "enum" => same_switch || wanted.eq_ignore_ascii_case(&setting.value),
        _ if QUOTED_LISTS.contains(&name) => names(wanted) == names(&setting.value),
        _ => wanted == setting.value,
    }
}

/// An item for each configured setting.
pub fn check(policy: &ClusterPolicy, seen: &Observed) -> Vec<Item> {
    if policy.settings.is_empty() {
        return vec![Item::pass(&SETTINGS, "cluster.settings names none")];
    }
    policy
        .settings
        .iter()
        .map(|(name, configured)| one(name, configured, seen).about(name))
        .collect()
}

fn one(name: &str, configured: &str, seen: &Observed) -> Item {
    let Some(setting) = seen.settings.get(name) else {
        if !seen.sees_all_settings {
            return Item::unknown(&SETTINGS, "is hidden from this login, or not there")
                .remedy("As a superuser: GRANT pg_read_all_settings to this login.");
        }
        return Item::fail(
            &SETTINGS,
            format!("this server has no setting {name}"),
            "Correct its name in cluster.settings; one of an extension is known once that is preloaded.".to_owned(),
        );
    };
    let wanted = wanted(name, configured, setting, seen);
    if wanted.quantity.is_none() && ["integer", "real"].contains(&setting.vartype.as_str()) {
        return Item::fail(
            &SETTINGS,
            format!("{configured} is no value for it"),
            format!(
                "Correct it in cluster.settings: a number{}.",
                setting.unit.as_ref().map_or(String::new(), |unit| format!(
                    ", counted in {unit} where it has no unit"
                ))
            ),
        );
    }
    if setting.own {
        return Item::unknown(&SETTINGS, only_here(&setting.shown())).remedy(undo_own(name, seen));
    }
    let verdict = compare(name, &wanted, setting);
    let relation = match rule(name) {
        Rule::AtLeast => "at least ",
        Rule::UpToTwice | Rule::Exactly => "",
    };
    let why = wanted.scaled.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    let place = setting
        .place
        .as_ref()
        .map_or(String::new(), |place| format!(", set in {place}"));
    let detail = format!(
        "is {}{place}; wanted is {relation}{}{why}",
        setting.shown(),
        wanted.text
    );
    if verdict == Verdict::Pass {
        return Item::pass(&SETTINGS, detail);
    }
    let remedy = mend(name, &wanted.text, setting, seen);
    let unscaled = seen.memory.is_none() && (share(name).is_some() || name == "wal_buffers");
    Item::new(&SETTINGS, verdict, detail).remedy(if unscaled {
        format!("Say how much memory the server's machine has (--memory): with more than that it may not start. Then {remedy}")
    } else {
        remedy
    })
}

/// What is said of a value that this login alone has.
pub fn only_here(value: &str) -> String {
    format!(
        "is {value} for this login alone (ALTER ROLE ... SET, or the connection string): what others have cannot be seen"
    )
}

/// What lets the server's own value be seen.
pub fn undo_own(name: &str, seen: &Observed) -> String {
    let sql = Sql::new("ALTER ROLE ")
        .ident(&seen.server.user)
        .text(" RESET ")
        .ident(name);
    format!("Run this as another login, or take it back: {sql}; and no options in the connection string or PGOPTIONS.")
}

/// What sets it, once nothing stands above it.
pub fn mend(name: &str, value: &str, setting: &Setting, seen: &Observed) -> String {
    match setting.source.as_str() {
        "command line" | "environment variable" => format!(
            "It comes from the server's {}, which wins over ALTER SYSTEM and every file: change it where the server is started.",
            setting.source
        ),
        "database" => {
            let sql = Sql::new("ALTER DATABASE ")
                .ident(&seen.server.database)
                .text(" RESET ")
                .ident(name);
            format!("{sql}; which has set it and wins. Then {}", alter(name, value, setting))
        }
        _ => alter(name, value, setting),
    }
}

/// What sets it, and what brings it into force.
pub fn alter(name: &str, value: &str, setting: &Setting) -> String {
    let sql = Sql::new("ALTER SYSTEM SET ").ident(name).text(" = ");
    let sql = match names(value) {
        all if QUOTED_LISTS.contains(&name) && !all.is_empty() => all.iter().enumerate().fold(sql, |sql, (i, one)| {
            if i == 0 { sql } else { sql.text(", ") }.literal(one)
        }),
        _ => sql.literal(value),
    };
    let sql = sql.text(";");
    if setting.context == "postmaster" {
        format!("{sql} then restart the server")
    } else {
        format!("{sql} SELECT pg_catalog.pg_reload_conf();")
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::Memory;
    use super::super::observe::tests::observed;
    use super::*;

    const SETTINGS_SEEN: &[(&str, &str, Option<&str>, &str)] = &[
        ("shared_buffers", "16384", Some("8kB"), "integer"),
        ("work_mem", "65536", Some("kB"), "integer"),
        ("max_connections", "100", None, "integer"),
        ("wal_buffers", "512", Some("8kB"), "integer"),
        ("jit", "on", None, "bool"),
        ("wal_level", "replica", None, "enum"),
        ("random_page_cost", "1.1", None, "real"),
        ("max_wal_size", "1024", Some("MB"), "integer"),
        ("max_slot_wal_keep_size", "-1", Some("MB"), "integer"),
        ("wal_compression", "pglz", None, "enum"),
        ("huge_pages", "on", None, "enum"),
        (
            "shared_preload_libraries",
            "auto_explain, pg_stat_statements",
            None,
            "string",
        ),
        ("temp_tablespaces", "a, \"B\"", None, "string"),
    ];

    fn verdict(name: &str, configured: &str, memory: Option<u64>) -> (Verdict, String) {
        let mut seen = observed(SETTINGS_SEEN);
        seen.memory = memory.map(Memory::told);
        let item = one(name, configured, &seen);
        (item.status, item.detail)
    }

    #[test]
    fn each_setting_by_its_rule_and_unit() {
        use Verdict::{Fail, Pass, Warn};
        for (name, configured, expected) in [
            ("shared_buffers", "128MB", Pass),
            ("shared_buffers", "16384", Pass),
            ("shared_buffers", "64MB", Pass),
            ("shared_buffers", "129MB", Fail),
            ("work_mem", "64MB", Pass),
            ("work_mem", "32MB", Pass),
            ("work_mem", "31MB", Warn),
            ("work_mem", "65MB", Fail),
            ("max_connections", "100", Pass),
            ("max_connections", "101", Fail),
            ("max_wal_size", "1GB", Pass),
            ("max_wal_size", "1536MB", Fail),
            ("jit", "true", Pass),
            ("jit", "off", Fail),
            ("wal_level", "REPLICA", Pass),
            ("wal_level", "logical", Fail),
            ("random_page_cost", "1.1", Pass),
            ("random_page_cost", "1.2", Fail),
            ("max_slot_wal_keep_size", "10GB", Pass),
            ("max_slot_wal_keep_size", "-1", Pass),
            ("wal_compression", "on", Pass),
            ("wal_compression", "pglz", Pass),
            ("wal_compression", "off", Fail),
            ("wal_compression", "lz4", Fail),
            ("huge_pages", "yes", Pass),
            ("huge_pages", "try", Fail),
            ("shared_preload_libraries", "pg_stat_statements", Pass),
            ("shared_preload_libraries", "pg_stat_statements,auto_explain", Pass),
            ("shared_preload_libraries", "pg_stat_statements, timescaledb", Fail),
            ("temp_tablespaces", "a,B", Pass),
            ("temp_tablespaces", "B, a", Fail),
            ("max_connections", "many", Fail),
            ("shared_buffers", "1s", Fail),
            ("shared_bufers", "1GB", Fail),
        ] {
            assert_eq!(verdict(name, configured, None).0, expected, "{name} = {configured}");
        }
    }

    #[test]
    fn a_list_of_libraries_stays_a_list_and_loses_none() {
        let seen = observed(SETTINGS_SEEN);
        // As one string it would be one library, with which the server would not start again.
        assert_eq!(
            one("shared_preload_libraries", "timescaledb, pg_stat_statements", &seen)
                .remedy
                .as_deref(),
            Some(
                "ALTER SYSTEM SET \"shared_preload_libraries\" = 'auto_explain', 'pg_stat_statements', 'timescaledb'; then restart the server"
            )
        );
    }

    #[test]
    fn what_stands_above_the_files_is_told() {
        let mut seen = observed(SETTINGS_SEEN);
        seen.memory = Some(Memory::told(1 << 40));
        let mut from = |source: &str, own: bool| {
            let setting = seen.settings.get_mut("work_mem").expect("there");
            (setting.source, setting.own) = (source.to_owned(), own);
            let item = one("work_mem", "256MB", &seen);
            (item.status, item.remedy.unwrap_or_default())
        };
        let (status, remedy) = from("database", false);
        assert_eq!(status, Verdict::Fail);
        assert!(
            remedy.starts_with("ALTER DATABASE \"d\" RESET \"work_mem\"; "),
            "{remedy}"
        );
        assert!(from("command line", false).1.contains("where the server is started"));
        // What this login has, tenants do not.
        let (status, remedy) = from("user", true);
        assert_eq!(status, Verdict::Unknown);
        assert!(remedy.contains("ALTER ROLE \"u\" RESET \"work_mem\""), "{remedy}");
        seen.settings.remove("jit");
        assert_eq!(one("jit", "on", &seen).status, Verdict::Fail);
        seen.sees_all_settings = false;
        assert_eq!(one("jit", "on", &seen).status, Verdict::Unknown);
    }

    #[test]
    fn memory_is_scaled_down_and_never_up() {
        let gib = 1 << 30;
        // 25 % of 512 MiB is what the server has; of 8 GiB it would be 2 GiB.
        let (status, detail) = verdict("shared_buffers", "32GB", Some(gib / 2));
        assert_eq!(status, Verdict::Pass, "{detail}");
        assert!(
            detail.contains("at least 128MB (25 % of memory; 32GB is for a larger machine"),
            "{detail}"
        );
        let (status, detail) = verdict("shared_buffers", "32GB", Some(8 * gib));
        assert_eq!(status, Verdict::Fail);
        assert!(detail.contains("wanted is at least 2GB"), "{detail}");
        let (status, detail) = verdict("shared_buffers", "128MB", Some(1024 * gib));
        assert_eq!((status, detail.contains("larger")), (Verdict::Pass, false), "{detail}");
        // Of work_mem, 1/512: 16 MiB on 8 GiB, of which the server's 64 MiB are more than twice.
        assert_eq!(verdict("work_mem", "256MB", Some(8 * gib)).0, Verdict::Warn);
        assert_eq!(verdict("max_connections", "1000", Some(8 * gib)).0, Verdict::Fail);
        // On a machine that nobody knows, what was written for a larger one is no advice to follow blindly.
        let remedy = |name: &str| one(name, "64GB", &observed(SETTINGS_SEEN)).remedy.unwrap_or_default();
        assert!(remedy("shared_buffers").starts_with("Say how much memory"));
        assert!(remedy("max_wal_size").starts_with("ALTER SYSTEM"));
        assert_eq!(verdict("wal_buffers", "16MB", Some(gib / 2)).0, Verdict::Pass);
    }
}

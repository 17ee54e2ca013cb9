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
        return if same_word(&wanted.text, setting) {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
    };
    let (want, live) = (want.value(), live.value());
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
fn same_word(wanted: &str, setting: &Setting) -> bool {
    let switch = |text: &str| match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    };
    match setting.vartype.as_str() {
        "bool" => switch(wanted).is_some() && switch(wanted) == switch(&setting.value),
        "enum" => wanted.eq_ignore_ascii_case(&setting.value),
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
    Item::new(&SETTINGS, verdict, detail).remedy(alter(name, &wanted.text, setting))
}

/// What sets it, and what brings it into force.
pub fn alter(name: &str, value: &str, setting: &Setting) -> String {
    let sql = Sql::new("ALTER SYSTEM SET ")
        .ident(name)
        .text(" = ")
        .literal(value)
        .text(";");
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
            ("max_connections", "many", Fail),
            ("shared_buffers", "1s", Fail),
            ("shared_bufers", "1GB", Fail),
        ] {
            assert_eq!(verdict(name, configured, None).0, expected, "{name} = {configured}");
        }
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
        assert_eq!(verdict("wal_buffers", "16MB", Some(gib / 2)).0, Verdict::Pass);
    }
}

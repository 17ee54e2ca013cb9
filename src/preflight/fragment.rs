//! A fragment of postgresql.conf with what should be set otherwise.

use std::fmt::Write as _;

use serde::Serialize;

use super::Verdict;
use super::capacity::{self, Objects};
use super::observe::{Observed, Setting};
use super::settings::{self, Rule};
use crate::config::Config;
use crate::figures::bytes;
use crate::pg::sql::Sql;

/// One setting that should be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// What it should be, as postgresql.conf takes it.
    pub value: String,
    /// What it is.
    pub current: String,
    /// Whether only a restart brings it into force.
    pub restart: bool,
    /// Why, for people.
    pub why: String,
    /// It is set where an included file does not reach, and so stays as it is: what has to be done first.
    pub overridden: Option<String>,
}

/// What should be set otherwise, and the file that does it.
#[derive(Debug, Serialize)]
pub struct Fragment {
    /// Those that need a restart first, by name.
    pub settings: Vec<Line>,
    /// The file.
    pub text: String,
}

/// Compares what is wanted with what is.
pub fn fragment(config: &Config, seen: &Observed, objects: Option<&Objects>) -> Fragment {
    let mut lines = wanted(config, seen, objects);
    lines.sort_by(|a, b| (!a.restart, &a.name).cmp(&(!b.restart, &b.name)));
    let text = write(config, seen, &lines);
    Fragment { settings: lines, text }
}

fn line(name: &str, value: String, setting: &Setting, why: String) -> Line {
    let place = setting.place.as_deref().unwrap_or_default();
    let overridden = if place.contains("postgresql.auto.conf") {
        Some(format!(
            "{} which has set it and wins over every file",
            Sql::new("ALTER SYSTEM RESET ").ident(name).text(";")
        ))
    } else {
        match setting.source.as_str() {
            "command line" | "environment variable" => Some(format!(
                "it comes from the server's {}, which wins over every file",
                setting.source
            )),
            "database" | "user" | "database user" => Some(format!(
                "it is set for this {}, which wins over every file",
                setting.source
            )),
            _ => None,
        }
    };
    Line {
        name: name.to_owned(),
        value,
        current: setting.shown(),
        restart: setting.context == "postmaster",
        why,
        overridden,
    }
}

fn wanted(config: &Config, seen: &Observed, objects: Option<&Objects>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, configured) in &config.cluster.settings {
        let Some(setting) = seen.settings.get(name) else {
            continue;
        };
        let wanted = settings::wanted(name, configured, setting, seen);
        let numeric = ["integer", "real"].contains(&setting.vartype.as_str());
        if settings::compare(name, &wanted, setting) == Verdict::Pass || numeric && wanted.quantity.is_none() {
            continue;
        }
        let why = match (&wanted.scaled, settings::rule(name)) {
            (Some(why), _) => why.clone(),
            (None, Rule::AtLeast) => "cluster.settings wants so much at least".to_owned(),
            (None, _) => "cluster.settings".to_owned(),
        };
        lines.push(line(name, wanted.text, setting, why));
    }
    // The formula counts connections: those that this very file brings are there by then.
    let mut then = seen.clone();
    if let (Some(new), Some(setting)) = (
        lines.iter().find(|line| line.name == "max_connections"),
        then.settings.get_mut("max_connections"),
    ) {
        setting.value.clone_from(&new.value);
    }
    let need = capacity::lock_need(seen, objects);
    if !lines.iter().any(|line| line.name == "max_locks_per_transaction")
        && need * 4 > then.lock_capacity() * 3
        && let Some(setting) = seen.settings.get("max_locks_per_transaction")
    {
        let value = capacity::locks_wanted(need, &then).to_string();
        let why = format!("a dump of this database or the drop of its largest tenant takes {need} locks");
        lines.push(line("max_locks_per_transaction", value, setting, why));
    }
    for (name, value, why) in [
        (
            "autovacuum",
            "on",
            "without it tables bloat and transaction ids run out",
        ),
        ("track_counts", "on", "autovacuum needs it"),
        ("fsync", "on", "without it a crash can destroy the cluster"),
        ("full_page_writes", "on", "without it a crash can leave torn pages"),
        (
            "synchronous_commit",
            "on",
            "without it a crash loses transactions that were reported as committed",
        ),
        ("password_encryption", "scram-sha-256", "md5 verifiers can be replayed"),
    ] {
        let other = |setting: &&Setting| match name {
            "password_encryption" => setting.value != value,
            _ => setting.value == "off",
        };
        if !lines.iter().any(|line| line.name == name)
            && let Some(setting) = seen.settings.get(name).filter(other)
        {
            lines.push(line(name, value.to_owned(), setting, why.to_owned()));
        }
    }
    lines.extend(libraries(config, seen));
    lines
}

/// `shared_preload_libraries` with what is missing and on the server's disk: with a library that is not, it would not start.
fn libraries(config: &Config, seen: &Observed) -> Option<Line> {
    let wants_timescaledb = !config.template.hypertables.is_empty() && seen.timescaledb_available.is_some();
    let missing: Vec<&str> = [
        ("timescaledb", wants_timescaledb || seen.timescaledb_installed.is_some()),
        ("pg_stat_statements", seen.statements_available),
    ]
    .into_iter()
    .filter(|(library, wanted)| *wanted && !seen.preloads(library))
    .map(|(library, _)| library)
    .collect();
    if missing.is_empty() || config.cluster.settings.contains_key("shared_preload_libraries") {
        return None;
    }
    let setting = seen.settings.get("shared_preload_libraries")?;
    let all: Vec<&str> = setting
        .value
        .split(',')
        .map(str::trim)
        .filter(|library| !library.is_empty())
        .chain(missing.iter().copied())
        .collect();
    let why = format!(
        "{} on the server and not preloaded",
        match missing.as_slice() {
            [one] => format!("{one} is"),
            several => format!("{} are", several.join(" and ")),
        }
    );
    Some(line("shared_preload_libraries", all.join(","), setting, why))
}

fn write(config: &Config, seen: &Observed, lines: &[Line]) -> String {
    let memory = seen.memory.as_ref().map_or_else(
        || "unknown (say it with --memory), so nothing is scaled to it".to_owned(),
        |memory| format!("{} ({})", bytes(memory.bytes), memory.source),
    );
    let mut text = format!(
        "# postgresql.conf of PostgreSQL {}, by `tenantctl validate --preflight --print-config`: what differs from cluster.settings\n# of {} and from what a fleet of tenants needs. Put it beside postgresql.conf and end that file with\n#   include_if_exists = 'tenantctl.conf'\n# Memory of the machine: {memory}\n",
        seen.server.version, config.source
    );
    if lines.is_empty() {
        text.push_str("# Nothing is to be set otherwise.\n");
    }
    for (restart, heading) in [
        (true, "These need a restart of the server."),
        (false, "These need a reload: SELECT pg_catalog.pg_reload_conf();"),
    ] {
        if lines.iter().any(|line| line.restart == restart) {
            let _ = writeln!(text, "\n# {heading}");
        }
        for line in lines.iter().filter(|line| line.restart == restart) {
            let current = if line.current.is_empty() {
                "empty"
            } else {
                &line.current
            };
            let _ = writeln!(text, "# is {}: {}", comment(current), comment(&line.why));
            if let Some(overridden) = &line.overridden {
                let _ = writeln!(text, "# FIRST: {}", comment(overridden));
            }
            let _ = writeln!(text, "{} = '{}'", line.name, quoted(&line.value));
        }
    }
    text
}

/// A value as it stands between quotes in postgresql.conf, where a backslash begins an escape.
fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n")
}

/// Text that stays in its comment.
fn comment(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::super::machine::Memory;
    use super::super::observe::tests::observed;
    use super::*;

    #[test]
    fn values_survive_the_quoting_of_the_file() {
        assert_eq!(quoted(r"cp %p C:\x"), r"cp %p C:\\x");
        assert_eq!(quoted("it's\na"), "it''s\\na");
    }

    #[test]
    fn only_what_differs_is_written_and_restarts_come_first() {
        let config = Config::builtin().expect("built in");
        let mut seen = observed(&[
            ("max_connections", "100", None, "integer"),
            ("max_prepared_transactions", "0", None, "integer"),
            ("max_locks_per_transaction", "64", None, "integer"),
            ("shared_buffers", "16384", Some("8kB"), "integer"),
            ("effective_cache_size", "786432", Some("8kB"), "integer"),
            ("work_mem", "4096", Some("kB"), "integer"),
            ("maintenance_work_mem", "65536", Some("kB"), "integer"),
            ("max_wal_size", "1024", Some("MB"), "integer"),
            ("wal_buffers", "2048", Some("8kB"), "integer"),
            ("shared_preload_libraries", "auto_explain", None, "string"),
            ("fsync", "off", None, "bool"),
            ("password_encryption", "scram-sha-256", None, "enum"),
        ]);
        for name in [
            "work_mem",
            "maintenance_work_mem",
            "max_wal_size",
            "effective_cache_size",
            "fsync",
        ] {
            if let Some(setting) = seen.settings.get_mut(name) {
                setting.context = "user".to_owned();
            }
        }
        if let Some(setting) = seen.settings.get_mut("work_mem") {
            setting.place = Some("/data/postgresql.auto.conf:3".to_owned());
        }
        seen.memory = Some(Memory::told(8 << 30));
        seen.tables = 100_000;
        seen.statements_available = true;
        let made = fragment(&config, &seen, None);
        let lines: Vec<(&str, &str, bool)> = made
            .settings
            .iter()
            .map(|l| (l.name.as_str(), l.value.as_str(), l.restart))
            .collect();
        assert_eq!(
            lines,
            [
                ("max_connections", "1000", true),
                ("max_locks_per_transaction", "192", true),
                ("shared_buffers", "2GB", true),
                ("shared_preload_libraries", "auto_explain,pg_stat_statements", true),
                ("fsync", "on", false),
                ("maintenance_work_mem", "128MB", false),
                ("max_wal_size", "1536MB", false),
                ("work_mem", "16MB", false),
            ]
        );
        assert!(
            made.text.contains("# FIRST: ALTER SYSTEM RESET \"work_mem\";"),
            "{}",
            made.text
        );
        assert!(made.text.contains("\nshared_buffers = '2GB'\n"), "{}", made.text);
        for line in made.text.lines() {
            let assigns = line
                .split_once(" = '")
                .is_some_and(|(name, rest)| !name.contains(' ') && rest.ends_with('\''));
            assert!(line.is_empty() || line.starts_with('#') || assigns, "{line}");
        }
    }
}

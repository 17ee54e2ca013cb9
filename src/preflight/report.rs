//! The verdict over the checklist.

use std::time::Duration;

use serde::Serialize;

use super::checklist::Stage;
use super::{Item, Verdict};
use crate::figures::count;
use crate::validate::run::milliseconds;

/// A check that was left out on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its id.
    pub check: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The result, as it is in JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Which checklist.
    pub stage: Stage,
    /// The server's version.
    pub server_version: String,
    /// The database.
    pub database: String,
    /// Whether nothing makes it fail.
    pub passed: bool,
    /// What makes it fail, in words.
    pub why: Vec<String>,
    /// How many items ended so.
    pub pass: usize,
    /// How many items ended so.
    pub warn: usize,
    /// How many items ended so.
    pub fail: usize,
    /// How many items ended so.
    pub unknown: usize,
    /// How long it took.
    pub duration_ms: f64,
    /// Every item, in the order of the checklist.
    pub checks: Vec<Item>,
    /// Checks that were not run.
    pub skipped: Vec<Skipped>,
}

impl Report {
    /// Counts and judges; with `strict`, UNKNOWN fails as well.
    pub fn new(
        stage: Stage,
        server: &crate::pg::session::Server,
        items: Vec<Item>,
        skipped: Vec<Skipped>,
        strict: bool,
        duration: Duration,
    ) -> Self {
        let of = |verdict| items.iter().filter(|item| item.status == verdict).count();
        let (fail, unknown) = (of(Verdict::Fail), of(Verdict::Unknown));
        let mut why = Vec::new();
        if fail > 0 {
            why.push(format!("{} of the checklist", count(fail, "failed item")));
        }
        if strict && unknown > 0 {
            why.push(format!("{} UNKNOWN (--strict)", count(unknown, "item")));
        }
        Self {
            stage,
            server_version: server.version.clone(),
            database: server.database.clone(),
            passed: why.is_empty(),
            why,
            pass: of(Verdict::Pass),
            warn: of(Verdict::Warn),
            fail,
            unknown,
            duration_ms: milliseconds(duration),
            checks: items,
            skipped,
        }
    }

    /// The figures, on one line.
    pub fn summary(&self) -> String {
        format!(
            "{} PASS, {} WARN, {} FAIL, {} UNKNOWN; {} skipped; {}",
            self.pass,
            self.warn,
            self.fail,
            self.unknown,
            self.skipped.len(),
            crate::figures::milliseconds(self.duration_ms)
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::checklist::{LOCKS, REPLICAS, STORE};
    use super::super::observe::tests::observed;
    use super::*;

    /// A report with something of everything.
    pub fn sample(strict: bool, fails: bool) -> Report {
        let mut items = vec![
            Item::pass(&LOCKS, "a < b & \"c\""),
            Item::warn(&STORE, "in clear\u{1b}[2J", "encrypt it"),
            Item::unknown(&REPLICAS, "nobody knows").about("host \"x\""),
        ];
        if fails {
            items.push(Item::fail(&REPLICAS, "down", "start it").about("host \"y\""));
        }
        let skipped = vec![Skipped {
            check: "redis",
            reason: "--skip",
        }];
        Report::new(
            Stage::Preflight,
            &observed(&[]).server,
            items,
            skipped,
            strict,
            Duration::from_micros(1_234_567),
        )
    }

    #[test]
    fn a_failure_fails_and_unknown_does_where_it_is_wanted() {
        for (strict, fails, reasons) in [(false, false, 0), (true, false, 1), (false, true, 1), (true, true, 2)] {
            let report = sample(strict, fails);
            assert_eq!(
                (report.why.len(), report.passed),
                (reasons, reasons == 0),
                "{strict} {fails}"
            );
        }
        assert_eq!(
            sample(false, true).summary(),
            "1 PASS, 1 WARN, 1 FAIL, 1 UNKNOWN; 1 skipped; 1.23 s"
        );
    }

    #[test]
    fn json_is_what_was_promised() {
        let json = serde_json::to_value(sample(false, true)).expect("JSON");
        assert_eq!(json["stage"], "preflight");
        assert_eq!(json["passed"], false);
        assert_eq!(json["checks"][3]["check"], "replicas");
        assert_eq!(json["checks"][3]["status"], "FAIL");
        assert_eq!(json["checks"][3]["remedy"], "start it");
        assert_eq!(json["checks"][0]["remedy"], serde_json::Value::Null);
    }
}

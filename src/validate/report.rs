//! The verdict over what the checks said.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::run::{CheckRun, Ended, Outcome, Probed, Scope, milliseconds};
use super::suppress::{self, Note, Suppressed};
use super::{Finding, Severity, Unknown};
use crate::config::Suppression;

/// What makes the proof fail.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Findings at or above this; none: findings do not.
    pub fail_on: Option<Severity>,
    /// Checks that could not be run.
    pub strict: bool,
}

/// A check that nobody asked for, or that was left out on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The check's id.
    pub check: String,
    /// Why.
    pub reason: &'static str,
}

/// The result of `validate`, as it is in JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many tenants were looked at.
    pub tenants_checked: usize,
    /// How many checks ran to their end.
    pub checks_run: usize,
    /// How long it all took.
    pub duration_ms: f64,
    /// Whether nothing makes it fail.
    pub passed: bool,
    /// What makes it fail, in words.
    pub why: Vec<String>,
    /// The worst first, then by tenant, check and object.
    pub findings: Vec<Finding>,
    /// Checks that could not be run: nothing was proven there.
    pub unknown: Vec<Unknown>,
    /// Findings that the configuration says are acceptable, in the same order.
    pub suppressed: Vec<Suppressed>,
    /// Checks that were not run.
    pub skipped: Vec<Skipped>,
    /// What is the matter with the configuration's suppressions.
    pub notes: Vec<Note>,
    /// Every check that was asked for, by id.
    pub checks: Vec<CheckRun>,
    /// What the probe did, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probed>,
    /// Why the whole run proved nothing; empty where it did. Also among `why`.
    #[serde(skip)]
    pub unproven: Vec<String>,
    /// What makes it fail.
    #[serde(skip)]
    pub rules: Rules,
}

impl Report {
    /// Suppresses, sorts and judges.
    pub fn new(
        mut outcome: Outcome,
        mut opted_out: Vec<Suppressed>,
        scope: &Scope,
        skipped: Vec<Skipped>,
        suppressions: &[Suppression],
        rules: Rules,
        duration: Duration,
    ) -> Self {
        let (mut suppressed, notes) = suppress::apply(&mut outcome, suppressions);
        suppressed.append(&mut opted_out);
        outcome.findings.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        suppressed.sort_unstable_by(|a, b| order(&a.finding).cmp(&order(&b.finding)));
        let mut report = Self {
            tenants_checked: outcome.tenants_checked,
            checks_run: outcome.checks.iter().filter(|run| run.status == Ended::Done).count(),
            duration_ms: milliseconds(duration),
            passed: true,
            why: Vec::new(),
            findings: outcome.findings,
            unknown: outcome.unknown,
            suppressed,
            skipped,
            notes,
            checks: outcome.checks,
            probe: outcome.probe,
            unproven: Vec::new(),
            rules,
        };
        report.unproven = report.proves_nothing(scope);
        report.why = report.unproven.iter().cloned().chain(report.broken_rules()).collect();
        report.passed = report.why.is_empty();
        report
    }

    fn proves_nothing(&self, scope: &Scope) -> Vec<String> {
        let mut why = Vec::new();
        if self.tenants_checked == 0 {
            why.push(match scope {
                Scope::Tier(tier) => format!("nothing was proven: there is no tenant of tier {tier}"),
                _ => "nothing was proven: the registry of this database has no tenant".to_owned(),
            });
        }
        if self.checks_run == 0 {
            why.push("nothing was proven: no check could be run".to_owned());
        }
        why
    }

    fn broken_rules(&self) -> Vec<String> {
        let mut why = Vec::new();
        if let Some(limit) = self.rules.fail_on {
            let failing = self.findings.iter().take_while(|f| f.severity >= limit).count();
            if failing > 0 {
                why.push(match limit {
                    Severity::Critical => format!("{} of severity critical", count(failing, "finding")),
                    limit => format!("{} of severity {limit} or above", count(failing, "finding")),
                });
            }
        }
        let unknown = self.unknown_checks().len();
        if self.rules.strict && unknown > 0 {
            why.push(format!("{} could not be run (--strict)", count(unknown, "check")));
        }
        why
    }

    /// Whether this finding makes it fail.
    pub fn fails(&self, finding: &Finding) -> bool {
        self.rules.fail_on.is_some_and(|limit| finding.severity >= limit)
    }

    /// The checks that could not be run, or not wholly, each once.
    pub fn unknown_checks(&self) -> BTreeSet<&str> {
        let runs = self.checks.iter().filter(|run| run.status == Ended::Unknown);
        let told = self.unknown.iter().map(|unknown| unknown.check.as_str());
        runs.map(|run| run.check.as_str()).chain(told).collect()
    }

    /// How many findings there are of a severity.
    pub fn of(&self, severity: Severity) -> usize {
        let below = self.findings.partition_point(|f| f.severity > severity);
        self.findings.partition_point(|f| f.severity >= severity) - below
    }

    /// The summary, on one line.
    pub fn summary(&self, duration: &str) -> String {
        let worst_first = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];
        let findings: Vec<String> = worst_first
            .iter()
            .map(|severity| format!("{} {severity}", self.of(*severity)))
            .collect();
        format!(
            "{} checked, {} run: {}; {} unknown, {} suppressed, {} skipped; {duration}",
            count(self.tenants_checked, "tenant"),
            count(self.checks_run, "check"),
            findings.join(", "),
            self.unknown_checks().len(),
            self.suppressed.len(),
            self.skipped.len(),
        )
    }
}

/// The worst first, then by tenant, check and object.
fn order(f: &Finding) -> impl Ord + '_ {
    (Reverse(f.severity), &f.tenant_id, &f.check, &f.object, &f.detail)
}

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Date;

    fn finding(check: &str, severity: Severity, tenant: Option<&str>, object: &str) -> Finding {
        Finding {
            check: check.to_owned(),
            severity,
            tenant_id: tenant.map(str::to_owned),
            schema_name: tenant.map(|_| "tenant_0123456789ab".to_owned()),
            object: object.to_owned(),
            detail: "role \"<&>\u{1}\u{1b}\" holds SELECT".to_owned(),
            remedy: "REVOKE SELECT ON \"a\nb\" FROM \"<&>\";".to_owned(),
        }
    }

    fn outcome(findings: Vec<Finding>) -> Outcome {
        let run = |check: &str, status| CheckRun {
            check: check.to_owned(),
            status,
            duration_ms: Some(1.5),
        };
        Outcome {
            tenants_checked: 2,
            scope: None,
            today: Date::parse("2026-06-15").expect("day"),
            findings,
            unknown: vec![Unknown {
                check: "u".to_owned(),
                reason: "no <right>".to_owned(),
            }],
            probe: None,
            checks: vec![run("a", Ended::Done), run("b", Ended::Done), run("u", Ended::Unknown)],
        }
    }

    /// A report with something of everything.
    pub fn sample(rules: Rules) -> Report {
        let findings = vec![
            finding("b", Severity::Low, None, "database d"),
            finding("b", Severity::Critical, Some("z"), "table s.t"),
            finding("a", Severity::Critical, Some("z"), "table s.t"),
            finding("a", Severity::Critical, Some("y"), "table s.u"),
            finding("a", Severity::Medium, Some("y"), "table s.quiet"),
        ];
        let suppression = Suppression {
            check: "a".to_owned(),
            tenant: None,
            object: Some("*.quiet".to_owned()),
            reason: "known & <accepted>".to_owned(),
            expires: Date::parse("2026-12-31").expect("day"),
            place: "f.yaml:1:1".to_owned(),
        };
        let expired = Suppression {
            expires: Date::parse("2026-01-01").expect("day"),
            ..suppression.clone()
        };
        let skipped = vec![Skipped {
            check: "s".to_owned(),
            reason: "--skip",
        }];
        let took = Duration::from_micros(12_345);
        Report::new(
            outcome(findings),
            Vec::new(),
            &Scope::All,
            skipped,
            &[suppression, expired],
            rules,
            took,
        )
    }

    fn rules(fail_on: Option<Severity>, strict: bool) -> Rules {
        Rules { fail_on, strict }
    }

    #[test]
    fn the_worst_come_first() {
        let report = sample(rules(Some(Severity::High), false));
        let found: Vec<(&str, Option<&str>)> = report
            .findings
            .iter()
            .map(|f| (f.check.as_str(), f.tenant_id.as_deref()))
            .collect();
        assert_eq!(
            found,
            [("a", Some("y")), ("a", Some("z")), ("b", Some("z")), ("b", None)]
        );
        assert_eq!(report.of(Severity::Critical), 3);
        assert_eq!((report.of(Severity::High), report.of(Severity::Low)), (0, 1));
        assert_eq!(
            report.summary("12.3 ms"),
            "2 tenants checked, 2 checks run: 3 critical, 0 high, 0 medium, 1 low; 1 unknown, 1 suppressed, 1 skipped; 12.3 ms"
        );
    }

    #[test]
    fn it_fails_for_what_the_rules_say() {
        for (fail_on, strict, reasons) in [
            (Some(Severity::High), false, 1),
            (Some(Severity::Low), true, 2),
            (None, false, 0),
            (None, true, 1),
        ] {
            let report = sample(rules(fail_on, strict));
            assert_eq!(
                (report.why.len(), report.passed),
                (reasons, reasons == 0),
                "{fail_on:?} {strict}"
            );
        }
        let quiet = outcome(vec![finding("a", Severity::Medium, None, "x")]);
        let report = Report::new(
            quiet,
            Vec::new(),
            &Scope::All,
            Vec::new(),
            &[],
            rules(Some(Severity::High), false),
            Duration::ZERO,
        );
        assert!(report.passed);
    }

    #[test]
    fn no_tenant_and_no_check_prove_nothing() {
        let mut none = outcome(Vec::new());
        none.tenants_checked = 0;
        let report = Report::new(
            none,
            Vec::new(),
            &Scope::All,
            Vec::new(),
            &[],
            rules(None, false),
            Duration::ZERO,
        );
        assert!(!report.passed && report.why[0].contains("has no tenant"));
        let mut none = outcome(Vec::new());
        none.checks.retain(|run| run.status == Ended::Unknown);
        let report = Report::new(
            none,
            Vec::new(),
            &Scope::All,
            Vec::new(),
            &[],
            rules(None, false),
            Duration::ZERO,
        );
        assert!(!report.passed && report.why[0].contains("no check"));
    }
}

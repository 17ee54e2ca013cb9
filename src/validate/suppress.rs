//! Findings that the configuration says are acceptable for a time.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use super::Finding;
use super::run::{Ended, Outcome};
use crate::config::{Date, Suppression};

/// A finding that does not count, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Why it is acceptable.
    pub reason: String,
    /// The last day on which that holds; `revoked` where the configuration opts out of a line for good.
    pub expires: String,
}

/// What is the matter with a suppression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// Its day has passed, so it suppresses nothing any more.
    SuppressionExpired,
    /// Nothing that was found is like it.
    SuppressionUnused,
}

/// Something about the configuration that the reader of the report should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What kind.
    pub kind: NoteKind,
    /// The check that it names.
    pub check: String,
    /// In words, with the place in the file.
    pub message: String,
}

/// What the probe finds out of a line of the hardening standard; the checks of the catalog have the line's own name.
const PROBED_LINES: [(&str, &str); 4] = [
    ("probe_temp", "database_public"),
    ("probe_language", "language_public"),
    ("probe_builtin", "builtin_functions"),
    ("probe_statistics", "statistics_views"),
];

/// Takes the findings out that are about a line of the hardening standard which the configuration does not want.
pub fn opted_out(outcome: &mut Outcome, off: &BTreeSet<String>) -> Vec<Suppressed> {
    if off.is_empty() {
        return Vec::new();
    }
    let line = |finding: &Finding| {
        let probed = PROBED_LINES.iter().find(|(check, _)| *check == finding.check);
        let line = probed.map_or(finding.check.as_str(), |(_, line)| line);
        off.contains(line).then(|| line.to_owned())
    };
    let mut suppressed = Vec::new();
    for finding in std::mem::take(&mut outcome.findings) {
        match line(&finding) {
            Some(line) => suppressed.push(Suppressed {
                finding,
                reason: format!("hardening.{line} is off in the configuration"),
                expires: "revoked".into(),
            }),
            None => outcome.findings.push(finding),
        }
    }
    suppressed
}

/// Takes the findings out that a suppression covers, and tells what became of the suppressions.
pub fn apply(outcome: &mut Outcome, suppressions: &[Suppression]) -> (Vec<Suppressed>, Vec<Note>) {
    if suppressions.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut matched = vec![0_usize; suppressions.len()];
    let mut suppressed = Vec::new();
    let findings = std::mem::take(&mut outcome.findings);
    outcome.findings.reserve(findings.len());
    for finding in findings {
        let mut covering = None;
        for (n, suppression) in suppressions.iter().enumerate().filter(|(_, s)| covers(s, &finding)) {
            matched[n] += 1;
            if covering.is_none() && !is_over(suppression, outcome.today) {
                covering = Some(suppression);
            }
        }
        match covering {
            Some(suppression) => suppressed.push(Suppressed {
                finding,
                reason: suppression.reason.clone(),
                expires: suppression.expires.to_string(),
            }),
            None => outcome.findings.push(finding),
        }
    }
    let ran: HashSet<&str> = outcome
        .checks
        .iter()
        .filter(|run| run.status == Ended::Done)
        .map(|run| run.check.as_str())
        .collect();
    let notes = suppressions.iter().zip(&matched).filter_map(|(s, &matched)| {
        // Of what was not looked at nothing can be said.
        let looked = ran.contains(s.check.as_str())
            && match (&outcome.scope, &s.tenant) {
                (None, _) => true,
                (Some(scope), Some(tenant)) => scope.contains(tenant.as_str()),
                (Some(_), None) => false,
            };
        note(s, matched, looked, outcome.today)
    });
    let notes = notes.collect();
    (suppressed, notes)
}

fn is_over(suppression: &Suppression, today: Date) -> bool {
    suppression.expires < today
}

fn note(s: &Suppression, matched: usize, looked: bool, today: Date) -> Option<Note> {
    let (kind, what) = if is_over(s, today) {
        let still = match matched {
            0 => "it can be removed if nothing of the kind is expected".to_owned(),
            1 => "1 finding that it covered counts again".to_owned(),
            n => format!("{n} findings that it covered count again"),
        };
        (
            NoteKind::SuppressionExpired,
            format!("the suppression of {} expired on {}; {still}", s.check, s.expires),
        )
    } else if matched == 0 && looked {
        (
            NoteKind::SuppressionUnused,
            format!("the suppression of {} matches no finding; remove it", s.check),
        )
    } else {
        return None;
    };
    Some(Note {
        kind,
        check: s.check.clone(),
        message: format!("{}: {what} (reason given: {})", s.place, s.reason),
    })
}

fn covers(suppression: &Suppression, finding: &Finding) -> bool {
    suppression.check == finding.check
        && suppression
            .tenant
            .as_ref()
            .is_none_or(|tenant| finding.tenant_id.as_deref() == Some(tenant.as_str()))
        && suppression
            .object
            .as_ref()
            .is_none_or(|pattern| matches(pattern, &finding.object))
}

/// Whether the whole text is like the pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    // The leftmost place for each part leaves most room for those behind it.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::run::CheckRun;
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, like) in [
            ("table a.b", "table a.b", true),
            ("table a.b", "table a.bc", false),
            ("table a.b", "xtable a.b", false),
            ("*", "", true),
            ("*", "anything", true),
            ("table *.trades", "table tenant_0.trades", true),
            ("table *.trades", "table tenant_0.trades2", false),
            ("*a*b*", "xaxbx", true),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("a*a", "a", false),
            ("", "", true),
            ("", "x", false),
            ("role %_user", "role x_user", false),
        ] {
            assert_eq!(matches(pattern, text), like, "{pattern} {text}");
        }
    }

    fn outcome(scope: Option<&[&str]>) -> Outcome {
        let finding = |check: &str, tenant: Option<&str>, object: &str| Finding {
            check: check.to_owned(),
            severity: Severity::High,
            tenant_id: tenant.map(str::to_owned),
            schema_name: None,
            object: object.to_owned(),
            detail: String::new(),
            remedy: String::new(),
        };
        Outcome {
            tenants_checked: 2,
            scope: scope.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
            today: Date::parse("2026-06-15").expect("day"),
            findings: vec![
                finding("a", Some("acme"), "table x.t"),
                finding("a", Some("globex"), "table y.t"),
                finding("b", None, "database d"),
            ],
            unknown: Vec::new(),
            probe: None,
            checks: ["a", "b", "c"]
                .map(|id| CheckRun {
                    check: id.to_owned(),
                    status: Ended::Done,
                    duration_ms: Some(1.0),
                })
                .into(),
        }
    }

    fn suppression(check: &str, tenant: Option<&str>, object: Option<&str>, expires: &str) -> Suppression {
        Suppression {
            check: check.to_owned(),
            tenant: tenant.map(|t| t.parse().expect("id")),
            object: object.map(str::to_owned),
            reason: "because".to_owned(),
            expires: Date::parse(expires).expect("day"),
            place: "f.yaml:1:1".to_owned(),
        }
    }

    #[test]
    fn check_tenant_and_object_must_all_fit() {
        for (s, left) in [
            (suppression("a", None, None, "2026-06-15"), 1),
            (suppression("a", Some("acme"), None, "2026-06-15"), 2),
            (suppression("a", Some("acme"), Some("table y.*"), "2026-06-15"), 3),
            (suppression("b", Some("acme"), None, "2026-06-15"), 3),
            (suppression("b", None, Some("database *"), "2026-06-15"), 2),
        ] {
            let mut outcome = outcome(None);
            let (suppressed, notes) = apply(&mut outcome, std::slice::from_ref(&s));
            assert_eq!(outcome.findings.len(), left, "{s:?}");
            assert_eq!(suppressed.len(), 3 - left, "{s:?}");
            assert_eq!(notes.len(), usize::from(left == 3), "{s:?}");
        }
    }

    #[test]
    fn what_has_expired_suppresses_nothing_and_is_told() {
        let mut all = outcome(None);
        let over = suppression("a", None, None, "2026-06-14");
        let (suppressed, notes) = apply(&mut all, std::slice::from_ref(&over));
        assert_eq!((all.findings.len(), suppressed.len()), (3, 0));
        assert_eq!(notes[0].kind, NoteKind::SuppressionExpired);
        assert!(notes[0].message.contains("f.yaml:1:1") && notes[0].message.contains("2 findings"));
        // One that still holds covers what the expired one no longer does.
        let mut all = outcome(None);
        let (suppressed, notes) = apply(&mut all, &[over, suppression("a", None, None, "2026-07-01")]);
        assert_eq!((all.findings.len(), suppressed.len(), notes.len()), (1, 2, 1));
    }

    #[test]
    fn of_what_was_not_looked_at_nothing_is_said() {
        let mut one = outcome(Some(&["acme"]));
        one.findings.clear();
        for (s, notes) in [
            (suppression("c", None, None, "2027-01-01"), 0),
            (suppression("c", Some("globex"), None, "2027-01-01"), 0),
            (suppression("c", Some("acme"), None, "2027-01-01"), 1),
            (suppression("not_run", Some("acme"), None, "2027-01-01"), 0),
        ] {
            assert_eq!(apply(&mut one, std::slice::from_ref(&s)).1.len(), notes, "{s:?}");
        }
    }
}

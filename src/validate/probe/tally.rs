//! From outcomes to findings: many tenants' same success is one finding, many same failures one unknown.

use std::collections::{BTreeMap, BTreeSet};

use super::attempts::{Attempt, Concerns};
use super::targets::Target;
use crate::error::{Error, ErrorKind};
use crate::validate::{Finding, Severity, Unknown};

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It could be done.
    Succeeded,
    /// It was refused, as it should be.
    Refused,
    /// Neither was shown.
    Unclear,
}

/// SQLSTATEs that mean no: insufficient privilege; a question answered with no (division by zero); schema, relation,
/// object, function not there (any more) or not visible; not possible on this server.
const REFUSALS: [&str; 7] = ["42501", "22012", "3F000", "42P01", "42704", "42883", "0A000"];

/// Judges the server's answer to an attempt.
pub fn judge(attempt: &Attempt, answer: &Result<(), Error>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Succeeded,
        Err(error) => match error.sqlstate() {
            // A grant that would go in a circle: looked at after the right to grant.
            Some("0LP01") => Outcome::Succeeded,
            Some(code) if attempt.proves.contains(&code) => Outcome::Succeeded,
            Some(code) if REFUSALS.contains(&code) => Outcome::Refused,
            // The driver did not expect the rows that it was offered.
            None if attempt.way == super::attempts::Way::CopyOut && error.kind() == ErrorKind::Unknown => {
                Outcome::Succeeded
            }
            _ => Outcome::Unclear,
        },
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    check: &'static str,
    schema: Option<String>,
    object: String,
}

#[derive(Debug)]
struct Seen {
    severity: Severity,
    tenant: Option<String>,
    attackers: BTreeSet<String>,
    does: Vec<&'static str>,
    sql: String,
    remedy: String,
}

/// Names that are told one by one before the rest is counted.
const NAMED: usize = 3;

/// Why something is unknown, and how often.
#[derive(Debug)]
struct Doubt {
    count: u64,
    example: String,
}

/// Gathers outcomes.
#[derive(Debug, Default)]
pub struct Tally {
    /// Attempts that were made.
    pub attempts: u64,
    /// Those that showed neither way.
    pub unclear: u64,
    seen: BTreeMap<Key, Seen>,
    doubts: BTreeMap<(String, String), Doubt>,
}

impl Tally {
    /// Counts an attempt, and keeps it where it succeeded or was unclear.
    pub fn note(
        &mut self,
        attempt: &Attempt,
        attacker: &Target,
        victim: &Target,
        answer: &Result<(), Error>,
    ) -> Outcome {
        self.attempts += 1;
        let outcome = judge(attempt, answer);
        match (outcome, answer) {
            (Outcome::Succeeded, _) => self.success(attempt, attacker, victim),
            (Outcome::Unclear, Err(error)) => {
                self.unclear += 1;
                let example = if attacker.id == victim.id {
                    format!("tenant {}: {}", attacker.id, attempt.sql)
                } else {
                    format!("tenant {} against {}: {}", attacker.id, victim.id, attempt.sql)
                };
                self.doubt(attempt.check, explain(error), example);
            }
            _ => {}
        }
        outcome
    }

    /// Keeps a success.
    pub fn success(&mut self, attempt: &Attempt, attacker: &Target, victim: &Target) {
        let concerned = match attempt.concerns {
            Concerns::Victim => Some(victim),
            Concerns::Attacker => Some(attacker),
            Concerns::Database => None,
        };
        let key = Key {
            check: attempt.check,
            schema: concerned.map(|t| t.schema.clone()),
            object: attempt.object.clone(),
        };
        let seen = self.seen.entry(key).or_insert_with(|| Seen {
            severity: attempt.severity,
            tenant: concerned.map(|t| t.id.clone()),
            attackers: BTreeSet::new(),
            does: Vec::new(),
            sql: attempt.sql.to_string(),
            remedy: attempt
                .remedy
                .clone()
                .unwrap_or_else(|| format!("tenantctl secure {}", concerned.map_or("--all", |t| t.id.as_str()))),
        });
        seen.severity = seen.severity.max(attempt.severity);
        seen.attackers.insert(attacker.id.clone());
        if !seen.does.contains(&attempt.does) {
            seen.does.push(attempt.does);
        }
    }

    /// Whether a check has a finding.
    pub fn has(&self, check: &str) -> bool {
        self.seen.keys().any(|key| key.check == check)
    }

    /// Of a check's findings keeps those of schemas that meet a condition.
    pub fn keep(&mut self, check: &str, holds: impl Fn(&str) -> bool) {
        self.seen
            .retain(|key, _| key.check != check || key.schema.as_deref().is_some_and(&holds));
    }

    /// Keeps something that was not shown.
    pub fn doubt(&mut self, check: &str, reason: String, example: String) {
        self.doubts
            .entry((check.to_owned(), reason))
            .or_insert(Doubt { count: 0, example })
            .count += 1;
    }

    /// Adds what another has gathered.
    pub fn merge(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.unclear += other.unclear;
        for (key, theirs) in other.seen {
            match self.seen.get_mut(&key) {
                None => {
                    self.seen.insert(key, theirs);
                }
                Some(ours) => {
                    ours.severity = ours.severity.max(theirs.severity);
                    ours.attackers.extend(theirs.attackers);
                    for does in theirs.does {
                        if !ours.does.contains(&does) {
                            ours.does.push(does);
                        }
                    }
                }
            }
        }
        for (key, theirs) in other.doubts {
            match self.doubts.get_mut(&key) {
                None => {
                    self.doubts.insert(key, theirs);
                }
                Some(ours) => ours.count += theirs.count,
            }
        }
    }

    /// The findings, the worst first, and the unknowns.
    pub fn finish(self) -> (Vec<Finding>, Vec<Unknown>) {
        let mut findings: Vec<Finding> = self
            .seen
            .into_iter()
            .map(|(key, seen)| {
                let named: Vec<&str> = seen.attackers.iter().take(NAMED).map(String::as_str).collect();
                let who = match (named.len(), seen.attackers.len() - named.len()) {
                    (1, 0) => format!("tenant {}", named[0]),
                    (_, 0) => format!("tenants {}", named.join(", ")),
                    (_, more) => format!("tenants {} and {more} more", named.join(", ")),
                };
                Finding {
                    check: key.check.to_owned(),
                    severity: seen.severity,
                    tenant_id: seen.tenant,
                    schema_name: key.schema,
                    object: key.object,
                    detail: format!("{who} can {}, tried with {}", seen.does.join(", "), one_line(&seen.sql)),
                    remedy: seen.remedy,
                }
            })
            .collect();
        findings.sort_by(|a, b| {
            (b.severity, &a.check, &a.tenant_id, &a.object).cmp(&(a.severity, &b.check, &b.tenant_id, &b.object))
        });
        let unknown = self
            .doubts
            .into_iter()
            .map(|((check, reason), doubt)| Unknown {
                check,
                reason: match doubt.count {
                    1 => format!("{reason}; {}", one_line(&doubt.example)),
                    n => format!("{reason}; {n} times, first {}", one_line(&doubt.example)),
                },
            })
            .collect();
        (findings, unknown)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error's class in words that are the same for every tenant: names would keep like from being counted together.
pub fn explain(error: &Error) -> String {
    match error.sqlstate() {
        Some("55P03") => "another session held a lock on it (SQLSTATE 55P03)".to_owned(),
        Some("57014") => "it ran into the time limit (SQLSTATE 57014)".to_owned(),
        Some("25006") => "the server is read-only (SQLSTATE 25006)".to_owned(),
        Some(code) => format!("the server answered with SQLSTATE {code}, which neither allows nor refuses"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempts;
    use super::*;

    fn target(id: &str) -> Target {
        Target {
            id: id.into(),
            schema: format!("tenant_{id}"),
            role: format!("tenant_{id}_user"),
            frozen: false,
            oid: 1,
            objects: Vec::new(),
        }
    }

    fn failed(code: &str) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unknown, "failed").with_sqlstate(code))
    }

    fn attempt() -> Attempt {
        let database = super::super::targets::Database {
            name: "d".into(),
            oid: 1,
            public_connects: true,
        };
        attempts::may_connect(&database, crate::pg::sql::Sql::new("SELECT 1"))
    }

    #[test]
    fn only_expected_refusals_count_as_refused() {
        let attempt = attempt();
        assert_eq!(judge(&attempt, &Ok(())), Outcome::Succeeded);
        assert_eq!(judge(&attempt, &failed("42501")), Outcome::Refused);
        assert_eq!(judge(&attempt, &failed("22012")), Outcome::Refused);
        for code in ["55P03", "57014", "25006", "XX000", "42601", "08006"] {
            assert_eq!(judge(&attempt, &failed(code)), Outcome::Unclear, "{code}");
        }
    }

    #[test]
    fn what_every_tenant_can_do_is_one_finding() {
        let mut tally = Tally::default();
        for id in ["a", "b", "c", "d", "e"] {
            let mut part = Tally::default();
            part.note(&attempt(), &target(id), &target("v"), &Ok(()));
            part.note(&attempt(), &target(id), &target("v"), &failed("XX000"));
            tally.merge(part);
        }
        assert_eq!((tally.attempts, tally.unclear), (10, 5));
        let (findings, unknown) = tally.finish();
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0]
                .detail
                .starts_with("tenants a, b, c and 2 more can connect to it")
        );
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].reason.contains("XX000") && unknown[0].reason.contains("5 times, first tenant a against v"));
    }
}

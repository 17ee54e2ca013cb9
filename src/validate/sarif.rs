//! The report as SARIF 2.1.0, which code scanning services read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeStruct, Serializer};
use serde_json::json;

use super::report::Report;
use super::suppress::Suppressed;
use super::{Finding, Severity, Unknown, checks};

/// The rule of the result that says that the whole run proved nothing.
const NOTHING_PROVEN: &str = "nothing_proven";

/// Writes the document; results go out one by one.
///
/// # Errors
/// What `out` said.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::pretty(&mut *out);
    Log(report).serialize(&mut serializer)?;
    writeln!(out)
}

struct Log<'a>(&'a Report);

impl Serialize for Log<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut log = serializer.serialize_struct("Log", 3)?;
        log.serialize_field("$schema", "https://json.schemastore.org/sarif-2.1.0.json")?;
        log.serialize_field("version", "2.1.0")?;
        log.serialize_field("runs", &[Run::new(self.0)])?;
        log.end()
    }
}

struct Run<'a> {
    report: &'a Report,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
struct Text<'a> {
    text: Cow<'a, str>,
}

fn text<'a>(text: impl Into<Cow<'a, str>>) -> Text<'a> {
    Text { text: text.into() }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: &'a str,
    short_description: Text<'a>,
    full_description: Text<'a>,
    help: Text<'a>,
}

impl<'a> Rule<'a> {
    fn new(id: &'a str) -> Self {
        let help = "Each result names the SQL or the command that mends it.";
        match checks::get(id) {
            Some(check) => Self {
                id,
                short_description: text(check.title),
                full_description: text(check.explain.as_str()),
                help: text(match &check.needs {
                    Some(needs) => format!("{help} The check needs {needs}."),
                    None => help.to_owned(),
                }),
            },
            None if id == NOTHING_PROVEN => Self {
                id,
                short_description: text("nothing was proven"),
                full_description: text("There was no tenant to prove anything about, or no check could be run."),
                help: text("Check that this is the right database, and that the login may read its catalog."),
            },
            None => Self {
                id,
                short_description: text(id),
                full_description: text(id),
                help: text(help),
            },
        }
    }
}

impl<'a> Run<'a> {
    fn new(report: &'a Report) -> Self {
        let mut ids: Vec<&str> = report.checks.iter().map(|run| run.check.as_str()).collect();
        ids.extend(report.findings.iter().map(|f| f.check.as_str()));
        ids.extend(report.suppressed.iter().map(|s| s.finding.check.as_str()));
        ids.extend(report.unknown.iter().map(|u| u.check.as_str()));
        if !report.unproven.is_empty() {
            ids.push(NOTHING_PROVEN);
        }
        ids.sort_unstable();
        ids.dedup();
        Self {
            report,
            rules: ids.into_iter().map(Rule::new).collect(),
        }
    }

    fn invocation(&self) -> serde_json::Value {
        let report = self.report;
        let unknown = report.unknown.iter().map(|u| {
            json!({
                "level": "error",
                "message": { "text": format!("UNKNOWN, nothing was proven: {}: {}", u.check, u.reason) },
                "associatedRule": { "id": u.check },
            })
        });
        let skipped = report.skipped.iter().map(|s| {
            json!({
                "level": "note",
                "message": { "text": format!("skipped ({}): {}", s.reason, s.check) },
            })
        });
        let notes = report
            .notes
            .iter()
            .map(|note| json!({ "level": "warning", "message": { "text": note.message } }));
        json!({
            "executionSuccessful": report.unproven.is_empty() && report.unknown_checks().is_empty(),
            "toolExecutionNotifications": unknown.chain(skipped).collect::<Vec<_>>(),
            "toolConfigurationNotifications": notes.collect::<Vec<_>>(),
        })
    }
}

impl Serialize for Run<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Driver<'a> {
            name: &'static str,
            version: &'static str,
            rules: &'a [Rule<'a>],
        }
        #[derive(Serialize)]
        struct Tool<'a> {
            driver: Driver<'a>,
        }
        let report = self.report;
        let mut run = serializer.serialize_map(None)?;
        run.serialize_entry(
            "tool",
            &Tool {
                driver: Driver {
                    name: "tenantctl",
                    version: env!("CARGO_PKG_VERSION"),
                    rules: &self.rules,
                },
            },
        )?;
        run.serialize_entry("invocations", &[self.invocation()])?;
        run.serialize_entry("results", &Results(self))?;
        run.serialize_entry(
            "properties",
            &json!({
                "tenants_checked": report.tenants_checked,
                "checks_run": report.checks_run,
                "duration_ms": report.duration_ms,
                "passed": report.passed,
                "why": report.why,
            }),
        )?;
        run.end()
    }
}

struct Results<'a>(&'a Run<'a>);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Run { report, rules } = self.0;
        let index: HashMap<&str, usize> = rules.iter().enumerate().map(|(n, rule)| (rule.id, n)).collect();
        let unproven = report.unproven.iter().map(|why| Entry::unproven(why));
        let findings = report.findings.iter().map(|finding| Entry::finding(finding, None));
        let suppressed = report.suppressed.iter().map(|s| Entry::finding(&s.finding, Some(s)));
        let unknown = report.unknown.iter().map(Entry::unknown);
        let entries = unproven.chain(findings).chain(unknown).chain(suppressed);
        serializer.collect_seq(entries.map(|mut entry| {
            entry.rule_index = index.get(entry.rule_id).copied().unwrap_or_default();
            entry
        }))
    }
}

/// One result.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    rule_id: &'a str,
    rule_index: usize,
    kind: &'static str,
    level: &'static str,
    message: Text<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_fingerprints: Option<Fingerprint>,
    /// Empty: not suppressed; SARIF wants that said.
    suppressions: Vec<Suppression>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    logical_locations: Vec<LogicalLocation<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fully_qualified_name: Option<String>,
    kind: &'a str,
}

#[derive(Serialize)]
struct Fingerprint {
    #[serde(rename = "finding/v1")]
    finding: String,
}

#[derive(Serialize)]
struct Suppression {
    kind: &'static str,
    status: &'static str,
    justification: String,
}

#[derive(Serialize)]
struct Properties<'a> {
    severity: Severity,
    tenant_id: Option<&'a str>,
    schema_name: Option<&'a str>,
    remedy: &'a str,
}

impl<'a> Entry<'a> {
    fn finding(finding: &'a Finding, suppressed: Option<&Suppressed>) -> Self {
        let tenant = finding.tenant_id.as_deref();
        let kind = finding.object.split(' ').next().unwrap_or_default();
        let mut logical_locations = vec![LogicalLocation {
            name: &finding.object,
            fully_qualified_name: tenant.map(|tenant| format!("{tenant}/{}", finding.object)),
            kind,
        }];
        logical_locations.extend(tenant.map(|name| LogicalLocation {
            name,
            fully_qualified_name: None,
            kind: "tenant",
        }));
        let place = tenant.map(|tenant| format!("tenant {tenant}: ")).unwrap_or_default();
        Self {
            rule_id: &finding.check,
            rule_index: 0,
            kind: "fail",
            level: match finding.severity {
                Severity::Critical | Severity::High => "error",
                Severity::Medium => "warning",
                Severity::Low => "note",
            },
            message: text(format!(
                "{place}{}: {}. To mend it: {}",
                finding.object, finding.detail, finding.remedy
            )),
            locations: vec![Location { logical_locations }],
            partial_fingerprints: Some(Fingerprint {
                finding: format!(
                    "{}/{}/{}/{}",
                    finding.check,
                    tenant.unwrap_or_default(),
                    finding.object,
                    finding.detail
                ),
            }),
            suppressions: suppressed
                .map(|s| Suppression {
                    kind: "external",
                    status: "accepted",
                    justification: format!("{} (until {})", s.reason, s.expires),
                })
                .into_iter()
                .collect(),
            properties: Some(Properties {
                severity: finding.severity,
                tenant_id: tenant,
                schema_name: finding.schema_name.as_deref(),
                remedy: &finding.remedy,
            }),
        }
    }

    fn bare(rule_id: &'a str, kind: &'static str, level: &'static str, message: Text<'a>) -> Self {
        Self {
            rule_id,
            rule_index: 0,
            kind,
            level,
            message,
            locations: Vec::new(),
            partial_fingerprints: None,
            suppressions: Vec::new(),
            properties: None,
        }
    }

    fn unproven(why: &'a str) -> Self {
        Self::bare(NOTHING_PROVEN, "fail", "error", text(why))
    }

    /// SARIF's `open` says just that: there was not enough to decide on.
    fn unknown(unknown: &'a Unknown) -> Self {
        let message = text(format!("UNKNOWN, nothing was proven: {}", unknown.reason));
        Self::bare(&unknown.check, "open", "none", message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::report::Rules;
    use super::super::report::tests::sample;
    use super::*;

    fn parsed(report: &Report) -> Value {
        let mut document = Vec::new();
        write(report, &mut document).expect("memory");
        serde_json::from_slice(&document).expect("JSON")
    }

    fn report() -> Report {
        sample(Rules {
            fail_on: Some(Severity::High),
            strict: false,
        })
    }

    #[test]
    fn results_refer_to_rules_and_say_where() {
        let log = parsed(&report());
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
        let results = run["results"].as_array().expect("results");
        assert_eq!((rules.len(), results.len()), (3, 6));
        for result in results {
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().expect("index")).expect("index")];
            assert_eq!(rule["id"], result["ruleId"]);
            assert!(rule["help"]["text"].is_string() && rule["shortDescription"]["text"].is_string());
            assert!(result["message"]["text"].as_str().is_some_and(|m| !m.is_empty()));
            // The format ties these: only what failed has a level.
            assert_eq!(result["kind"] == "fail", result["level"] != "none");
            assert!(result["suppressions"].is_array());
        }
        let first = &results[0];
        assert_eq!((&first["level"], &first["ruleId"]), (&json!("error"), &json!("a")));
        let places = &first["locations"][0]["logicalLocations"];
        assert_eq!(places[0]["name"], "table s.u");
        assert_eq!(places[0]["fullyQualifiedName"], "y/table s.u");
        assert_eq!(places[0]["kind"], "table");
        assert_eq!(
            (&places[1]["name"], &places[1]["kind"]),
            (&json!("y"), &json!("tenant"))
        );
        let last = &results[5];
        assert_eq!(last["suppressions"][0]["kind"], "external");
        assert_eq!(
            last["suppressions"][0]["justification"],
            "known & <accepted> (until 2026-12-31)"
        );
        assert_eq!(
            (&results[4]["kind"], &results[4]["ruleId"]),
            (&json!("open"), &json!("u"))
        );
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "error");
        assert_eq!(invocation["toolConfigurationNotifications"][0]["level"], "warning");
    }

    #[test]
    fn a_run_that_proved_nothing_is_an_error() {
        let mut nothing = report();
        nothing.findings.clear();
        nothing.unproven.push("no tenant".to_owned());
        let run = &parsed(&nothing)["runs"][0];
        assert_eq!(run["results"][0]["ruleId"], NOTHING_PROVEN);
        assert_eq!(run["results"][0]["level"], "error");
        assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    }
}

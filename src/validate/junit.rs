//! The report as JUnit XML: one test suite, a test case a check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use super::report::Report;
use super::run::Ended;
use super::suppress::Suppressed;
use super::{Finding, checks};

/// What one test case has to say.
#[derive(Default)]
struct Case<'a> {
    milliseconds: f64,
    failing: Vec<&'a Finding>,
    /// Findings that do not make it fail.
    other: Vec<&'a Finding>,
    suppressed: Vec<&'a Suppressed>,
    unknown: Vec<&'a str>,
    skipped: Option<&'a str>,
}

/// Writes the document.
///
/// A check fails here exactly when it makes the command fail: findings below the limit are output of a case that passed.
///
/// # Errors
/// What `out` said.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut cases: BTreeMap<&str, Case<'_>> = BTreeMap::new();
    for run in &report.checks {
        let case = cases.entry(&run.check).or_default();
        case.milliseconds = run.duration_ms.unwrap_or_default();
        if run.status == Ended::Unknown && !report.unknown.iter().any(|unknown| unknown.check == run.check) {
            case.unknown.push("see probe_control");
        }
    }
    for finding in &report.findings {
        let case = cases.entry(&finding.check).or_default();
        if report.fails(finding) {
            case.failing.push(finding);
        } else {
            case.other.push(finding);
        }
    }
    for suppressed in &report.suppressed {
        cases
            .entry(&suppressed.finding.check)
            .or_default()
            .suppressed
            .push(suppressed);
    }
    for unknown in &report.unknown {
        cases.entry(&unknown.check).or_default().unknown.push(&unknown.reason);
    }
    for skipped in &report.skipped {
        cases.entry(&skipped.check).or_default().skipped = Some(skipped.reason);
    }
    let unproven = &report.unproven;
    let failures = cases.values().filter(|case| !case.failing.is_empty()).count();
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuite name="tenantctl validate" tests="{}" failures="{}" errors="{}" skipped="{}" time="{}">"#,
        cases.len() + unproven.len(),
        failures + unproven.len(),
        cases.values().filter(|case| !case.unknown.is_empty()).count(),
        cases.values().filter(|case| case.skipped.is_some()).count(),
        seconds(report.duration_ms),
    )?;
    writeln!(out, "  <properties>")?;
    for (name, value) in [
        ("tenants_checked", report.tenants_checked.to_string()),
        ("checks_run", report.checks_run.to_string()),
        ("passed", report.passed.to_string()),
    ] {
        writeln!(out, r#"    <property name="{name}" value="{value}"/>"#)?;
    }
    writeln!(out, "  </properties>")?;
    for why in unproven {
        writeln!(
            out,
            r#"  <testcase classname="tenantctl.validate" name="nothing_proven" time="0">"#
        )?;
        writeln!(
            out,
            r#"    <failure type="nothing_proven" message="{}"/>"#,
            attribute(why)
        )?;
        writeln!(out, "  </testcase>")?;
    }
    for (check, case) in &cases {
        test_case(check, case, out)?;
    }
    for note in &report.notes {
        writeln!(out, "  <system-err>{}</system-err>", text(&note.message))?;
    }
    writeln!(out, "</testsuite>")
}

fn test_case(check: &str, case: &Case<'_>, out: &mut dyn Write) -> io::Result<()> {
    let name = match checks::get(check) {
        Some(check) => format!("{}: {}", check.id, check.title),
        None => check.to_owned(),
    };
    writeln!(
        out,
        r#"  <testcase classname="tenantctl.validate" name="{}" time="{}">"#,
        attribute(&name),
        seconds(case.milliseconds)
    )?;
    if let Some(reason) = case.skipped {
        writeln!(out, r#"    <skipped message="{}"/>"#, attribute(reason))?;
    }
    if !case.unknown.is_empty() {
        writeln!(
            out,
            r#"    <error type="unknown" message="UNKNOWN, nothing was proven: {}"/>"#,
            attribute(&case.unknown.join("; "))
        )?;
    }
    if let Some(worst) = case.failing.first() {
        let tenants: BTreeSet<&str> = case.failing.iter().filter_map(|f| f.tenant_id.as_deref()).collect();
        let message = format!(
            "{} findings, {} tenants, the worst {}",
            case.failing.len(),
            tenants.len(),
            worst.severity
        );
        write!(
            out,
            r#"    <failure type="{}" message="{}">"#,
            worst.severity,
            attribute(&message)
        )?;
        for finding in &case.failing {
            write!(out, "{}", text(&line(finding)))?;
        }
        writeln!(out, "</failure>")?;
    }
    if !case.other.is_empty() || !case.suppressed.is_empty() {
        write!(out, "    <system-out>")?;
        for finding in &case.other {
            write!(out, "{}", text(&line(finding)))?;
        }
        for suppressed in &case.suppressed {
            let why = format!(
                "suppressed until {} ({}): {}",
                suppressed.expires,
                suppressed.reason,
                line(&suppressed.finding)
            );
            write!(out, "{}", text(&why))?;
        }
        writeln!(out, "</system-out>")?;
    }
    writeln!(out, "  </testcase>")
}

fn line(finding: &Finding) -> String {
    format!(
        "{}: {}{}: {}\n    {}\n",
        finding.severity,
        finding
            .tenant_id
            .as_ref()
            .map(|tenant| format!("tenant {tenant}: "))
            .unwrap_or_default(),
        finding.object,
        finding.detail,
        finding.remedy
    )
}

/// Milliseconds as the format wants a time.
pub fn seconds(milliseconds: f64) -> String {
    format!("{:.6}", milliseconds / 1000.0)
}

/// Text between tags.
pub fn text(raw: &str) -> String {
    escape(raw, false)
}

/// Text in an attribute.
pub fn attribute(raw: &str) -> String {
    escape(raw, true)
}

/// Escapes what is markup; writes out what XML 1.0 cannot hold in any form.
fn escape(raw: &str, attribute: bool) -> String {
    let mut clean = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => clean.push_str("&amp;"),
            '<' => clean.push_str("&lt;"),
            '>' => clean.push_str("&gt;"),
            '"' if attribute => clean.push_str("&quot;"),
            // A parser would turn these into blanks, and a bare CR into LF.
            '\n' | '\t' if attribute => {
                let _ = write!(clean, "&#{};", u32::from(c));
            }
            '\r' => clean.push_str("&#13;"),
            '\n' | '\t' => clean.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::Severity;
    use super::super::report::tests::sample;
    use super::super::report::{Report, Rules};
    use super::*;

    type Element = (String, BTreeMap<String, String>);

    /// Every element with its attributes, unescaped, and the text; panics where the document is not well-formed.
    fn parsed(report: &Report) -> (Vec<Element>, String) {
        let mut document = Vec::new();
        write(report, &mut document).expect("memory");
        let document = String::from_utf8(document).expect("UTF-8");
        let allowed = |c: char| matches!(c, '\n' | '\t') || !c.is_control();
        assert!(
            document.chars().all(allowed),
            "a character that XML cannot hold in\n{document}"
        );
        let mut reader = Reader::from_str(&document);
        reader.config_mut().check_end_names = true;
        let (mut elements, mut content, mut depth) = (Vec::new(), String::new(), 0_i32);
        loop {
            let event = reader.read_event().unwrap_or_else(|e| panic!("{e} in\n{document}"));
            match &event {
                Event::Start(e) | Event::Empty(e) => {
                    depth += i32::from(matches!(event, Event::Start(_)));
                    let attributes = e.attributes().map(|a| {
                        let a = a.unwrap_or_else(|e| panic!("{e} in\n{document}"));
                        let value = quick_xml::escape::unescape(&a.value).expect("entities").into_owned();
                        (a.key.as_ref().to_owned(), value)
                    });
                    let attributes = attributes.collect();
                    elements.push((e.name().as_ref().to_owned(), attributes));
                }
                Event::End(_) => depth -= 1,
                Event::Text(t) => content.push_str(t),
                Event::GeneralRef(r) => {
                    content.push('&');
                    content.push_str(r);
                    content.push(';');
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        let content = quick_xml::escape::unescape(&content).expect("entities").into_owned();
        (elements, content)
    }

    fn report(fail_on: Option<Severity>) -> Report {
        sample(Rules { fail_on, strict: false })
    }

    #[test]
    fn one_suite_with_a_case_for_each_check() {
        let (elements, content) = parsed(&report(Some(Severity::High)));
        let (root, suite) = &elements[0];
        assert_eq!(root, "testsuite");
        for (key, value) in [("tests", "4"), ("failures", "2"), ("errors", "1"), ("skipped", "1")] {
            assert_eq!(suite[key], value, "{key}");
        }
        let names: Vec<&str> = elements
            .iter()
            .filter(|(name, _)| name == "testcase")
            .map(|(_, attributes)| attributes["name"].as_str())
            .collect();
        assert_eq!(names, ["a", "b", "s", "u"]);
        let count = |wanted: &str| elements.iter().filter(|(name, _)| name == wanted).count();
        assert_eq!((count("failure"), count("error"), count("skipped")), (2, 1, 1));
        assert!(
            elements.iter().any(|(_, a)| {
                a.get("message").map(String::as_str) == Some("UNKNOWN, nothing was proven: no <right>")
            })
        );
        for part in [
            "critical: tenant y: table s.u: role \"<&>\\u{1}\\u{1b}\" holds SELECT\n    REVOKE SELECT ON \"a\nb\" FROM \"<&>\";",
            "low: database d",
            "suppressed until 2026-12-31 (known & <accepted>): medium: tenant y",
            "expired on 2026-01-01",
        ] {
            assert!(content.contains(part), "{part:?} not in\n{content}");
        }
    }

    #[test]
    fn a_case_fails_when_the_command_does() {
        let count = |report: &Report| parsed(report).0.iter().filter(|(name, _)| name == "failure").count();
        assert_eq!(count(&report(None)), 0);
        let mut nothing = report(None);
        nothing.unproven.push("nothing was proven: \"no\" tenant".to_owned());
        let (elements, _) = parsed(&nothing);
        assert_eq!(
            (elements[0].1["failures"].as_str(), elements[0].1["tests"].as_str()),
            ("1", "5")
        );
        assert_eq!(count(&nothing), 1);
    }
}

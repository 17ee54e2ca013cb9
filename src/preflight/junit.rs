//! The checklist as JUnit XML: a test case an item.

use std::io::{self, Write};

use super::{Report, Verdict};
use crate::validate::junit::{attribute, seconds, text};

/// Writes the document: FAIL is a failure, UNKNOWN an error, WARN the output of a case that passed.
///
/// # Errors
/// What `out` said.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuite name="tenantctl validate" tests="{}" failures="{}" errors="{}" skipped="{}" time="{}">"#,
        report.checks.len() + report.skipped.len(),
        report.fail,
        report.unknown,
        report.skipped.len(),
        seconds(report.duration_ms)
    )?;
    for item in &report.checks {
        let object = item
            .object
            .as_ref()
            .map_or(String::new(), |object| format!(" ({object})"));
        let name = attribute(&format!("{}{object}: {}", item.check, item.title));
        writeln!(
            out,
            r#"  <testcase classname="tenantctl.preflight" name="{name}" time="0">"#
        )?;
        let body = match &item.remedy {
            Some(remedy) => format!("{}\n{remedy}\n", item.detail),
            None => format!("{}\n", item.detail),
        };
        let body = text(&body);
        let message = attribute(&item.detail);
        match item.status {
            Verdict::Fail => writeln!(out, r#"    <failure type="FAIL" message="{message}">{body}</failure>"#)?,
            Verdict::Unknown => writeln!(out, r#"    <error type="UNKNOWN" message="{message}">{body}</error>"#)?,
            Verdict::Pass | Verdict::Warn => {
                writeln!(out, "    <system-out>{}: {body}</system-out>", item.status)?;
            }
        }
        writeln!(out, "  </testcase>")?;
    }
    for skipped in &report.skipped {
        writeln!(
            out,
            r#"  <testcase classname="tenantctl.preflight" name="{}" time="0"><skipped message="{}"/></testcase>"#,
            attribute(skipped.check),
            attribute(skipped.reason)
        )?;
    }
    writeln!(out, "</testsuite>")
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn the_document_is_well_formed_and_counts() {
        let mut document = Vec::new();
        write(&sample(false, true), &mut document).expect("memory");
        let document = String::from_utf8(document).expect("UTF-8");
        assert!(!document.contains('\u{1b}'), "{document}");
        let mut reader = Reader::from_str(&document);
        reader.config_mut().check_end_names = true;
        let (mut cases, mut failures, mut errors, mut skipped) = (0, 0, 0, 0);
        loop {
            match reader.read_event().unwrap_or_else(|e| panic!("{e} in\n{document}")) {
                Event::Start(e) | Event::Empty(e) => match e.name().as_ref() {
                    "testcase" => cases += 1,
                    "failure" => failures += 1,
                    "error" => errors += 1,
                    "skipped" => skipped += 1,
                    _ => {}
                },
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!((cases, failures, errors, skipped), (5, 1, 1, 1), "{document}");
        assert!(
            document.contains(r#"tests="5" failures="1" errors="1" skipped="1""#),
            "{document}"
        );
    }
}

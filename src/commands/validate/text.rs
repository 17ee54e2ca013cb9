//! The report for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::ui::{Ui, count, milliseconds, printable};
use crate::validate::checks;
use crate::validate::report::Report;
use crate::validate::suppress::Suppressed;
use crate::validate::{Finding, Severity};

/// How many findings of one check are shown; what comes after tells a reader nothing new.
const SHOWN: usize = 5;

/// Writes the report, the worst first.
pub fn write(report: &Report, ui: &Ui, out: &mut dyn Write) -> io::Result<()> {
    for severity in [Severity::Critical, Severity::High, Severity::Medium, Severity::Low] {
        let mut groups: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
        for finding in report.findings.iter().filter(|f| f.severity == severity) {
            groups.entry(&finding.check).or_default().push(finding);
        }
        if groups.is_empty() {
            continue;
        }
        writeln!(out, "{}", heading(severity, ui))?;
        for (check, findings) in groups {
            group(check, &findings, ui, out)?;
        }
        writeln!(out)?;
    }
    if !report.unknown.is_empty() {
        writeln!(out, "{}", ui.bad("UNKNOWN: nothing was proven here"))?;
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for unknown in &report.unknown {
            reasons.entry(&unknown.check).or_default().push(&unknown.reason);
        }
        let others: Vec<&str> = report
            .unknown_checks()
            .into_iter()
            .filter(|check| !reasons.contains_key(check))
            .collect();
        for (check, reasons) in reasons {
            writeln!(out, "\n  {}", title(check, ui))?;
            for reason in reasons {
                writeln!(out, "    {}", printable(reason))?;
            }
        }
        if !others.is_empty() {
            writeln!(
                out,
                "\n  nor by these, for what probe_control says: {}",
                others.join(", ")
            )?;
        }
        writeln!(out)?;
    }
    suppressed(&report.suppressed, ui, out)?;
    if !report.notes.is_empty() {
        writeln!(out, "{}", ui.bold("suppressions to look at"))?;
        for note in &report.notes {
            writeln!(out, "  {}", printable(&note.message))?;
        }
        writeln!(out)?;
    }
    skipped(report, ui, out)?;
    if let Some(probe) = report.probe {
        let partial = if probe.partial {
            ", not all that was to be tried"
        } else {
            ""
        };
        writeln!(
            out,
            "probe: {}, {}, {} in {}{partial}",
            count(probe.tenants, "tenant"),
            count(probe.pairs, "pair"),
            count(usize::try_from(probe.attempts).unwrap_or(usize::MAX), "attempt"),
            milliseconds(probe.duration_ms)
        )?;
    }
    let summary = report.summary(&milliseconds(report.duration_ms));
    let unknown = report.unknown_checks().len();
    if report.passed && unknown == 0 {
        writeln!(out, "{} {summary}", ui.good("passed:"))
    } else if report.passed {
        let unknown = count(unknown, "check");
        let verdict = format!("passed but for {unknown} UNKNOWN (--strict fails on them):");
        writeln!(out, "{} {summary}", ui.bad(&verdict))
    } else {
        for why in &report.why {
            writeln!(out, "{} {why}", ui.bad("FAILED:"))?;
        }
        writeln!(out, "{summary}")
    }
}

fn heading(severity: Severity, ui: &Ui) -> String {
    let text = severity.as_str().to_uppercase();
    if severity >= Severity::High {
        ui.bad(&text)
    } else {
        ui.bold(&text)
    }
}

fn title(check: &str, ui: &Ui) -> String {
    match checks::get(check) {
        Some(check) => format!("{}: {}", ui.bold(check.id), check.title),
        None => ui.bold(&printable(check)),
    }
}

fn group(check: &str, findings: &[&Finding], ui: &Ui, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n  {}", title(check, ui))?;
    for finding in findings.iter().take(SHOWN) {
        let object = printable(&finding.object);
        match &finding.tenant_id {
            Some(tenant) => writeln!(out, "    {}  {object}", ui.bold(&printable(tenant)))?,
            None => writeln!(out, "    {object}")?,
        }
        writeln!(out, "      {}", printable(&finding.detail))?;
        for line in finding.remedy.lines() {
            writeln!(out, "      {}", ui.dim(&printable(line)))?;
        }
    }
    if findings.len() > SHOWN {
        let mut tenants: Vec<&str> = findings.iter().filter_map(|f| f.tenant_id.as_deref()).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let over = match tenants.len() {
            0 => String::new(),
            n => format!(", {} in all", count(n, "tenant")),
        };
        writeln!(out, "    and {} more{over}; -o json has all", findings.len() - SHOWN)?;
    }
    Ok(())
}

fn suppressed(all: &[Suppressed], ui: &Ui, out: &mut dyn Write) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Finding>> = BTreeMap::new();
    for Suppressed {
        finding,
        reason,
        expires,
    } in all
    {
        groups
            .entry((&finding.check, reason, expires))
            .or_default()
            .push(finding);
    }
    writeln!(out, "{}", ui.bold("suppressed by the configuration"))?;
    for ((check, reason, expires), findings) in groups {
        writeln!(out, "\n  {}", title(check, ui))?;
        writeln!(out, "    until {expires}: {}", printable(reason))?;
        for finding in findings.iter().take(SHOWN) {
            let object = printable(&finding.object);
            let tenant = finding.tenant_id.as_deref().map(|t| format!("{}  ", printable(t)));
            writeln!(
                out,
                "      {}  {}{object}",
                finding.severity,
                tenant.unwrap_or_default()
            )?;
        }
        if findings.len() > SHOWN {
            writeln!(out, "      and {} more; -o json has all", findings.len() - SHOWN)?;
        }
    }
    writeln!(out)
}

fn skipped(report: &Report, ui: &Ui, out: &mut dyn Write) -> io::Result<()> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for skipped in &report.skipped {
        reasons.entry(skipped.reason).or_default().push(&skipped.check);
    }
    for (reason, ids) in &reasons {
        writeln!(out, "{} ({reason}): {}", ui.bold("skipped"), ids.join(", "))?;
    }
    if !reasons.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

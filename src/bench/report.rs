//! A page with all figures that needs no network and runs no script.
//!
//! Targets come first, those that are missed on top; then each suite with its charts, the values of each chart as a table that
//! can be opened, and all figures; then what the run was made on.

mod charts;

use std::fmt::Write;

use super::baseline::{Comparison, Verdict};
use super::{Better, Document, Environment, Figure};
use crate::figures::{bytes, count, grouped, significant, span};
use crate::metrics::report::{CSS, escape};

const OWN_CSS: &str = include_str!("report/page.css");

/// Bars of targets reach so far beyond the target.
const BAR_MAX: f64 = 1.5;

/// The page.
pub fn html(run: &Document) -> String {
    let mut page = String::with_capacity(64 * 1024);
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, run);
    page
}

fn write_page(page: &mut String, run: &Document) -> std::fmt::Result {
    let e = &run.environment;
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
<meta name=\"referrer\" content=\"no-referrer\">\n\
<title>Benchmark of PostgreSQL {}, {}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{CSS}{OWN_CSS}</style>\n</head>\n<body>\n<main>\n",
        escape(&e.server_version),
        escape(&e.started_at)
    )?;
    header(page, run)?;
    failed(page, run)?;
    targets(page, run)?;
    if let Some(comparison) = &run.baseline {
        beside(page, comparison, &run.results)?;
    }
    let mut suites: Vec<&str> = Vec::new();
    for f in &run.results {
        if !suites.contains(&f.suite) {
            suites.push(f.suite);
        }
    }
    for suite in suites {
        self::suite(page, run, suite)?;
    }
    environment(page, e)?;
    write!(
        page,
        "<footer>Written by tenantctl {}. This page loads nothing from anywhere and runs no script.</footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn header(page: &mut String, run: &Document) -> std::fmt::Result {
    let e = &run.environment;
    write!(
        page,
        "<header>\n<h1>Benchmark of PostgreSQL {}</h1>\n<p class=\"soft\">begun <time>{}</time>, {} long</p>\n",
        escape(&e.server_version),
        escape(&e.started_at),
        span(e.duration_s)
    )?;
    if e.build == "debug" {
        page.push_str(
            "<p class=\"c\">Measured with a debug build of tenantctl: the figures are good for nothing.</p>\n",
        );
    }
    let (met, all) = run.targets();
    let class = |bad: usize| if bad > 0 { "c" } else { "g" };
    let mut list = vec![
        (
            "targets met",
            format!(
                "<span class=\"{}\">{met}</span> <small>of {all}</small>",
                class(all - met)
            ),
        ),
        ("figures", grouped(run.results.len() as f64)),
    ];
    if let Some(c) = &run.baseline {
        list.push((
            "beside the baseline",
            format!(
                "<span class=\"{}\">{}</span> <small>worse</small> {} <small>better</small> {} <small>the same</small>",
                class(c.worse),
                c.worse,
                c.better,
                c.same
            ),
        ));
    }
    if !run.failed.is_empty() {
        list.push((
            "suites failed",
            format!("<span class=\"c\">{}</span>", run.failed.len()),
        ));
    }
    page.push_str("<dl class=\"figures\">\n");
    for (name, value) in list {
        writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    page.push_str("</dl>\n</header>\n");
    Ok(())
}

fn failed(page: &mut String, run: &Document) -> std::fmt::Result {
    if run.failed.is_empty() {
        return Ok(());
    }
    page.push_str("<section>\n<h2>Failed suites</h2>\n");
    for f in &run.failed {
        let (suite, message) = (escape(&f.suite), escape(&f.message));
        writeln!(
            page,
            "<p><span class=\"c\">{suite}</span>: {message} <span class=\"soft\">({})</span></p>",
            f.error_id
        )?;
    }
    page.push_str("</section>\n");
    Ok(())
}

fn targets(page: &mut String, run: &Document) -> std::fmt::Result {
    let mut judged: Vec<(&Figure, f64, bool)> = run
        .results
        .iter()
        .filter_map(|f| Some((f, f.target?, f.pass?)))
        .collect();
    if judged.is_empty() {
        return Ok(());
    }
    judged.sort_by_key(|(.., met)| *met);
    page.push_str(
        "<section>\n<h2>Targets</h2>\n<div class=\"scroll\"><table class=\"targets\">\n<thead><tr><th scope=\"col\" class=\"t\">suite<th scope=\"col\" class=\"t\">metric<th scope=\"col\">value<th scope=\"col\">target<th scope=\"col\" class=\"t\">of the target<th scope=\"col\" class=\"t\">met</thead>\n<tbody>\n",
    );
    for (f, target, met) in judged {
        let share = match target > 0.0 {
            true => f.value / target,
            false if f.value > 0.0 => f64::INFINITY,
            false => 0.0,
        };
        let text = match share.is_finite() {
            true => format!("{} %", significant(share * 100.0)),
            false => String::new(),
        };
        writeln!(
            page,
            "<tr><td class=t>{}<td class=t>{}<td>{}<td>{} {}<td class=t><svg class=\"bar\" viewBox=\"0 0 150 14\" role=\"img\" aria-label=\"{text} of the target\">\
<rect class=\"{}\" y=\"3\" width=\"{:.1}\" height=\"8\" rx=\"1\"/><line class=\"mark\" x1=\"100\" x2=\"100\" y1=\"0\" y2=\"14\"/></svg> <span class=\"soft\">{text}</span><td class=\"t {}\">{}",
            f.suite,
            escape(&f.metric),
            with_unit(f.value, f.unit),
            if f.better == Better::More {
                "at least"
            } else {
                "at most"
            },
            with_unit(target, f.unit),
            if met { "b" } else { "a3" },
            (share.clamp(0.0, BAR_MAX) * 100.0).max(0.5),
            if met { "g" } else { "c" },
            if met { "yes" } else { "NO" }
        )?;
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
    Ok(())
}

/// `12.3 ms`; ratios have no unit that is written.
fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => significant(value),
        unit => format!("{} {}", significant(value), escape(unit)),
    }
}

fn beside(page: &mut String, c: &Comparison, figures: &[Figure]) -> std::fmt::Result {
    let when = c
        .started_at
        .as_ref()
        .map_or_else(String::new, |at| format!(", begun {}", escape(at)));
    write!(
        page,
        "<section>\n<h2>Beside the baseline</h2>\n<p class=\"soft\">{}{when}. Within {} % figures are the same; a p99 within twice, a maximum within four times as much.</p>\n",
        escape(&c.file),
        c.noise_percent
    )?;
    let changed = figures.iter().filter_map(|f| {
        Some((
            f,
            f.baseline
                .filter(|b| matches!(b.verdict, Verdict::Worse | Verdict::Better))?,
        ))
    });
    let mut changed: Vec<_> = changed.collect();
    changed.sort_by_key(|(_, b)| b.verdict != Verdict::Worse);
    if changed.is_empty() {
        page.push_str("<p>No figure is worse or better.</p>\n");
    } else {
        page.push_str(
            "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\" class=\"t\">suite<th scope=\"col\" class=\"t\">metric<th scope=\"col\">value<th scope=\"col\">baseline<th scope=\"col\">change<th scope=\"col\" class=\"t\">which is</thead>\n<tbody>\n",
        );
        for (f, b) in changed {
            let worse = b.verdict == Verdict::Worse;
            writeln!(
                page,
                "<tr><td class=t>{}<td class=t>{}<td>{}<td>{}<td>{}<td class=\"t {}\">{}",
                f.suite,
                escape(&f.metric),
                with_unit(f.value, f.unit),
                with_unit(b.value, f.unit),
                b.change_percent.map_or_else(String::new, |p| format!("{p:+.0} %")),
                if worse { "c" } else { "g" },
                if worse { "worse" } else { "better" }
            )?;
        }
        page.push_str("</tbody>\n</table></div>\n");
    }
    for (what, singles) in [("Missing", &c.missing), ("New", &c.new)] {
        if !singles.is_empty() {
            let names: Vec<String> = singles
                .iter()
                .map(|s| format!("{} {}", escape(&s.suite), escape(&s.metric)))
                .collect();
            writeln!(
                page,
                "<details>\n<summary>{what}: {}</summary>\n<p>{}</p>\n</details>",
                count(names.len(), "figure"),
                names.join("; ")
            )?;
        }
    }
    if !c.environment.is_empty() {
        page.push_str("<p>The runs are not alike:</p>\n<ul>\n");
        for difference in &c.environment {
            writeln!(page, "<li>{}", escape(difference))?;
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</section>\n");
    Ok(())
}

/// What a suite measures, in a sentence.
fn about(suite: &str) -> &'static str {
    match suite {
        "provisioning" => "How long a tenant takes to be made, beside the same DDL sent raw, and many at once.",
        "queries" => "Queries of one tenant, as the tenant itself.",
        "resources" => "What a schema, a connection and indexes take.",
        "backup" => "Backup and restore of one tenant beside pg_dump and pg_restore on the same data.",
        "metrics" => "Metrics of all tenants beside plain queries, and a scrape of the exporter.",
        "audit" => "The same inserts with and without the audit log.",
        "limits" => "The same inserts with and without counted limits.",
        "scale" => "The same work at growing numbers of tenants.",
        _ => "",
    }
}

fn suite(page: &mut String, run: &Document, suite: &str) -> std::fmt::Result {
    write!(
        page,
        "<section>\n<h2>{suite}</h2>\n<p class=\"soft\">{}</p>\n",
        about(suite)
    )?;
    let curves: Vec<_> = run.curves.iter().filter(|c| c.suite == suite).collect();
    let histograms: Vec<_> = run
        .histograms
        .iter()
        .filter(|h| h.suite == suite && h.count > 0)
        .collect();
    if !curves.is_empty() || !histograms.is_empty() {
        page.push_str("<div class=\"charts\">\n");
        for curve in curves {
            charts::curve(page, curve)?;
        }
        for histogram in &histograms {
            charts::histogram(page, histogram, charts::range(histogram, &histograms))?;
        }
        page.push_str("</div>\n");
    }
    let figures: Vec<&Figure> = run.results.iter().filter(|f| f.suite == suite).collect();
    let compared = figures.iter().any(|f| f.baseline.is_some());
    page.push_str("<div class=\"scroll\"><table class=\"all\">\n<thead><tr><th scope=\"col\" class=\"t\">metric<th scope=\"col\">value<th scope=\"col\" class=\"t\">unit<th scope=\"col\">target");
    if compared {
        page.push_str("<th scope=\"col\">baseline<th scope=\"col\">change");
    }
    page.push_str("</thead>\n<tbody>\n");
    for f in figures {
        let class = match f.pass {
            Some(false) => " class=\"c\"",
            _ => "",
        };
        write!(
            page,
            "<tr><th scope=row>{}<td{class}>{}<td class=t>{}<td>{}",
            escape(&f.metric),
            significant(f.value),
            escape(f.unit),
            f.target.map_or_else(String::new, significant)
        )?;
        if compared {
            let class = match f.baseline.map(|b| b.verdict) {
                Some(Verdict::Worse) => " class=\"c\"",
                Some(Verdict::Better) => " class=\"g\"",
                _ => "",
            };
            let change = f.baseline.and_then(|b| b.change_percent);
            write!(
                page,
                "<td>{}<td{class}>{}",
                f.baseline.map_or_else(String::new, |b| significant(b.value)),
                change.map_or_else(String::new, |p| format!("{p:+.0} %"))
            )?;
        }
        page.push('\n');
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
    Ok(())
}

fn environment(page: &mut String, e: &Environment) -> std::fmt::Result {
    let memory = e
        .client_memory_bytes
        .map_or_else(String::new, |n| format!(", {}", bytes(n)));
    let local = if e.server_is_local {
        "the same machine"
    } else {
        "another machine, or not known"
    };
    let mut rows = vec![
        ("server", format!("PostgreSQL {}", e.server_version)),
        ("extensions", e.extensions.join(", ")),
        (
            "machine of tenantctl",
            format!("{}{memory}", count(e.client_cpus, "processor")),
        ),
        ("server runs on", local.to_owned()),
        ("tenantctl", format!("{}, {} build", e.tenantctl_version, e.build)),
        ("measured", e.arguments.join(" ")),
    ];
    rows.extend(e.settings.iter().filter_map(|setting| {
        let (name, value) = setting.split_once(" = ")?;
        Some((name, value.to_owned()))
    }));
    page.push_str("<section>\n<h2>Made on</h2>\n<div class=\"scroll\"><table class=\"made\">\n<tbody>\n");
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(page, "<tr><th scope=row>{}<td class=t>{}", escape(name), escape(value))?;
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
    Ok(())
}

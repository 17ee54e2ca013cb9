//! A page with all figures that needs no network.
//!
//! All rows are in the page as they stand, so that it can be read without a script. Its script shows a hundred at a time,
//! sorted and filtered as asked, which keeps ten thousand tenants usable. The page may load nothing from anywhere, and
//! run no script but its own: its Content-Security-Policy says so.

mod charts;

use std::collections::BTreeSet;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{Alert, AlertSeverity, Fleet, TenantMetrics, Usage, limit_label, limit_of_alert};
use crate::figures::{bytes, grouped, milliseconds, span};

/// How pages look: type, colours of light and dark, tables; the benchmark's page too.
pub const CSS: &str = include_str!("report/page.css");
const JS: &str = include_str!("report/page.js");

/// Runs before the table is laid out, lest all its rows be.
const EARLY_JS: &str = "document.documentElement.className=\"js\"";

/// Alerts that are seen at once, and those that are listed with their sentences at all; the table has those of all tenants.
const ALERTS_SEEN: usize = 8;
const ALERTS: usize = 200;

/// Limits that have a column, with its heading and whether the cell says the share or the figures.
const LIMITS: [(&str, &str, bool); 6] = [
    ("schema_size", "size used", true),
    ("connections", "connections used", true),
    ("portfolios", "portfolios", false),
    ("positions_per_portfolio", "positions a\u{a0}portfolio", false),
    ("trades_per_day", "trades today", false),
    ("api_calls_per_minute", "API calls a minute", false),
];

/// The page.
pub fn html(fleet: &Fleet) -> String {
    let mut page = String::with_capacity(64 * 1024 + fleet.tenants.len() * 512);
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, fleet);
    page
}

fn write_page(page: &mut String, fleet: &Fleet) -> std::fmt::Result {
    let database = escape(&fleet.cluster.database);
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src {} {}; img-src data:; base-uri 'none'; form-action 'none'\">\n\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
<meta name=\"referrer\" content=\"no-referrer\">\n\
<title>Tenants of {database}, {}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{CSS}</style>\n<script>{EARLY_JS}</script>\n</head>\n<body>\n<main>\n",
        source(EARLY_JS),
        source(JS),
        escape(&fleet.timestamp)
    )?;
    let standby = if fleet.cluster.in_recovery { ", a standby" } else { "" };
    write!(
        page,
        "<header>\n<h1>Tenants of {database}</h1>\n<p class=\"soft\">measured <time>{}</time> in {}{standby}</p>\n",
        escape(&fleet.timestamp),
        milliseconds(fleet.duration_ms)
    )?;
    figures(page, fleet)?;
    page.push_str("</header>\n");
    alerts(page, &fleet.alerts)?;
    unknown(page, &fleet.unknown)?;
    if fleet.tenants.is_empty() {
        page.push_str("<p>There are no tenants.</p>\n");
    } else {
        charts::all(page, &fleet.tenants)?;
        table(page, fleet)?;
    }
    standbys(page, fleet)?;
    write!(
        page,
        "<footer>Written by tenantctl {}. A figure that could not be had is <span class=\"x\">unknown</span>, never 0. \
This page loads nothing from anywhere.</footer>\n</main>\n<script>{JS}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// How a script is named in the policy of the page: by what it is, so that no other one runs.
fn source(script: &str) -> String {
    format!("'sha256-{}'", base64(&Sha256::digest(script.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            match at <= three.len() {
                true => text.push(char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

/// Text of anybody's as text of the page, in elements and in attributes. What would reverse the direction of writing, or
/// steer a terminal that the file is shown on, is replaced.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                escaped.push('\u{fffd}');
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn figures(page: &mut String, fleet: &Fleet) -> std::fmt::Result {
    let tenants = &fleet.tenants;
    let sum = |of: &dyn Fn(&TenantMetrics) -> Option<u64>| {
        let known: u64 = tenants.iter().filter_map(of).sum();
        (known, tenants.iter().filter(|t| of(t).is_none()).count())
    };
    let unknown = |n: usize| match n {
        0 => String::new(),
        n => format!(" <small>and {} unknown</small>", grouped(n as f64)),
    };
    let (size, no_size) = sum(&|t| t.database.size_bytes);
    let (rows, no_rows) = sum(&|t| t.database.total_rows);
    let (sessions, _) = sum(&|t| Some(t.performance.connections.total));
    let critical = fleet
        .alerts
        .iter()
        .filter(|a| a.severity == AlertSeverity::Critical)
        .count();
    let warning = fleet.alerts.len() - critical;
    let class = |n: usize, class: &'static str| if n > 0 { class } else { "" };
    let frozen = tenants.iter().filter(|t| t.writes_frozen_at.is_some()).count();
    let without = tenants.iter().filter(|t| t.backup.age_seconds.is_none()).count();
    let list = [
        ("tenants", grouped(tenants.len() as f64)),
        ("size", bytes(size) + &unknown(no_size)),
        ("rows", grouped(rows as f64) + &unknown(no_rows)),
        (
            "connections of tenants",
            format!(
                "{} <small>{} of {} in the cluster</small>",
                grouped(sessions as f64),
                grouped(fleet.cluster.connections as f64),
                grouped(fleet.cluster.max_connections as f64)
            ),
        ),
        (
            "alerts",
            format!(
                "<span class=\"{}\">{}</span> <small>critical</small> <span class=\"{}\">{}</span> <small>warning</small>",
                class(critical, "c"),
                grouped(critical as f64),
                class(warning, "w"),
                grouped(warning as f64)
            ),
        ),
        ("without a backup", grouped(without as f64)),
        ("writes frozen", grouped(frozen as f64)),
    ];
    page.push_str("<dl class=\"figures\">\n");
    for (name, value) in list
        .into_iter()
        .filter(|(name, _)| *name != "writes frozen" || frozen > 0)
    {
        writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

fn alerts(page: &mut String, alerts: &[Alert]) -> std::fmt::Result {
    if alerts.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&Alert> = alerts.iter().collect();
    // Of the same severity the database's own come first: they concern all tenants.
    sorted.sort_by_key(|a| (std::cmp::Reverse(a.severity), a.tenant_id.clone(), a.key()));
    let (seen, more) = sorted.split_at(sorted.len().min(ALERTS_SEEN));
    page.push_str("<section>\n<h2>Alerts</h2>\n");
    alert_rows(page, seen)?;
    if !more.is_empty() {
        let listed = &more[..more.len().min(ALERTS - ALERTS_SEEN)];
        writeln!(
            page,
            "<details>\n<summary>{} more</summary>",
            grouped(more.len() as f64)
        )?;
        alert_rows(page, listed)?;
        if listed.len() < more.len() {
            writeln!(
                page,
                "<p class=\"soft\">and {} that the table of tenants shows</p>",
                grouped((more.len() - listed.len()) as f64)
            )?;
        }
        page.push_str("</details>\n");
    }
    page.push_str("</section>\n");
    Ok(())
}

fn alert_rows(page: &mut String, alerts: &[&Alert]) -> std::fmt::Result {
    page.push_str(
        "<div class=\"scroll\"><table class=\"wide\">\n<thead><tr><th scope=\"col\" class=\"t s\">severity<th scope=\"col\" class=\"t o\">of<th scope=\"col\" class=\"t k\">alert<th scope=\"col\" class=\"t\">what it says</thead>\n<tbody>\n",
    );
    for alert in alerts {
        let of = alert.tenant_id.as_ref().map_or("the database", |id| id.as_str());
        writeln!(
            page,
            "<tr><td class=\"t {}\">{}<td class=t>{}<td class=t>{}<td class=t>{}",
            severity_class(alert.severity),
            alert.severity.as_str(),
            escape(of),
            escape(&alert.alert_type.replace('_', " ")),
            escape(&alert.message)
        )?;
    }
    page.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

fn severity_class(severity: AlertSeverity) -> &'static str {
    match severity {
        AlertSeverity::Critical => "c",
        AlertSeverity::Warning => "w",
    }
}

fn unknown(page: &mut String, sentences: &[String]) -> std::fmt::Result {
    if sentences.is_empty() {
        return Ok(());
    }
    page.push_str("<section>\n<h2>Unknown</h2>\n");
    for sentence in sentences {
        writeln!(page, "<p>{}</p>", escape(sentence))?;
    }
    page.push_str("</section>\n");
    Ok(())
}

fn standbys(page: &mut String, fleet: &Fleet) -> std::fmt::Result {
    let standbys = &fleet.cluster.standbys;
    if standbys.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<section>\n<h2>Standbys</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\" class=\"t\">name<th scope=\"col\" class=\"t\">state<th scope=\"col\">lag<th scope=\"col\">to replay</thead>\n<tbody>\n",
    );
    for s in standbys {
        let lag = s.lag_ms.map_or_else(unknown_word, milliseconds);
        let behind = s.lag_bytes.map_or_else(unknown_word, bytes);
        let state = s.state.as_deref().map_or_else(unknown_word, escape);
        writeln!(
            page,
            "<tr><th scope=\"row\">{}<td class=\"t\">{state}<td>{lag}<td>{behind}",
            escape(&s.name)
        )?;
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
    Ok(())
}

fn unknown_word() -> String {
    "<span class=\"x\">unknown</span>".to_owned()
}

/// The table of tenants, largest first. `data-k` holds what its script sorts by, `-` where there is nothing.
fn table(page: &mut String, fleet: &Fleet) -> std::fmt::Result {
    let tenants = &fleet.tenants;
    // What nobody has a figure of gets no column.
    let limits: Vec<_> = LIMITS
        .iter()
        .filter(|(name, ..)| {
            tenants
                .iter()
                .any(|t| t.limits.get(*name).is_some_and(|u| u.used.is_some()))
        })
        .collect();
    let business: BTreeSet<&String> = tenants.iter().flat_map(|t| t.business.keys()).collect();
    page.push_str(
        "<section>\n<h2 id=\"all\">All tenants</h2>\n<div class=\"controls\"><input type=\"search\" id=\"query\" placeholder=\"tenant or tier\" aria-label=\"Show only tenants whose id or tier has this text\">\
<label><input type=\"checkbox\" id=\"alerting\"> with alerts</label>\
<span class=\"pages\"><output id=\"range\" aria-live=\"polite\"></output> <button type=\"button\" id=\"previous\">Previous</button><button type=\"button\" id=\"next\">Next</button></span></div>\n\
<div class=\"scroll\"><table id=\"tenants\" aria-labelledby=\"all\">\n<thead><tr><th scope=\"col\" class=\"t\" data-key=\"tenant\">tenant<th scope=\"col\" class=\"t\" data-key=\"tier\">tier\
<th scope=\"col\" data-key=\"size\" aria-sort=\"descending\">size<th scope=\"col\" data-key=\"rows\">rows<th scope=\"col\" data-key=\"connections\">connections<th scope=\"col\" data-key=\"active\">active",
    );
    for (name, heading, _) in &limits {
        write!(page, "<th scope=\"col\" data-key=\"{name}\">{heading}")?;
    }
    page.push_str(
        "<th scope=\"col\" data-key=\"backup\">backup<th scope=\"col\" class=\"t\" data-key=\"alerts\">alerts",
    );
    for name in &business {
        let name = escape(name);
        write!(page, "<th scope=\"col\" data-key=\"business:{name}\">{name}")?;
    }
    page.push_str("</thead>\n<tbody>\n");
    let mut sorted: Vec<&TenantMetrics> = tenants.iter().collect();
    sorted.sort_by(|a, b| {
        let size = |t: &TenantMetrics| t.database.size_bytes;
        size(b).cmp(&size(a)).then_with(|| a.tenant_id.cmp(&b.tenant_id))
    });
    for t in sorted {
        let mut keys = Keys(String::new());
        let mut cells = String::new();
        let d = &t.database;
        keys.add(d.size_bytes.map(|n| n as f64));
        match d.size_bytes {
            Some(n) if d.size_source == "estimate" => write!(cells, "<td>~{}", bytes(n))?,
            Some(n) => write!(cells, "<td>{}", bytes(n))?,
            None => cells.push_str("<td class=x>unknown"),
        }
        plain(&mut cells, &mut keys, d.total_rows.map(|n| n as f64))?;
        let c = &t.performance.connections;
        plain(&mut cells, &mut keys, Some(c.total as f64))?;
        plain(&mut cells, &mut keys, c.active.map(|n| n as f64))?;
        for (name, _, share) in &limits {
            let usage = t.limits.get(*name).copied().unwrap_or_default();
            keys.add(usage.ratio);
            limit(&mut cells, t, name, &usage, *share)?;
        }
        // A tenant without a backup has waited longest.
        keys.add(Some(t.backup.age_seconds.unwrap_or(1e18)));
        match t.backup.age_seconds {
            Some(age) => write!(cells, "<td>{}", span(age))?,
            None => cells.push_str("<td class=x>none"),
        }
        let critical = t
            .alerts
            .iter()
            .filter(|a| a.severity == AlertSeverity::Critical)
            .count();
        keys.add(Some((critical * 1000 + t.alerts.len()) as f64));
        alert_cell(&mut cells, t)?;
        for name in &business {
            plain(&mut cells, &mut keys, t.business.get(*name).copied().flatten())?;
        }
        writeln!(
            page,
            "<tr data-k=\"{}\"><th scope=row>{}<td class=t>{}{cells}",
            keys.0,
            escape(t.tenant_id.as_str()),
            escape(&t.tier)
        )?;
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
    Ok(())
}

/// What a row is sorted by.
struct Keys(String);

impl Keys {
    fn add(&mut self, figure: Option<f64>) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        match figure.filter(|n| n.is_finite()) {
            Some(n) => self.0.push_str(&rounded(n)),
            None => self.0.push('-'),
        }
    }
}

/// Whole, or with four digits behind the point; without zeros that say nothing.
fn rounded(n: f64) -> String {
    if n.fract() == 0.0 {
        return format!("{n:.0}");
    }
    let text = format!("{n:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn plain(cells: &mut String, keys: &mut Keys, figure: Option<f64>) -> std::fmt::Result {
    keys.add(figure);
    match figure {
        Some(n) => write!(cells, "<td>{}", grouped(n)),
        None => write!(cells, "<td class=x>unknown"),
    }
}

/// A share with a bar, or used of max with one; without a limit the figure alone.
fn limit(cells: &mut String, t: &TenantMetrics, name: &str, usage: &Usage, share: bool) -> std::fmt::Result {
    let (Some(used), Some(ratio)) = (usage.used, usage.ratio) else {
        return match usage.used {
            Some(_) if share => write!(cells, "<td>no limit"),
            Some(used) => write!(cells, "<td>{}", grouped(used)),
            None if usage.max.is_none() => write!(cells, "<td>no limit"),
            None => write!(cells, "<td class=x>unknown"),
        };
    };
    let about = |a: &&Alert| limit_of_alert(&a.alert_type) == Some(name);
    let class = match t.alerts.iter().filter(about).map(|a| a.severity).max() {
        Some(AlertSeverity::Critical) => "\"u c\"",
        Some(AlertSeverity::Warning) => "\"u w\"",
        None => "u",
    };
    write!(
        cells,
        "<td class={class} style=--u:{}>",
        rounded((ratio * 100.0).clamp(0.0, 100.0).round())
    )?;
    match (share, usage.max) {
        (false, Some(max)) => write!(cells, "{} of {}", grouped(used), grouped(max)),
        _ => write!(cells, "{} %", percent(ratio)),
    }
}

/// Rounded down, so that 100 is said at the limit and not before.
fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        p if p > 0.0 && p < 1.0 => "&lt;1".to_owned(),
        p => grouped((p + 1e-9).floor()),
    }
}

fn alert_cell(cells: &mut String, t: &TenantMetrics) -> std::fmt::Result {
    let worst = t.alerts.iter().map(|a| a.severity).max();
    match worst {
        Some(worst) => write!(cells, "<td class=\"t {}\">{}: ", severity_class(worst), worst.as_str())?,
        None if t.writes_frozen_at.is_some() => return write!(cells, "<td class=\"t c\">writes frozen"),
        None => return write!(cells, "<td>"),
    }
    let mut alerts: Vec<&Alert> = t.alerts.iter().collect();
    alerts.sort_by_key(|a| std::cmp::Reverse(a.severity));
    let names: Vec<String> = alerts
        .iter()
        .map(|a| match limit_of_alert(&a.alert_type) {
            Some(limit) => limit_label(limit).to_owned(),
            None => escape(&a.alert_type.replace('_', " ")),
        })
        .collect();
    cells.push_str(&names.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_others_have_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{fb}\u{ff}", "w7vDvw=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn nothing_is_markup_but_ours() {
        assert_eq!(
            escape("</script><b a=\"1\" b='2'>&amp;\n\u{1b}\u{202e}é"),
            "&lt;/script&gt;&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp; \u{fffd}\u{fffd}é"
        );
    }

    #[test]
    fn keys_are_short() {
        let mut keys = Keys(String::new());
        for n in [
            Some(0.0),
            None,
            Some(0.959_999),
            Some(12_345_678_901.0),
            Some(f64::INFINITY),
            Some(0.5),
        ] {
            keys.add(n);
        }
        assert_eq!(keys.0, "0 - 0.96 12345678901 - 0.5");
        assert_eq!(
            [percent(0.0), percent(0.001), percent(0.8999), percent(1.0)],
            ["0", "&lt;1", "89", "100"]
        );
    }
}

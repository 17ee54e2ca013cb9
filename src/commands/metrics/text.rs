//! Metrics for people: one tenant as a block, many as a table.

mod table;

use serde::{Serialize, Serializer};

use super::enforce::Enforced;
use crate::metrics::statements::TopQuery;
use crate::metrics::{Alert, AlertSeverity, Fleet, TenantMetrics, Usage, limit_label, limit_of_alert};
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count, grouped, milliseconds, printable, span};

pub use self::table::{Order, table};

/// What stands where a figure could not be had.
const UNKNOWN: &str = "UNKNOWN";

/// Cells of a bar in the block of one tenant.
const BAR: usize = 24;

/// Limits in the order they are shown in.
const LIMITS: [&str; 6] = [
    "schema_size",
    "connections",
    "portfolios",
    "positions_per_portfolio",
    "trades_per_day",
    "api_calls_per_minute",
];

/// Alerts that are listed with their sentences below a table; -o json has all.
const ALERTS: usize = 20;

/// A measurement as `metrics` prints it.
pub struct View<'a> {
    /// What was measured.
    pub fleet: &'a Fleet,
    /// With `--enforce`: who was frozen and thawed.
    pub enforced: Option<&'a Enforced>,
    /// Whether it is the one tenant that was asked for: its document alone, then.
    pub one: bool,
    /// Of a table.
    pub order: Order,
    /// Columns that there is room for; none: as many as it takes.
    pub width: Option<usize>,
}

impl View<'_> {
    fn document(&self) -> Option<&TenantMetrics> {
        self.fleet.tenants.first().filter(|_| self.one)
    }
}

/// A result, and beside it what `--enforce` did.
#[derive(Serialize)]
struct With<'a, T> {
    #[serde(flatten)]
    result: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced: Option<&'a Enforced>,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let enforced = self.enforced;
        match self.document() {
            Some(result) => With { result, enforced }.serialize(serializer),
            None => With {
                result: self.fleet,
                enforced,
            }
            .serialize(serializer),
        }
    }
}

impl Render for View<'_> {
    fn text(&self, ui: &Ui) -> String {
        let fleet = self.fleet;
        let mut parts = Vec::new();
        parts.extend(self.enforced.map(|enforced| enforced.text(ui)));
        if let Some(tenant) = self.document() {
            parts.push(document(ui, tenant, self.width));
        } else {
            parts.push(table(ui, &fleet.tenants, &self.order, self.width));
            parts.push(totals(fleet));
        }
        parts.push(alerts(ui, &fleet.alerts, self.document().is_none(), self.width));
        parts.push(unknown(ui, &fleet.unknown));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}

/// One tenant, as `show` describes it.
pub fn document(ui: &Ui, t: &TenantMetrics, width: Option<usize>) -> String {
    let mut lines = vec![
        ("tenant", t.tenant_id.to_string()),
        ("tier", t.tier.clone()),
        ("schema", t.schema_name.clone()),
        ("measured", t.timestamp.clone()),
    ];
    if let Some(since) = &t.writes_frozen_at {
        lines.push(("writes", ui.bad(&format!("FROZEN since {since}"))));
    }
    lines.push(("size", size(t)));
    let rows = t
        .database
        .total_rows
        .map_or_else(|| UNKNOWN.to_owned(), |n| grouped(n as f64));
    lines.push((
        "rows",
        format!("{rows} in {}", count(t.database.table_count as usize, "table")),
    ));
    lines.push(("connections", connections(t)));
    lines.push(("backup", backup(t)));
    lines.push(("host", host(t)));
    let mut text: String = lines
        .iter()
        .map(|(name, value)| format!("{} {value}\n", ui.dim(&format!("{name:<12}"))))
        .collect();
    text.push_str(&format!(
        "\n{}\n",
        ui.bold(&format!("{:<22} {:<26}   USED", "LIMIT", ""))
    ));
    let first = |name: &str| LIMITS.iter().position(|known| *known == name).unwrap_or(LIMITS.len());
    let mut limits: Vec<_> = t.limits.iter().collect();
    limits.sort_by_key(|(name, _)| first(name));
    for (name, usage) in limits {
        text.push_str(&limit_line(ui, t, name, usage));
        text.push('\n');
    }
    if !t.business.is_empty() {
        text.push_str(&format!("\n{}\n", ui.bold("BUSINESS")));
        let longest = t
            .business
            .keys()
            .map(|k| printable(k).chars().count())
            .max()
            .unwrap_or(0)
            .max(22);
        for (name, value) in &t.business {
            let value = value.map_or_else(|| UNKNOWN.to_owned(), grouped);
            text.push_str(&format!("{:<longest$} {value}\n", printable(name)));
        }
    }
    if let Some(queries) = &t.performance.top_queries {
        text.push_str(&format!("\n{}\n", top_queries(ui, queries, width)));
    }
    text.trim_end().to_owned()
}

fn size(t: &TenantMetrics) -> String {
    match (t.database.size_bytes, t.database.size_source.as_str()) {
        (None, _) => UNKNOWN.to_owned(),
        (Some(n), "exact") => bytes(n),
        (Some(n), source) => format!("{} ({source})", bytes(n)),
    }
}

fn connections(t: &TenantMetrics) -> String {
    let c = &t.performance.connections;
    let figure = |n: Option<u64>| n.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
    let mut text = c.total.to_string();
    if c.total > 0 {
        text.push_str(&format!(": {} active, {} idle", figure(c.active), figure(c.idle)));
        if c.idle_in_transaction != Some(0) {
            text.push_str(&format!(", {} idle in transaction", figure(c.idle_in_transaction)));
        }
        if let Some(seconds) = c.longest_seconds {
            text.push_str(&format!("; oldest {}", span(seconds)));
        }
        if let Some(seconds) = c.longest_transaction_seconds {
            text.push_str(&format!(", longest transaction {}", span(seconds)));
        }
    }
    if c.elsewhere > 0 {
        text.push_str(&format!("; {} in other databases", c.elsewhere));
    }
    text
}

fn backup(t: &TenantMetrics) -> String {
    match (&t.backup.backup_id, t.backup.age_seconds) {
        (Some(id), Some(age)) => format!("{} ago ({id})", span(age)),
        _ => format!("none since it was made, {} ago", span(t.backup.tenant_age_seconds)),
    }
}

fn host(t: &TenantMetrics) -> String {
    let r = &t.resources;
    let cpu = r
        .cpu_percent
        .map_or_else(|| UNKNOWN.to_owned(), |n| format!("{n:.0} %"));
    let mib = |n: Option<f64>| n.map_or_else(|| UNKNOWN.to_owned(), |n| bytes((n * 1_048_576.0) as u64));
    format!(
        "{} (where tenantctl runs): processors {cpu}, memory {} of {}",
        printable(&r.host),
        mib(r.memory_mb),
        mib(r.memory_total_mb)
    )
}

fn limit_line(ui: &Ui, t: &TenantMetrics, name: &str, usage: &Usage) -> String {
    let figure = |n: f64| match name {
        "schema_size" => bytes(n.max(0.0) as u64),
        _ => grouped(n),
    };
    let counted = name != "api_calls_per_minute";
    let used = usage.used.map(figure);
    let amount = match (used, usage.max.map(figure)) {
        (Some(used), Some(max)) => format!("{used} of {max}"),
        (Some(used), None) => format!("{used}, unlimited"),
        (None, Some(max)) if counted => format!("{UNKNOWN} of {max}"),
        (None, Some(max)) => format!("at most {max}; the gateway counts them"),
        (None, None) => "unlimited".to_owned(),
    };
    let drawn = match usage.ratio {
        Some(ratio) => format!("[{}] {}", bar(ratio, BAR), percent(ratio)),
        None => format!("{:<width$}      -", "", width = BAR + 2 - 1),
    };
    let severity = t
        .alerts
        .iter()
        .filter(|a| limit_of_alert(&a.alert_type) == Some(name))
        .map(|a| a.severity)
        .max();
    format!("{:<22} {}  {amount}", limit_label(name), paint(ui, severity, &drawn))
}

/// `####....` of this many cells; the last one is only filled at the limit itself.
fn bar(ratio: f64, cells: usize) -> String {
    let filled = ((ratio.clamp(0.0, 1.0) * cells as f64 + 1e-9) as usize).min(cells);
    format!("{}{}", "#".repeat(filled), ".".repeat(cells - filled))
}

/// Rounded down, so that 100 % is said at the limit and not before; six wide up to 9999 %.
fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent > 0.0 && percent < 1.0 {
        return "  <1 %".to_owned();
    }
    format!("{:>4} %", (percent + 1e-9).floor())
}

fn paint(ui: &Ui, severity: Option<AlertSeverity>, text: &str) -> String {
    match severity {
        Some(AlertSeverity::Critical) => ui.bad(text),
        Some(AlertSeverity::Warning) => ui.caution(text),
        None => text.to_owned(),
    }
}

fn top_queries(ui: &Ui, queries: &[TopQuery], width: Option<usize>) -> String {
    if queries.is_empty() {
        return format!("{}\nnone yet", ui.bold("QUERIES"));
    }
    let mut grid = Grid::new(ui, &[">total", ">mean", ">calls", ">rows", "query"]);
    // The other columns take some forty.
    let room = width.map_or(120, |w| w.saturating_sub(46).max(20));
    for q in queries {
        let text = match &q.query {
            Some(text) => cut(&printable(&text.split_whitespace().collect::<Vec<_>>().join(" ")), room),
            None => format!("queryid {}", q.queryid),
        };
        grid.row([
            milliseconds(q.total_time_ms),
            milliseconds(q.mean_time_ms),
            grouped(q.calls as f64),
            grouped(q.rows_returned as f64),
            text,
        ]);
    }
    grid.render()
}

/// The first so many characters, the last of them `…` where there are more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The sums over all that was measured, whether shown or not.
fn totals(fleet: &Fleet) -> String {
    let tenants = &fleet.tenants;
    let partly = |unknown: usize| match unknown {
        0 => String::new(),
        n => format!(" and {n} {UNKNOWN}"),
    };
    let sizes: u64 = tenants.iter().filter_map(|t| t.database.size_bytes).sum();
    let no_size = tenants.iter().filter(|t| t.database.size_bytes.is_none()).count();
    let rows: u64 = tenants.iter().filter_map(|t| t.database.total_rows).sum();
    let no_rows = tenants.iter().filter(|t| t.database.total_rows.is_none()).count();
    let sessions: u64 = tenants.iter().map(|t| t.performance.connections.total).sum();
    let frozen = tenants.iter().filter(|t| t.writes_frozen_at.is_some()).count();
    let frozen = match frozen {
        0 => String::new(),
        n => format!(", {n} with writes FROZEN"),
    };
    let cluster = &fleet.cluster;
    let standby = if cluster.in_recovery { " (a standby)" } else { "" };
    let mut text = format!(
        "{}: {}{}, {} rows{}, {}{frozen}; measured {} in {}",
        count(tenants.len(), "tenant"),
        bytes(sizes),
        partly(no_size),
        grouped(rows as f64),
        partly(no_rows),
        count(sessions as usize, "connection"),
        fleet.timestamp,
        milliseconds(fleet.duration_ms)
    );
    text.push_str(&format!(
        "\ndatabase {}{standby}: {} of {} connections of the cluster",
        printable(&cluster.database),
        grouped(cluster.connections as f64),
        grouped(cluster.max_connections as f64)
    ));
    for s in &cluster.standbys {
        let lag = s.lag_ms.map_or_else(|| UNKNOWN.to_owned(), milliseconds);
        let behind = s.lag_bytes.map_or_else(|| UNKNOWN.to_owned(), bytes);
        text.push_str(&format!(
            "\nstandby {}: {}, lag {lag}, {behind} to replay",
            printable(&s.name),
            printable(s.state.as_deref().unwrap_or(UNKNOWN))
        ));
    }
    text
}

/// The sentences of the alerts that fire, the worst first.
pub fn alerts(ui: &Ui, alerts: &[Alert], with_tenant: bool, width: Option<usize>) -> String {
    if alerts.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<&Alert> = alerts.iter().collect();
    sorted.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.key().cmp(&b.key())));
    let critical = sorted.iter().filter(|a| a.severity == AlertSeverity::Critical).count();
    let mut text = ui.bold(&format!(
        "{}: {critical} critical, {} warning",
        count(sorted.len(), "alert").to_uppercase(),
        sorted.len() - critical
    ));
    let tenant = |a: &Alert| {
        a.tenant_id
            .as_ref()
            .map_or_else(|| "(database)".to_owned(), ToString::to_string)
    };
    let shown = &sorted[..sorted.len().min(ALERTS)];
    let longest = |len: &dyn Fn(&Alert) -> usize| shown.iter().map(|a| len(a)).max().unwrap_or(0);
    let tenants = if with_tenant {
        longest(&|a| tenant(a).len()) + 2
    } else {
        0
    };
    let types = longest(&|a| a.alert_type.len());
    for a in shown {
        let head = match with_tenant {
            true => format!(
                "{:<8}  {:<tenants$}{:<types$}  ",
                a.severity.as_str(),
                tenant(a),
                a.alert_type
            ),
            false => format!("{:<8}  {:<types$}  ", a.severity.as_str(), a.alert_type),
        };
        let message = printable(&a.message);
        let room = width.map_or(usize::MAX, |w| w.saturating_sub(head.chars().count()).max(20));
        text.push_str(&format!(
            "\n{}{}",
            paint(ui, Some(a.severity), &head),
            cut(&message, room)
        ));
    }
    if sorted.len() > ALERTS {
        text.push_str(&format!("\nand {} more; -o json has all", sorted.len() - ALERTS));
    }
    text
}

/// What could not be measured and why.
pub fn unknown(ui: &Ui, sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let mut text = ui.bold(UNKNOWN);
    for sentence in sentences {
        text.push_str(&format!("\n{}", printable(sentence)));
    }
    text
}

//! Metrics for people: one tenant as a block, many as a table.

use serde::{Serialize, Serializer};

use super::enforce::Enforced;
use crate::cli::{MetricsShowArgs, MetricsSort};
use crate::metrics::statements::TopQuery;
use crate::metrics::{Alert, AlertSeverity, Fleet, TenantMetrics, Usage, limit_label, limit_of_alert};
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count, grouped, milliseconds, printable, span};

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

/// The least that ids are cut down to where the terminal is narrow.
const NARROWEST_ID: usize = 12;

/// Alerts that are listed with their sentences below a table; -o json has all.
const ALERTS: usize = 20;

/// Which tenants of a table are shown, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// By what.
    pub sort: MetricsSort,
    /// At most so many.
    pub top: Option<usize>,
    /// Only those with an alert.
    pub alerting: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            sort: MetricsSort::Usage,
            top: None,
            alerting: false,
        }
    }
}

impl Order {
    /// As the command line has it.
    pub fn of(args: &MetricsShowArgs) -> Self {
        Self {
            sort: args.sort,
            top: args.top.map(|n| n as usize),
            alerting: args.alerting,
        }
    }

    /// The tenants in this order, and how many they were before `top` cut them off.
    fn apply<'a>(&self, tenants: &'a [TenantMetrics]) -> (Vec<&'a TenantMetrics>, usize) {
        let mut chosen: Vec<&TenantMetrics> = tenants
            .iter()
            .filter(|t| !self.alerting || !t.alerts.is_empty())
            .collect();
        // What is unknown stands behind all that is known; a tenant without a backup has waited longest.
        let key = |t: &TenantMetrics| match self.sort {
            MetricsSort::Usage => fullest(t).map_or(-1.0, |(_, ratio)| ratio),
            MetricsSort::Size => t.database.size_bytes.map_or(-1.0, |n| n as f64),
            MetricsSort::Connections => t.performance.connections.total as f64,
            MetricsSort::Rows => t.database.total_rows.map_or(-1.0, |n| n as f64),
            MetricsSort::Backup => t.backup.age_seconds.unwrap_or(f64::INFINITY),
            MetricsSort::Id => 0.0,
        };
        chosen.sort_by(|a, b| {
            key(b)
                .total_cmp(&key(a))
                .then_with(|| a.tenant_id.as_str().cmp(b.tenant_id.as_str()))
        });
        let all = chosen.len();
        chosen.truncate(self.top.unwrap_or(all));
        (chosen, all)
    }

    fn by(&self) -> &'static str {
        match self.sort {
            MetricsSort::Usage => "usage of the fullest limit",
            MetricsSort::Size => "size",
            MetricsSort::Connections => "connections",
            MetricsSort::Rows => "rows",
            MetricsSort::Backup => "age of the backup",
            MetricsSort::Id => "id",
        }
    }
}

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

/// The limit that is used most, and how much.
fn fullest(t: &TenantMetrics) -> Option<(&str, f64)> {
    t.limits
        .iter()
        .filter_map(|(name, usage)| usage.ratio.map(|ratio| (name.as_str(), ratio)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Limits whose usage could not be had.
fn unknown_limits(t: &TenantMetrics) -> usize {
    let unknown = |(name, usage): &(&String, &Usage)| {
        usage.used.is_none() && usage.max.is_some() && *name != "api_calls_per_minute"
    };
    t.limits.iter().filter(unknown).count()
}

/// The columns of the table, in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Tenant,
    Tier,
    Size,
    Rows,
    Connections,
    Usage,
    Backup,
    Alerts,
}

use Column::{Alerts, Backup, Connections, Rows, Size, Tenant, Tier, Usage as Used};

/// Ever narrower tables: the columns, and the cells of the bar.
const LAYOUTS: [(&[Column], usize); 6] = [
    (&[Tenant, Tier, Size, Rows, Connections, Used, Backup, Alerts], 20),
    (&[Tenant, Tier, Size, Rows, Connections, Used, Backup, Alerts], 10),
    (&[Tenant, Tier, Size, Connections, Used, Backup, Alerts], 10),
    (&[Tenant, Size, Connections, Used, Backup, Alerts], 10),
    (&[Tenant, Size, Connections, Used, Backup, Alerts], 0),
    (&[Tenant, Size, Used, Alerts], 0),
];

/// Many tenants, one a line; empty where none is to be shown.
pub fn table(ui: &Ui, tenants: &[TenantMetrics], order: &Order, width: Option<usize>) -> String {
    let (shown, all) = order.apply(tenants);
    let mut text = if shown.is_empty() {
        String::new()
    } else {
        // Without a terminal nobody knows the width, and nothing may be left out.
        let fits = |layout: &&(&[Column], usize)| {
            width.is_none_or(|width| widths(&shown, layout).iter().sum::<usize>() <= width)
        };
        let layout = LAYOUTS.iter().find(fits).unwrap_or(&LAYOUTS[LAYOUTS.len() - 1]);
        lines(ui, &shown, layout, width)
    };
    let mut left_out = Vec::new();
    if shown.len() < all {
        left_out.push(format!(
            "{} of {} shown, by {}",
            grouped(shown.len() as f64),
            grouped(all as f64),
            order.by()
        ));
    }
    if all < tenants.len() {
        left_out.push(format!(
            "{} without an alert left out",
            count(tenants.len() - all, "tenant")
        ));
    }
    if !left_out.is_empty() {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&ui.dim(&left_out.join("; ")));
    }
    text
}

fn heading(column: Column) -> &'static str {
    match column {
        Column::Tenant => "TENANT",
        Column::Tier => "TIER",
        Column::Size => "SIZE",
        Column::Rows => "ROWS",
        Column::Connections => "ACT/CONNS",
        Column::Usage => "FULLEST LIMIT",
        Column::Backup => "BACKUP",
        Column::Alerts => "ALERTS",
    }
}

fn is_right_aligned(column: Column) -> bool {
    matches!(
        column,
        Column::Size | Column::Rows | Column::Connections | Column::Backup
    )
}

fn cell(t: &TenantMetrics, column: Column, cells: usize) -> String {
    match column {
        Column::Tenant => t.tenant_id.to_string(),
        Column::Tier => t.tier.clone(),
        Column::Size => match (t.database.size_bytes, t.database.size_source.as_str()) {
            (None, _) => UNKNOWN.to_owned(),
            (Some(n), "estimate") => format!("~{}", bytes(n)),
            (Some(n), _) => bytes(n),
        },
        Column::Rows => t
            .database
            .total_rows
            .map_or_else(|| UNKNOWN.to_owned(), |n| grouped(n as f64)),
        Column::Connections => {
            let c = &t.performance.connections;
            let active = c.active.map_or_else(|| "?".to_owned(), |n| n.to_string());
            format!("{active}/{}", c.total)
        }
        Column::Usage => usage_cell(t, cells),
        Column::Backup => t.backup.age_seconds.map_or_else(|| "none".to_owned(), span),
        Column::Alerts => alert_cell(t),
    }
}

fn usage_cell(t: &TenantMetrics, cells: usize) -> String {
    let unknown = match unknown_limits(t) {
        0 => String::new(),
        n if cells > 0 => format!(" ({n} {UNKNOWN})"),
        n => format!(" ({n} ?)"),
    };
    match fullest(t) {
        Some((name, ratio)) if cells > 0 => {
            format!(
                "[{}] {} {}{unknown}",
                bar(ratio, cells),
                percent(ratio),
                limit_label(name)
            )
        }
        Some((name, ratio)) => format!("{} {}{unknown}", percent(ratio), limit_label(name)),
        None if unknown.is_empty() => "unlimited".to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

/// The worst alert and how many there are beside it.
fn alert_cell(t: &TenantMetrics) -> String {
    let Some(worst) = t.alerts.iter().max_by_key(|a| a.severity) else {
        return if t.writes_frozen_at.is_some() {
            "FROZEN".to_owned()
        } else {
            String::new()
        };
    };
    let more = match t.alerts.len() {
        1 => String::new(),
        n => format!(" +{}", n - 1),
    };
    let about = limit_of_alert(&worst.alert_type).map_or(worst.alert_type.as_str(), limit_label);
    format!("{} {about}{more}", worst.severity.as_str().to_uppercase())
}

/// What each column takes, the two blanks before it included.
fn widths(shown: &[&TenantMetrics], (columns, cells): &(&[Column], usize)) -> Vec<usize> {
    let width = |column: &Column| {
        let longest = shown.iter().map(|t| cell(t, *column, *cells).chars().count()).max();
        longest.unwrap_or(0).max(heading(*column).len())
    };
    columns
        .iter()
        .enumerate()
        .map(|(at, column)| width(column) + if at > 0 { 2 } else { 0 })
        .collect()
}

fn lines(ui: &Ui, shown: &[&TenantMetrics], layout: &(&[Column], usize), width: Option<usize>) -> String {
    let (columns, cells) = layout;
    let mut widths = widths(shown, layout);
    if let Some(width) = width {
        // Ids are long where they are made by machines; they give way first.
        let over = widths.iter().sum::<usize>().saturating_sub(width);
        widths[0] -= over.min(widths[0].saturating_sub(NARROWEST_ID));
    }
    let line = |cell: &dyn Fn(Column) -> String, style: &dyn Fn(Column, &str) -> String| {
        let mut line = String::new();
        let mut taken = 0;
        for (at, column) in columns.iter().enumerate() {
            let gap = if at > 0 { 2 } else { 0 };
            let room = widths[at] - gap;
            let text = cell(*column);
            let padded = match is_right_aligned(*column) {
                true => format!("{text:>room$}"),
                // The last column ends where its text does.
                false if at + 1 == columns.len() => text,
                false => format!("{text:<room$}"),
            };
            let left = width.map_or(usize::MAX, |w| w.saturating_sub(taken + gap));
            if left == 0 {
                break;
            }
            let padded = cut(&padded, left.min(room));
            taken += gap + room;
            line.push_str(&" ".repeat(gap));
            line.push_str(&style(*column, &padded));
        }
        line.trim_end().to_owned()
    };
    let mut text = ui.bold(&line(&|column| heading(column).to_owned(), &|_, text| text.to_owned()));
    for t in shown {
        let worst = t.alerts.iter().map(|a| a.severity).max();
        let of_fullest = fullest(t).and_then(|(name, _)| {
            let about = |a: &&Alert| limit_of_alert(&a.alert_type) == Some(name);
            t.alerts.iter().filter(about).map(|a| a.severity).max()
        });
        text.push('\n');
        text.push_str(&line(&|column| cell(t, column, *cells), &|column, text| match column {
            Column::Alerts => paint(ui, worst, text),
            Column::Usage => paint(ui, of_fullest, text),
            _ => text.to_owned(),
        }));
    }
    text
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

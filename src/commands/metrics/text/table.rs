//! Many tenants as a table that fits the terminal.

use super::{UNKNOWN, bar, cut, paint, percent};
use crate::cli::{MetricsShowArgs, MetricsSort};
use crate::metrics::{Alert, TenantMetrics, Usage, limit_label, limit_of_alert};
use crate::ui::{Ui, bytes, count, grouped, span};

/// The least that ids are cut down to where the terminal is narrow.
const NARROWEST_ID: usize = 12;

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

//! `show`: one tenant with tier, limits and what it uses.

use serde::Serialize;

use super::{Context, Status};
use crate::catalog::backups::{self, BackupRow};
use crate::catalog::chunks;
use crate::catalog::restores::{self, RestoreRow};
use crate::catalog::tenants::{self, Operation, Relation, TenantRow};
use crate::cli::ShowArgs;
use crate::error::{ErrorKind, Result};
use crate::pg::session::Session;
use crate::plan::chunks::{TimeType, microseconds};
use crate::tenant::Limit;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count};

/// How many operations are shown.
const OPERATIONS: i64 = 5;

/// How many backups are shown.
const BACKUPS: usize = 5;

/// One tenant, as the registry and the catalog know it.
#[derive(Debug, Serialize)]
pub struct Description {
    /// The registry row.
    #[serde(flatten)]
    pub tenant: TenantRow,
    /// Sessions of its role now.
    pub connections: i64,
    /// Bytes of all tables with indexes and TOAST; null when a lock kept them from being measured.
    pub size_bytes: Option<i64>,
    /// Its hypertables, with how long new chunks are and how long rows are kept.
    pub time_series: Vec<TimeSeries>,
    /// Tables and views; null when a lock kept them from being measured.
    pub relations: Option<Vec<Relation>>,
    /// The latest entries of the operation log, newest first.
    pub operations: Vec<Operation>,
    /// Its newest backups, newest first.
    pub backups: Vec<BackupRow>,
    /// Restores that have a schema of their own still: loading, or keeping what they replaced. Newest first.
    pub restores: Vec<RestoreRow>,
    /// What of the tenant is missing although the registry has it.
    pub missing: Vec<&'static str>,
}

/// A hypertable, as `show` prints it.
#[derive(Debug, Serialize)]
pub struct TimeSeries {
    /// The table.
    pub table: String,
    /// Its time column.
    pub column: String,
    /// What a new chunk holds, such as `1 day`; a whole number where time is counted in numbers.
    pub chunk_interval: String,
    /// What the configuration wants new chunks to hold, where that differs; `tenantctl secure` brings it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_interval_wanted: Option<String>,
    /// How long rows are kept by the tier; null: for ever.
    pub retention: Option<String>,
    /// Chunks that there are.
    pub chunks: u64,
}

impl Render for Description {
    fn text(&self, ui: &Ui) -> String {
        let t = &self.tenant;
        let limits = &t.limits;
        let storage = if t.hypertables.is_empty() {
            "plain tables".to_owned()
        } else {
            let each = t.hypertables.iter().map(|name| {
                let Some(series) = self.time_series.iter().find(|s| s.table == *name) else {
                    return name.clone();
                };
                let kept = series
                    .retention
                    .as_ref()
                    .map(|r| format!(", kept {r}"))
                    .unwrap_or_default();
                let wanted = series.chunk_interval_wanted.as_ref();
                let wanted = wanted.map(|w| format!(", {w} wanted")).unwrap_or_default();
                let interval = &series.chunk_interval;
                format!(
                    "{name} ({} of {interval}{wanted}{kept})",
                    count(series.chunks as usize, "chunk")
                )
            });
            format!("hypertables: {}", each.collect::<Vec<_>>().join(", "))
        };
        let size = self
            .size_bytes
            .map_or_else(|| "UNKNOWN (a table is locked)".into(), |b| bytes(b.max(0) as u64));
        let lines = [
            ("tenant", t.tenant_id.to_string()),
            ("tier", t.tier.clone()),
            (
                "status",
                t.writes_frozen_at
                    .as_ref()
                    .map_or_else(|| t.condition(), |since| format!("{} since {since}", t.condition())),
            ),
            ("schema", t.schema_name.to_string()),
            ("role", t.role_name.clone()),
            (
                "template",
                format!("{} v{} ({})", t.template, t.template_version, t.modules.join(", ")),
            ),
            ("storage", storage),
            ("created", format!("{} by {}", t.created_at, t.created_by)),
            (
                "size",
                format!("{size} of {}", limit(limits.max_schema_size_gb, " GiB")),
            ),
            (
                "connections",
                format!("{} of {}", self.connections, limits.max_connections),
            ),
            ("portfolios", at_most(limits.max_portfolios, "")),
            ("positions", at_most(limits.max_positions_per_portfolio, " a portfolio")),
            ("trades", at_most(limits.max_trades_per_day, " a day")),
            (
                "API calls",
                at_most(limits.max_api_calls_per_minute, " a minute (enforced by the gateway)"),
            ),
        ];
        let mut text: String = lines
            .iter()
            .map(|(name, value)| format!("{} {value}\n", ui.dim(&format!("{name:<12}"))))
            .collect();
        if !self.missing.is_empty() {
            text.push_str(&ui.bad(&format!("missing: {}\n", self.missing.join(", "))));
        }
        if let Some(relations) = &self.relations {
            let mut grid = Grid::new(ui, &["relation", "kind", ">rows (est.)", ">size", "row security"]);
            for r in relations {
                let row_security = if r.kind == "view" {
                    "by its tables"
                } else if r.row_security {
                    "forced"
                } else {
                    "grants only"
                };
                grid.row([
                    r.name.clone(),
                    r.kind.clone(),
                    r.estimated_rows.map_or_else(|| "-".into(), |n| n.to_string()),
                    r.bytes.map_or_else(|| "-".into(), |b| bytes(b.max(0) as u64)),
                    row_security.into(),
                ]);
            }
            text.push_str(&format!("\n{}\n", grid.render()));
        }
        if !self.backups.is_empty() {
            let mut grid = Grid::new(ui, &["backup", "type", "status", ">rows", ">stored", "kept until"]);
            for b in &self.backups {
                grid.row([
                    b.backup_id.to_string(),
                    b.backup_type.clone(),
                    b.status.clone(),
                    b.rows.map_or_else(|| "-".into(), |n| n.to_string()),
                    b.stored_bytes.map_or_else(|| "-".into(), bytes),
                    b.expires_at.clone().unwrap_or_else(|| "-".into()),
                ]);
            }
            text.push_str(&format!("\n{}\n", grid.render()));
        }
        if !self.restores.is_empty() {
            let mut grid = Grid::new(ui, &["schema of a restore", "holds", "backup", "until"]);
            for r in &self.restores {
                let holds = match (&r.staging_schema, r.kind.as_str()) {
                    (Some(_), _) => "what is being loaded, or was when it died",
                    (None, "undo") => "what was restored and taken back",
                    (None, _) => "what was replaced",
                };
                grid.row([
                    r.staging_schema
                        .iter()
                        .chain(&r.replaced_schema)
                        .next()
                        .cloned()
                        .unwrap_or_default(),
                    holds.into(),
                    r.backup_id.clone().unwrap_or_else(|| "-".into()),
                    r.drop_after.clone().unwrap_or_else(|| "-".into()),
                ]);
            }
            text.push_str(&format!("\n{}\n", grid.render()));
        }
        if !self.operations.is_empty() {
            let mut grid = Grid::new(ui, &["operation", "status", ">time", "finished", "message"]);
            for o in &self.operations {
                grid.row([
                    o.operation.clone(),
                    o.status.clone(),
                    crate::ui::milliseconds(o.duration_ms),
                    o.finished_at.clone(),
                    o.message.clone().unwrap_or_default(),
                ]);
            }
            text.push_str(&format!("\n{}", grid.render()));
        }
        text.trim_end().to_owned()
    }
}

fn limit(limit: Limit, unit: &str) -> String {
    limit
        .max()
        .map_or_else(|| "unlimited".to_owned(), |n| format!("{n}{unit}"))
}

fn at_most(limit: Limit, unit: &str) -> String {
    limit
        .max()
        .map_or_else(|| "unlimited".to_owned(), |n| format!("at most {n}{unit}"))
}

/// Runs the command.
///
/// # Errors
/// Kind `not_found` when there is no such tenant.
pub async fn run(ctx: &Context<'_>, args: &ShowArgs) -> Result<Status> {
    let id = args.tenant.parse()?;
    let session = ctx.settings.registry(false).await?;
    let tenant = tenants::find_one(&session, &id).await?;
    let remains = tenants::remains(&session, &[&tenant])
        .await?
        .remove(&id)
        .unwrap_or_default();
    let relations = match tenants::relations(&session, &tenant).await {
        Ok(relations) => Some(relations),
        // A lock the tenant holds on its own table must not keep the rest from being shown.
        Err(error) if error.kind() == ErrorKind::Timeout => {
            ctx.ui.warn("a table of this tenant is locked; its sizes are unknown");
            None
        }
        Err(error) => return Err(error),
    };
    let time_series = time_series(ctx, &session, &tenant).await?;
    let operations = tenants::operations(&session, &id, OPERATIONS).await?;
    let mut backups = backups::list(&session, std::slice::from_ref(&id)).await?;
    backups.truncate(BACKUPS);
    let restores = restores::with_schemas(&session, &[&id]).await?;
    let parts = [
        (remains.schema, "schema"),
        (remains.role.is_some(), "role"),
        (remains.can_login || remains.role.is_none(), "the role's LOGIN"),
    ];
    let missing = parts.into_iter().filter(|(there, _)| !there);
    ctx.ui.result(&Description {
        connections: remains.sessions,
        size_bytes: relations.as_ref().map(|r| r.iter().filter_map(|r| r.bytes).sum()),
        relations,
        time_series,
        operations,
        backups,
        restores,
        missing: missing.map(|(_, name)| name).collect(),
        tenant,
    })?;
    Ok(Status::Done)
}

async fn time_series(ctx: &Context<'_>, session: &Session, tenant: &TenantRow) -> Result<Vec<TimeSeries>> {
    let schema = tenant.schema_name.as_str();
    let found = if tenant.hypertables.is_empty() {
        None
    } else {
        chunks::intervals(session, &[schema]).await?.remove(schema)
    };
    let series = found.into_iter().flatten().map(|table| {
        let config = ctx
            .settings
            .config
            .time_series(&tenant.tier, &table.table)
            .unwrap_or_default();
        let is_calendar = table.time.is_some_and(TimeType::is_calendar);
        let wanted = config
            .chunk_interval
            .filter(|w| is_calendar && microseconds(w) != Some(table.interval));
        TimeSeries {
            chunk_interval: if is_calendar {
                spoken(table.interval)
            } else {
                table.interval.to_string()
            },
            chunk_interval_wanted: wanted,
            retention: config.retention.and_then(|r| r.interval().map(str::to_owned)),
            chunks: table.chunks,
            table: table.table,
            column: table.column,
        }
    });
    Ok(series.collect())
}

/// Microseconds in the largest unit that they are a whole number of.
fn spoken(microseconds: i64) -> String {
    const UNITS: [(&str, i64); 5] = [
        ("day", 86_400_000_000),
        ("hour", 3_600_000_000),
        ("minute", 60_000_000),
        ("second", 1_000_000),
        ("microsecond", 1),
    ];
    let (unit, length) = UNITS
        .into_iter()
        .find(|(_, length)| microseconds % length == 0)
        .unwrap_or(UNITS[4]);
    let number = microseconds / length;
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::spoken;

    #[test]
    fn intervals_are_told_in_the_largest_unit() {
        for (microseconds, text) in [
            (86_400_000_000, "1 day"),
            (7 * 86_400_000_000, "7 days"),
            (3_600_000_000, "1 hour"),
            (5_400_000_000, "90 minutes"),
            (1_500_000, "1500000 microseconds"),
        ] {
            assert_eq!(spoken(microseconds), text);
        }
    }
}

//! `audit`: what tenants changed, and how long that is kept.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::provision::Failed;
use super::{Context, Status};
use crate::catalog::audit::{self, Entry, Filter};
use crate::catalog::{standard, tenants};
use crate::cli::{AuditPruneArgs, AuditShowArgs};
use crate::error::{Error, Result};
use crate::pg::record;
use crate::tenant::TenantId;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, count, printable};

/// Rows up to this length are shown; a tenant may write what no terminal and no memory is made for.
const ROW_BYTES: i64 = 64 << 10;

/// The newest entries of one tenant's audit log.
#[derive(Debug, Serialize)]
pub struct Entries {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Newest first.
    pub entries: Vec<Entry>,
}

impl Render for Entries {
    fn text(&self, ui: &Ui) -> String {
        if self.entries.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(
            ui,
            &[
                ">id",
                "at",
                "operation",
                "table",
                "role",
                "application",
                "client",
                "row",
            ],
        );
        for e in &self.entries {
            grid.row([
                e.id.to_string(),
                e.at.clone(),
                e.operation.clone(),
                e.table.clone(),
                e.role_name.clone(),
                printable(&e.application_name),
                e.client_address.clone().unwrap_or_else(|| "local".into()),
                printable(&change(e)),
            ]);
        }
        grid.render()
    }
}

/// The row in one line: of an update what differs, of the rest all.
fn change(entry: &Entry) -> String {
    let columns =
        |row: &RawValue| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(row.get()).unwrap_or_default();
    match (entry.old_row.as_deref(), entry.new_row.as_deref()) {
        (Some(old), Some(new)) => {
            let before = columns(old);
            let changed: Vec<String> = columns(new)
                .iter()
                .filter_map(|(name, new)| {
                    let old = before.get(name).map_or("null", |old| old.get());
                    (old != new.get()).then(|| format!("{name}: {old} -> {new}"))
                })
                .collect();
            if changed.is_empty() {
                format!("unchanged {new}")
            } else {
                changed.join(", ")
            }
        }
        (Some(row), None) | (None, Some(row)) => row.to_string(),
        (None, None) => String::new(),
    }
}

/// `audit show`.
///
/// # Errors
/// Kind `not_found` when there is no such tenant, `unsupported` when its audit log is not as tenantctl made it.
pub async fn show(ctx: &Context<'_>, args: &AuditShowArgs) -> Result<Status> {
    let id = args.tenant.parse()?;
    let session = ctx.settings.registry(false).await?;
    let tenant = tenants::find_one(&session, &id).await?;
    audit::require_sound(&session, &tenant).await?;
    let filter = Filter {
        table: args.table.clone(),
        operation: args.operation.map(|o| o.as_str().to_owned()),
        since: args.since.clone(),
        limit: i64::from(args.limit),
        row_bytes: (!args.full).then_some(ROW_BYTES),
    };
    let entries = audit::entries(&session, &tenant, &filter).await?;
    if entries.is_empty() {
        let audited: Vec<_> = tenant.audit.keys().map(String::as_str).collect();
        ctx.ui
            .note(&format!("no such entry; audited tables: {}", audited.join(", ")));
    }
    ctx.ui.result(&Entries { tenant_id: id, entries })?;
    Ok(Status::Done)
}

/// What was removed.
#[derive(Debug, Serialize)]
pub struct Pruned {
    /// Entries older than so many days.
    pub older_than_days: u32,
    /// Whether nothing was removed, only counted.
    pub dry_run: bool,
    /// Tenants that had such entries.
    pub pruned: Vec<PrunedTenant>,
    /// Tenants whose log could not be pruned, or not wholly.
    pub failed: Vec<Failed>,
}

/// One tenant's part.
#[derive(Debug, Serialize)]
pub struct PrunedTenant {
    /// The tenant.
    pub tenant_id: TenantId,
    /// How many entries.
    pub entries: i64,
}

impl Render for Pruned {
    fn text(&self, ui: &Ui) -> String {
        let total: i64 = self.pruned.iter().map(|p| p.entries).sum();
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let mut text = format!(
            "{verb} {} older than {} from {}\n",
            // Entries are counted by i64 and never negative.
            if total == 1 {
                "1 entry".into()
            } else {
                format!("{total} entries")
            },
            count(self.older_than_days as usize, "day"),
            count(self.pruned.len(), "audit log")
        );
        if !self.pruned.is_empty() {
            let mut grid = Grid::new(ui, &["tenant", ">entries"]);
            for p in &self.pruned {
                grid.row([p.tenant_id.to_string(), p.entries.to_string()]);
            }
            text.push_str(&format!("\n{}", grid.render()));
        }
        text.trim_end().to_owned()
    }
}

/// `audit prune`.
///
/// # Errors
/// Whatever is wrong before the first tenant; after that each tenant has its own result.
pub async fn prune(ctx: &Context<'_>, args: &AuditPruneArgs) -> Result<Status> {
    let ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    if ids.is_empty() && !args.all {
        return Err(
            Error::usage("audit prune needs to know whose log to prune").with_hint("Name tenants, or use --all.")
        );
    }
    let days = args.older_than.unwrap_or(ctx.settings.config.audit.keep_days);
    let session = ctx.settings.registry(!args.dry_run).await?;
    let rows = if args.all {
        tenants::list(&session, None).await?
    } else {
        tenants::find(&session, &ids).await?
    };
    let mut report = Pruned {
        older_than_days: days,
        dry_run: args.dry_run,
        pruned: Vec::new(),
        failed: Vec::new(),
    };
    let mut errors = Vec::new();
    let progress = ctx.ui.progress(rows.len(), "pruning");
    for batch in rows.chunks(standard::BATCH) {
        let states = standard::read(&session, batch).await?;
        for tenant in batch {
            if ctx.interrupt.requested() {
                break;
            }
            let sound = audit::check(tenant, states.get(tenant.schema_name.as_str()));
            let entries = match sound {
                Err(error) => Err(error),
                Ok(()) if args.dry_run => audit::count_older(&session, tenant, days).await,
                Ok(()) => audit::prune(&session, tenant, days, SESSION_LIMIT).await,
            };
            progress.tick();
            match entries {
                Ok(0) => {}
                Ok(entries) => report.pruned.push(PrunedTenant {
                    tenant_id: tenant.tenant_id.clone(),
                    entries,
                }),
                Err(error) => {
                    let connector = &ctx.settings.connector;
                    record::failure(
                        connector,
                        Some(&session),
                        "audit_prune",
                        Some(&tenant.tenant_id),
                        &error,
                    )
                    .await;
                    report.failed.push(Failed::new(tenant.tenant_id.clone(), &error));
                    errors.push(error);
                }
            }
        }
    }
    progress.finish();
    ctx.ui.result(&report)?;
    for error in &errors {
        ctx.ui.error(error);
    }
    Ok(match errors.first() {
        None => Status::Done,
        Some(error) if rows.len() == 1 => Status::Failed(error.kind()),
        Some(_) => Status::Partly,
    })
}

/// A batch's statement is bounded by the session's own limit; its operation is held to twice that.
const SESSION_LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

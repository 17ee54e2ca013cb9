//! `backup prune`: removes what is expired, and what died.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::Serialize;

use super::open_store;
use crate::backup::inventory;
use crate::backup::lock::TenantLock;
use crate::backup::manifest::BackupId;
use crate::backup::prune::{Removal, plan, remove, still_due};
use crate::catalog::backups;
use crate::cli::BackupPruneArgs;
use crate::commands::{Context, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::record;
use crate::tenant::TenantId;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count};

/// What goes, or would go.
#[derive(Debug, Serialize)]
struct Report {
    removals: Vec<Removal>,
    removed: bool,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        if self.removals.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(ui, &["backup", "tenant", "why", "expired", ">stored"]);
        for removal in &self.removals {
            grid.row([
                removal.backup_id.to_string(),
                removal.tenant_id.to_string(),
                removal.reason.to_string(),
                removal.expires_at.clone().unwrap_or_else(|| "-".into()),
                bytes(removal.bytes),
            ]);
        }
        grid.render()
    }
}

/// Runs the command.
///
/// # Errors
/// When the registry or the store cannot be read; after that each tenant has its own result.
pub async fn run(ctx: &Context<'_>, args: &BackupPruneArgs) -> Result<Status> {
    let ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    let store = open_store(ctx, args.store.store.as_deref()).await?;
    let session = ctx.settings.registry(true).await?;
    if args.yes {
        store.probe().await?;
    }
    let mut rows = backups::list(&session, &ids).await?;
    rows.retain(|row| row.store == store.url());
    let inventory = inventory::read(&*store, &ids).await?;
    let (now, _) = backups::now_and_later(&session, 0).await?;
    let nobody = BTreeSet::new();
    let candidates = plan(&rows, &inventory, &nobody, &now, SystemTime::now());
    // Only a lock tells whether somebody is at work.
    let connector = &ctx.settings.connector;
    let mut busy = BTreeSet::new();
    let tenants: BTreeSet<TenantId> = candidates.iter().map(|r| r.tenant_id.clone()).collect();
    let mut spare = None;
    for tenant in tenants {
        let lock_session = match spare.take() {
            Some(session) => session,
            None => connector.connect().await?,
        };
        match TenantLock::take_on(lock_session, &tenant).await {
            // One at a time: as many sessions as tenants would be too many.
            Ok(lock) => spare = Some(lock.release().await?),
            Err(refused) if refused.1.kind() == ErrorKind::InUse => {
                spare = Some(refused.0);
                busy.insert(tenant);
            }
            Err(refused) => return Err(refused.1),
        }
    }
    for tenant in &busy {
        left_alone(ctx, tenant);
    }
    let removals = plan(&rows, &inventory, &busy, &now, SystemTime::now());
    let wanted = |id: &BackupId| {
        rows.iter()
            .any(|row| row.backup_id == *id && row.status == "done" && !row.expired)
    };
    for broken in inventory.broken.iter().filter(|b| !b.unfinished || wanted(&b.id)) {
        ctx.ui
            .warn(&format!("{}; it is left where it is", broken.error.message()));
    }
    if removals.is_empty() {
        ctx.ui.note("nothing to prune");
        ctx.ui.result(&Report {
            removals,
            removed: args.yes,
        })?;
        return Ok(Status::Done);
    }
    if !args.yes {
        ctx.ui.result(&Report {
            removals,
            removed: false,
        })?;
        ctx.ui.note("nothing was removed; --yes removes them");
        return Ok(Status::Done);
    }
    let mut errors = Vec::new();
    let mut removed = Vec::new();
    let mut by_tenant: BTreeMap<TenantId, Vec<Removal>> = BTreeMap::new();
    for removal in removals {
        by_tenant.entry(removal.tenant_id.clone()).or_default().push(removal);
    }
    for (tenant, removals) in by_tenant {
        if ctx.interrupt.requested() {
            break;
        }
        let done = async {
            let lock = match TenantLock::take(connector, &tenant).await {
                Err(error) if error.kind() == ErrorKind::InUse => {
                    left_alone(ctx, &tenant);
                    return Ok(());
                }
                taken => taken?,
            };
            for removal in still_due(&lock, &session, &*store, &now, removals).await? {
                if remove(&lock, &session, &*store, &removal).await? {
                    removed.push(removal);
                }
            }
            lock.release().await.map(drop)
        };
        if let Err(error) = done.await {
            record::failure(connector, Some(&session), "backup prune", Some(&tenant), &error).await;
            errors.push(error);
        }
    }
    let bytes_freed = removed.iter().map(|removal: &Removal| removal.bytes).sum();
    let (n, report) = (
        removed.len(),
        Report {
            removals: removed,
            removed: true,
        },
    );
    ctx.ui.result(&report)?;
    for error in &errors {
        ctx.ui.error(error);
    }
    ctx.ui
        .note(&format!("{} removed, {} freed", count(n, "backup"), bytes(bytes_freed)));
    Ok(ended(n, &errors))
}

fn left_alone(ctx: &Context<'_>, tenant: &TenantId) {
    ctx.ui.note(&format!(
        "tenant {tenant} is left alone: a backup or restore of it is under way"
    ));
}

fn ended(removed: usize, errors: &[Error]) -> Status {
    match errors {
        [] => Status::Done,
        [error] if removed == 0 => Status::Failed(error.kind()),
        _ => Status::Partly,
    }
}

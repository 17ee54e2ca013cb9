//! `backup list`: what backups there are.

use serde::Serialize;

use super::{open_url, overdue};
use crate::backup::inventory;
use crate::backup::manifest::Found;
use crate::catalog::backups::{self, BackupRow};
use crate::cli::BackupListArgs;
use crate::commands::{Context, Status};
use crate::error::Result;
use crate::tenant::TenantId;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count};

/// Backups of the registry.
#[derive(Debug, Serialize)]
struct Known {
    backups: Vec<BackupRow>,
}

impl Render for Known {
    fn text(&self, ui: &Ui) -> String {
        if self.backups.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(
            ui,
            &[
                "backup", "tenant", "type", "status", "created", "expires", ">rows", ">stored", "verified", "store",
            ],
        );
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        for row in &self.backups {
            grid.row([
                row.backup_id.to_string(),
                row.tenant_id.to_string(),
                row.backup_type.clone(),
                match row.expired {
                    _ if row.damaged_at.is_some() => ui.bad("damaged"),
                    true if row.status == "done" => "expired".into(),
                    _ => row.status.clone(),
                },
                text(&row.created_at),
                text(&row.expires_at),
                row.rows.map_or_else(|| "-".into(), |n| n.to_string()),
                row.stored_bytes.map_or_else(|| "-".into(), bytes),
                text(&row.verified_at),
                row.store.clone(),
            ]);
        }
        grid.render()
    }
}

/// Backups of a store.
#[derive(Debug, Serialize)]
struct Stored {
    backups: Vec<StoredBackup>,
    damaged: Vec<Damaged>,
}

/// A backup as its manifest says.
#[derive(Debug, Serialize)]
struct StoredBackup {
    backup_id: String,
    tenant_id: TenantId,
    schema_name: String,
    backup_type: String,
    key: String,
    raw_bytes: u64,
    stored_bytes: u64,
    rows: u64,
    created_at: String,
    expires_at: String,
    duration_ms: f64,
    encrypted: bool,
    manifest_sha256: String,
}

/// What is no backup that could be restored.
#[derive(Debug, Serialize)]
struct Damaged {
    backup_id: String,
    message: String,
    cause: Option<String>,
}

impl From<&Found> for StoredBackup {
    fn from(found: &Found) -> Self {
        let manifest = &found.manifest;
        Self {
            backup_id: manifest.backup_id.to_string(),
            tenant_id: manifest.tenant.tenant_id.clone(),
            schema_name: manifest.tenant.schema_name.clone(),
            backup_type: manifest.backup_type.clone(),
            key: manifest.backup_id.prefix(),
            raw_bytes: manifest.raw_bytes,
            stored_bytes: manifest.stored_bytes,
            rows: manifest.rows,
            created_at: manifest.created_at.clone(),
            expires_at: manifest.expires_at.clone(),
            duration_ms: manifest.duration_ms,
            encrypted: manifest.is_encrypted(),
            manifest_sha256: found.sha256.clone(),
        }
    }
}

impl Render for Stored {
    fn text(&self, ui: &Ui) -> String {
        if self.backups.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(
            ui,
            &[
                "backup",
                "tenant",
                "type",
                "created",
                "expires",
                ">rows",
                ">stored",
                "encrypted",
            ],
        );
        for backup in &self.backups {
            grid.row([
                backup.backup_id.clone(),
                backup.tenant_id.to_string(),
                backup.backup_type.clone(),
                backup.created_at.clone(),
                backup.expires_at.clone(),
                backup.rows.to_string(),
                bytes(backup.stored_bytes),
                if backup.encrypted { "yes" } else { "no" }.into(),
            ]);
        }
        grid.render()
    }
}

/// Runs the command. What is damaged or unfinished in a store is told on stderr, and is no reason to fail.
///
/// # Errors
/// When the registry or the store cannot be read.
pub async fn run(ctx: &Context<'_>, args: &BackupListArgs) -> Result<Status> {
    let ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    if let Some(hours) = args.overdue {
        return overdue::run(ctx, &ids, hours).await;
    }
    let Some(url) = args.store.as_deref().filter(|url| !url.is_empty()) else {
        let session = ctx.settings.registry(false).await?;
        let backups = backups::list(&session, &ids).await?;
        if backups.is_empty() {
            ctx.ui.note("no backups");
        }
        ctx.ui.result(&Known { backups })?;
        return Ok(Status::Done);
    };
    let store = open_url(ctx, url).await?;
    let inventory = inventory::read(&*store, &ids).await?;
    let report = Stored {
        backups: inventory.whole.iter().map(StoredBackup::from).collect(),
        damaged: inventory
            .broken
            .iter()
            .map(|broken| Damaged {
                backup_id: broken.id.to_string(),
                message: broken.error.message().to_owned(),
                cause: broken.error.cause().map(str::to_owned),
            })
            .collect(),
    };
    if report.backups.is_empty() {
        ctx.ui.note("no backups");
    }
    ctx.ui.result(&report)?;
    for broken in &inventory.broken {
        let cause = broken
            .error
            .cause()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        ctx.ui.warn(&format!("{}{cause}", broken.error.message()));
    }
    if !report.damaged.is_empty() {
        ctx.ui.note(&format!(
            "{} not listed: damaged or unfinished",
            count(report.damaged.len(), "backup")
        ));
    }
    Ok(Status::Done)
}

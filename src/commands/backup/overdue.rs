//! `backup list --overdue`: whose last good backup is too old.

use serde::Serialize;

use crate::catalog::backups::{self, Overdue};
use crate::catalog::tenants;
use crate::commands::{Context, Status};
use crate::error::Result;
use crate::tenant::TenantId;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, count};

/// Tenants without a recent backup.
#[derive(Debug, Serialize)]
struct Report {
    overdue_hours: u32,
    overdue: Vec<Overdue>,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        if self.overdue.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(ui, &["tenant", "tier", "last backup", "created", ">hours"]);
        for tenant in &self.overdue {
            grid.row([
                tenant.tenant_id.to_string(),
                tenant.tier.clone(),
                tenant
                    .backup_id
                    .as_ref()
                    .map_or_else(|| "none".into(), ToString::to_string),
                tenant.created_at.clone().unwrap_or_else(|| "-".into()),
                format!("{:.0}", tenant.hours.floor()),
            ]);
        }
        grid.render()
    }
}

/// Runs the command. Tenants that are overdue are findings.
///
/// # Errors
/// When the registry cannot be read, or a tenant named is not there.
pub async fn run(ctx: &Context<'_>, ids: &[TenantId], hours: u32) -> Result<Status> {
    let session = ctx.settings.registry(false).await?;
    // A typing error must not pass for a tenant that has its backup.
    tenants::find(&session, ids).await?;
    let report = Report {
        overdue_hours: hours,
        overdue: backups::overdue(&session, ids, hours).await?,
    };
    ctx.ui.result(&report)?;
    ctx.ui.note(&format!(
        "{} without a good backup for {}",
        count(report.overdue.len(), "tenant"),
        count(hours as usize, "hour")
    ));
    Ok(match report.overdue.is_empty() {
        true => Status::Done,
        false => Status::Partly,
    })
}

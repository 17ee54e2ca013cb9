//! `list`: the registry.

use serde::Serialize;

use super::{Context, Status};
use crate::catalog::tenants::{self, TenantRow};
use crate::cli::ListArgs;
use crate::error::Result;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui};

/// The tenants, as asked for.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// By id.
    pub tenants: Vec<TenantRow>,
}

impl Render for Listing {
    fn text(&self, ui: &Ui) -> String {
        if self.tenants.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(ui, &["tenant", "tier", "status", "schema", "template", "created"]);
        for t in &self.tenants {
            grid.row([
                t.tenant_id.to_string(),
                t.tier.clone(),
                t.condition(),
                t.schema_name.to_string(),
                format!("{} v{}", t.template, t.template_version),
                t.created_at.clone(),
            ]);
        }
        grid.render()
    }
}

/// Runs the command.
///
/// # Errors
/// When the registry cannot be read, or the tier is neither configured nor in use.
pub async fn run(ctx: &Context<'_>, args: &ListArgs) -> Result<Status> {
    let session = ctx.settings.registry(false).await?;
    let listing = Listing {
        tenants: tenants::list(&session, args.tier.as_deref()).await?,
    };
    if listing.tenants.is_empty() {
        // A tier that nobody has and the configuration does not know is a typing error.
        if let Some(tier) = &args.tier {
            ctx.settings.config.tier(tier)?;
        }
        ctx.ui.note("no tenants");
    }
    ctx.ui.result(&listing)?;
    Ok(Status::Done)
}

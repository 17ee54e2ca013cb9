//! `retention`: drops what a tier keeps no longer.

use serde::Serialize;

use super::provision::Failed;
use super::{Context, Plans, Status};
use crate::catalog::tenants::{self, TenantRow};
use crate::cli::RetentionArgs;
use crate::error::{Error, Result};
use crate::fleet;
use crate::retention::{Pruned, Retention, means, observe, of_unknown_tiers};
use crate::tenant::TenantId;
use crate::ui::{Render, Ui, count};

/// Tenants that are shown one by one.
const SHOWN: usize = 50;

/// What was dropped.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Tenants looked at.
    pub tenants_checked: usize,
    /// Those of which something is kept for a time only, with what was dropped.
    pub tenants: Vec<Pruned>,
    /// Plain tables, which are left alone although the configuration keeps them for a time only.
    pub plain: Vec<Plain>,
    /// Those that failed; what was dropped of them until then is gone.
    pub failed: Vec<Failed>,
}

/// A table that is no hypertable.
#[derive(Debug, Serialize)]
pub struct Plain {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The table.
    pub table: String,
    /// For how long the configuration keeps its rows.
    pub retention: String,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        let mut text = String::new();
        let dropped = |t: &Pruned| t.tables.iter().map(|table| table.chunks_dropped).sum::<u64>();
        for tenant in self.tenants.iter().filter(|t| dropped(t) > 0).take(SHOWN) {
            text.push_str(&format!(
                "{}\n",
                ui.bold(&format!("{} ({})", tenant.tenant_id, tenant.schema_name))
            ));
            for table in tenant.tables.iter().filter(|t| t.chunks_dropped > 0) {
                text.push_str(&format!(
                    "  {}: {} dropped that ended by {} (kept {}), {} left\n",
                    table.table,
                    count(table.chunks_dropped as usize, "chunk"),
                    table.cutoff,
                    table.retention,
                    table.chunks_left
                ));
            }
        }
        let with = self.tenants.iter().filter(|t| dropped(t) > 0).count();
        if with > SHOWN {
            text.push_str(&format!(
                "and {} more; -o json has all\n",
                count(with - SHOWN, "tenant")
            ));
        }
        text.push_str(&format!(
            "{}: {} dropped of {}, {} failed",
            count(self.tenants_checked, "tenant"),
            count(self.tenants.iter().map(dropped).sum::<u64>() as usize, "chunk"),
            with,
            self.failed.len()
        ));
        text
    }
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant: an id or a tier that does not exist, a catalog that cannot be read.
pub async fn run(ctx: &Context<'_>, args: &RetentionArgs) -> Result<Status> {
    let ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    let config = &ctx.settings.config;
    let session = ctx.settings.registry(!args.dry_run).await?;
    let rows = if args.all {
        tenants::list(&session, args.tier.as_deref()).await?
    } else {
        tenants::find(&session, &ids).await?
    };
    if rows.is_empty()
        && let Some(tier) = &args.tier
    {
        // A tier that nobody has and the configuration does not know is a typing error.
        config.tier(tier)?;
    }
    for row in rows.iter().filter(|row| !ids.is_empty() && row.is_dropping()) {
        row.refuse_dropping()?;
    }
    let jobs = args.jobs.map_or(config.provisioning.jobs, usize::from);
    let planned = observe(&session, config, &rows).await?;
    let plain: Vec<Plain> = planned
        .iter()
        .flat_map(|p| p.plain.iter().map(move |table| (p, table)))
        .map(|(p, table)| Plain {
            tenant_id: p.tenant.tenant_id.clone(),
            table: table.table.clone(),
            retention: table.retention.clone(),
        })
        .collect();
    tell_plain(ctx, &plain);
    if planned.is_empty() && of_unknown_tiers(config, &rows).is_empty() {
        ctx.ui.note("nothing is kept for a time only: `retention` in `template.hypertables` or in a tier's `hypertables` sets it");
    }
    let mut errors: Vec<(TenantId, Error)> = of_unknown_tiers(config, &rows)
        .into_iter()
        .map(|row| (row.tenant_id.clone(), unknown_tier(row)))
        .collect();
    let (due, rest): (Vec<_>, Vec<_>) = planned.into_iter().partition(|p| p.is_due());
    let jobs = jobs.min(due.len()).max(1);
    let work = means(&session, jobs).await?.map(|(extension, budget)| Retention {
        connector: ctx.settings.connector.clone(),
        interrupt: ctx.interrupt.clone(),
        timeout: ctx.settings.timeout(),
        lock_timeout: ctx.settings.lock_timeout(),
        extension,
        budget,
    });
    if args.dry_run {
        let plan: Vec<_> = due.iter().flat_map(|p| work.iter().flat_map(|w| w.plans(p))).collect();
        for (_, error) in &errors {
            ctx.ui.warn(&error.one_line());
        }
        if plan.is_empty() && errors.is_empty() {
            ctx.ui.note("nothing to do: no chunk is older than it is kept");
        }
        ctx.ui.result(&Plans { plan })?;
        return Ok(Status::Done);
    }
    let mut report = Report {
        tenants_checked: rows.len(),
        tenants: rest
            .iter()
            .filter(|p| !p.tables.is_empty())
            .map(Pruned::nothing)
            .collect(),
        plain,
        failed: Vec::new(),
    };
    let mut missed = due.len();
    if let Some(work) = work.filter(|_| !due.is_empty()) {
        let progress = ctx.ui.progress(due.len(), "dropping chunks");
        let mut results = fleet::many(work, due, jobs, ctx.interrupt);
        while let Some((id, result)) = results.recv().await {
            progress.tick();
            missed -= 1;
            match result {
                Ok(pruned) => report.tenants.push(pruned),
                Err(error) => errors.push((id, error)),
            }
        }
        progress.finish();
    }
    report.tenants.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    report.failed = errors
        .iter()
        .map(|(id, error)| Failed::new(id.clone(), error))
        .collect();
    ctx.ui.result(&report)?;
    for (_, error) in &errors {
        ctx.ui.error(error);
    }
    if missed > 0 {
        ctx.ui.note(&format!("{} not touched", count(missed, "tenant")));
    }
    Ok(match errors.first() {
        Some((_, error)) if rows.len() == 1 => Status::Failed(error.kind()),
        None if missed == 0 => Status::Done,
        _ => Status::Partly,
    })
}

fn unknown_tier(row: &TenantRow) -> Error {
    Error::config(format!(
        "tenant {} is of tier {}, which the configuration does not have",
        row.tenant_id, row.tier
    ))
    .with_cause("for how long its rows are kept is not known")
    .with_hint("Nothing of it was dropped. Is it the right configuration, with all tiers that tenants have?")
}

/// Of a plain table only rows could be deleted, one by one, with audit and all: that is not for a schedule to decide.
fn tell_plain(ctx: &Context<'_>, plain: &[Plain]) {
    if let Some(first) = plain.first() {
        let more = match plain.len() {
            1 => String::new(),
            n => format!(", and so are {} more", n - 1),
        };
        ctx.ui.warn(&format!(
            "{} of tenant {} is a plain table and left alone{more}; of those rows are to be deleted by who knows them",
            first.table, first.tenant_id
        ));
    }
}

//! `secure`: brings tenants and the database to the hardening standard.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::provision::Failed;
use super::{Context, Plans, Status};
use crate::catalog::{self, tenants};
use crate::cli::SecureArgs;
use crate::error::{Error, Result};
use crate::fleet;
use crate::hardener::{Hardener, LineReport, Secured, plan_database, secure_database};
use crate::pg::session::Session;
use crate::tenant::TenantId;
use crate::ui::{Render, Ui, count};

/// Tenants that are shown with every statement; of more, only what kinds of change there were.
const SHOWN: usize = 20;

/// What differed and what became of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The database's lines; absent when only tenants were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Vec<LineReport>>,
    /// Tenants looked at.
    pub tenants_checked: usize,
    /// Tenants that differed.
    pub tenants: Vec<Secured>,
    /// Tenants that could not be brought to the standard.
    pub failed: Vec<Failed>,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        let mut text = String::new();
        if let Some(lines) = &self.database {
            text.push_str("database\n");
            for line in lines {
                let status = format!("{:<8}", line.status);
                let status = match line.status {
                    "unmet" => ui.bad(&status),
                    "off" => ui.dim(&status),
                    _ => ui.good(&status),
                };
                text.push_str(&format!("  {status} {}", line.demands));
                if !line.objects.is_empty() {
                    text.push_str(&format!(": {}", few(&line.objects)));
                }
                if let Some(needs) = line.needs {
                    text.push_str(&format!(" (takes {needs})"));
                }
                text.push('\n');
            }
        }
        if self.tenants_checked == 0 {
            return text.trim_end().to_owned();
        }
        let changed = self.tenants.iter().filter(|t| !t.changes.is_empty()).count();
        let unmet = self.tenants.iter().filter(|t| !t.unmet.is_empty()).count();
        let untouched = self.tenants_checked - self.tenants.len() - self.failed.len();
        text.push_str(&format!(
            "{}: {untouched} met the standard, {changed} changed, {unmet} with something unmet, {} failed\n",
            count(self.tenants_checked, "tenant"),
            self.failed.len()
        ));
        for tenant in self.tenants.iter().take(SHOWN) {
            text.push_str(&format!(
                "{}\n",
                ui.bold(&format!("{} ({})", tenant.tenant_id, tenant.schema_name))
            ));
            for change in &tenant.changes {
                text.push_str(&format!("  {} {}\n", ui.good("changed"), change.change));
                let mut statements = statements(&change.sql);
                let more = statements.len().saturating_sub(12);
                statements.truncate(12);
                for line in statements {
                    text.push_str(&format!("    {}\n", ui.dim(line)));
                }
                if more > 0 {
                    text.push_str(&format!(
                        "    {}\n",
                        ui.dim(&format!("... {}", count(more, "further line")))
                    ));
                }
            }
            for unmet in &tenant.unmet {
                text.push_str(&format!("  {}   {unmet}\n", ui.bad("unmet")));
            }
        }
        if self.tenants.len() > SHOWN {
            text.push_str(&format!(
                "and {} more; -o json has all\n",
                count(self.tenants.len() - SHOWN, "tenant")
            ));
        }
        text.trim_end().to_owned()
    }
}

/// The statements of a change, without the bodies of functions and without what only prepares.
fn statements(sql: &str) -> Vec<&str> {
    let mut in_body = false;
    sql.lines()
        .filter_map(|line| {
            let was_in_body = in_body;
            in_body ^= line.matches("$standard$").count() == 1;
            let shown = line.split(" AS $standard$").next().unwrap_or(line);
            (!was_in_body && !line.starts_with("SET LOCAL")).then_some(shown)
        })
        .collect()
}

/// The first names of a list, and how many there are beside them.
fn few(names: &[String]) -> String {
    const FEW: usize = 4;
    let shown = names.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > FEW {
        format!("{shown} and {} more", names.len() - FEW)
    } else {
        shown
    }
}

/// A hardener that wants of each tenant what the configuration says of its tier and its tables. A tier that the
/// configuration does not have leaves its tenants' limits as they are.
pub fn hardener(ctx: &Context<'_>, session: &Session) -> Hardener {
    let config = ctx.settings.config.clone();
    let of_hypertables = config.clone();
    Hardener::new(
        ctx.settings.connector.clone(),
        Arc::new(move |tenant, objects| {
            let tier = config.tiers.iter().find(|tier| tier.key == tenant.tier);
            let limits = tier.map_or_else(|| tenant.limits.clone(), |tier| tier.limits.clone());
            Ok((limits, config.audit.of(objects)?))
        }),
        Arc::new(move |tenant, table| {
            let known = of_hypertables.tier(&tenant.tier).is_ok();
            of_hypertables
                .time_series(&tenant.tier, table)
                .filter(|_| known)?
                .chunk_interval
        }),
        session.server().major(),
        ctx.settings.timeout(),
        ctx.settings.lock_timeout(),
    )
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first change: an id that does not exist, a catalog that cannot be read.
pub async fn run(ctx: &Context<'_>, args: &SecureArgs) -> Result<Status> {
    let ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    if ids.is_empty() && !args.all && !args.database && args.tier.is_none() {
        return Err(Error::usage("secure needs to know what to secure").with_hint(
            "Name tenants, or use --all for all tenants and the database, --database for the database alone.",
        ));
    }
    let session = ctx.settings.registry(!args.dry_run).await?;
    let rows = match (&args.tier, args.all) {
        (tier, true) => tenants::list(&session, tier.as_deref()).await?,
        (Some(tier), false) => tenants::list(&session, Some(tier)).await?,
        (None, false) => tenants::find(&session, &ids).await?,
    };
    let tiers: BTreeSet<&str> = rows.iter().map(|row| row.tier.as_str()).collect();
    for tier in tiers.into_iter().filter(|tier| ctx.settings.config.tier(tier).is_err()) {
        ctx.ui.warn(&format!(
            "the configuration has no tier {tier}: the limits and chunk intervals of its tenants are left as they are"
        ));
    }
    let configured = ctx.settings.config.template()?;
    if catalog::template::versions(&session, &configured).await?.1.is_none() {
        ctx.ui.warn("the registry was prepared with another template or by another tenantctl; run `tenantctl init`, or validate and secure will differ");
    }
    let off = &ctx.settings.config.hardening.off;
    let wanted = |line: crate::plan::hardening::Line| !off.contains(line.key());
    let database = args.database || (args.all && args.tier.is_none());
    let mut hardener = hardener(ctx, &session);
    hardener.recount = args.recount;
    let planned = hardener.plan(&session, &rows).await?;
    if args.dry_run {
        let mut plan = Vec::new();
        if database {
            plan.extend(plan_database(&session, wanted, &hardener).await?);
        }
        for planned in planned {
            for unmet in &planned.unmet {
                ctx.ui.warn(&format!("tenant {}: {unmet}", planned.tenant.tenant_id));
            }
            plan.extend(planned.plans);
        }
        if plan.is_empty() {
            ctx.ui.note("nothing to do: all of it meets the standard");
        }
        ctx.ui.result(&Plans { plan })?;
        return Ok(Status::Done);
    }
    let database = if database {
        Some(secure_database(&session, wanted, &hardener).await?)
    } else {
        None
    };
    let (tenants, errors, missed) = apply(ctx, &hardener, planned, args).await;
    let report = Report {
        database,
        tenants_checked: rows.len(),
        tenants,
        failed: errors
            .iter()
            .map(|(id, error)| Failed::new(id.clone(), error))
            .collect(),
    };
    ctx.ui.result(&report)?;
    for (_, error) in &errors {
        ctx.ui.error(error);
    }
    if missed > 0 {
        ctx.ui.note(&format!("{} not touched", count(missed, "tenant")));
    }
    let unmet = report.tenants.iter().any(|t| !t.unmet.is_empty())
        || report.database.iter().flatten().any(|line| line.status == "unmet");
    Ok(match errors.first() {
        Some((_, error)) if rows.len() == 1 => Status::Failed(error.kind()),
        None if !unmet && missed == 0 => Status::Done,
        _ => Status::Partly,
    })
}

/// Changes the tenants that differ; returns those, the failures, and how many were not tried after an interrupt.
async fn apply(
    ctx: &Context<'_>,
    hardener: &Hardener,
    planned: Vec<crate::hardener::Planned>,
    args: &SecureArgs,
) -> (Vec<Secured>, Vec<(TenantId, Error)>, usize) {
    let (todo, done): (Vec<_>, Vec<_>) = planned.into_iter().partition(|p| !p.plans.is_empty());
    let mut tenants: Vec<Secured> = done
        .into_iter()
        .filter(|p| !p.unmet.is_empty())
        .map(|p| Secured {
            tenant_id: p.tenant.tenant_id,
            schema_name: p.tenant.schema_name.to_string(),
            changes: Vec::new(),
            unmet: p.unmet,
        })
        .collect();
    let jobs = args.jobs.map_or(ctx.settings.config.provisioning.jobs, usize::from);
    let mut missed = todo.len();
    let mut errors = Vec::new();
    let progress = ctx.ui.progress(todo.len(), "securing");
    let mut results = fleet::many(hardener.clone(), todo, jobs, ctx.interrupt);
    while let Some((id, result)) = results.recv().await {
        progress.tick();
        missed -= 1;
        match result {
            Ok(secured) => tenants.push(secured),
            Err(error) => errors.push((id, error)),
        }
    }
    progress.finish();
    tenants.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    (tenants, errors, missed)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::plan::hardening::Line;
    use std::path::Path;

    /// The configuration knows the lines by the names that they have here.
    #[test]
    fn every_line_can_be_switched_off() {
        for line in Line::ALL {
            let text = format!("hardening: {{{}: off}}", line.key());
            let config = Config::parse(&text, "test", Path::new("")).expect("a valid configuration");
            assert_eq!(config.hardening.off, [line.key().to_owned()].into());
        }
        assert!(Config::builtin().expect("the built-in policy").hardening.off.is_empty());
    }
}

//! `metrics --enforce`: freezes the writes of tenants that have reached their size, thaws those that are well below it.

use std::collections::HashMap;

use serde::Serialize;

use crate::catalog::tenants::TenantRow;
use crate::commands::provision::Failed;
use crate::commands::{Context, Plans};
use crate::error::{Error, Result};
use crate::freezer::{Freezer, Measured, Turned};
use crate::metrics::{Fleet, TenantMetrics};
use crate::pg::session::Session;
use crate::plan::Plan;
use crate::plan::freeze::Turn;
use crate::tenant::TenantId;
use crate::ui::{Render, Ui, bytes, count};

/// Tenants of a kind that are told one by one; of more, only how many.
const SHOWN: usize = 50;

/// What `--enforce` comes to.
pub enum Outcome {
    /// It was done.
    Done(Enforced),
    /// With `--dry-run`: the transactions that it would be done by.
    Planned(Planned),
}

/// The SQL of a dry run.
#[derive(Debug, Serialize)]
pub struct Planned {
    #[serde(flatten)]
    plans: Plans,
    /// As in [`Enforced`].
    unchanged_unknown: Vec<Unknown>,
}

impl Planned {
    /// A transaction a tenant.
    pub fn plans(&self) -> &[Plan] {
        &self.plans.plan
    }
}

impl Render for Planned {
    fn text(&self, ui: &Ui) -> String {
        let comment = |unknown: &Unknown| format!("-- {}: {}", unknown.tenant_id, unknown.reason);
        let mut parts: Vec<String> = self.unchanged_unknown.iter().map(comment).collect();
        if !self.plans.plan.is_empty() {
            parts.push(self.plans.text(ui));
        }
        parts.join("\n")
    }
}

/// Who was frozen, who was thawed, who could be neither.
#[derive(Debug, Default, Serialize)]
pub struct Enforced {
    /// Tenants that neither insert nor update any more.
    pub frozen: Vec<Turned>,
    /// Tenants that do again.
    pub thawed: Vec<Turned>,
    /// Tenants with a limit whose size is not known exactly, so that they stay as they are.
    pub unchanged_unknown: Vec<Unknown>,
    /// Tenants that something was due to which could not be done.
    pub failed: Vec<Failed>,
    /// Tenants that were not come to after an interrupt.
    pub missed: usize,
    /// Why, as the user is told.
    #[serde(skip)]
    pub errors: Vec<Error>,
}

/// A tenant that stays as it is for want of a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unknown {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Why, as a sentence.
    pub reason: String,
}

impl Enforced {
    /// Whether all that was due was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.missed == 0
    }

    /// Writes down in what was measured who is frozen now.
    pub fn mark(&self, fleet: &mut Fleet) {
        let turned: HashMap<&TenantId, &Turned> = self
            .frozen
            .iter()
            .chain(&self.thawed)
            .map(|turned| (&turned.tenant_id, turned))
            .collect();
        for tenant in &mut fleet.tenants {
            if let Some(turned) = turned.get(&tenant.tenant_id) {
                tenant.writes_frozen_at.clone_from(&turned.writes_frozen_at);
            }
        }
    }
}

impl Render for Enforced {
    fn text(&self, ui: &Ui) -> String {
        let mut lines = Vec::new();
        let frozen = self.frozen.iter().take(SHOWN).map(|t| (t, ui.bad("frozen")));
        let thawed = self.thawed.iter().take(SHOWN).map(|t| (t, ui.good("thawed")));
        for (turned, word) in frozen.chain(thawed) {
            let size = turned.size_bytes.map_or_else(|| "UNKNOWN".to_owned(), bytes);
            let max = turned.max_bytes.map_or_else(|| "unlimited".to_owned(), bytes);
            let may = match turned.turn {
                Turn::Freeze => "it reads and deletes, and neither inserts nor updates",
                Turn::Thaw => "it inserts and updates again",
            };
            lines.push(format!("{word} {}: {size} of {max}; {may}", turned.tenant_id));
            lines.extend(turned.notes.iter().map(|note| format!("  {note}")));
        }
        for unknown in self.unchanged_unknown.iter().take(SHOWN) {
            lines.push(format!(
                "{} {}: {}",
                ui.dim("as it was"),
                unknown.tenant_id,
                unknown.reason
            ));
        }
        let lists = [self.frozen.len(), self.thawed.len(), self.unchanged_unknown.len()];
        let more: usize = lists.iter().map(|n| n.saturating_sub(SHOWN)).sum();
        if more > 0 {
            lines.push(format!("and {} more; -o json has all", count(more, "tenant")));
        }
        let mut sum = format!(
            "{} frozen, {} thawed",
            count(self.frozen.len(), "tenant"),
            self.thawed.len()
        );
        for (n, what) in [
            (
                self.unchanged_unknown.len(),
                "as they were because their size is unknown",
            ),
            (self.failed.len(), "failed"),
            (self.missed, "not tried"),
        ] {
            if n > 0 {
                sum.push_str(&format!(", {n} {what}"));
            }
        }
        lines.push(sum);
        lines.join("\n")
    }
}

/// A tenant as it was measured; why not, where its size is not known exactly.
fn measured(tenant: &TenantRow, metrics: Option<&TenantMetrics>) -> (Measured, Option<&'static str>) {
    let found = metrics.filter(|m| m.schema_name == tenant.schema_name.as_str());
    let (size_bytes, why) = match found {
        None => (None, Some("it was not measured, so nothing was changed")),
        Some(m) => match (m.database.size_bytes, m.database.size_source.as_str()) {
            (Some(size), "exact") => (Some(size), None),
            (Some(_), _) => (None, Some("its size is an estimate, so nothing was changed")),
            (None, _) => (None, Some("its size is unknown, so nothing was changed")),
        },
    };
    let measured = Measured {
        tenant: tenant.clone(),
        size_bytes,
    };
    (measured, why)
}

/// Freezes and thaws what is due by what was measured. Nothing is printed but progress; failures are in the result, and in the
/// operation log by then.
///
/// # Errors
/// When the server is read-only; of a dry run also what cannot be planned.
pub async fn run(
    ctx: &Context<'_>,
    session: &Session,
    tenants: &[TenantRow],
    fleet: &Fleet,
    dry_run: bool,
) -> Result<Outcome> {
    let by_id: HashMap<&TenantId, &TenantMetrics> = fleet.tenants.iter().map(|t| (&t.tenant_id, t)).collect();
    let mut unchanged_unknown = Vec::new();
    let (mut freeze, mut thaw) = (Vec::new(), Vec::new());
    for tenant in tenants {
        let (measured, why) = measured(tenant, by_id.get(&tenant.tenant_id).copied());
        match (measured.due(), why) {
            (Some(Turn::Freeze), _) => freeze.push(measured),
            (Some(Turn::Thaw), _) => thaw.push(measured),
            (None, Some(why)) if tenant.limits.max_schema_size_gb.max().is_some() => unchanged_unknown.push(Unknown {
                tenant_id: tenant.tenant_id.clone(),
                reason: why.to_owned(),
            }),
            (None, _) => {}
        }
    }
    let freezer = Freezer::new(
        ctx.settings.connector.clone(),
        ctx.settings.timeout(),
        ctx.settings.lock_timeout(),
    );
    if dry_run {
        // Those that get room first, as below.
        thaw.append(&mut freeze);
        return Ok(Outcome::Planned(Planned {
            plans: Plans {
                plan: freezer.plans(session, &thaw).await?,
            },
            unchanged_unknown,
        }));
    }
    let mut report = Enforced {
        unchanged_unknown,
        ..Enforced::default()
    };
    if thaw.is_empty() && freeze.is_empty() {
        return Ok(Outcome::Done(report));
    }
    session.server().require_writable()?;
    let jobs = ctx.settings.config.provisioning.jobs;
    let progress = ctx.ui.progress(thaw.len() + freeze.len(), "enforcing sizes");
    for (turn, measured) in [(Turn::Thaw, thaw), (Turn::Freeze, freeze)] {
        if measured.is_empty() {
            continue;
        }
        report.missed += measured.len();
        let mut results = freezer.turn_many(turn, measured, jobs, ctx.interrupt);
        while let Some((id, result)) = results.recv().await {
            progress.tick();
            report.missed -= 1;
            match result {
                Ok(Some(turned)) if turned.turn == Turn::Freeze => report.frozen.push(turned),
                Ok(Some(turned)) => report.thawed.push(turned),
                Ok(None) => {}
                Err(error) => {
                    report.failed.push(Failed::new(id, &error));
                    report.errors.push(error);
                }
            }
        }
    }
    progress.finish();
    report.frozen.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    report.thawed.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    report.failed.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    Ok(Outcome::Done(report))
}

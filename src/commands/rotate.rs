//! `rotate`: new passwords for tenants.

use std::time::Instant;

use serde::Serialize;

use super::passwords::{self, Passwords};
use super::provision::{Failed, status};
use super::{Context, Plans, Status};
use crate::catalog::tenants;
use crate::cli::RotateArgs;
use crate::credentials::ledger::Ledger;
use crate::error::{Error, Result};
use crate::pg::session::Session;
use crate::rotator::{Fresh, Request, Rotated, Rotator};
use crate::tenant::TenantId;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, count, milliseconds};

/// What became of the tenants.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Those with a new password, and those of which that is not known.
    pub tenants: Vec<Rotated>,
    /// Those with the old one, and those of which not all was done.
    pub failed: Vec<Failed>,
    /// What is shown in place of passwords.
    #[serde(skip)]
    pub elsewhere: Option<&'static str>,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        if self.tenants.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(ui, &["tenant", "status", ">sessions ended", "role", "password"]);
        for t in &self.tenants {
            let password = t.password.as_ref().map(|p| p.reveal().to_owned());
            grid.row([
                t.tenant_id.to_string(),
                t.status.into(),
                t.sessions_ended.map_or_else(|| "-".into(), |n| n.to_string()),
                t.role_name.clone(),
                password.unwrap_or_else(|| self.elsewhere.unwrap_or_default().into()),
            ]);
        }
        grid.render()
    }
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant is tried; after that each tenant has its own result.
pub async fn run(ctx: &Context<'_>, args: &RotateArgs) -> Result<Status> {
    let mut ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    ids.sort();
    ids.dedup();
    let passwords = Passwords::new(ctx, args.credentials_file.as_deref(), args.no_show)?;
    let session = ctx.settings.registry(!args.dry_run).await?;
    let requests = requests(ctx, &session, args, &ids).await?;
    let rotator = Rotator {
        connector: ctx.settings.connector.discreet(),
        recipients: passwords.recipients.clone(),
        disconnect: args.disconnect,
        timeout: ctx.settings.timeout(),
        lock_timeout: ctx.settings.lock_timeout(),
    };
    if args.dry_run {
        return dry_run(ctx, &rotator, &requests);
    }
    drop(session);
    if requests.is_empty() {
        ctx.ui.note("no tenants");
        ctx.ui.result(&Report {
            tenants: Vec::new(),
            failed: Vec::new(),
            elsewhere: None,
        })?;
        return Ok(Status::Done);
    }
    let ledger = passwords.open(ctx)?;
    let jobs = args.jobs.map_or(ctx.settings.config.provisioning.jobs, usize::from);
    let started = Instant::now();
    let waiting = requests.len();
    let progress = ctx.ui.progress(waiting, "rotating");
    let mut results = rotator.rotate_many(requests, jobs, ledger.clone(), ctx.interrupt);
    let mut outcome = Outcome {
        not_waited_for: waiting,
        ..Outcome::default()
    };
    // Nothing in here may fail: what was changed has to be told whatever else happens.
    loop {
        let (id, mut result) = tokio::select! {
            result = results.recv() => match result {
                Some(result) => result,
                None => break,
            },
            // What is under way is abandoned; the server changes it whole or not at all.
            () = ctx.interrupt.times(2) => break,
        };
        progress.tick();
        outcome.not_waited_for -= 1;
        if let Ok(tenant) = &mut result
            && let Some(error) = tenant.afterwards.take()
        {
            outcome.incomplete.push((id.clone(), error));
        }
        match result {
            Ok(tenant) => outcome.tenants.push(tenant),
            Err(error) => outcome.errors.push((id, error)),
        }
    }
    progress.finish();
    outcome.elapsed_ms = started.elapsed().as_secs_f64() * 1000.0;
    tell(ctx, outcome, &passwords, &ledger)
}

async fn requests(ctx: &Context<'_>, session: &Session, args: &RotateArgs, ids: &[TenantId]) -> Result<Vec<Request>> {
    let rows = if args.all {
        tenants::list(session, args.tier.as_deref()).await?
    } else {
        // All must exist before one is touched: a typing error in a list is a reason to stop.
        tenants::find(session, ids).await?
    };
    if rows.is_empty()
        && let Some(tier) = &args.tier
    {
        // A tier that nobody has and the configuration does not know is a typing error.
        ctx.settings.config.tier(tier)?;
    }
    let mut remains = tenants::remains(session, &rows.iter().collect::<Vec<_>>()).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let remains = remains.remove(&row.tenant_id).unwrap_or_default();
            Request {
                id: row.tenant_id,
                schema: row.schema_name,
                role: remains.role,
                join_role: !remains.member,
            }
        })
        .collect())
}

fn dry_run(ctx: &Context<'_>, rotator: &Rotator, requests: &[Request]) -> Result<Status> {
    let mut plan = Vec::with_capacity(requests.len());
    let mut errors = Vec::new();
    for request in requests {
        match rotator.plan(request, &Fresh::new(&rotator.recipients)?) {
            Ok(one) => plan.push(one),
            Err(error) => {
                ctx.ui.error(&error);
                errors.push((request.id.clone(), error));
            }
        }
    }
    let possible = plan.len();
    ctx.ui.note("dry run: nothing was changed");
    ctx.ui.result(&Plans { plan })?;
    Ok(status(possible, &errors))
}

/// What became of the tenants, as it becomes known.
#[derive(Default)]
struct Outcome {
    tenants: Vec<Rotated>,
    errors: Vec<(TenantId, Error)>,
    /// Tenants that have a new password, but not all that was asked for.
    incomplete: Vec<(TenantId, Error)>,
    not_waited_for: usize,
    elapsed_ms: f64,
}

/// Prints passwords before anything else can go wrong, then what went wrong.
fn tell(ctx: &Context<'_>, outcome: Outcome, passwords: &Passwords<'_>, ledger: &Ledger) -> Result<Status> {
    let Outcome {
        mut tenants,
        mut errors,
        incomplete,
        not_waited_for,
        elapsed_ms,
    } = outcome;
    let rotated = tenants.len();
    let in_doubt = passwords::in_doubt(ledger, tenants.iter().map(|t| &t.tenant_id), &errors);
    let unknown = in_doubt.len();
    tenants.extend(in_doubt.into_iter().map(|(id, sent)| Rotated {
        tenant_id: id,
        role_name: sent.schema.role(),
        schema_name: sent.schema,
        status: "unknown",
        sessions_ended: None,
        password: Some(sent.password),
        stored: !passwords.recipients.is_empty(),
        afterwards: None,
    }));
    tenants.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    let told = tenants.iter().map(|t| (&t.tenant_id, t.role_name.as_str()));
    let finished = passwords::finish(ledger, told, &errors);
    errors.extend(incomplete);
    if passwords.elsewhere().is_some() {
        for tenant in &mut tenants {
            tenant.password = None;
        }
    }
    let report = Report {
        failed: errors
            .iter()
            .map(|(id, error)| Failed::new(id.clone(), error))
            .collect(),
        elsewhere: passwords.elsewhere(),
        tenants,
    };
    let written = ctx.ui.must_result(&report);
    for (id, error) in &errors {
        if errors.len() > 1 {
            ctx.ui.note(&format!("tenant {id}:"));
        }
        ctx.ui.error(error);
    }
    if ctx.interrupt.requested() {
        ctx.ui.note(&format!(
            "interrupted: {} not started or not waited for",
            count(not_waited_for, "tenant")
        ));
    }
    ctx.ui.note(&format!(
        "{} rotated in {}{}",
        count(rotated, "password"),
        milliseconds(elapsed_ms),
        if errors.is_empty() {
            String::new()
        } else {
            format!(", {} failed", errors.len())
        }
    ));
    if unknown > 0 {
        ctx.ui.note(&format!(
            "{} of status unknown: sent, and not known whether changed; either the old password holds or the new one",
            count(unknown, "tenant")
        ));
    }
    let lost: Vec<&str> = report
        .tenants
        .iter()
        .filter(|t| t.password.is_some() && !t.stored)
        .map(|t| t.tenant_id.as_str())
        .collect();
    passwords::printed(
        written,
        &lost,
        "Nobody knows these passwords. Rotate them again, with a --credentials-file.",
    )?;
    finished?;
    Ok(status(rotated, &errors))
}

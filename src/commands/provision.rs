//! `provision`: makes tenants, one or many.

mod input;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::passwords::{self, Passwords};
use super::{Context, Plans, Status};
use crate::catalog;
use crate::cli::ProvisionArgs;
use crate::credentials::ledger::Ledger;
use crate::credentials::vault::Recipients;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::record;
use crate::provisioner::{Identity, Provisioned, Provisioner, Request};
use crate::tenant::{Features, Template, TenantId};
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, count, milliseconds};

/// A tenant that could not be made.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Which.
    pub tenant_id: TenantId,
    /// Also in the log and in the registry.
    pub error_id: uuid::Uuid,
    /// The class, such as `duplicate`.
    pub error_type: ErrorKind,
    /// How bad.
    pub severity: crate::error::Severity,
    /// What went wrong.
    pub message: String,
}

impl Failed {
    /// From a tenant's error.
    pub fn new(tenant_id: TenantId, error: &Error) -> Self {
        Self {
            tenant_id,
            error_id: error.id(),
            error_type: error.kind(),
            severity: error.kind().severity(),
            message: error.message().to_owned(),
        }
    }
}

/// What became of the tenants.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Those that are there, and those of which that is not known.
    #[serde(serialize_with = "with_passwords")]
    pub tenants: Vec<Provisioned>,
    /// Those that are not.
    pub failed: Vec<Failed>,
    /// What is shown in place of passwords.
    #[serde(skip)]
    pub elsewhere: Option<&'static str>,
}

/// A password is shown here, once, and nowhere else.
fn with_passwords<S: Serializer>(tenants: &[Provisioned], serializer: S) -> Result<S::Ok, S::Error> {
    struct Shown<'a>(&'a Provisioned);
    impl Serialize for Shown<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let tenant = self.0;
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("tenant_id", &tenant.tenant_id)?;
            map.serialize_entry("schema_name", &tenant.schema_name)?;
            map.serialize_entry("role_name", &tenant.role_name)?;
            map.serialize_entry("tier", &tenant.tier)?;
            map.serialize_entry("status", tenant.status)?;
            map.serialize_entry(
                "provisioning_time_ms",
                &((tenant.provisioning_time_ms * 1000.0).round() / 1000.0),
            )?;
            if let Some(password) = &tenant.password {
                map.serialize_entry("password", password.reveal())?;
            }
            if tenant.status != "exists" {
                map.serialize_entry("stored", &tenant.stored)?;
            }
            map.end()
        }
    }
    serializer.collect_seq(tenants.iter().map(Shown))
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        if self.tenants.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(ui, &["tenant", "tier", "status", ">time", "schema", "role", "password"]);
        for t in &self.tenants {
            let password = match &t.password {
                Some(password) => password.reveal().to_owned(),
                None if t.status == "exists" => "(unchanged)".into(),
                None => self.elsewhere.unwrap_or_default().into(),
            };
            grid.row([
                t.tenant_id.to_string(),
                t.tier.clone(),
                t.status.into(),
                if t.status == "active" {
                    milliseconds(t.provisioning_time_ms)
                } else {
                    "-".into()
                },
                t.schema_name.to_string(),
                t.role_name.clone(),
                password,
            ]);
        }
        grid.render()
    }
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant is tried; after that each tenant has its own result.
pub async fn run(ctx: &Context<'_>, args: &ProvisionArgs) -> Result<Status> {
    let requests = input::requests(args, &ctx.settings.config).await?;
    let passwords = Passwords::new(ctx, args.credentials_file.as_deref(), args.no_show)?;
    let session = ctx.settings.registry(true).await?;
    let provisioner = provisioner(ctx, &session, &passwords.recipients).await?;
    check_features(&requests, &provisioner.template)?;

    let ids: Vec<&TenantId> = requests.iter().map(|r| &r.id).collect();
    let mut existing = catalog::tenants::existing(&session, &ids).await?;
    let mut outcome = Outcome::default();
    let mut wanted = Vec::new();
    for request in requests {
        match existing.remove(&request.id) {
            None => wanted.push(request),
            Some(row) if args.if_not_exists && !row.is_dropping() => {
                if row.tier != request.tier.key {
                    let asked = &request.tier.key;
                    ctx.ui.warn(&format!(
                        "tenant {} exists with tier {}, not {asked}",
                        row.tenant_id, row.tier
                    ));
                }
                outcome.tenants.push(as_existing(row));
            }
            Some(row) => {
                let error = row
                    .refuse_dropping()
                    .err()
                    .unwrap_or_else(|| already_exists(&row.tenant_id));
                if !args.dry_run {
                    let (connector, id) = (&ctx.settings.connector, &row.tenant_id);
                    record::failure(connector, Some(&session), "provision", Some(id), &error).await;
                }
                outcome.errors.push((row.tenant_id, error));
            }
        }
    }
    if args.dry_run {
        for (_, error) in &outcome.errors {
            ctx.ui.error(error);
        }
        let plan = wanted
            .iter()
            .map(|r| Ok(provisioner.plan(r, &Identity::new(&r.id, &passwords.recipients)?)))
            .collect::<Result<_>>()?;
        ctx.ui
            .note("dry run: nothing was changed; salt, schema name and password differ in every run");
        ctx.ui.result(&Plans { plan })?;
        return Ok(status(outcome.tenants.len() + wanted.len(), &outcome.errors));
    }
    drop(session);
    let ledger = if wanted.is_empty() {
        Arc::default()
    } else {
        passwords.open(ctx)?
    };
    let jobs = args.jobs.map_or(ctx.settings.config.provisioning.jobs, usize::from);
    let tiers = wanted.iter().map(|r| (r.id.clone(), r.tier.key.clone())).collect();
    make(
        ctx,
        &provisioner,
        wanted,
        jobs,
        Arc::clone(&ledger),
        args.if_not_exists,
        &mut outcome,
    )
    .await;
    add_unknown(&mut outcome, &ledger, &tiers, !passwords.recipients.is_empty());
    tell(ctx, outcome, &passwords, &ledger)
}

/// Adds the tenants of which it is not known whether they were made, with the passwords they have if they were.
fn add_unknown(outcome: &mut Outcome, ledger: &Ledger, tiers: &BTreeMap<TenantId, String>, stored: bool) {
    let told = outcome.tenants.iter().map(|t| &t.tenant_id);
    let unknown: Vec<Provisioned> = passwords::in_doubt(ledger, told, &outcome.errors)
        .into_iter()
        .map(|(id, sent)| Provisioned {
            role_name: sent.schema.role(),
            schema_name: sent.schema,
            tier: tiers.get(&id).cloned().unwrap_or_default(),
            status: "unknown",
            provisioning_time_ms: 0.0,
            password: Some(sent.password),
            stored,
            tenant_id: id,
        })
        .collect();
    outcome.unknown = unknown.len();
    outcome.tenants.extend(unknown);
}

/// What became of the tenants, as it becomes known.
#[derive(Default)]
struct Outcome {
    tenants: Vec<Provisioned>,
    errors: Vec<(TenantId, Error)>,
    made: usize,
    unknown: usize,
    not_waited_for: usize,
    elapsed: Duration,
}

/// Makes the tenants. Nothing in here may fail: what was made has to be told whatever else happens.
async fn make(
    ctx: &Context<'_>,
    provisioner: &Provisioner,
    wanted: Vec<Request>,
    jobs: usize,
    ledger: Arc<Ledger>,
    if_not_exists: bool,
    outcome: &mut Outcome,
) {
    let started = Instant::now();
    outcome.not_waited_for = wanted.len();
    let progress = ctx.ui.progress(wanted.len(), "provisioning");
    let mut results = provisioner.provision_many(wanted, jobs, Some(ledger), ctx.interrupt);
    loop {
        let (id, result) = tokio::select! {
            result = results.recv() => match result {
                Some(result) => result,
                None => break,
            },
            // What is under way is abandoned; the server makes it whole or not at all.
            () = ctx.interrupt.times(2) => break,
        };
        progress.tick();
        outcome.not_waited_for -= 1;
        match result {
            Ok(tenant) => {
                outcome.made += 1;
                outcome.tenants.push(tenant);
            }
            // Another client made it between our look and our try.
            Err(error) if error.kind() == ErrorKind::Duplicate && if_not_exists => match look_up(ctx, &id).await {
                Ok(tenant) => outcome.tenants.push(tenant),
                Err(error) => outcome.errors.push((id, error)),
            },
            Err(error) => outcome.errors.push((id, error)),
        }
    }
    progress.finish();
    outcome.elapsed = started.elapsed();
}

async fn look_up(ctx: &Context<'_>, id: &TenantId) -> Result<Provisioned> {
    let session = ctx.settings.connector.connect().await?;
    catalog::tenants::find_one(&session, id).await.map(as_existing)
}

/// Prints passwords before anything else can go wrong, then what went wrong.
fn tell(ctx: &Context<'_>, outcome: Outcome, passwords: &Passwords<'_>, ledger: &Ledger) -> Result<Status> {
    let Outcome {
        mut tenants,
        errors,
        made,
        unknown,
        not_waited_for,
        elapsed,
    } = outcome;
    tenants.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    let told = tenants.iter().map(|t| (&t.tenant_id, t.role_name.as_str()));
    let finished = passwords::finish(ledger, told, &errors);
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
            "interrupted: {} not started or not waited for; run the command again with --if-not-exists",
            count(not_waited_for, "tenant")
        ));
    }
    ctx.ui.note(&format!(
        "{} provisioned in {}{}",
        count(made, "tenant"),
        milliseconds(elapsed.as_secs_f64() * 1000.0),
        if errors.is_empty() {
            String::new()
        } else {
            format!(", {} failed", errors.len())
        }
    ));
    if unknown > 0 {
        ctx.ui.note(&format!(
            "{} of status unknown: sent, and not known whether made; `tenantctl show` tells, and the passwords hold if so",
            count(unknown, "tenant")
        ));
    }
    // Stored passwords are not lost with a stdout that is full.
    let lost: Vec<&str> = report
        .tenants
        .iter()
        .filter(|t| t.password.is_some() && !t.stored)
        .map(|t| t.tenant_id.as_str())
        .collect();
    passwords::printed(
        written,
        &lost,
        "These tenants exist. `tenantctl rotate` with a --credentials-file gives them passwords that are known.",
    )?;
    finished?;
    Ok(status(report.tenants.len() - unknown, &errors))
}

/// One failed of one: its class. Some of many: 1. All of many in one class, as when the server is gone: that class.
pub(super) fn status(succeeded: usize, errors: &[(TenantId, Error)]) -> Status {
    let kinds: BTreeSet<&str> = errors.iter().map(|(_, e)| e.kind().as_str()).collect();
    match errors.first() {
        None => Status::Done,
        Some((_, error)) if succeeded == 0 && kinds.len() == 1 => Status::Failed(error.kind()),
        Some(_) => Status::Partly,
    }
}

/// What `provision`, `demo` and `bench` make tenants with.
///
/// # Errors
/// When no template is installed.
pub async fn provisioner(
    ctx: &Context<'_>,
    session: &crate::pg::session::Session,
    recipients: &Arc<Recipients>,
) -> Result<Provisioner> {
    let configured = ctx.settings.config.template()?;
    let installed = catalog::template::installed(session, &configured.name)
        .await?
        .ok_or_else(|| {
            Error::new(
                ErrorKind::NotInitialized,
                format!("template {} is not installed", configured.name),
            )
            .with_hint("Run `tenantctl init`, which installs the template that the configuration names.")
        })?;
    if catalog::template::versions(session, &configured).await?.1.is_none() {
        ctx.ui.warn(&format!(
            "the configured template {}, or what this tenantctl adds to it, differs from version {} in the registry, which is what tenants are made from; `tenantctl init` installs the configured one",
            installed.name, installed.version
        ));
    }
    let objects = installed.modules.iter().map(|m| &m.objects).collect();
    Ok(Provisioner {
        audit: Arc::new(ctx.settings.config.audit.of(&objects)?),
        connector: ctx.settings.connector.discreet(),
        recipients: Arc::clone(recipients),
        template: Arc::new(installed),
        timescaledb: catalog::timescaledb_schema(session).await?,
        major: session.server().major(),
        timeout: ctx.settings.timeout(),
        lock_timeout: ctx.settings.lock_timeout(),
    })
}

/// A feature that the installed template does not know would silently be left out.
fn check_features(requests: &[Request], template: &Template) -> Result<()> {
    let known = template.features();
    for request in requests {
        if let Features::Only(features) = &request.tier.features
            && let Some(missing) = features.iter().find(|f| !known.contains_key(f.as_str()))
        {
            return Err(Error::config(format!(
                "tier {} has feature {missing:?}, which the installed template {} does not have",
                request.tier.key, template.name
            ))
            .with_hint("Run `tenantctl init` to install the template as configured."));
        }
    }
    Ok(())
}

fn already_exists(id: &TenantId) -> Error {
    Error::new(ErrorKind::Duplicate, format!("tenant {id} already exists")).with_hint(format!(
        "`tenantctl show {id}` describes it; --if-not-exists counts it as done."
    ))
}

fn as_existing(row: catalog::tenants::TenantRow) -> Provisioned {
    Provisioned {
        tenant_id: row.tenant_id,
        schema_name: row.schema_name,
        role_name: row.role_name,
        tier: row.tier,
        status: "exists",
        provisioning_time_ms: 0.0,
        password: None,
        stored: false,
    }
}

//! `provision`: makes tenants, one or many.

mod credentials;
mod input;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{Context, Status};
use crate::catalog;
use crate::cli::ProvisionArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::provisioner::{Identity, Ledger, Provisioned, Provisioner, Request};
use crate::tenant::{Features, Template, TenantId};
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, count, milliseconds};
use credentials::CredentialsFile;

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
    /// Those that are there.
    #[serde(serialize_with = "with_passwords")]
    pub tenants: Vec<Provisioned>,
    /// Those that are not.
    pub failed: Vec<Failed>,
    /// Passwords are in a file and not to be shown.
    #[serde(skip)]
    pub passwords_in_file: bool,
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
                None if self.passwords_in_file && t.status == "active" => "(in the credentials file)".into(),
                None => "(unchanged)".into(),
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

/// The SQL of a dry run, a plan a tenant.
#[derive(Debug, Serialize)]
struct Plans {
    plan: Vec<Plan>,
}

impl Render for Plans {
    fn text(&self, _: &Ui) -> String {
        self.plan
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant is tried; after that each tenant has its own result.
pub async fn run(ctx: &Context<'_>, args: &ProvisionArgs) -> Result<Status> {
    let requests = input::requests(args, &ctx.settings.config)?;
    if let Some(path) = &args.credentials_file {
        CredentialsFile::refuse_existing(path)?;
    }
    let session = ctx.settings.registry(true).await?;
    let provisioner = provisioner(ctx, &session).await?;
    check_features(&requests, &provisioner.template)?;

    let ids: Vec<&TenantId> = requests.iter().map(|r| &r.id).collect();
    let mut existing = catalog::tenants::existing(&session, &ids).await?;
    let mut report = Report {
        tenants: Vec::new(),
        failed: Vec::new(),
        passwords_in_file: args.credentials_file.is_some(),
    };
    let mut errors = Vec::new();
    let mut wanted = Vec::new();
    for request in requests {
        match existing.remove(&request.id) {
            None => wanted.push(request),
            Some(row) if args.if_not_exists => {
                if row.tier != request.tier.key {
                    ctx.ui.warn(&format!(
                        "tenant {} exists with tier {}, not {}",
                        row.tenant_id, row.tier, request.tier.key
                    ));
                }
                report.tenants.push(as_existing(row));
            }
            Some(row) => {
                let error = already_exists(&row.tenant_id);
                crate::pg::record::failure(
                    &ctx.settings.connector,
                    Some(&session),
                    "provision",
                    Some(&row.tenant_id),
                    &error,
                )
                .await;
                errors.push((row.tenant_id, error));
            }
        }
    }
    if args.dry_run {
        for (_, error) in &errors {
            ctx.ui.error(error);
        }
        let plan = wanted
            .iter()
            .map(|r| provisioner.plan(r, &Identity::new(&r.id)))
            .collect();
        ctx.ui
            .note("dry run: nothing was changed; salt, schema name and password differ in every run");
        ctx.ui.result(&Plans { plan })?;
        return Ok(status(report.tenants.len() + wanted.len(), &errors));
    }
    drop(session);

    let started = Instant::now();
    let total = wanted.len();
    let file = match &args.credentials_file {
        Some(path) if !wanted.is_empty() => Some(Arc::new(CredentialsFile::create(path)?)),
        _ => None,
    };
    let jobs = args.jobs.map_or(ctx.settings.config.provisioning.jobs, usize::from);
    let ledger = file.clone().map(|file| file as Arc<dyn Ledger>);
    let mut results = provisioner.provision_many(wanted, jobs, ledger, ctx.interrupt);
    let progress = ctx.ui.progress(total, "provisioning");
    let (mut made, mut finished) = (0, 0);
    while let Some((id, result)) = results.recv().await {
        progress.tick();
        finished += 1;
        match result {
            Ok(mut tenant) => {
                made += 1;
                if file.is_some() {
                    tenant.password = None;
                }
                report.tenants.push(tenant);
            }
            // Another client made it between our look and our try.
            Err(error) if error.kind() == ErrorKind::Duplicate && args.if_not_exists => {
                let session = ctx.settings.connector.connect().await?;
                report
                    .tenants
                    .push(as_existing(catalog::tenants::find_one(&session, &id).await?));
            }
            Err(error) => errors.push((id, error)),
        }
    }
    progress.finish();

    if let Some(file) = &file {
        file.finish(report.tenants.iter().map(|t| t.role_name.as_str()).collect())?;
    }
    report.tenants.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    report.failed = errors
        .iter()
        .map(|(id, error)| Failed::new(id.clone(), error))
        .collect();
    ctx.ui.result(&report)?;
    for (id, error) in &errors {
        if errors.len() > 1 {
            ctx.ui.note(&format!("tenant {id}:"));
        }
        ctx.ui.error(error);
    }
    if ctx.interrupt.requested() {
        ctx.ui.note(&format!(
            "interrupted: {} not started; run the command again with --if-not-exists",
            count(total - finished, "tenant")
        ));
    }
    ctx.ui.note(&format!(
        "{} provisioned in {}{}",
        count(made, "tenant"),
        milliseconds(started.elapsed().as_secs_f64() * 1000.0),
        if errors.is_empty() {
            String::new()
        } else {
            format!(", {} failed", errors.len())
        }
    ));
    Ok(status(report.tenants.len(), &errors))
}

/// One failed of one: its class. Some of many: 1. All of many in one class, as when the server is gone: that class.
fn status(succeeded: usize, errors: &[(TenantId, Error)]) -> Status {
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
pub async fn provisioner(ctx: &Context<'_>, session: &crate::pg::session::Session) -> Result<Provisioner> {
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
    if installed.sha256() != configured.sha256() {
        ctx.ui.warn(&format!(
            "the configured template {} differs from version {} in the registry, which is what tenants are made from; `tenantctl init` installs the configured one",
            installed.name, installed.version
        ));
    }
    Ok(Provisioner {
        connector: ctx.settings.connector.clone(),
        template: Arc::new(installed),
        timescaledb: catalog::timescaledb_schema(session).await?,
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
    }
}

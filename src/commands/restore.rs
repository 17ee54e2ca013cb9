//! `restore`: tenants from backups, and what restores have replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::backup::{open_url, store_url};
use super::passwords::{self, Passwords};
use super::provision::{Failed, status};
use super::{Context, Plans, Status};
use crate::backup::manifest::BackupId;
use crate::catalog::tenants::TenantRow;
use crate::catalog::{restores, tenants};
use crate::cli::RestoreArgs;
use crate::credentials::ledger::Ledger;
use crate::credentials::vault::Identities;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::record;
use crate::pg::session::Session;
use crate::restore::{self, Counters, NewTenant, Rebuilt, Restored, Restorer, Source, Target};
use crate::tenant::{ModuleObjects, TenantId};
use crate::ui::{Render, Ui, count, milliseconds};

const OPERATION: &str = "restore";

/// A tenant as it is told of, with the password that is shown here, once, and nowhere else.
struct Told {
    restored: Restored,
    elsewhere: Option<&'static str>,
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            restored: &'a Restored,
            #[serde(skip_serializing_if = "Option::is_none")]
            password: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            stored: Option<bool>,
        }
        let restored = &self.restored;
        Shown {
            restored,
            password: restored.password.as_ref().map(|p| p.reveal()),
            stored: (restored.kind == "new").then_some(restored.stored),
        }
        .serialize(serializer)
    }
}

impl Render for Told {
    fn text(&self, ui: &Ui) -> String {
        let r = &self.restored;
        let from = r.backup_id.as_deref().unwrap_or("-");
        let mut text = match r.kind {
            "undo" => format!(
                "put back what tenant {} had before the restore of {from}\n",
                r.tenant_id
            ),
            "tables" => format!(
                "restored {} of tenant {} from {from}\n",
                r.tables.join(", "),
                r.tenant_id
            ),
            "new" => format!("made tenant {} from {from}\n", r.tenant_id),
            _ => format!("restored tenant {} from {from}\n", r.tenant_id),
        };
        let mut line =
            |name: &str, value: String| text.push_str(&format!("{} {value}\n", ui.dim(&format!("{name:<9}"))));
        if r.kind != "undo" {
            line("rows", format!("{}, structure and rows verified", r.rows));
        }
        if let Some(moment) = &r.backup_created_at {
            line("as of", moment.clone());
        }
        line("schema", r.restored_to.clone());
        if r.kind == "new" {
            line("role", r.role_name.clone());
            line("tier", r.tier.clone());
            let password = r.password.as_ref().map(|p| p.reveal().to_owned());
            line(
                "password",
                password.unwrap_or_else(|| self.elsewhere.unwrap_or_default().into()),
            );
        }
        line(
            "time",
            format!(
                "{}, of it {} in which the tenant may have waited",
                milliseconds(r.duration_ms),
                milliseconds(r.swap_ms)
            ),
        );
        if r.sessions_ended > 0 {
            line("ended", count(r.sessions_ended as usize, "session"));
        }
        if !r.modules_changed.is_empty() {
            line("modules", r.modules_changed.join(", "));
        }
        if let Some(kept) = &r.replaced_schema {
            let until = r
                .drop_after
                .as_ref()
                .map_or_else(String::new, |until| format!(" until {until}"));
            line("kept", format!("what it had before, in {kept}{until}"));
        }
        text.trim_end().to_owned()
    }
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant is tried.
pub async fn run(ctx: &Context<'_>, args: &RestoreArgs) -> Result<Status> {
    let mut ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    ids.sort();
    ids.dedup();
    if args.all && !(args.from_store || args.drop_replaced) {
        return Err(Error::usage("--all goes with --from-store and --drop-replaced only")
            .with_hint("Tenants are restored one at a time, so that none is restored by mistake."));
    }
    if args.from_store {
        return from_store(ctx, args, &ids).await;
    }
    let session = ctx.settings.registry(!args.dry_run).await?;
    if args.drop_replaced {
        return drop_replaced(ctx, args, &session, &ids).await;
    }
    let [id] = ids.as_slice() else {
        return Err(Error::usage("restore takes one tenant").with_hint("Run it once for each."));
    };
    if args.undo {
        return undo(ctx, args, &session, id).await;
    }
    let source = source(ctx, args, &session, id).await?;
    let target = target(ctx, args, &session, id, &source).await?;
    let passwords = Passwords::new(ctx, args.credentials_file.as_deref(), args.no_show)?;
    let restorer = restorer(ctx, args, passwords.recipients.clone())?;
    if args.dry_run {
        let plan = restorer.plan(&session, &source, &target).await?;
        ctx.ui.note("dry run: the backup was read and is whole, nothing was changed; names of schemas, and passwords, differ in every run");
        ctx.ui.result(&Plans { plan })?;
        return Ok(Status::Done);
    }
    drop(session);
    let ledger = match &target {
        Target::New(_) => Some(passwords.open(ctx)?),
        _ => None,
    };
    let result = follow(ctx, &restorer, &source, &target, ledger.as_deref()).await;
    if result.is_ok() && !source.manifest.left_out.is_empty() && !matches!(target, Target::Tables(..)) {
        ctx.ui.warn(&format!(
            "the tenant had what no backup holds, and what has to be set again: {}",
            source.manifest.left_out.join(", ")
        ));
    }
    tell(ctx, target.id(), result, &passwords, ledger.as_deref()).await
}

/// Restores, and shows how far it is.
async fn follow(
    ctx: &Context<'_>,
    restorer: &Restorer,
    source: &Source,
    target: &Target,
    ledger: Option<&Ledger>,
) -> Result<Restored> {
    let counters = Arc::clone(&restorer.counters);
    let parts = source.manifest.tables.iter().flat_map(|table| &table.parts);
    let progress = ctx.ui.byte_progress(parts.map(|part| part.member.raw_bytes).sum());
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let restoring = restorer.restore(source, target, ledger);
    tokio::pin!(restoring);
    let result = loop {
        tokio::select! {
            result = &mut restoring => break result,
            _ = tick.tick() => {
                let built = counters.built.load(Ordering::Relaxed);
                let message = format!("restoring, {built} indexes built");
                progress.set(counters.bytes.load(Ordering::Relaxed), message);
            }
        }
    };
    progress.finish();
    result
}

/// What restores tenants, as the configuration and the flags want it.
///
/// # Errors
/// When an identity cannot be read.
fn restorer(
    ctx: &Context<'_>,
    args: &RestoreArgs,
    recipients: Arc<crate::credentials::vault::Recipients>,
) -> Result<Restorer> {
    let identities = Arc::new(Identities::load(&identity_files(&args.identity.identity))?);
    let jobs = args.jobs.map_or(ctx.settings.config.backup.jobs, usize::from);
    Ok(Restorer {
        recipients,
        maintenance_work_mem: args.maintenance_work_mem.clone(),
        disconnect: args.disconnect,
        keep_days: args.keep_days,
        ..for_trial(ctx, identities, jobs)
    })
}

/// One that only restores for trial, and changes no tenant.
pub(super) fn for_trial(ctx: &Context<'_>, identities: Arc<Identities>, jobs: usize) -> Restorer {
    let audit = ctx.settings.config.audit.clone();
    Restorer {
        connector: ctx.settings.connector.clone(),
        identities,
        recipients: Arc::default(),
        audited: Arc::new(move |objects: &ModuleObjects| audit.of(objects)),
        jobs,
        maintenance_work_mem: "64MB".to_owned(),
        disconnect: false,
        keep_days: 0,
        timeout: ctx.settings.timeout(),
        lock_timeout: ctx.settings.lock_timeout(),
        interrupt: ctx.interrupt.clone(),
        counters: Arc::new(Counters::default()),
    }
}

/// An environment variable that is set to nothing names no file.
fn identity_files(files: &[std::path::PathBuf]) -> Vec<&std::path::PathBuf> {
    files.iter().filter(|file| !file.as_os_str().is_empty()).collect()
}

/// The backup that is wanted, its manifest read. What the registry knows counts, unless a store was named by flag.
async fn source(ctx: &Context<'_>, args: &RestoreArgs, session: &Session, id: &TenantId) -> Result<Source> {
    let backup: Option<BackupId> = args.backup.as_deref().map(str::parse).transpose()?;
    let named = args.store.store.as_deref().filter(|url| !url.is_empty());
    let opened = match named {
        Some(url) => Some(open_url(ctx, url).await?),
        None => None,
    };
    let row = restore::choose(session, id, backup.as_ref(), opened.as_ref().map(|s| s.url())).await?;
    let store = match (&opened, &row, store_url(ctx, args.store.store.as_deref())) {
        (Some(store), _, _) => Arc::clone(store),
        (None, Some(row), _) => open_url(ctx, &row.store).await?,
        (None, None, Some(url)) => open_url(ctx, url).await?,
        (None, None, None) => {
            return Err(Error::new(
                ErrorKind::NotFound,
                match &backup {
                    Some(backup) => format!("the registry knows no backup {backup}"),
                    None => format!("the registry knows no backup of tenant {id}"),
                },
            )
            .with_hint("Name the store that it lies in with --store, or set backup.store in the configuration."));
        }
    };
    match (backup, &row) {
        (Some(backup), row) => restore::open(store, &backup, row.as_ref()).await,
        (None, Some(row)) => restore::open(store, &row.backup_id, Some(row)).await,
        (None, None) => restore::newest(&store, id).await,
    }
}

/// A tenant that was dropped may have left backups, and another may have its name since: rows of the one are not the other's
/// unless somebody says so.
fn same_life(ctx: &Context<'_>, args: &RestoreArgs, row: &TenantRow, source: &Source) -> Result<()> {
    let manifest = &source.manifest;
    let (then, now) = (&manifest.tenant.schema_name, row.schema_name.as_str());
    if then == now {
        return Ok(());
    }
    let what = format!(
        "backup {} is of another tenant that was called {}",
        manifest.backup_id, row.tenant_id
    );
    let cause = format!("its schema was {then}, that of the tenant is {now}");
    if args.backup.is_some() {
        ctx.ui.warn(&format!("{what}: {cause}"));
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, what).with_cause(cause).with_hint(format!(
        "If its rows are meant to replace those of the tenant, name it: --backup {}. `tenantctl backup list {}` shows all.",
        manifest.backup_id, row.tenant_id
    )))
}

async fn target(
    ctx: &Context<'_>,
    args: &RestoreArgs,
    session: &Session,
    id: &TenantId,
    source: &Source,
) -> Result<Target> {
    let wanted: TenantId = match &args.as_id {
        Some(new) => new.parse()?,
        None => id.clone(),
    };
    let there = tenants::existing(session, &[&wanted]).await?.remove(&wanted);
    let mut tables: Vec<String> = args.tables.iter().filter(|t| !t.is_empty()).cloned().collect();
    tables.sort();
    tables.dedup();
    if args.as_id.is_none()
        && let Some(row) = &there
    {
        same_life(ctx, args, row, source)?;
    }
    match (there, &args.as_id) {
        (Some(_), Some(_)) => Err(
            Error::new(ErrorKind::Duplicate, format!("tenant {wanted} already exists")).with_hint(
                "--as makes a new tenant. Choose another id, or leave --as out to restore the tenant itself.",
            ),
        ),
        (Some(row), None) if !tables.is_empty() => Ok(Target::Tables(Box::new(row), tables)),
        (None, None) if !tables.is_empty() => Err(Error::new(
            ErrorKind::NotFound,
            format!("tenant {wanted} does not exist, so it has no tables whose contents could be replaced"),
        )
        .with_hint("Leave --tables out to restore the whole tenant.")),
        (Some(row), None) => Ok(Target::Replace(Box::new(row))),
        (None, None) => Ok(Target::New(source.tenant())),
        (None, Some(_)) => {
            let tier = args.tier.as_deref().unwrap_or(&source.manifest.tenant.tier);
            let limits = match (ctx.settings.config.tier(tier), &args.tier) {
                (Ok(tier), _) => tier.limits.clone(),
                (Err(error), Some(_)) => return Err(error),
                // A tier that the configuration has no more: as it was.
                (Err(_), None) => source.manifest.tenant.limits.clone(),
            };
            Ok(Target::New(NewTenant {
                id: wanted,
                salt: None,
                tier: tier.to_owned(),
                limits,
            }))
        }
    }
}

/// Prints the password before anything else can go wrong, then what went wrong.
async fn tell(
    ctx: &Context<'_>,
    id: &TenantId,
    result: Result<Restored>,
    passwords: &Passwords<'_>,
    ledger: Option<&Ledger>,
) -> Result<Status> {
    let mut errors = Vec::new();
    let mut restored = None;
    match result {
        Ok(done) => restored = Some(done),
        Err(error) => errors.push((id.clone(), error)),
    }
    let mut finished = Ok(());
    if let Some(ledger) = ledger {
        let told = restored.iter().map(|r| (&r.tenant_id, r.role_name.as_str()));
        finished = passwords::finish(ledger, told, &errors);
        for (id, sent) in passwords::in_doubt(ledger, restored.iter().map(|r| &r.tenant_id), &errors) {
            ctx.ui.warn(&format!(
                "it is not known whether tenant {id} was made; if so, the password of {} is {}",
                sent.schema.role(),
                match passwords.elsewhere() {
                    Some(place) => place,
                    None => sent.password.reveal(),
                }
            ));
        }
    }
    if let Some(mut restored) = restored {
        if passwords.elsewhere().is_some() {
            restored.password = None;
        }
        let lost: Vec<String> = (restored.password.is_some() && !restored.stored)
            .then(|| restored.tenant_id.to_string())
            .into_iter()
            .collect();
        let undo = restored.replaced_schema.is_some().then(|| restored.tenant_id.clone());
        let written = ctx.ui.must_result(&Told {
            restored,
            elsewhere: passwords.elsewhere(),
        });
        if let Some(id) = undo {
            ctx.ui.note(&format!(
                "`tenantctl restore {id} --undo` puts back what was there; `tenantctl restore {id} --drop-replaced` drops it"
            ));
        }
        let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
        passwords::printed(
            written,
            &lost,
            "The tenant exists. `tenantctl rotate` with a --credentials-file gives it a password that is known.",
        )?;
    }
    finished?;
    failures(ctx, &errors).await;
    Ok(status(usize::from(errors.is_empty()), &errors))
}

async fn failures(ctx: &Context<'_>, errors: &[(TenantId, Error)]) {
    for (id, error) in errors {
        record::failure(&ctx.settings.connector, None, OPERATION, Some(id), error).await;
        if errors.len() > 1 {
            ctx.ui.note(&format!("tenant {id}:"));
        }
        ctx.ui.error(error);
    }
}

async fn undo(ctx: &Context<'_>, args: &RestoreArgs, session: &Session, id: &TenantId) -> Result<Status> {
    let row = tenants::find_one(session, id).await?;
    let passwords = Passwords::new(ctx, None, false)?;
    let restorer = restorer(ctx, args, passwords.recipients.clone())?;
    if args.dry_run {
        let plan = vec![restorer.undo_plan(session, &row).await?];
        ctx.ui.note("dry run: nothing was changed");
        ctx.ui.result(&Plans { plan })?;
        return Ok(Status::Done);
    }
    let result = restorer.undo(&row).await;
    tell(ctx, id, result, &passwords, None).await
}

/// What became of schemas that restores had kept.
#[derive(Debug, Serialize)]
struct Dropped {
    dropped: Vec<DroppedSchemas>,
    failed: Vec<Failed>,
}

#[derive(Debug, Serialize)]
struct DroppedSchemas {
    tenant_id: TenantId,
    schemas: Vec<String>,
}

impl Render for Dropped {
    fn text(&self, _: &Ui) -> String {
        let lines = self.dropped.iter().map(|d| {
            format!(
                "dropped what restores of tenant {} had replaced: {}",
                d.tenant_id,
                d.schemas.join(", ")
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

async fn drop_replaced(ctx: &Context<'_>, args: &RestoreArgs, session: &Session, ids: &[TenantId]) -> Result<Status> {
    let rows = if args.all {
        restores::past_grace(session).await?
    } else {
        restores::with_schemas(session, &ids.iter().collect::<Vec<_>>()).await?
    };
    let mut schemas: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Some(schema) = row.replaced_schema {
            schemas.entry(row.tenant_id).or_default().push(schema);
        }
    }
    if schemas.is_empty() {
        ctx.ui.note(if args.all {
            "nothing to drop: no grace period is over"
        } else {
            "nothing to drop: nothing is kept of these tenants"
        });
    }
    if args.dry_run {
        let (timeout, lock) = (ctx.settings.timeout(), ctx.settings.lock_timeout());
        let plans = schemas
            .iter()
            .map(|(id, names)| crate::plan::restore::drop_replaced(id, names, timeout, lock));
        ctx.ui.result(&Plans { plan: plans.collect() })?;
        return Ok(Status::Done);
    }
    let passwords = Passwords::new(ctx, None, false)?;
    let restorer = restorer(ctx, args, passwords.recipients)?;
    let (mut dropped, mut errors) = (Vec::new(), Vec::new());
    for (tenant_id, schemas) in schemas {
        if ctx.interrupt.requested() {
            break;
        }
        match restorer.drop_replaced(&tenant_id, &schemas).await {
            Ok(()) => dropped.push(DroppedSchemas { tenant_id, schemas }),
            Err(error) => errors.push((tenant_id, error)),
        }
    }
    let report = Dropped {
        failed: errors
            .iter()
            .map(|(id, error)| Failed::new(id.clone(), error))
            .collect(),
        dropped,
    };
    ctx.ui.result(&report)?;
    failures(ctx, &errors).await;
    Ok(status(report.dropped.len(), &errors))
}

/// What became of the tenants of a store.
struct FromStore {
    tenants: Vec<Rebuilt>,
    failed: Vec<Failed>,
    elsewhere: Option<&'static str>,
}

impl Serialize for FromStore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tenants: Vec<serde_json::Value> = self
            .tenants
            .iter()
            .map(|t| {
                let mut value = serde_json::to_value(t).unwrap_or_default();
                if let Some(password) = t.restored.as_ref().and_then(|r| r.password.as_ref())
                    && let Some(restored) = value.get_mut("restored").and_then(|r| r.as_object_mut())
                {
                    restored.insert("password".into(), password.reveal().into());
                }
                value
            })
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tenants", &tenants)?;
        map.serialize_entry("failed", &self.failed)?;
        map.end()
    }
}

impl Render for FromStore {
    fn text(&self, ui: &Ui) -> String {
        if self.tenants.is_empty() {
            return String::new();
        }
        let headers = ["tenant", "status", ">rows", ">time", "backup", "role", "password"];
        let mut grid = crate::ui::table::Grid::new(ui, &headers);
        for t in &self.tenants {
            match &t.restored {
                Some(r) => grid.row([
                    t.tenant_id.to_string(),
                    "restored".into(),
                    r.rows.to_string(),
                    milliseconds(r.duration_ms),
                    r.backup_id.clone().unwrap_or_default(),
                    r.role_name.clone(),
                    r.password.as_ref().map_or_else(
                        || self.elsewhere.unwrap_or_default().to_owned(),
                        |p| p.reveal().to_owned(),
                    ),
                ]),
                None => grid.row([
                    t.tenant_id.to_string(),
                    "exists".into(),
                    "-".into(),
                    "-".into(),
                    "-".into(),
                    "-".into(),
                    "(unchanged)".into(),
                ]),
            }
        }
        grid.render()
    }
}

async fn from_store(ctx: &Context<'_>, args: &RestoreArgs, ids: &[TenantId]) -> Result<Status> {
    let url = store_url(ctx, args.store.store.as_deref()).ok_or_else(|| {
        Error::usage("restore --from-store needs a store")
            .with_hint("Name it with --store: file:///folder or s3://bucket/prefix.")
    })?;
    let store = open_url(ctx, url).await?;
    let wanted = if args.all {
        restore::tenants_in(store.as_ref()).await?
    } else {
        ids.to_vec()
    };
    if wanted.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no backup of any tenant in {}", store.url()),
        )
        .with_hint("Check the store's URL, and the prefix in it."));
    }
    let passwords = Passwords::new(ctx, args.credentials_file.as_deref(), args.no_show)?;
    let restorer = restorer(ctx, args, passwords.recipients.clone())?;
    let session = ctx.settings.connector.connect().await?;
    session.server().require_writable()?;
    if args.dry_run {
        let template = ctx.settings.config.template()?;
        let plan = crate::installer::plan(&session, &template, ctx.settings.lock_timeout()).await?;
        ctx.ui.note(&format!(
            "dry run: nothing was changed; after this, {} would be restored: {}",
            count(wanted.len(), "tenant"),
            wanted.iter().map(TenantId::as_str).collect::<Vec<_>>().join(", ")
        ));
        ctx.ui.result(&Plans { plan })?;
        return Ok(Status::Done);
    }
    super::init::install(ctx, &session, &ctx.settings.config.template()?).await?;
    let ledger = passwords.open(ctx)?;
    let progress = ctx.ui.progress(wanted.len(), "restoring");
    let (mut done, mut errors): (Vec<Rebuilt>, Vec<(TenantId, Error)>) = (Vec::new(), Vec::new());
    for id in &wanted {
        if ctx.interrupt.requested() {
            break;
        }
        match restorer.rebuild(&session, &store, id, Some(&ledger)).await {
            Ok(rebuilt) => done.push(rebuilt),
            Err(error) => errors.push((id.clone(), error)),
        }
        progress.tick();
    }
    progress.finish();
    let told = done
        .iter()
        .filter_map(|t| t.restored.as_ref())
        .map(|r| (&r.tenant_id, r.role_name.as_str()));
    let finished = passwords::finish(&ledger, told, &errors);
    if passwords.elsewhere().is_some() {
        for restored in done.iter_mut().filter_map(|t| t.restored.as_mut()) {
            restored.password = None;
        }
    }
    let lost: Vec<String> = done
        .iter()
        .filter_map(|t| t.restored.as_ref())
        .filter(|r| r.password.is_some() && !r.stored)
        .map(|r| r.tenant_id.to_string())
        .collect();
    let report = FromStore {
        failed: errors
            .iter()
            .map(|(id, error)| Failed::new(id.clone(), error))
            .collect(),
        tenants: done,
        elsewhere: passwords.elsewhere(),
    };
    let written = ctx.ui.must_result(&report);
    for damaged in report.tenants.iter().flat_map(|t| &t.damaged) {
        ctx.ui.warn(damaged);
    }
    failures(ctx, &errors).await;
    let missed = wanted.len() - report.tenants.len() - errors.len();
    if missed > 0 {
        ctx.ui.note(&format!("{} not restored", count(missed, "tenant")));
    }
    let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
    passwords::printed(
        written,
        &lost,
        "These tenants exist. `tenantctl rotate` with a --credentials-file gives them passwords that are known.",
    )?;
    finished?;
    Ok(status(report.tenants.len(), &errors))
}

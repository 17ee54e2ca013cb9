//! `backup`: backups of tenants, and what can be done with them.

mod list;
mod overdue;
mod prune;
mod verify;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::provision::{Failed, status};
use super::{Context, Status, until};
use crate::backup::manifest::TENANTS;
use crate::backup::member::Packing;
use crate::backup::parts::{Counters, PART_BYTES};
use crate::backup::writer::{Done, Writer};
use crate::catalog::tenants::{self, TenantRow};
use crate::catalog::{backups, foundation};
use crate::cli::{BackupArgs, BackupCommand, BackupMakeArgs};
use crate::credentials::vault::Recipients;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::conninfo::ConnInfo;
use crate::pg::hosts::Demand;
use crate::pg::session::{Connector, Session};
use crate::store::{self, Store, WriteOptions};
use crate::tenant::{TenantId, quoted};
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count, milliseconds};

/// Overrides the size of a part, in bytes, so that tests need no gigabytes.
const PART_BYTES_VARIABLE: &str = "TENANTCTL_TEST_PART_BYTES";

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant is tried.
pub async fn run(ctx: &Context<'_>, args: &BackupArgs) -> Result<Status> {
    match &args.command {
        // On the heap: what S3's client is made of is nested deeper than the compiler follows.
        None => Box::pin(make(ctx, &args.make)).await,
        // It changes nothing that would have to be taken back.
        Some(BackupCommand::List(args)) => Box::pin(until(ctx.interrupt, 1, list::run(ctx, args))).await,
        Some(BackupCommand::Verify(args)) => Box::pin(verify::run(ctx, args)).await,
        Some(BackupCommand::Prune(args)) => Box::pin(prune::run(ctx, args)).await,
    }
}

/// The URL of the store that a flag, the environment or the configuration names; none if none does.
pub(super) fn store_url<'a>(ctx: &'a Context<'_>, flag: Option<&'a str>) -> Option<&'a str> {
    flag.filter(|url| !url.is_empty())
        .or(ctx.settings.config.backup.store.as_deref())
}

/// Opens a store of a URL with what the configuration says of how it is written.
///
/// # Errors
/// Kinds `usage` and `config`.
pub(super) async fn open_url(ctx: &Context<'_>, url: &str) -> Result<Arc<dyn Store>> {
    let policy = &ctx.settings.config.backup;
    let options = WriteOptions {
        storage_class: policy.storage_class.clone(),
        server_side_encryption: policy.server_side_encryption.map(|sse| sse.as_str().to_owned()),
    };
    Box::pin(store::open(url, &options)).await
}

/// Opens the store that a flag, the environment or the configuration names.
///
/// # Errors
/// Kind `usage` when none does.
pub(super) async fn open_store(ctx: &Context<'_>, flag: Option<&str>) -> Result<Arc<dyn Store>> {
    let Some(url) = store_url(ctx, flag) else {
        return Err(Error::usage("no store of backups is named").with_hint(
            "Give --store file:///folder or s3://bucket/prefix, or set TENANTCTL_STORE, or backup.store in the configuration.",
        ));
    };
    open_url(ctx, url).await
}

/// What was backed up.
#[derive(Debug, Serialize)]
struct Report {
    backups: Vec<Done>,
    failed: Vec<Failed>,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        if self.backups.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(
            ui,
            &["backup", "type", ">rows", ">raw", ">stored", ">ratio", ">time", "ddl"],
        );
        for done in &self.backups {
            grid.row([
                done.backup_id.to_string(),
                done.backup_type.clone(),
                done.rows.to_string(),
                bytes(done.raw_bytes),
                bytes(done.stored_bytes),
                ratio(done.raw_bytes, done.stored_bytes),
                milliseconds(done.duration_ms),
                match done.ddl {
                    crate::backup::manifest::DdlSource::Template => "template".into(),
                    crate::backup::manifest::DdlSource::PgDump => "pg_dump".into(),
                },
            ]);
        }
        if self.backups.len() > 1 {
            let sum = |of: fn(&Done) -> u64| self.backups.iter().map(of).sum::<u64>();
            let (raw, stored) = (sum(|d| d.raw_bytes), sum(|d| d.stored_bytes));
            grid.row([
                count(self.backups.len(), "backup"),
                String::new(),
                sum(|d| d.rows).to_string(),
                bytes(raw),
                bytes(stored),
                ratio(raw, stored),
                String::new(),
                String::new(),
            ]);
        }
        grid.render()
    }
}

fn ratio(raw: u64, stored: u64) -> String {
    format!("{:.1}", raw as f64 / stored.max(1) as f64)
}

/// What would be backed up.
#[derive(Debug, Serialize)]
struct Plan {
    store: String,
    backup_type: String,
    expires_at: String,
    encrypted: bool,
    tenants: Vec<PlannedTenant>,
}

#[derive(Debug, Serialize)]
struct PlannedTenant {
    tenant_id: TenantId,
    schema_name: String,
    estimated_bytes: u64,
}

impl Render for Plan {
    fn text(&self, ui: &Ui) -> String {
        let mut grid = Grid::new(ui, &["tenant", "schema", ">about"]);
        for tenant in &self.tenants {
            grid.row([
                tenant.tenant_id.to_string(),
                tenant.schema_name.clone(),
                // Nothing is known of tables that were never analysed.
                match tenant.estimated_bytes {
                    0 => "-".into(),
                    n => bytes(n),
                },
            ]);
        }
        let total: u64 = self.tenants.iter().map(|t| t.estimated_bytes).sum();
        format!(
            "{}\n{} of type {}{} to {}{}, to be kept until {}",
            grid.render(),
            count(self.tenants.len(), "backup"),
            self.backup_type,
            match total {
                0 => String::new(),
                total => format!(" with about {}", bytes(total)),
            },
            self.store,
            if self.encrypted { ", encrypted" } else { "" },
            self.expires_at
        )
    }
}

/// A type is a word.
fn checked_type(text: &str) -> Result<&str> {
    let mut chars = text.chars();
    let valid = chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && text.len() <= 31
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if valid {
        return Ok(text);
    }
    Err(Error::usage(format!("invalid backup type {}", quoted(text))).with_hint(
        "scheduled, weekly, monthly, manual, pre_migration, or a word of your own: up to 31 lower-case letters, digits and '_', starting with a letter.",
    ))
}

async fn make(ctx: &Context<'_>, args: &BackupMakeArgs) -> Result<Status> {
    let mut ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    ids.sort();
    ids.dedup();
    if ids.is_empty() && !args.all && args.tier.is_none() {
        return Err(
            Error::usage("backup needs to know what to back up").with_hint("Name tenants, or use --all or --tier.")
        );
    }
    let backup_type = checked_type(&args.backup_type)?;
    let policy = &ctx.settings.config.backup;
    let recipients = Recipients::parse(&policy.age_recipients)?;
    let store = open_store(ctx, args.store.store.as_deref()).await?;
    let session = ctx.settings.registry(!args.dry_run).await?;
    // All must exist before one is tried: a typing error in a list is a reason to stop.
    let mut rows = match ids.is_empty() {
        true => tenants::list(&session, args.tier.as_deref()).await?,
        false => tenants::find(&session, &ids).await?,
    };
    // What is left of a tenant must not be taken for the tenant; the backups that it has are older and whole.
    for row in rows.iter().filter(|row| row.is_dropping()) {
        if !ids.is_empty() {
            row.refuse_dropping()?;
        }
        ctx.ui
            .warn(&format!("tenant {} is being dropped, and not backed up", row.tenant_id));
    }
    rows.retain(|row| !row.is_dropping());
    if rows.is_empty()
        && let Some(tier) = &args.tier
    {
        // A tier that nobody has and the configuration does not know is a typing error.
        ctx.settings.config.tier(tier)?;
    }
    let replica = match &args.from_replica {
        Some(url) => Some(replica(ctx, url).await?),
        None => None,
    };
    match args.dry_run {
        false => store.probe().await?,
        // Whether it can be reached, without a trace.
        true => drop(store.folders(TENANTS).await?),
    }
    let keep_days = ctx.settings.config.retention_days.days(backup_type);
    let estimates = estimates(&session, &rows).await?;
    if args.dry_run {
        let (_, expires_at) = backups::now_and_later(&session, keep_days).await?;
        ctx.ui.note("dry run: nothing was written");
        ctx.ui.result(&Plan {
            store: store.url().to_owned(),
            backup_type: backup_type.to_owned(),
            expires_at,
            encrypted: !recipients.is_empty(),
            tenants: rows
                .into_iter()
                .zip(estimates)
                .map(|(row, estimated_bytes)| PlannedTenant {
                    tenant_id: row.tenant_id,
                    schema_name: row.schema_name.to_string(),
                    estimated_bytes,
                })
                .collect(),
        })?;
        return Ok(Status::Done);
    }
    drop(session);
    if rows.is_empty() {
        ctx.ui.note("no tenants");
    }
    let writer = Writer {
        replica,
        ..writer(ctx, store, backup_type, recipients)?
    };
    let counters = Arc::clone(&writer.counters);
    let jobs = args.jobs.map_or(policy.jobs, usize::from);
    follow(ctx, writer, rows, estimates.iter().sum(), jobs, &counters).await
}

/// One that reads from the primary and packs as the configuration says.
///
/// # Errors
/// When the size of parts that the environment sets is no number.
pub(super) fn writer(
    ctx: &Context<'_>,
    store: Arc<dyn Store>,
    backup_type: &str,
    recipients: Recipients,
) -> Result<Writer> {
    let config = &ctx.settings.config;
    Ok(Writer {
        connector: ctx.settings.connector.clone(),
        replica: None,
        store,
        packing: Packing {
            level: i32::from(config.backup.compression_level),
            recipients: Arc::new(recipients),
        },
        backup_type: backup_type.to_owned(),
        keep_days: config.retention_days.days(backup_type),
        part_bytes: part_bytes()?,
        counters: Arc::new(Counters::default()),
    })
}

/// Runs it, shows how far it is, and tells what came of it.
async fn follow(
    ctx: &Context<'_>,
    writer: Writer,
    rows: Vec<TenantRow>,
    expected: u64,
    jobs: usize,
    counters: &Counters,
) -> Result<Status> {
    let started = Instant::now();
    let total = rows.len();
    let tenants = rows.into_iter().map(|row| row.tenant_id).collect();
    let progress = ctx.ui.byte_progress(expected);
    let mut results = writer.many(tenants, jobs, ctx.interrupt);
    let mut report = Report {
        backups: Vec::new(),
        failed: Vec::new(),
    };
    let mut errors = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            result = results.recv() => match result {
                Some((id, Ok(done))) => {
                    let (rows, bytes, ms) = (done.rows, done.stored_bytes, done.duration_ms);
                    tracing::info!(tenant = %id, backup = %done.backup_id, rows, bytes, ms, "backed up");
                    if !done.left_out.is_empty() {
                        ctx.ui.warn(&format!(
                            "backup {} does not hold what has to be set again after a restore: {}",
                            done.backup_id,
                            done.left_out.join(", ")
                        ));
                    }
                    report.backups.push(done);
                }
                Some((id, Err(error))) => errors.push((id, error)),
                None => break,
            },
            _ = tick.tick() => {
                let rows = counters.rows.load(Ordering::Relaxed);
                let finished = report.backups.len() + errors.len();
                let message = format!("{finished}/{} {rows} rows", count(total, "tenant"));
                progress.set(counters.bytes.load(Ordering::Relaxed), message);
            }
        }
    }
    progress.finish();
    report.backups.sort_by(|a, b| a.backup_id.cmp(&b.backup_id));
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    let interrupted = |error: &Error| error.kind() == ErrorKind::Interrupted;
    let not_done = total - report.backups.len() - errors.iter().filter(|(_, e)| !interrupted(e)).count();
    errors.retain(|(_, error)| !interrupted(error));
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
            "interrupted: {} not backed up; what was half written was removed",
            count(not_done, "tenant")
        ));
    }
    ctx.ui.note(&format!(
        "{} in {}{}",
        count(report.backups.len(), "backup"),
        milliseconds(started.elapsed().as_secs_f64() * 1000.0),
        if errors.is_empty() {
            String::new()
        } else {
            format!(", {} failed", errors.len())
        }
    ));
    Ok(status(report.backups.len(), &errors))
}

async fn estimates(session: &Session, rows: &[TenantRow]) -> Result<Vec<u64>> {
    let schemas: Vec<&str> = rows.iter().map(|row| row.schema_name.as_str()).collect();
    let found = backups::estimates(session, &schemas).await?;
    Ok(schemas
        .iter()
        .map(|schema| found.get(*schema).copied().unwrap_or_default())
        .collect())
}

fn part_bytes() -> Result<u64> {
    match std::env::var(PART_BYTES_VARIABLE) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .map_err(|e| Error::usage(format!("{PART_BYTES_VARIABLE} is not a number")).with_cause(e)),
        _ => Ok(PART_BYTES),
    }
}

/// The standby to read from: of a URL, or the first of cluster.replicas that answers as one.
async fn replica(ctx: &Context<'_>, url: &str) -> Result<Connector> {
    let env = |name: &str| std::env::var(name).ok();
    let any = url == "any";
    let urls: Vec<&str> = match any {
        true => ctx
            .settings
            .config
            .cluster
            .replicas
            .iter()
            .map(String::as_str)
            .collect(),
        false => vec![url],
    };
    if urls.is_empty() {
        return Err(Error::usage("the configuration names no replica")
            .with_hint("List them in cluster.replicas, or give the URL of one to --from-replica."));
    }
    let mut first = None;
    for url in urls {
        let info = ConnInfo::resolve(Some(url), &env)?;
        let connector = ctx.settings.connector.with_info(info).demanding(Demand::Standby);
        match usable(&connector).await {
            Ok(()) => return Ok(connector),
            Err(error) => {
                if any {
                    ctx.ui.warn(&format!("a replica is passed over: {error}"));
                }
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::usage("no replica")))
}

async fn usable(connector: &Connector) -> Result<()> {
    let session = connector.connect().await?;
    if !session.server().in_recovery {
        return Err(Error::usage("the server named by --from-replica is no standby")
            .with_hint("Leave --from-replica away to read from the primary."));
    }
    foundation::require_registry(&session).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_words() {
        for good in ["scheduled", "pre_migration", "q3", "a"] {
            assert!(checked_type(good).is_ok(), "{good}");
        }
        for bad in ["", "Weekly", "1st", "_a", "a-b", "a b", &"x".repeat(32), "é"] {
            assert_eq!(checked_type(bad).err().map(|e| e.kind().exit_code()), Some(2), "{bad}");
        }
    }
}

//! `backup verify`: reads backups again and proves that they are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{open_url, store_url};
use crate::backup::manifest::{self, BackupId, damaged};
use crate::backup::{inventory, verify};
use crate::catalog::backups::{self, BackupRow};
use crate::cli::BackupVerifyArgs;
use crate::commands::{self, Context, Status};
use crate::credentials::vault::Identities;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::Session;
use crate::plan::backup::{found_damaged, verified};
use crate::restore;
use crate::store::Store;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count, milliseconds};

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    backups_checked: usize,
    verified: Vec<Verified>,
    findings: Vec<Finding>,
}

/// A backup that is whole.
#[derive(Debug, Serialize)]
struct Verified {
    backup_id: BackupId,
    rows: u64,
    stored_bytes: u64,
    duration_ms: f64,
    drilled: bool,
}

/// What is wrong with a backup.
#[derive(Debug, Serialize)]
struct Finding {
    backup_id: BackupId,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        let mut text = String::new();
        if !self.verified.is_empty() {
            let mut grid = Grid::new(ui, &["backup", ">rows", ">stored", ">time", "drill"]);
            for backup in &self.verified {
                grid.row([
                    backup.backup_id.to_string(),
                    backup.rows.to_string(),
                    bytes(backup.stored_bytes),
                    milliseconds(backup.duration_ms),
                    if backup.drilled { "restored" } else { "-" }.into(),
                ]);
            }
            text.push_str(&grid.render());
            text.push('\n');
        }
        for finding in &self.findings {
            text.push_str(&ui.bad(&finding.message));
            if let Some(cause) = &finding.cause {
                text.push_str(&format!(": {cause}"));
            }
            text.push('\n');
        }
        text.push_str(&format!(
            "{}: {} whole, {} damaged or not readable",
            count(self.backups_checked, "backup"),
            self.verified.len(),
            self.backups_checked - self.verified.len()
        ));
        text
    }
}

/// A backup to verify, where it lies, and what the registry says of it.
struct Subject {
    id: BackupId,
    store: Arc<dyn Store>,
    row: Option<BackupRow>,
}

/// Runs the command.
///
/// # Errors
/// Kind `not_found` when one of the backups named is nowhere; whatever keeps the store from being read at all.
pub async fn run(ctx: &Context<'_>, args: &BackupVerifyArgs) -> Result<Status> {
    let ids: Vec<BackupId> = args.backups.iter().map(|id| id.parse()).collect::<Result<_>>()?;
    let identities: Vec<_> = args
        .identity
        .identity
        .iter()
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let identities = Arc::new(Identities::load(&identities)?);
    let session = ctx.settings.registry(true).await?;
    let (subjects, mut findings) = subjects(ctx, args, &session, &ids).await?;
    let jobs = args.jobs.map_or(ctx.settings.config.backup.jobs, usize::from);
    let permits = Semaphore::new(jobs);
    let mut report = Report {
        backups_checked: subjects.len() + findings.len(),
        verified: Vec::new(),
        findings: Vec::new(),
    };
    let progress = ctx.ui.progress(subjects.len(), "verifying");
    let mut checked = futures_util::stream::iter(&subjects)
        .map(|subject| {
            let (identities, permits) = (&identities, &permits);
            async move {
                let started = Instant::now();
                (subject, one(subject, identities, permits).await, started)
            }
        })
        .buffer_unordered(jobs);
    loop {
        let next = tokio::select! {
            next = checked.next() => next,
            () = ctx.interrupt.times(1) => break,
        };
        let Some((subject, result, started)) = next else { break };
        progress.tick();
        let found = match result {
            Ok(found) => found,
            Err(errors) => {
                note_damage(&session, subject, &errors).await?;
                findings.extend(errors.into_iter().map(|error| (subject.id.clone(), error)));
                continue;
            }
        };
        let drilled = args.restore_drill;
        if drilled && let Err(error) = drill(ctx, subject, &found, &identities, jobs).await {
            if error.kind() == ErrorKind::Interrupted {
                break;
            }
            note_damage(&session, subject, std::slice::from_ref(&error)).await?;
            findings.push((subject.id.clone(), error));
            continue;
        }
        // Only a backup of this registry has a row; another store's has none.
        let sql = verified(subject.id.as_str(), drilled);
        if subject.row.is_some() {
            session.batch(&sql, "note that the backup is whole").await?;
        }
        report.verified.push(Verified {
            backup_id: subject.id.clone(),
            rows: found.manifest.rows,
            stored_bytes: found.manifest.stored_bytes,
            duration_ms: (started.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0,
            drilled,
        });
    }
    drop(checked);
    progress.finish();
    if ctx.interrupt.requested() {
        let damaged: BTreeSet<&BackupId> = findings.iter().map(|(id, _)| id).collect();
        report.backups_checked = report.verified.len() + damaged.len();
    }
    report.verified.sort_by(|a, b| a.backup_id.cmp(&b.backup_id));
    findings.sort_by(|a, b| a.0.cmp(&b.0));
    report.findings = findings
        .iter()
        .map(|(id, error)| Finding {
            backup_id: id.clone(),
            message: error.message().to_owned(),
            cause: error.cause().map(str::to_owned),
        })
        .collect();
    ctx.ui.result(&report)?;
    let hints: BTreeSet<&str> = findings.iter().filter_map(|(_, error)| error.hint()).collect();
    for hint in hints {
        ctx.ui.note(&format!("hint: {hint}"));
    }
    if ctx.interrupt.requested() {
        ctx.ui.note("interrupted: the other backups were not looked at");
    }
    Ok(if findings.is_empty() {
        Status::Done
    } else {
        Status::Partly
    })
}

/// Only what was read and found wrong is damage: a store that cannot be reached says nothing of a backup.
async fn note_damage(session: &Session, subject: &Subject, errors: &[Error]) -> Result<()> {
    if subject.row.is_none() || !errors.iter().any(Error::is_damage) {
        return Ok(());
    }
    mark_damaged(session, &subject.id).await
}

async fn mark_damaged(session: &Session, id: &BackupId) -> Result<()> {
    let sql = found_damaged(id.as_str());
    session.batch(&sql, "note that the backup is damaged").await
}

/// Restores a backup for trial, and compares.
async fn drill(
    ctx: &Context<'_>,
    subject: &Subject,
    found: &manifest::Found,
    identities: &Arc<Identities>,
    jobs: usize,
) -> Result<()> {
    let source = restore::Source {
        store: Arc::clone(&subject.store),
        manifest: Arc::new(found.manifest.clone()),
        manifest_sha256: found.sha256.clone(),
    };
    let restorer = commands::restore::for_trial(ctx, Arc::clone(identities), jobs);
    restorer.drill(&source).await.map(drop)
}

async fn one(
    subject: &Subject,
    identities: &Arc<Identities>,
    permits: &Semaphore,
) -> Result<manifest::Found, Vec<Error>> {
    let store = &*subject.store;
    let found = match manifest::read(store, &subject.id).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(vec![missing(store, &subject.id).await]),
        Err(error) => return Err(vec![error]),
    };
    if let Some(expected) = subject.row.as_ref().and_then(|row| row.manifest_sha256.as_ref())
        && *expected != found.sha256
    {
        return Err(vec![damaged(
            &subject.id,
            manifest::MANIFEST,
            "it is not the one that was written: the registry has another checksum",
        )]);
    }
    let findings = verify::verify(store, &found, identities, permits).await;
    if findings.is_empty() { Ok(found) } else { Err(findings) }
}

/// A backup without a manifest is damaged; a store without any backup is more likely not mounted, and says nothing of this one.
async fn missing(store: &dyn Store, id: &BackupId) -> Error {
    match store.folders(manifest::TENANTS).await {
        Ok(tenants) if tenants.is_empty() => Error::new(ErrorKind::Store, format!("backup {id} is not there"))
            .with_cause(format!("{} holds no backup of anybody", store.url()))
            .with_hint("Is it the right store, and is its folder mounted?"),
        Ok(_) => damaged(id, manifest::MANIFEST, "it is missing"),
        Err(error) => error,
    }
}

/// What is to be verified, and what of it is known to be damaged already.
async fn subjects(
    ctx: &Context<'_>,
    args: &BackupVerifyArgs,
    session: &Session,
    ids: &[BackupId],
) -> Result<(Vec<Subject>, Vec<(BackupId, Error)>)> {
    let flag = args.store.as_deref().filter(|url| !url.is_empty());
    let mut findings = Vec::new();
    let mut wanted: Vec<BackupId> = ids.to_vec();
    wanted.sort();
    wanted.dedup();
    let rows = if args.all {
        backups::list(session, &[]).await?
    } else {
        backups::find(session, &wanted).await?
    };
    let mut rows: BTreeMap<BackupId, BackupRow> = rows
        .into_iter()
        .filter(|row| row.status == "done")
        .map(|row| (row.backup_id.clone(), row))
        .collect();
    let mut stores: BTreeMap<String, Arc<dyn Store>> = BTreeMap::new();
    if let Some(url) = flag {
        let store = open_url(ctx, url).await?;
        // What the registry says of another store's backups is nothing to this one.
        rows.retain(|_, row| row.store == store.url());
        if args.all {
            let inventory = inventory::read(&*store, &[]).await?;
            wanted = inventory.whole.into_iter().map(|f| f.manifest.backup_id).collect();
            for broken in inventory.broken {
                // What is being written is no finding; what the registry counts as good is.
                if !broken.unfinished || rows.contains_key(&broken.id) {
                    if rows.contains_key(&broken.id) && broken.error.is_damage() {
                        mark_damaged(session, &broken.id).await?;
                    }
                    findings.push((broken.id, broken.error));
                }
            }
            let known = |id: &BackupId| wanted.contains(id) || findings.iter().any(|(found, _)| found == id);
            let gone: Vec<BackupId> = rows.keys().filter(|id| !known(id)).cloned().collect();
            for id in gone {
                let error = missing(&*store, &id).await;
                if error.is_damage() {
                    mark_damaged(session, &id).await?;
                }
                findings.push((id, error));
            }
        }
        stores.insert(store.url().to_owned(), store);
    } else if args.all {
        wanted = rows.keys().cloned().collect();
    }
    let mut subjects = Vec::with_capacity(wanted.len());
    for id in wanted {
        let row = rows.remove(&id);
        let url = match (flag, &row) {
            (Some(_), _) => stores.keys().next().cloned(),
            (None, Some(row)) => Some(row.store.clone()),
            (None, None) => store_url(ctx, None).map(str::to_owned),
        };
        let Some(url) = url else {
            return Err(Error::new(ErrorKind::NotFound, format!("the registry has no whole backup {id}"))
                .with_hint("`tenantctl backup list` shows which there are; --store looks into a store that the registry does not know."));
        };
        let store = match stores.get(&url) {
            Some(store) => Arc::clone(store),
            None => {
                let store = open_url(ctx, &url).await?;
                stores.insert(url, Arc::clone(&store));
                store
            }
        };
        if row.is_none() && !args.all && !is_there(&*store, &id).await? {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no backup {id} in {}", store.url()),
            )
            .with_hint("`tenantctl backup list` shows which there are."));
        }
        subjects.push(Subject { id, store, row });
    }
    Ok((subjects, findings))
}

async fn is_there(store: &dyn Store, id: &BackupId) -> Result<bool> {
    Ok(!store.list(&id.prefix()).await?.is_empty())
}

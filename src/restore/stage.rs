//! A backup into an empty schema: structure, rows by several sessions at a time, then indexes, several of one table at once,
//! then whatever else there is, in the order of the backup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::batches::{self, Batches, Refused, Widths};
use super::keys;
use crate::backup::manifest::{DdlSource, Manifest, RowFormat, damaged};
use crate::backup::member::{self, MemberReader};
use crate::backup::script::{self, Kind, Statement};
use crate::catalog::restores;
use crate::credentials::vault::Identities;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::pg::session::{Connector, Session};
use crate::pg::sql::{Sql, TrustedScript};
use crate::plan::provision::create_hypertable;
use crate::plan::restore::{SequenceState, set_sequences};
use crate::plan::{as_admin, as_owner};
use crate::store::Store;

/// How far a restore is, for whoever shows it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes of rows that were sent to the server.
    pub bytes: AtomicU64,
    /// Indexes and keys that were built.
    pub built: AtomicU64,
}

/// Where a backup is read, and where it goes.
#[derive(Clone)]
pub(super) struct Stage {
    pub connector: Connector,
    pub store: Arc<dyn Store>,
    pub identities: Arc<Identities>,
    pub manifest: Arc<Manifest>,
    /// The schema, which is there and empty.
    pub schema: String,
    pub jobs: usize,
    /// `maintenance_work_mem` of each session.
    pub memory: String,
    pub counters: Arc<Counters>,
    pub interrupt: Interrupt,
    /// Only the rows of these tables, and no indexes: what is needed to copy them on.
    pub only: Option<BTreeSet<String>>,
}

/// The DDL of a backup, read and taken apart.
pub(super) struct Scripts {
    before: Vec<Statement>,
    after: Vec<Statement>,
}

/// Holds every member to size and checksum.
///
/// # Errors
/// Kind `store`, naming the member.
pub(super) async fn check_members(store: &Arc<dyn Store>, manifest: &Arc<Manifest>, jobs: usize) -> Result<()> {
    let members: Vec<_> = manifest.all_members().cloned().collect();
    let queue = Arc::new(Mutex::new(members.into_iter()));
    let mut readers = JoinSet::new();
    for _ in 0..jobs.max(1) {
        let (store, manifest, queue) = (Arc::clone(store), Arc::clone(manifest), Arc::clone(&queue));
        readers.spawn(async move {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(member) = next else { return Ok(()) };
                member::check(store.as_ref(), &manifest.backup_id, &member).await?;
            }
        });
    }
    joined(readers).await
}

/// Waits for all; the first error ends the others.
pub(super) async fn joined(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap_or_else(|e| Err(Error::new(ErrorKind::Unknown, "a worker ended early").with_cause(e)))?;
    }
    Ok(())
}

/// What is sent to the server as one script, each statement ended.
fn joined_text(statements: &[&Statement]) -> Sql {
    let text: String = statements
        .iter()
        .map(|s| format!("{}\n;\n", s.text.trim().trim_end_matches(';')))
        .collect();
    Sql::script(&TrustedScript::of_backup(&text))
}

fn sql_of(text: &str) -> Sql {
    Sql::script(&TrustedScript::of_backup(text))
}

impl Stage {
    /// Reads and takes apart the DDL, which also shows whether the backup can be decrypted.
    ///
    /// # Errors
    /// Kind `store`, naming the member.
    pub async fn scripts(&self) -> Result<Scripts> {
        let manifest = &self.manifest;
        let read = async |stem: &str| -> Result<Vec<Statement>> {
            let member = manifest.member(stem)?;
            let reader = MemberReader::open(self.store.as_ref(), &manifest.backup_id, member, &self.identities).await?;
            let text = reader.text().await?;
            let text = match manifest.structure.source {
                DdlSource::Template => text,
                DdlSource::PgDump => script::rename_schema(&text, &manifest.tenant.schema_name, &self.schema),
            };
            let statements = script::statements(&text)
                .map_err(|e| damaged(&manifest.backup_id, &member.name, "it cannot be taken apart").with_cause(e))?;
            let mut statements: Vec<Statement> = statements;
            statements.retain(|s| !matches!(s.kind, Kind::Setting | Kind::CreateSchema));
            Ok(statements)
        };
        Ok(Scripts {
            before: read("pre-data.sql").await?,
            after: read("post-data.sql").await?,
        })
    }

    /// Loads the backup. Returns the rows that the server took.
    ///
    /// # Errors
    /// What the server or the store refused; kind `interrupted`. The schema is then to be dropped.
    pub async fn load(&self, scripts: Scripts, timescaledb: Option<&str>) -> Result<u64> {
        let mut sessions = Vec::with_capacity(self.jobs);
        for _ in 0..self.jobs.max(1) {
            match self.open().await {
                Ok(session) => sessions.push(Arc::new(session)),
                // Fewer than were asked for do as well.
                Err(error) if error.sqlstate() == Some("53300") && !sessions.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let work = self.load_on(&sessions, scripts, timescaledb);
        let result = tokio::select! {
            result = work => result,
            () = self.interrupt.times(1) => Err(Error::interrupted()),
        };
        if result.is_err() {
            // Whoever drops the schema would wait for what still runs.
            for session in &sessions {
                session.cancel().await;
            }
        }
        result
    }

    /// A session that acts as the owner, takes the time that it takes, and resolves names in the schema only.
    pub async fn open(&self) -> Result<Session> {
        let session = self.connector.connect().await?;
        let sql = Sql::new("SET ROLE tenantctl_owner;\nSET search_path = ")
            .ident(&self.schema)
            .text(
                ", pg_temp;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_session_timeout = 0;
SET check_function_bodies = off;
SET synchronous_commit = off;
SELECT pg_catalog.set_config(p.name, p.value, false) FROM (VALUES ('restrict_nonsystem_relation_kind', ''), ('transaction_timeout', '0')) p (name, value)
WHERE pg_catalog.current_setting(p.name, true) IS NOT NULL;
SET maintenance_work_mem = ",
            )
            .literal(&self.memory);
        session
            .batch(&sql, "prepare a session that loads")
            .await
            .map_err(|error| match error.sqlstate() {
                Some("22023") => Error::usage(format!("invalid --maintenance-work-mem {:?}", self.memory))
                    .with_cause(error.cause().unwrap_or_default().to_owned())
                    .with_hint("It is written as PostgreSQL writes it, such as 256MB or 1GB."),
                _ => error,
            })?;
        Ok(session)
    }

    async fn load_on(&self, sessions: &[Arc<Session>], scripts: Scripts, timescaledb: Option<&str>) -> Result<u64> {
        let Some(lead) = sessions.first() else { return Ok(0) };
        let before: Vec<&Statement> = scripts.before.iter().collect();
        let sql = Sql::new("BEGIN;\n").append(joined_text(&before)).text("COMMIT;");
        lead.batch(&sql, "create the tables of the backup")
            .await
            .map_err(not_of_here)?;
        let hyper = self.hypertables(lead, timescaledb).await?;

        let names: Vec<&str> = self.manifest.tables.iter().map(|t| t.name.as_str()).collect();
        let shapes = restores::shapes(lead, &self.schema, &names).await?;
        let plain: BTreeSet<&str> = shapes
            .iter()
            .filter(|s| s.kind == 'r')
            .map(|s| s.name.as_str())
            .collect();
        let after = if self.only.is_some() { Vec::new() } else { scripts.after };
        // A key that is added to a hypertable costs the square of its chunks: 18 s for 2,000 of them, minutes for a year of
        // hours. One that is there already costs a quarter of the time that the rows take.
        let (keys, after): (Vec<Statement>, Vec<Statement>) = after
            .into_iter()
            .partition(|s| s.kind == Kind::Key && s.table.as_deref().is_some_and(|t| hyper.contains_key(t)));
        for statement in &keys {
            lead.batch(&sql_of(&statement.text), &doing(statement))
                .await
                .map_err(not_of_here)?;
        }
        let (jobs, later) = self.plan(after, &plain, hyper);
        let jobs = Arc::new(jobs);
        let mut workers = JoinSet::new();
        for session in sessions {
            let (stage, jobs, session) = (self.clone(), Arc::clone(&jobs), Arc::clone(session));
            workers.spawn(async move { jobs.work(&stage, &session).await });
        }
        joined(workers).await?;

        for statement in &later {
            lead.batch(&sql_of(&statement.text), &doing(statement))
                .await
                .map_err(not_of_here)?;
        }
        let sequences: Vec<SequenceState> = self
            .manifest
            .sequences
            .iter()
            .map(|s| SequenceState {
                name: s.name.clone(),
                last_value: s.last_value,
                is_called: s.is_called,
            })
            .collect();
        if !sequences.is_empty() {
            lead.batch(&set_sequences(&self.schema, &sequences), "set the sequences")
                .await?;
        }
        if self.only.is_none() {
            lead.batch(&Sql::new("RESET lc_monetary"), "write money as this database does")
                .await?;
            for view in &self.manifest.materialized_views {
                let sql = Sql::new("REFRESH MATERIALIZED VIEW ").qualified(&self.schema, view);
                lead.batch(&sql, &format!("fill materialized view {view}")).await?;
            }
        }
        let state = jobs.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(state.rows)
    }

    /// Empty tables become hypertables before anything is in them. Returns them with the widths of their chunks.
    async fn hypertables(&self, lead: &Session, timescaledb: Option<&str>) -> Result<BTreeMap<String, Widths>> {
        let Some(extension) = timescaledb.filter(|_| !self.manifest.hypertables.is_empty()) else {
            return Ok(BTreeMap::new());
        };
        let mut sql = Sql::new("BEGIN;\n").append(as_admin()).text("\n");
        for dimensions in &self.manifest.hypertables {
            sql = sql.append(create_hypertable(extension, &self.schema, &dimensions.time));
            for (column, partitions) in &dimensions.space {
                sql = sql
                    .text("SELECT FROM ")
                    .ident(extension)
                    .text(".add_dimension(")
                    .literal(&Sql::new("").qualified(&self.schema, &dimensions.time.table).to_string())
                    .text("::pg_catalog.regclass, ")
                    .literal(column)
                    .text("::pg_catalog.name, number_partitions => ")
                    .int(*partitions)
                    .text(");\n");
            }
        }
        lead.batch(
            &sql.append(as_owner()).text("\nCOMMIT;"),
            "turn tables into hypertables",
        )
        .await?;
        batches::widths(lead, &self.schema).await
    }

    /// What can be done in parallel, and the statements that come after it, in their order.
    fn plan(
        &self,
        after: Vec<Statement>,
        plain: &BTreeSet<&str>,
        hyper: BTreeMap<String, Widths>,
    ) -> (Jobs, Vec<Statement>) {
        let mut tables: Vec<TableWork> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, table) in self.manifest.tables.iter().enumerate() {
            let wanted = self.only.as_ref().is_none_or(|only| only.contains(&table.name));
            places.insert(&table.name, tables.len());
            tables.push(TableWork {
                table: at,
                weight: table.parts.iter().map(|p| p.member.raw_bytes).sum(),
                parts_left: if wanted { table.parts.len() } else { 0 },
                loads: wanted,
                builds: Vec::new(),
                builds_left: 0,
                attach: Vec::new(),
            });
        }
        let (mut keys_and_indexes, mut others) = (Vec::new(), Vec::new());
        for statement in after {
            let table = statement
                .table
                .as_deref()
                .filter(|t| plain.contains(t) && places.contains_key(t));
            let place = table.and_then(|t| places.get(t)).copied();
            match (statement.kind, place) {
                (Kind::Index, Some(place)) => tables[place].builds.push(Build {
                    what: doing(&statement),
                    sql: sql_of(&statement.text),
                }),
                (Kind::Key, Some(place)) => match keys::part(&statement.text) {
                    Some(key) => {
                        tables[place].builds.push(Build {
                            what: doing(&statement),
                            sql: sql_of(&key.index),
                        });
                        tables[place].attach.push(sql_of(&key.constraint));
                    }
                    None => tables[place].attach.push(sql_of(&statement.text)),
                },
                (Kind::Index | Kind::Key, None) => keys_and_indexes.push(statement),
                _ => others.push(statement),
            }
        }
        keys_and_indexes.append(&mut others);
        let sessions = self.jobs.max(1) as u64;
        (Jobs::new(tables, &self.manifest, sessions, hyper), keys_and_indexes)
    }
}

/// Completes `failed to ...`.
fn doing(statement: &Statement) -> String {
    const SHOWN: usize = 100;
    let text = statement.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
    format!("run {:?}", &text[..cut])
}

/// The structure needs something that this database has not got.
fn not_of_here(error: Error) -> Error {
    match error.sqlstate() {
        // undefined_object, undefined_function, undefined_table, invalid_schema_name, undefined_file
        Some("42704" | "42883" | "42P01" | "3F000" | "58P01") => {
            let hint = "The backup needs an extension, type or function that this database lacks. Install it, then restore again; nothing was changed.";
            error.with_kind(ErrorKind::Unsupported).with_hint(hint)
        }
        _ => error,
    }
}

struct Build {
    what: String,
    sql: Sql,
}

/// What is to be done to one table.
struct TableWork {
    /// Its place in the manifest.
    table: usize,
    /// Bytes of its rows: reading them is most of every index build.
    weight: u64,
    parts_left: usize,
    /// Whether its rows are wanted at all.
    loads: bool,
    builds: Vec<Build>,
    builds_left: usize,
    /// Keys to be made of indexes, and those that cannot be.
    attach: Vec<Sql>,
}

enum Task {
    /// Table and part.
    Load(usize, usize),
    /// All parts of a table, one after the other and frozen.
    LoadWhole(usize),
    Build(usize, Build),
    /// Keys of indexes, statistics.
    Finish(usize),
}

/// The work of all sessions, the largest first.
struct Jobs {
    hypertables: BTreeMap<String, Widths>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    tables: Vec<TableWork>,
    ready: Vec<(u64, Task)>,
    running: usize,
    loads_left: usize,
    builds_left: usize,
    stopped: bool,
    rows: u64,
}

impl Jobs {
    fn new(
        mut tables: Vec<TableWork>,
        manifest: &Manifest,
        sessions: u64,
        hypertables: BTreeMap<String, Widths>,
    ) -> Self {
        let mut ready = Vec::new();
        let total: u64 = tables.iter().map(|table| table.weight).sum();
        let (mut loads_left, mut builds_left) = (0, 0);
        for (place, table) in tables.iter_mut().enumerate() {
            table.builds_left = table.builds.len();
            builds_left += table.builds.len();
            loads_left += table.parts_left;
            let name = manifest.tables[table.table].name.as_str();
            if table.parts_left > 0
                && !hypertables.contains_key(name)
                && manifest.tables[table.table].through.is_none()
                && table.weight.saturating_mul(sessions - 1) <= 2 * (total - table.weight)
            {
                // The others are busy for at least as long with other tables and their indexes.
                loads_left -= table.parts_left - 1;
                table.parts_left = 1;
                ready.push((table.weight.saturating_add(1), Task::LoadWhole(place)));
            } else if table.parts_left > 0 {
                // As heavy as its table, so that the table whose indexes take longest is loaded first.
                let parts = 0..manifest.tables[table.table].parts.len();
                ready.extend(parts.map(|part| (table.weight.saturating_add(1), Task::Load(place, part))));
            }
        }
        let mut state = State {
            tables,
            ready,
            running: 0,
            loads_left,
            builds_left,
            stopped: false,
            rows: 0,
        };
        for place in 0..state.tables.len() {
            if state.tables[place].parts_left == 0 {
                state.loaded(place);
            }
        }
        Self {
            hypertables,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(&self, stage: &Stage, session: &Session) -> Result<()> {
        while let Some(task) = self.next().await {
            let result = self.run(stage, session, &task).await;
            let mut state = self.lock();
            state.running -= 1;
            match &result {
                Ok(rows) => {
                    state.rows += rows;
                    state.done(&task);
                }
                Err(_) => state.stopped = true,
            }
            drop(state);
            self.changed.notify_waiters();
            result?;
        }
        Ok(())
    }

    /// The next task; none when there is none left, or somebody has failed.
    async fn next(&self) -> Option<Task> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if state.stopped || (state.ready.is_empty() && state.running == 0) {
                    return None;
                }
                let heaviest = state.ready.iter().enumerate().max_by_key(|(_, (weight, _))| *weight);
                if let Some(at) = heaviest.map(|(at, _)| at) {
                    state.running += 1;
                    return Some(state.ready.swap_remove(at).1);
                }
            }
            changed.await;
        }
    }

    async fn run(&self, stage: &Stage, session: &Session, task: &Task) -> Result<u64> {
        match task {
            Task::Load(place, part) => {
                let table = self.lock().tables[*place].table;
                let widths = self.hypertables.get(&stage.manifest.tables[table].name);
                load_part(stage, session, table, *part, widths, false).await
            }
            Task::LoadWhole(place) => {
                let table = self.lock().tables[*place].table;
                load_whole(stage, session, table).await
            }
            Task::Build(_, build) => {
                // Towards the end there are more sessions than indexes: then several work on one.
                let helpers = {
                    let state = self.lock();
                    match (state.loads_left, state.builds_left) {
                        (0, left @ 1..) => (stage.jobs / left).saturating_sub(1),
                        _ => 0,
                    }
                };
                let sql = Sql::new("SET max_parallel_maintenance_workers = ")
                    .int(helpers.min(64) as i128)
                    .text(";\n")
                    .append(build.sql.clone());
                session.batch(&sql, &build.what).await.map_err(not_of_here)?;
                stage.counters.built.fetch_add(1, Ordering::Relaxed);
                Ok(0)
            }
            Task::Finish(place) => {
                let (table, attach) = {
                    let mut state = self.lock();
                    let table = &mut state.tables[*place];
                    (table.table, std::mem::take(&mut table.attach))
                };
                let name = &stage.manifest.tables[table].name;
                let doing = format!("finish table {name}");
                for sql in attach {
                    session.batch(&sql, &doing).await.map_err(not_of_here)?;
                }
                let sql = Sql::new("ANALYZE ").qualified(&stage.schema, name);
                session.batch(&sql, &doing).await?;
                Ok(0)
            }
        }
    }
}

impl State {
    /// All rows of a table are there: its indexes can be built.
    fn loaded(&mut self, place: usize) {
        let table = &mut self.tables[place];
        if table.builds.is_empty() {
            if table.loads {
                self.ready.push((table.weight, Task::Finish(place)));
            }
            return;
        }
        for build in std::mem::take(&mut table.builds) {
            self.ready.push((table.weight, Task::Build(place, build)));
        }
    }

    fn done(&mut self, task: &Task) {
        match task {
            Task::Load(place, _) | Task::LoadWhole(place) => {
                self.loads_left -= 1;
                self.tables[*place].parts_left -= 1;
                if self.tables[*place].parts_left == 0 {
                    self.loaded(*place);
                }
            }
            Task::Build(place, _) => {
                self.builds_left -= 1;
                let table = &mut self.tables[*place];
                table.builds_left -= 1;
                if table.builds_left == 0 {
                    self.ready.push((table.weight, Task::Finish(*place)));
                }
            }
            Task::Finish(_) => {}
        }
    }
}

/// A table by one session, in a transaction that empties it first: its rows then come frozen, and need to be written but
/// once. Returns how many there were.
async fn load_whole(stage: &Stage, session: &Session, table: usize) -> Result<u64> {
    let name = &stage.manifest.tables[table].name;
    let sql = Sql::new("BEGIN;\nTRUNCATE ONLY ").qualified(&stage.schema, name);
    session.batch(&sql, &format!("empty table {name}")).await?;
    let mut rows = 0;
    for part in 0..stage.manifest.tables[table].parts.len() {
        rows += load_part(stage, session, table, part, None, true).await?;
    }
    session
        .batch(&Sql::new("COMMIT"), &format!("load table {name}"))
        .await?;
    Ok(rows)
}

/// One part into its table, with its `widths` if it is a hypertable. Returns its rows.
async fn load_part(
    stage: &Stage,
    session: &Session,
    table: usize,
    part: usize,
    widths: Option<&Widths>,
    freeze: bool,
) -> Result<u64> {
    let manifest = &stage.manifest;
    let table = &manifest.tables[table];
    let part = &table.parts[part];
    let doing = format!("load {}", part.member.name);
    let target = table.through.as_ref().unwrap_or(&table.name);
    let mut sql = Sql::new("COPY ").qualified(&stage.schema, target);
    for (i, column) in table.columns.iter().enumerate() {
        sql = sql.text(if i == 0 { " (" } else { ", " }).ident(column);
    }
    if !table.columns.is_empty() {
        sql = sql.text(")");
    }
    let sql = sql
        .text(match table.format {
            RowFormat::Binary => " FROM STDIN (FORMAT binary",
            RowFormat::Text => " FROM STDIN (FORMAT text",
        })
        .text(if freeze { ", FREEZE)" } else { ")" });
    let mut reader = MemberReader::open(
        stage.store.as_ref(),
        &manifest.backup_id,
        &part.member,
        &stage.identities,
    )
    .await?;
    if table.format == RowFormat::Text {
        let money = Sql::new("SET lc_monetary = 'C'");
        session.batch(&money, "read money as it was written").await?;
    }
    let damage = |why: &str| damaged(&manifest.backup_id, &part.member.name, why);
    let rows = if let Some(widths) = widths {
        let refused = |refused| match refused {
            Refused::Damaged(why) => damage(why),
            Refused::Server(error) => error,
        };
        let mut batches = Batches::new(session, &sql, widths, table, &doing);
        while let Some(bytes) = reader.next().await? {
            batches.push(&bytes).await.map_err(refused)?;
            stage.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        batches.finish().await.map_err(refused)?
    } else {
        let mut copy = session.copy_in(&sql, &doing).await?;
        while let Some(bytes) = reader.next().await? {
            let n = bytes.len() as u64;
            if let Err(error) = copy.send(bytes).await {
                // Why it takes no more, it says at the end.
                return Err(copy.finish().await.err().unwrap_or(error));
            }
            stage.counters.bytes.fetch_add(n, Ordering::Relaxed);
        }
        copy.finish().await?
    };
    if rows != part.rows {
        return Err(damage(&format!("it holds {rows} rows, not {}", part.rows)));
    }
    Ok(rows)
}

//! Measures tenants: a fixed number of queries for all of them together.

mod document;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::activity::{self, Connections};
use super::business::{self, Figures, Queries, RunAs, Subject};
use super::cluster::{self, Cluster};
use super::host;
use super::readers::{Readers, Work};
use super::sizes::{self, Asked, Batch, Chunk, Contents, Functions, Opened, Patience, Way};
use super::statements::{self, Statements};
use super::usage::{self, Counted, Counters};
use super::{Backup, Fleet};
use crate::catalog::tenants::TenantRow;
use crate::config::BusinessQuery;
use crate::error::{Error, Result};
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;
use crate::tenant::Limits;

/// How sizes are found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// From the files, or by the server's size functions where this admin may not look at files.
    Exact,
    /// By the server's size functions, which open every table and wait for its lock.
    Functions,
    /// From `relpages`.
    Estimate,
    /// Not at all.
    None,
}

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How sizes are found out.
    pub sizes: Sizes,
    /// What is asked in each tenant's schema; empty: nothing.
    pub business: Vec<BusinessQuery>,
    /// The longest that one of those may take.
    pub business_timeout: Duration,
    /// The longest wait for a lock of a tenant's.
    pub lock_timeout: Duration,
    /// Sessions that read at the same time, `session` included.
    pub jobs: usize,
    /// How many queries of each tenant are told, by total time.
    pub top_queries: usize,
    /// Whether with their texts.
    pub query_texts: bool,
    /// Hours for which failures count.
    pub failed_operations_hours: u32,
}

/// Measures these tenants, and the database. Alerts are left empty: [`super::limits`] judges. A tenant that was dropped
/// meanwhile is left out.
///
/// # Errors
/// When the server refuses a query that all else rests on. What only one tenant or one figure is about ends in
/// [`Fleet::unknown`].
pub async fn collect(
    connector: &Connector,
    session: &Session,
    tenants: &[TenantRow],
    options: &Options,
) -> Result<Fleet> {
    let started = Instant::now();
    let watch = host::Watch::begin();
    let mut sorted: Vec<&TenantRow> = tenants.iter().collect();
    sorted.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    let run = Run {
        session,
        options,
        readers: Readers {
            connector,
            jobs: options.jobs.saturating_sub(1).max(1),
            lock_timeout: options.lock_timeout,
        },
        rights: Rights::read(session).await?,
        schemas: sorted.iter().map(|t| t.schema_name.as_str()).collect(),
        tenants: sorted,
    };
    // With one job, one session reads at a time.
    let (light, heavy) = if options.jobs > 1 {
        tokio::try_join!(run.light(), run.heavy())?
    } else {
        (run.light().await?, run.heavy().await?)
    };
    let figures = run.business().await?;
    let resources = watch.end().await;
    Ok(run.fleet(light, heavy, figures, &resources, started))
}

/// What this login may look at, and the time.
#[derive(Debug)]
struct Rights {
    files: bool,
    size_functions: bool,
    sees_all_rows: bool,
    /// Whether the server keeps statistics of rows; a standby does not.
    counts_rows: bool,
    in_recovery: bool,
    timestamp: String,
    today: String,
    unix_time: f64,
}

impl Rights {
    async fn read(session: &Session) -> Result<Self> {
        let sql = Sql::new(include_str!("../../sql/metrics/rights.sql"));
        let row = session.query_one(&sql, &[], "look at the server").await?;
        Ok(Self {
            files: column(&row, "files")?,
            size_functions: column(&row, "size_functions")?,
            sees_all_rows: column(&row, "sees_all_rows")?,
            counts_rows: column::<bool>(&row, "counts_rows")? && !column::<bool>(&row, "in_recovery")?,
            in_recovery: column(&row, "in_recovery")?,
            timestamp: column(&row, "timestamp")?,
            today: column(&row, "today")?,
            unix_time: column(&row, "unix_time")?,
        })
    }
}

/// What one session reads while others open tables.
struct Light {
    sessions: HashMap<String, Connections>,
    statements: Statements,
    cluster: Cluster,
    /// By tenant and schema.
    backups: HashMap<String, (String, Backup)>,
}

/// What several sessions read, by place.
#[derive(Default)]
struct Heavy {
    contents: HashMap<usize, Contents>,
    /// What the size functions say; it stands before what `contents` say.
    bytes: HashMap<usize, u64>,
    counted: HashMap<usize, Counted>,
    /// Tenants without a figure, by what it is and why.
    unknown: BTreeMap<(&'static str, String), Vec<usize>>,
}

impl Heavy {
    fn add(&mut self, other: Self) {
        self.contents.extend(other.contents);
        self.bytes.extend(other.bytes);
        self.counted.extend(other.counted);
        for (key, places) in other.unknown {
            self.unknown.entry(key).or_default().extend(places);
        }
    }

    fn lacks(&mut self, what: &'static str, why: impl Into<String>, at: usize) {
        self.unknown.entry((what, why.into())).or_default().push(at);
    }
}

const SIZE: &str = "the size";
const USAGE: &str = "the usage of limits";
const LOCKED: &str = "a table is locked, or somebody waits to lock it";

/// What keeps a figure from being had, in words that are the same for all tenants that it is the same for.
fn why(error: &Error) -> String {
    match error.sqlstate() {
        Some("55P03") => LOCKED.to_owned(),
        _ => error.cause().unwrap_or(error.message()).to_owned(),
    }
}

/// A piece of work of [`Run::heavy`].
enum Task {
    Contents(Chunk),
    Sizes(Batch),
    Usage(Batch),
}

enum Outcome {
    Contents(Vec<(usize, Contents)>),
    Sizes(Asked<Option<u64>>),
    Usage(Asked<Counted>),
}

/// How [`Task`]s are done.
struct Tasks<'a> {
    schemas: &'a [&'a str],
    way: Way,
    patience: Patience,
    counters: Counters<'a>,
}

impl Work for Tasks<'_> {
    type Piece = Task;
    type Done = Outcome;

    fn tables(&self, task: &Task) -> usize {
        match task {
            Task::Contents(_) => 0,
            Task::Sizes(batch) | Task::Usage(batch) => batch.relations(),
        }
    }

    async fn one(&self, session: &Session, task: &Task) -> Result<Outcome> {
        Ok(match task {
            Task::Contents(chunk) => Outcome::Contents(sizes::read(session, self.schemas, chunk, self.way).await?),
            Task::Sizes(batch) => Outcome::Sizes(sizes::ask(session, batch, self.patience, &Functions).await?),
            Task::Usage(batch) => Outcome::Usage(sizes::ask(session, batch, self.patience, &self.counters).await?),
        })
    }
}

/// One measurement.
struct Run<'a> {
    session: &'a Session,
    options: &'a Options,
    readers: Readers<'a>,
    rights: Rights,
    tenants: Vec<&'a TenantRow>,
    schemas: Vec<&'a str>,
}

impl Run<'_> {
    async fn light(&self) -> Result<Light> {
        let roles: Vec<&str> = self.tenants.iter().map(|t| t.role_name.as_str()).collect();
        let (each, texts) = (self.options.top_queries, self.options.query_texts);
        Ok(Light {
            sessions: activity::read(self.session).await?,
            statements: statements::top(self.session, &roles, each, texts).await?,
            cluster: cluster::read(self.session, self.options.failed_operations_hours).await?,
            backups: self.backups().await?,
        })
    }

    async fn backups(&self) -> Result<HashMap<String, (String, Backup)>> {
        let ids: Vec<&str> = self.tenants.iter().map(|t| t.tenant_id.as_str()).collect();
        let sql = Sql::new(include_str!("../../sql/metrics/backups.sql"));
        let rows = self
            .session
            .query(&sql, &[(&ids, Type::TEXT_ARRAY)], "look for the tenants' backups")
            .await?;
        rows.iter()
            .map(|row| {
                let types: Vec<String> = column::<Option<_>>(row, "types")?.unwrap_or_default();
                let ages: Vec<f64> = column::<Option<_>>(row, "ages")?.unwrap_or_default();
                let mut by_type: BTreeMap<String, f64> = types
                    .into_iter()
                    .zip(ages.into_iter().map(|age| age.max(0.0)))
                    .collect();
                let age = column::<Option<f64>>(row, "age")?.map(|age| age.max(0.0));
                by_type.extend(age.map(|age| ("any".to_owned(), age)));
                let backup = Backup {
                    backup_id: column(row, "backup_id")?,
                    created_at: column(row, "created_at")?,
                    age_seconds: age,
                    age_seconds_by_type: by_type,
                    tenant_age_seconds: column::<f64>(row, "tenant_age")?.max(0.0),
                };
                Ok((column(row, "tenant_id")?, (column(row, "schema_name")?, backup)))
            })
            .collect()
    }

    /// Sizes, rows and counters. What takes no lock goes side by side with what does.
    async fn heavy(&self) -> Result<Heavy> {
        let way = match self.options.sizes {
            Sizes::Exact if self.rights.files => Way::Files,
            Sizes::Exact | Sizes::Functions | Sizes::None => Way::Count,
            Sizes::Estimate => Way::Estimate,
        };
        let first = self.readers.open().await?;
        let before = match way {
            Way::Files => Some(sizes::all_files(&first).await?),
            Way::Estimate | Way::Count => None,
        };
        let chunks = sizes::chunks(self.schemas.len(), self.readers.jobs.saturating_sub(1));
        let chunks: Vec<Task> = chunks.into_iter().map(Task::Contents).collect();
        let (some, others) = (chunks.len(), self.readers.jobs.saturating_sub(chunks.len()));
        let mut heavy = Heavy::default();
        let mut opened = Heavy::default();
        if others > 0 {
            tokio::try_join!(
                self.work(chunks, some, way, &mut heavy),
                self.open_tables(first, way, others, &mut opened)
            )?;
        } else {
            self.work(chunks, 1, way, &mut heavy).await?;
            self.open_tables(first, way, 1, &mut opened).await?;
        }
        heavy.add(opened);
        if let Some(before) = before {
            self.measure_replaced(before, &mut heavy).await?;
        }
        Ok(heavy)
    }

    /// What opens tables and waits for their locks: the size functions where they are needed, and counters.
    async fn open_tables(&self, first: Session, way: Way, jobs: usize, heavy: &mut Heavy) -> Result<()> {
        let mut tasks = Vec::new();
        let locked = sizes::locked(&first).await?;
        if matches!(self.options.sizes, Sizes::Exact | Sizes::Functions) && way == Way::Count {
            let all: Vec<usize> = (0..self.schemas.len()).collect();
            let tables = self.tables(&first, &all, heavy).await?;
            tasks.extend(self.to_ask(tables, &locked, SIZE, heavy).into_iter().map(Task::Sizes));
        }
        let limited: Vec<usize> = (0..self.tenants.len())
            .filter(|at| counts(&self.tenants[*at].limits))
            .collect();
        if !limited.is_empty() {
            let counters = usage::tables(&first, &self.schemas, self.rights.sees_all_rows).await?;
            let wanted: HashSet<usize> = limited.iter().copied().collect();
            let counters: Vec<Opened> = counters.into_iter().filter(|c| wanted.contains(&c.at)).collect();
            let there: HashSet<usize> = counters.iter().map(|c| c.at).collect();
            for at in limited.into_iter().filter(|at| !there.contains(at)) {
                heavy.lacks(USAGE, "there is no table tenant_usage as tenantctl makes it", at);
            }
            let batches = self.to_ask(counters, &locked, USAGE, heavy);
            tasks.extend(batches.into_iter().map(Task::Usage));
        }
        drop(first);
        self.work(tasks, jobs, way, heavy).await
    }

    /// What the size functions are to be asked about, where this login may ask them.
    async fn tables(&self, session: &Session, places: &[usize], heavy: &mut Heavy) -> Result<Vec<Opened>> {
        if !self.rights.size_functions {
            for at in places {
                heavy.lacks(SIZE, "this login may not execute pg_total_relation_size", *at);
            }
            return Ok(Vec::new());
        }
        let names: Vec<&str> = places.iter().map(|at| self.schemas[*at]).collect();
        let mut tables = sizes::tables(session, &names).await?;
        for tenant in &mut tables {
            tenant.at = places[tenant.at];
        }
        Ok(tables)
    }

    /// Batches of those that nobody has locked; the others are unknown.
    fn to_ask(&self, tenants: Vec<Opened>, locked: &HashSet<u32>, what: &'static str, heavy: &mut Heavy) -> Vec<Batch> {
        let (waiting, free): (Vec<_>, Vec<_>) = tenants
            .into_iter()
            .partition(|t| t.relations.iter().any(|oid| locked.contains(oid)));
        for tenant in waiting {
            heavy.lacks(what, LOCKED, tenant.at);
        }
        sizes::batches(free)
    }

    async fn work(&self, tasks: Vec<Task>, jobs: usize, way: Way, heavy: &mut Heavy) -> Result<()> {
        let work = Tasks {
            schemas: &self.schemas,
            way,
            patience: Patience::new(&self.readers),
            counters: Counters {
                schemas: &self.schemas,
                today: &self.rights.today,
                sees_all_rows: self.rights.sees_all_rows,
            },
        };
        let readers = Readers {
            jobs,
            ..self.readers.clone()
        };
        let outcomes = readers.each(&work, tasks).await?;
        for outcome in outcomes {
            match outcome {
                Outcome::Contents(found) => heavy.contents.extend(found),
                Outcome::Sizes(asked) => {
                    for (at, bytes) in asked.found {
                        match bytes {
                            Some(bytes) => {
                                heavy.bytes.insert(at, bytes);
                            }
                            None => heavy.lacks(SIZE, "tables were made or dropped while they were measured", at),
                        }
                    }
                    for (at, error) in asked.unknown {
                        heavy.lacks(SIZE, why(&error), at);
                    }
                }
                Outcome::Usage(asked) => {
                    heavy.counted.extend(asked.found);
                    for (at, error) in asked.unknown {
                        heavy.lacks(USAGE, why(&error), at);
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks the server's functions about tenants whose files were replaced while they were read.
    async fn measure_replaced(&self, before: (i64, i64), heavy: &mut Heavy) -> Result<()> {
        let session = self.readers.open().await?;
        let again = sizes::replaced(&session, &self.schemas, &heavy.contents, before).await?;
        if again.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = again.iter().map(|at| self.schemas[*at]).collect();
        let counted = sizes::read(&session, &names, &Chunk::all(names.len()), Way::Count).await?;
        for at in &again {
            heavy.contents.remove(at);
        }
        heavy
            .contents
            .extend(counted.into_iter().map(|(i, contents)| (again[i], contents)));
        let tables = self.tables(&session, &again, heavy).await?;
        let locked = sizes::locked(&session).await?;
        let tasks = self
            .to_ask(tables, &locked, SIZE, heavy)
            .into_iter()
            .map(Task::Sizes)
            .collect();
        drop(session);
        self.work(tasks, self.readers.jobs, Way::Count, heavy).await
    }

    async fn business(&self) -> Result<Business> {
        let queries = &self.options.business;
        let mut found = Business::default();
        if queries.is_empty() {
            return Ok(found);
        }
        let roles: Vec<&str> = self.tenants.iter().map(|t| t.role_name.as_str()).collect();
        let run_as = business::run_as(self.session, &self.schemas, &roles).await?;
        let mut subjects = Vec::new();
        for (at, run_as) in run_as {
            match Subject::new(at, self.schemas[at], roles[at], run_as) {
                Some(subject) => subjects.push(subject),
                None => found.refused.entry(refusal(run_as)).or_default().push(at),
            }
        }
        let readers = Readers {
            jobs: self.options.jobs.max(1),
            ..self.readers.clone()
        };
        let work = Queries {
            queries,
            timeout: self.options.business_timeout,
        };
        let figures = readers.each(&work, subjects).await?;
        for Figures { at, values } in figures {
            for (query, value) in queries.iter().zip(values) {
                match value {
                    Ok(value) => {
                        found.values.entry(at).or_default().insert(query.name.clone(), value);
                    }
                    Err(error) => {
                        let cause = error.cause().unwrap_or(error.message()).to_owned();
                        found.failed.entry((query.name.clone(), cause)).or_default().push(at);
                    }
                }
            }
        }
        Ok(found)
    }
}

/// What the business queries gave, by place.
#[derive(Default)]
struct Business {
    values: HashMap<usize, BTreeMap<String, Option<f64>>>,
    refused: BTreeMap<&'static str, Vec<usize>>,
    /// By query and reason.
    failed: BTreeMap<(String, String), Vec<usize>>,
}

fn refusal(run_as: RunAs) -> &'static str {
    match run_as {
        RunAs::Hidden => {
            "row security may hide rows from tenantctl_owner, and this login may not become the tenant; `tenantctl secure` mends it"
        }
        _ => {
            "others than tenantctl_owner own something in the schema or may create there, and what they made could run; `tenantctl validate` names it"
        }
    }
}

/// Whether a tenant has a limit that its counters count for.
fn counts(limits: &Limits) -> bool {
    [
        limits.max_portfolios,
        limits.max_positions_per_portfolio,
        limits.max_trades_per_day,
    ]
    .iter()
    .any(|limit| limit.max().is_some())
}

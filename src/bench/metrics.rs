//! Metrics of many tenants: `metrics --all` beside one plain query for their sizes, at several numbers of tenants.
//!
//! Every contender starts from nothing in every round, as whoever runs a command does: our own as a program, the plain query
//! on a new session. They take turns, and the order moves on, so that a slow moment of the machine hits all.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::folder::Folder;
use super::{Figure, exporter, median, program};
use crate::catalog::tenants;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::{self, Work};
use crate::interrupt::Interrupt;
use crate::metrics::collect::{Options, Sizes, collect};
use crate::pg::session::{Connector, Session};
use crate::pg::sql::Sql;
use crate::provisioner::{Provisioner, Request};
use crate::tenant::{SchemaName, TenantId, Tier};

const SUITE: &str = "metrics";
/// `metrics --all` with exact sizes against the plain query.
const EXACT_RATIO: f64 = 0.7;
/// `metrics --all --sizes estimate`, in seconds.
const ESTIMATE_S: f64 = 1.5;
/// Peak memory of `metrics --all`, in MB.
const MEMORY_MB: f64 = 150.0;
/// The number of tenants that the targets are for. With few, the fifth of a second counts over which processors are watched.
const TARGET_AT: usize = 10_000;
/// The number of tenants that the exporters are compared at.
const EXPORTER_AT: usize = 1_000;
/// How often a program's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What to run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Measure with so many tenants.
    pub at: Vec<usize>,
    /// Rounds with every contender; the median counts.
    pub rounds: usize,
    /// Sessions that make tenants, and that read.
    pub jobs: usize,
    /// Leave prometheus-postgres-exporter out.
    pub no_postgres_exporter: bool,
}

/// A running suite.
pub struct Suite<'a> {
    /// Makes tenants in the scratch database.
    pub provisioner: Provisioner,
    /// Their tier.
    pub tier: Arc<Tier>,
    /// What to run.
    pub workload: Workload,
    /// Where logs go.
    pub folder: &'a Folder,
    /// The file of the configuration, where it is not the built-in one.
    pub config: Option<PathBuf>,
    /// Told how far the suite is.
    pub progress: &'a (dyn Fn(&str) + Sync),
    /// Told what is left out.
    pub warn: &'a (dyn Fn(&str) + Sync),
    /// Ends the suite early.
    pub interrupt: &'a Interrupt,
}

/// One of those that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    /// The plain query.
    Grouped,
    /// `metrics --all`.
    Exact,
    /// The same as a login without a right to the files has it.
    Functions,
    /// `metrics --all --sizes estimate`.
    Estimate,
}

const CONTENDERS: [Contender; 4] = [
    Contender::Grouped,
    Contender::Exact,
    Contender::Functions,
    Contender::Estimate,
];

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// When a tenant cannot be made or a contender fails; an interrupt.
    pub async fn run(&self) -> Result<Vec<Figure>> {
        let session = self.provisioner.connector.connect().await?;
        let host = session.host();
        drop(session);
        let mut stops = self.workload.at.clone();
        stops.sort_unstable();
        stops.dedup();
        let most = stops.last().copied().unwrap_or_default();
        // The exporters are compared with a thousand tenants, or with as many as there will be.
        let compared_at = most.min(EXPORTER_AT);
        if !stops.contains(&compared_at) {
            stops.push(compared_at);
            stops.sort_unstable();
        }
        let mut figures = Vec::new();
        let mut made = 0;
        for stop in stops {
            made = self.fill(made, stop).await?;
            if self.workload.at.contains(&stop) {
                self.compare(stop, host, &mut figures).await?;
            }
            if stop == compared_at {
                figures.extend(self.exporters(stop, host).await?);
            }
        }
        Ok(figures)
    }

    /// Makes tenants until there are so many, each with a few rows.
    async fn fill(&self, made: usize, size: usize) -> Result<usize> {
        if size <= made {
            return Ok(made);
        }
        (self.progress)(&format!("filling the database from {made} to {size} tenants"));
        let request = || -> Result<Request> {
            Ok(Request {
                id: format!("bench-{}", crate::pg::password::random_hex(8)).parse()?,
                tier: Arc::clone(&self.tier),
            })
        };
        let requests = (made..size).map(|_| request()).collect::<Result<Vec<_>>>()?;
        let jobs = self.workload.jobs;
        let mut results = self.provisioner.provision_many(requests, jobs, None, self.interrupt);
        let mut new = Vec::with_capacity(size - made);
        while let Some((id, result)) = results.recv().await {
            let tenant = result?;
            new.push((id, SchemaName::from_registry(tenant.schema_name.as_str())?));
            if new.len() % 1000 == 0 {
                (self.progress)(&format!("{} of {} made", new.len(), size - made));
            }
        }
        let rows = Rows(self.provisioner.connector.clone());
        let mut filled = 0;
        let mut results = fleet::many(rows, new, jobs, self.interrupt);
        while let Some((_, result)) = results.recv().await {
            result?;
            filled += 1;
        }
        if filled < size - made {
            return Err(Error::interrupted());
        }
        Ok(size)
    }

    async fn compare(&self, tenants: usize, host: usize, figures: &mut Vec<Figure>) -> Result<()> {
        let mut seconds: [Vec<f64>; 4] = Default::default();
        let mut peak = None;
        for round in 0..self.workload.rounds {
            (self.progress)(&format!(
                "{tenants} tenants, round {} of {}",
                round + 1,
                self.workload.rounds
            ));
            for turn in 0..CONTENDERS.len() {
                if self.interrupt.requested() {
                    return Err(Error::interrupted());
                }
                let which = (round + turn) % CONTENDERS.len();
                let took = match CONTENDERS[which] {
                    Contender::Grouped => self.grouped(tenants).await?,
                    Contender::Functions => self.functions(tenants).await?,
                    contender => {
                        let (took, memory) = self.program(contender, tenants, host).await?;
                        peak = peak.max(memory);
                        took
                    }
                };
                seconds[which].push(took.as_secs_f64());
            }
        }
        let [grouped, exact, functions, estimate] = seconds.map(|values| median(&values));
        let target = |value: f64| (tenants >= TARGET_AT).then_some(value);
        let mut figure = |what: &str, unit, value, target| {
            figures.push(Figure::new(
                SUITE,
                format!("{what} at {tenants} tenants"),
                unit,
                value,
                target,
            ));
        };
        figure("sum(pg_total_relation_size) by schema", "s", grouped, None);
        figure("metrics --all", "s", exact, None);
        figure("metrics --all by size functions", "s", functions, None);
        // A promise for up to so many tenants; more take longer.
        let in_time = (tenants <= TARGET_AT).then_some(ESTIMATE_S);
        figure("metrics --all --sizes estimate", "s", estimate, in_time);
        let ratio = exact / grouped;
        figure("metrics --all against the sum", "ratio", ratio, target(EXACT_RATIO));
        figure("by size functions against the sum", "ratio", functions / grouped, None);
        if let Some(peak) = peak {
            let limit = (tenants <= TARGET_AT).then_some(MEMORY_MB);
            figure("metrics --all: peak memory", "MB", peak as f64 / 1e6, limit);
        }
        Ok(())
    }

    /// The plain query, on a session of its own.
    async fn grouped(&self, tenants: usize) -> Result<Duration> {
        let started = Instant::now();
        let session = self.provisioner.connector.connect().await?;
        // In its favour: compiling this query takes longer than it gains. Its time is not limited.
        let quick = Sql::new("SET jit = off; SET statement_timeout = 0");
        session.batch(&quick, "prepare the session").await?;
        let sql = Sql::new(include_str!("../../sql/bench/grouped_sizes.sql"));
        let rows = session.query(&sql, &[], "add up sizes by schema").await?;
        let took = started.elapsed();
        complete("the plain query", rows.len(), tenants)?;
        Ok(took)
    }

    /// What `metrics --all` does, by the size functions.
    async fn functions(&self, tenants: usize) -> Result<Duration> {
        let options = Options {
            sizes: Sizes::Functions,
            business: Vec::new(),
            business_timeout: Duration::ZERO,
            lock_timeout: Duration::from_secs(1),
            jobs: self.workload.jobs,
            top_queries: 10,
            query_texts: false,
            failed_operations_hours: 24,
        };
        let started = Instant::now();
        let connector = &self.provisioner.connector;
        let session = connector.connect().await?;
        let all = tenants::list(&session, None).await?;
        let fleet = collect(connector, &session, &all, &options).await?;
        let took = started.elapsed();
        let known = fleet.tenants.iter().filter(|t| t.database.size_bytes.is_some());
        complete("metrics by size functions", known.count(), tenants)?;
        Ok(took)
    }

    /// `metrics --all -o json` as a program, and its peak memory.
    async fn program(&self, contender: Contender, tenants: usize, host: usize) -> Result<(Duration, Option<u64>)> {
        let failed = |cause: String| Error::new(ErrorKind::Unknown, "metrics --all failed").with_cause(cause);
        let (json, log) = (
            self.folder.path().join("metrics.json"),
            self.folder.path().join("metrics.log"),
        );
        let create = |path: &PathBuf| {
            std::fs::File::create(path)
                .map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", path.display())).with_cause(e))
        };
        let tenantctl = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
        let mut command = Command::new(&tenantctl);
        for (name, _) in std::env::vars_os() {
            // Neither our server nor others are told of this database's figures.
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("TENANTCTL_") {
                command.env_remove(&name);
            }
        }
        command
            .env_remove("DATABASE_URL")
            .envs(self.provisioner.connector.info().libpq_environment(host))
            .args(["--quiet", "--no-progress", "--output=json", "metrics", "--all"])
            .args(["--no-business", "--no-notify"])
            .arg(format!("--jobs={}", self.workload.jobs.min(100)))
            .stdin(Stdio::null())
            .stdout(create(&json)?)
            .stderr(create(&log)?)
            .kill_on_drop(true);
        let source = match contender {
            Contender::Estimate => {
                command.arg("--sizes=estimate");
                "\"size_source\": \"estimate\""
            }
            _ => "\"size_source\": \"exact\"",
        };
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        let started = Instant::now();
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let mut peak = None;
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.map_err(|e| failed(e.to_string()))?,
                _ = ticks.tick() => peak = peak.max(child.id().and_then(program::own_peak)),
            }
        };
        let took = started.elapsed();
        // 1: an alert fires, which is no failure.
        if !matches!(status.code(), Some(0 | 1)) {
            return Err(failed(format!("{status}: {}", program::end_of(&log))));
        }
        let text = std::fs::read_to_string(&json).map_err(|e| failed(e.to_string()))?;
        let compact = source.replace(": ", ":");
        let known = text.matches(source).count() + text.matches(&compact).count();
        complete("metrics --all", known, tenants)?;
        Ok((took, peak))
    }

    /// Our exporter and the other one, on the database as it is now.
    async fn exporters(&self, tenants: usize, host: usize) -> Result<Vec<Figure>> {
        let suite = exporter::Suite {
            connector: &self.provisioner.connector,
            host,
            tenants,
            rounds: self.workload.rounds,
            jobs: self.workload.jobs.min(100),
            alone: self.workload.no_postgres_exporter,
            folder: self.folder,
            config: self.config.clone(),
            progress: self.progress,
            warn: self.warn,
            interrupt: self.interrupt,
        };
        suite.run().await
    }
}

/// Whoever leaves tenants out would be fast for the wrong reason.
fn complete(who: &str, known: usize, tenants: usize) -> Result<()> {
    if known == tenants {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unknown,
        format!("{who} has sizes of {known} tenants; there are {tenants}"),
    ))
}

/// Gives tenants a few rows.
struct Rows(Connector);

impl Work for Rows {
    type Item = (TenantId, SchemaName);
    type Done = ();
    const OPERATION: &'static str = "bench";

    fn connector(&self) -> &Connector {
        &self.0
    }

    fn id(item: &Self::Item) -> &TenantId {
        &item.0
    }

    async fn one(&self, session: &Session, (_, schema): &Self::Item) -> Result<()> {
        let sql =
            Sql::new("BEGIN; SET LOCAL ROLE tenantctl_owner; SET LOCAL row_security = on; SET LOCAL search_path = ")
                .ident(schema.as_str())
                .text(";\n")
                .text(include_str!("../../sql/bench/tenant_rows.sql"))
                .text(";\nCOMMIT");
        session.batch(&sql, "fill a tenant").await
    }
}

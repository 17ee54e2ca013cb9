//! Metrics of many tenants: `metrics --all` beside one plain query for their sizes, at several numbers of tenants.
//!
//! Every contender starts from nothing in every round, as whoever runs a command does: our own as a program, the plain query
//! on a new session. They take turns, and the order moves on, so that a slow moment of the machine hits all.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Curve, Figure, Line, Measured, Point, Stage, exporter, median, program};
use crate::catalog::tenants;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::{self, Work};
use crate::metrics::collect::{Options, Sizes, collect};
use crate::pg::session::{Connector, Session};
use crate::pg::sql::Sql;
use crate::tenant::{SchemaName, TenantId, Tier};

const SUITE: &str = "metrics";
const SUM: &str = "sum(pg_total_relation_size) by schema";
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
    /// Where it runs.
    pub stage: &'a Stage<'a>,
    /// Their tier.
    pub tier: Arc<Tier>,
    /// What to run.
    pub workload: Workload,
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

impl Contender {
    fn line(self) -> Line {
        let name = match self {
            Self::Grouped => SUM,
            Self::Exact => "metrics --all",
            Self::Functions => "metrics --all by size functions",
            Self::Estimate => "metrics --all --sizes estimate",
        };
        Line {
            name: name.to_owned(),
            points: Vec::new(),
        }
    }
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// When a tenant cannot be made or a contender fails; an interrupt.
    pub async fn run(&self) -> Result<Measured> {
        let session = self.stage.provisioner.connector.connect().await?;
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
        let mut lines = CONTENDERS.map(Contender::line);
        let mut made = 0;
        for stop in stops {
            made += populate(self.stage, &self.tier, self.workload.jobs, made, stop)
                .await?
                .len();
            if self.workload.at.contains(&stop) {
                let took = self.compare(stop, host, &mut figures).await?;
                for (line, seconds) in lines.iter_mut().zip(took) {
                    line.points.push(Point::measured(stop as f64, seconds));
                }
            }
            if stop == compared_at {
                figures.extend(self.exporters(stop, host).await?);
            }
        }
        let mut measured = Measured::from(figures);
        if lines[0].points.len() > 1 {
            measured.curves.push(Curve {
                suite: SUITE,
                name: "sizes of all tenants".into(),
                x: "tenants",
                unit: "s",
                lines: lines.into(),
            });
        }
        Ok(measured)
    }

    async fn compare(&self, tenants: usize, host: usize, figures: &mut Vec<Figure>) -> Result<[f64; 4]> {
        let mut seconds: [Vec<f64>; 4] = Default::default();
        let mut peak = None;
        for round in 0..self.workload.rounds {
            self.stage.progress(format!(
                "{tenants} tenants, round {} of {}",
                round + 1,
                self.workload.rounds
            ));
            for turn in 0..CONTENDERS.len() {
                self.stage.uninterrupted()?;
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
            let figure = Figure::new(SUITE, format!("{what} at {tenants} tenants"), unit, value, target);
            figures.push(if what == SUM { figure.of_others() } else { figure });
        };
        figure(SUM, "s", grouped, None);
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
        Ok([grouped, exact, functions, estimate])
    }

    /// The plain query, on a session of its own.
    async fn grouped(&self, tenants: usize) -> Result<Duration> {
        let started = Instant::now();
        let session = self.stage.provisioner.connector.connect().await?;
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
        let connector = &self.stage.provisioner.connector;
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
            self.stage.folder.path().join("metrics.json"),
            self.stage.folder.path().join("metrics.log"),
        );
        let create = |path: &PathBuf| {
            std::fs::File::create(path)
                .map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", path.display())).with_cause(e))
        };
        let mut command = self.stage.tenantctl(
            host,
            &["--output=json", "metrics", "--all", "--no-business", "--no-notify"],
        )?;
        command
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
            stage: self.stage,
            host,
            tenants,
            rounds: self.workload.rounds,
            jobs: self.workload.jobs.min(100),
            alone: self.workload.no_postgres_exporter,
        };
        suite.run().await
    }
}

/// Makes tenants until there are so many, each with a few rows; returns the new ones.
///
/// # Errors
/// When one cannot be made or filled; an interrupt.
pub(super) async fn populate(
    stage: &Stage<'_>,
    tier: &Arc<Tier>,
    jobs: usize,
    made: usize,
    size: usize,
) -> Result<Vec<(TenantId, SchemaName)>> {
    if size <= made {
        return Ok(Vec::new());
    }
    stage.progress(format!("filling the database from {made} to {size} tenants"));
    let requests = (made..size).map(|_| stage.request(tier)).collect::<Result<Vec<_>>>()?;
    let mut results = stage.provisioner.provision_many(requests, jobs, None, stage.interrupt);
    let mut new = Vec::with_capacity(size - made);
    while let Some((id, result)) = results.recv().await {
        new.push((id, result?.schema_name));
        if new.len() % 1000 == 0 {
            stage.progress(format!("{} of {} made", new.len(), size - made));
        }
    }
    let rows = Rows(stage.provisioner.connector.clone());
    let mut filled = 0;
    let mut results = fleet::many(rows, new.clone(), jobs, stage.interrupt);
    while let Some((_, result)) = results.recv().await {
        result?;
        filled += 1;
    }
    if filled < size - made {
        return Err(Error::interrupted());
    }
    Ok(new)
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

//! How everything grows with the number of tenants: making them, validate, metrics, list, show, the backup of one, the catalogs,
//! the first write and the memory of a session; and what would break first with more tenants than were made.
//!
//! Commands run as programs, so that start-up and memory count, and must have seen every tenant. What lies beyond the last number
//! of tenants is a line through the last factor of ten, and every figure from it says so.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::backend::Source;
use super::extrapolate::{self, Series};
use super::metrics::populate;
use super::{Figure, Latencies, Measured, Stage, median, program, resources};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::tenant::{SchemaName, TenantId, Tier};

const SUITE: &str = "scale";
/// Tenants made one by one at each number, the last ones up to it.
const SAMPLES: usize = 20;
/// Tenants that a session meets.
const MEETS: usize = 100;
/// Sessions that write for the first time, each of another tenant.
const WRITERS: usize = 20;
const MIB: f64 = 1_048_576.0;
const FIRST_WRITE: &str = "first write of a session, p50";
const WRITER_MEMORY: &str = "session after its first write: memory";
/// Where growth counts as broken: the time of a job of a CI gate, of a scrape, of somebody who waits, in seconds, and of what a
/// user of the application notices, in milliseconds; the memory of a small machine that runs the command, in MiB.
const GATE_S: f64 = 600.0;
const SCRAPE_S: f64 = 60.0;
const PATIENCE_S: f64 = 10.0;
const NOTICED_MS: f64 = 100.0;
const MEMORY_MIB: f64 = 2048.0;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The largest number of tenants.
    pub to: usize,
    /// Runs of each program at each number; the median counts.
    pub rounds: usize,
    /// Sessions that make tenants.
    pub jobs: usize,
}

/// A running suite.
pub struct Suite<'a> {
    /// What it works with.
    pub stage: &'a Stage<'a>,
    /// Their tier.
    pub tier: Arc<Tier>,
    /// What to run.
    pub workload: Workload,
}

/// A command that is run as a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Validate,
    Metrics,
    List,
    Show,
    Backup,
}

const PROGRAMS: [Program; 5] = [
    Program::Validate,
    Program::Metrics,
    Program::List,
    Program::Show,
    Program::Backup,
];

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate --all",
            Self::Metrics => "metrics --all",
            Self::List => "list",
            Self::Show => "show of one tenant",
            Self::Backup => "backup of one tenant",
        }
    }

    fn memory_name(self) -> &'static str {
        match self {
            Self::Validate => "validate --all, peak memory",
            Self::Metrics => "metrics --all, peak memory",
            Self::List => "list, peak memory",
            Self::Show => "show of one tenant, peak memory",
            Self::Backup => "backup of one tenant, peak memory",
        }
    }

    fn args(self, tenant: &TenantId) -> Vec<&str> {
        let one = tenant.as_str();
        match self {
            // A check that is given up would be quick.
            Self::Validate => vec!["validate", "--all", "--check-timeout=3600"],
            Self::Metrics => vec!["metrics", "--all", "--no-business", "--no-notify"],
            Self::List => vec!["list"],
            Self::Show => vec!["show", one],
            Self::Backup => vec!["backup", one],
        }
    }

    /// Whether the printed JSON is about so many tenants, of which this is one.
    fn complete(self, printed: &Value, tenants: usize, one: &TenantId) -> bool {
        let len = |key: &str| printed[key].as_array().map(Vec::len);
        match self {
            Self::Validate => printed["tenants_checked"].as_u64() == Some(tenants as u64),
            Self::Metrics | Self::List => len("tenants") == Some(tenants),
            Self::Show => printed["tenant_id"].as_str() == Some(one.as_str()),
            Self::Backup => len("backups") == Some(1),
        }
    }
}

/// All that grows, by what it is.
#[derive(Default)]
struct Growth(Vec<Series>);

impl Growth {
    fn add(&mut self, name: &'static str, unit: &'static str, tenants: usize, value: f64) {
        let point = (tenants as f64, value);
        match self.0.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => self.0.push(Series {
                name,
                unit,
                limit: None,
                points: vec![point],
            }),
        }
    }

    /// Says what breaks beyond a value.
    fn limit(&mut self, name: &str, limit: f64, what: String) {
        if let Some(series) = self.0.iter_mut().find(|series| series.name == name) {
            series.limit = Some((limit, what));
        }
    }

    fn named(&self, names: &[&str]) -> Vec<&Series> {
        names
            .iter()
            .filter_map(|name| self.0.iter().find(|series| series.name == *name))
            .collect()
    }
}

/// What the server has, that tenants use up.
#[derive(Clone, Copy)]
struct Server {
    buffers_mib: f64,
    locks: f64,
    naptime_s: f64,
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// When a tenant cannot be made, a program fails or has not seen every tenant; an interrupt.
    pub async fn run(&self) -> Result<Measured> {
        let mut growth = Growth::default();
        let mut made: Vec<(TenantId, SchemaName)> = Vec::new();
        let mut server = None;
        let mut measured = Measured::default();
        for stop in stops(self.workload.to) {
            self.fill(&mut made, stop, &mut growth, &mut measured).await?;
            let session = self.stage.provisioner.connector.connect().await?;
            server = Some(self.catalogs(&session, stop, &mut growth).await?);
            self.first_writes(&made, &mut growth).await?;
            self.memory(&made, stop, &mut growth).await?;
            self.programs(&made, session.host(), &mut growth).await?;
        }
        if let Some(server) = server {
            self.limits(&mut growth, server);
        }
        for series in &growth.0 {
            for &(tenants, value) in &series.points {
                measured.figures.push(Figure::new(
                    SUITE,
                    format!("{} at {tenants} tenants", series.name),
                    series.unit,
                    value,
                    self.target(series.name),
                ));
            }
        }
        let beyond = extrapolate::figures(SUITE, &growth.0);
        if let Some(first) = extrapolate::first(&beyond) {
            self.stage.progress(format!("what breaks {first}"));
        }
        measured.figures.extend(beyond);
        let memories = PROGRAMS.map(Program::memory_name);
        for (name, unit, lines) in [
            ("making a tenant", "ms", &["provision, p50", "provision, p95"][..]),
            ("first write of a session", "ms", &[FIRST_WRITE][..]),
            ("commands", "s", &PROGRAMS.map(Program::name)[..]),
            ("peak memory of commands", "MiB", &memories[..]),
            ("catalogs and database", "MiB", &["catalogs", "database"][..]),
            ("relations", "number", &["relations", "tables"][..]),
            (
                "memory of a session",
                "MiB",
                &[
                    "session, idle: memory",
                    WRITER_MEMORY,
                    "session that has met 100 tenants: memory",
                ][..],
            ),
            (
                "statistics of all tables",
                "s",
                &["statistics of all tables, read once"][..],
            ),
        ] {
            let lines = growth.named(lines);
            if lines.iter().any(|series| series.points.len() > 1) {
                measured.curves.push(extrapolate::curve(SUITE, name, unit, &lines));
            }
        }
        Ok(measured)
    }

    /// The configuration's targets hold at any number of tenants.
    fn target(&self, name: &str) -> Option<f64> {
        let targets = &self.stage.config.performance_targets;
        match name {
            "provision, p50" => Some(targets.schema_creation.average_s * 1000.0),
            "provision, p95" => Some(targets.schema_creation.p95_s * 1000.0),
            WRITER_MEMORY => Some(targets.resource_usage.connection_overhead_mb),
            _ => None,
        }
    }

    /// Where growth breaks something, and what.
    fn limits(&self, growth: &mut Growth, server: Server) {
        let targets = &self.stage.config.performance_targets;
        let p95 = targets.schema_creation.p95_s;
        let backup = targets.backup_restore.backup_1gb_s;
        let mut limit = |name: &str, limit: f64, what: String| growth.limit(name, limit, what);
        limit(
            "provision, p95",
            p95 * 1000.0,
            format!("provisioning misses its target of {p95} s"),
        );
        let memory = targets.resource_usage.connection_overhead_mb;
        limit(
            FIRST_WRITE,
            NOTICED_MS,
            format!("the first write of a session takes longer than {NOTICED_MS} ms, which is noticed"),
        );
        limit(
            WRITER_MEMORY,
            memory,
            format!("a session that has written misses the target of a connection's memory, {memory} MiB"),
        );
        limit(
            Program::Validate.name(),
            GATE_S,
            "validate --all takes longer than ten minutes, the patience of a CI gate".into(),
        );
        limit(
            Program::Metrics.name(),
            SCRAPE_S,
            "metrics --all takes longer than the minute between two scrapes".into(),
        );
        limit(
            Program::List.name(),
            PATIENCE_S,
            "list takes longer than somebody waits, ten seconds".into(),
        );
        limit(
            Program::Backup.name(),
            backup,
            format!("the backup of one small tenant misses the target for 1 GiB, {backup} s"),
        );
        for program in [Program::Validate, Program::Metrics, Program::List] {
            limit(
                program.memory_name(),
                MEMORY_MIB,
                format!("{} needs more than 2 GiB of memory", program.name()),
            );
        }
        limit(
            "catalogs",
            server.buffers_mib,
            format!("the catalogs outgrow shared_buffers ({:.0} MiB)", server.buffers_mib),
        );
        limit(
            "tables",
            server.locks,
            format!(
                "pg_dump of the whole database needs more locks than there are ({:.0})",
                server.locks
            ),
        );
        limit(
            "statistics of all tables, read once",
            server.naptime_s,
            format!(
                "a look of autovacuum takes longer than autovacuum_naptime ({} s)",
                server.naptime_s
            ),
        );
    }

    /// Makes tenants up to a number; the last of them one by one, measured.
    async fn fill(
        &self,
        made: &mut Vec<(TenantId, SchemaName)>,
        size: usize,
        growth: &mut Growth,
        measured: &mut Measured,
    ) -> Result<()> {
        let samples = SAMPLES.min(size - made.len());
        let (tier, jobs) = (&self.tier, self.workload.jobs);
        let more = populate(self.stage, tier, jobs, made.len(), size - samples).await?;
        made.extend(more);
        self.stage
            .progress(format!("{samples} one by one up to {size} tenants"));
        let session = self.stage.provisioner.connector.connect().await?;
        let mut latencies = Latencies::new()?;
        for _ in 0..samples {
            self.stage.uninterrupted()?;
            let request = self.stage.request(tier)?;
            let tenant = self.stage.provisioner.provision(&session, &request, None).await?;
            latencies.record(Duration::from_secs_f64(tenant.provisioning_time_ms / 1000.0));
            made.push((tenant.tenant_id, tenant.schema_name));
        }
        growth.add("provision, p50", "ms", size, latencies.percentile(50.0));
        growth.add("provision, p95", "ms", size, latencies.percentile(95.0));
        let name = format!("provision at {size} tenants");
        measured.histograms.push(latencies.histogram(SUITE, name));
        Ok(())
    }

    async fn catalogs(&self, session: &Session, tenants: usize, growth: &mut Growth) -> Result<Server> {
        let doing = "measure the catalogs";
        let sql = Sql::new(include_str!("../../sql/bench/catalog_size.sql"));
        let row = session.query_one(&sql, &[], doing).await?;
        let number = |name: &str| column::<i64>(&row, name).map(|n| n as f64);
        growth.add("catalogs", "MiB", tenants, number("catalog_bytes")? / MIB);
        growth.add("database", "MiB", tenants, number("database_bytes")? / MIB);
        growth.add("relations", "number", tenants, number("relations")?);
        growth.add("tables", "number", tenants, number("tables")?);
        let mut seconds = Vec::new();
        for _ in 0..self.workload.rounds {
            // What a worker of autovacuum does before it knows what to do.
            let sql = Sql::new(
                "SELECT pg_catalog.count(*) AS tables, pg_catalog.sum(s.n_dead_tup) AS dead FROM pg_catalog.pg_stat_all_tables s",
            );
            let started = Instant::now();
            session.query(&sql, &[], doing).await?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        growth.add("statistics of all tables, read once", "s", tenants, median(&seconds));
        Ok(Server {
            buffers_mib: number("buffers_bytes")? / MIB,
            locks: number("locks")?,
            naptime_s: number("naptime_s")?,
        })
    }

    /// Sessions of tenants spread over all that write for the first time: what PostgreSQL reads then, it may read of every tenant.
    async fn first_writes(&self, made: &[(TenantId, SchemaName)], growth: &mut Growth) -> Result<()> {
        let tenants = made.len();
        let writers = made.iter().step_by((tenants / WRITERS).max(1)).take(WRITERS);
        let mut latencies = Latencies::new()?;
        let mut memory = Vec::new();
        for (_, schema) in writers {
            self.stage.uninterrupted()?;
            let session = self.stage.become_tenant(schema).await?;
            let doing = "write for the first time";
            session.batch(&Sql::new("BEGIN"), doing).await?;
            // Audit and limits are on this table, too.
            let sql = Sql::new("INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'bench')");
            let started = Instant::now();
            session.batch(&sql, doing).await?;
            latencies.record(started.elapsed());
            // A tenant may not ask for memory.
            session.batch(&Sql::new("ROLLBACK; RESET ROLE"), doing).await?;
            let own = Source::of(&session).memory(&session).await?.own;
            memory.push(own as f64 / MIB);
        }
        growth.add(FIRST_WRITE, "ms", tenants, latencies.percentile(50.0));
        growth.add(WRITER_MEMORY, "MiB", tenants, median(&memory));
        Ok(())
    }

    /// A session as it begins, and when it has met some tenants.
    async fn memory(&self, made: &[(TenantId, SchemaName)], tenants: usize, growth: &mut Growth) -> Result<()> {
        let session = self.stage.provisioner.connector.connect().await?;
        let source = Source::of(&session);
        let idle = source.memory(&session).await?;
        growth.add("session, idle: memory", "MiB", tenants, idle.own as f64 / MIB);
        if made.len() >= MEETS {
            // Spread over all.
            let met = made.iter().step_by(made.len() / MEETS).take(MEETS);
            let met: Vec<SchemaName> = met.map(|(_, schema)| schema.clone()).collect();
            resources::meet(&session, &met).await?;
            let memory = source.memory(&session).await?.own as f64 / MIB;
            growth.add("session that has met 100 tenants: memory", "MiB", tenants, memory);
        }
        Ok(())
    }

    /// Every program a few times, in an order that rotates.
    async fn programs(&self, made: &[(TenantId, SchemaName)], host: usize, growth: &mut Growth) -> Result<()> {
        let Some((one, _)) = made.first() else { return Ok(()) };
        let tenants = made.len();
        let mut seconds: [Vec<f64>; PROGRAMS.len()] = Default::default();
        let mut peaks = [None; PROGRAMS.len()];
        for round in 0..self.workload.rounds {
            self.stage.progress(format!(
                "{tenants} tenants, round {} of {}",
                round + 1,
                self.workload.rounds
            ));
            for i in 0..PROGRAMS.len() {
                self.stage.uninterrupted()?;
                let which = (round + i) % PROGRAMS.len();
                let cost = self.program(PROGRAMS[which], tenants, one, host).await?;
                seconds[which].push(cost.seconds);
                peaks[which] = peaks[which].max(cost.peak_memory);
            }
        }
        for (program, (seconds, peak)) in PROGRAMS.into_iter().zip(seconds.iter().zip(peaks)) {
            growth.add(program.name(), "s", tenants, median(seconds));
            if let Some(bytes) = peak {
                growth.add(program.memory_name(), "MiB", tenants, bytes as f64 / MIB);
            }
        }
        Ok(())
    }

    async fn program(&self, which: Program, tenants: usize, one: &TenantId, host: usize) -> Result<program::Cost> {
        let what = which.name();
        let wrong =
            |cause: String| Error::new(ErrorKind::Unknown, format!("{what} printed something else")).with_cause(cause);
        let folder = self.stage.folder.path();
        let printed = folder.join("printed.json");
        let store = self.store()?;
        let mut command = self.stage.tenantctl(host, &["--output=json"])?;
        command.args(which.args(one)).env("TENANTCTL_STORE", store);
        let file = std::fs::File::create(&printed)
            .map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", printed.display())).with_cause(e))?;
        command.stdout(Stdio::from(file));
        // 1: there are findings or alerts, as a database may have that nobody has hardened; that is no failure.
        let cost = program::run_accepting(what, vec![command], &folder.join("complaints"), &[0, 1]).await?;
        let text = std::fs::read(&printed).map_err(|e| wrong(e.to_string()))?;
        let json: Value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if !which.complete(&json, tenants, one) {
            return Err(wrong(format!("it is not about all of {tenants} tenants")));
        }
        Ok(cost)
    }

    fn store(&self) -> Result<String> {
        let path: PathBuf = self.stage.folder.path().join("store");
        let path = path.to_str().ok_or_else(|| {
            Error::new(ErrorKind::Store, "the path of the folder is not Unicode")
                .with_hint("--folder names another one.")
        })?;
        Ok(format!("file://{path}"))
    }
}

/// Powers of ten up to the largest number, that number, and half of it, so that the last factor of ten has three places.
fn stops(to: usize) -> Vec<usize> {
    let mut stops: Vec<usize> = (1..).map(|i| 10_usize.pow(i)).take_while(|&n| n < to).collect();
    if to >= 20 {
        stops.push(to / 2);
    }
    stops.push(to);
    stops.sort_unstable();
    stops.dedup();
    stops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_factor_of_ten_has_three_places() {
        assert_eq!(stops(10), [10]);
        assert_eq!(stops(20), [10, 20]);
        assert_eq!(stops(1000), [10, 100, 500, 1000]);
        assert_eq!(stops(10_000), [10, 100, 1000, 5000, 10_000]);
        assert_eq!(stops(3000), [10, 100, 1000, 1500, 3000]);
    }

    #[test]
    fn a_program_that_has_not_seen_every_tenant_is_not_complete() {
        let one: TenantId = "one".parse().expect("valid");
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("json");
        for (program, printed) in [
            (Program::Validate, r#"{"tenants_checked": 2}"#),
            (Program::Metrics, r#"{"tenants": [{}, {}]}"#),
            (Program::List, r#"{"tenants": [{}, {}]}"#),
            (Program::Show, r#"{"tenant_id": "one"}"#),
            (Program::Backup, r#"{"backups": [{}], "failed": []}"#),
        ] {
            assert!(program.complete(&json(printed), 2, &one), "{program:?}");
            assert!(
                !program.complete(&json(r#"{"tenants": [{}], "backups": []}"#), 2, &one),
                "{program:?}"
            );
        }
    }
}

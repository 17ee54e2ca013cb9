//! Backup and restore of one tenant beside what pg_dump and pg_restore make of the same data; small tenants among few
//! and among many.
//!
//! Every contender is a program that is started anew, tenantctl too, so that start-up and memory count. All read the same
//! tenant in the same database, in an order that rotates from round to round; figures are medians.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::process::Command;
use tokio_postgres::types::Type;

use super::folder;
use super::program::{self, Cost};
use super::stage::in_path;
use super::{Figure, Measured, Stage, median};
use crate::backup::pg_dump::PgDump;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Session, column};
use crate::pg::sql::{Sql, TrustedScript};
use crate::provisioner::{Provisioned, Provisioner, Request};
use crate::tenant::{Audit, Features, Limit, Limits, OWNER_ROLE, Tier};

const SUITE: &str = "backup";

/// Bytes of heap that a row takes.
const TRADE_BYTES: f64 = 134.2;
const BAR_BYTES: f64 = 84.5;
/// Bars a minute: one for each symbol.
const SYMBOLS: f64 = 12.0;
/// The share of trades in the size; the rest is market data.
const TRADES_SHARE: f64 = 0.6;

/// What tenantctl may take of what the others take: a tenth, 1/1.8, 1/1.25; it may store as much as they do.
const AGAINST_SEED: f64 = 0.1;
const AGAINST_PIPE: f64 = 1.0 / 1.8;
const AGAINST_RESTORE: f64 = 0.8;
const STORED: f64 = 1.0;
/// Peak memory of tenantctl, in MB.
const MEMORY_MB: f64 = 150.0;
/// The cost of a small tenant's backup among many, against its cost among [`FEW`].
const GROWTH_RATIO: f64 = 1.3;
const FEW: usize = 10;
/// Small tenants of the run with `--all`, and what that may take in seconds.
const MANY: usize = 1000;
const MANY_S: f64 = 60.0;
/// Times that backup and pipe are measured in a round.
const TURNS: usize = 3;
/// Backups of a small tenant that the median is of.
const SMALL_ROUNDS: usize = 9;
/// The free room that is asked for, in sizes of the tenant: dumps and backup in the folder, or the backup alone; in the server's
/// the tenant and its restored copy with their indexes, and WAL.
const FOLDER_SIZES: f64 = 2.0;
const FOLDER_SIZES_ALONE: f64 = 1.0;
const SERVER_SIZES: f64 = 6.0;

/// The platform's targets in seconds; see `performance_targets.backup_restore` in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// Backup of 1 GiB and of 10.
    pub backup: (f64, f64),
    /// Restore of 1 GiB and of 10.
    pub restore: (f64, f64),
}

/// In proportion below the first size and above the second, along the line between them in between.
fn scaled((one, ten): (f64, f64), gib: f64) -> f64 {
    if gib <= 1.0 {
        one * gib
    } else if gib < 10.0 {
        one + (ten - one) * (gib - 1.0) / 9.0
    } else {
        ten * gib / 10.0
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// GiB of the large tenant's tables; 0 leaves it out.
    pub gib: f64,
    /// Sessions of tenantctl and jobs of pg_restore.
    pub jobs: u16,
    /// Rounds with every contender in turn.
    pub rounds: u16,
    /// Number of small tenants; none leaves them out.
    pub small: Option<usize>,
    /// Of the large tenant, measure tenantctl alone.
    pub alone: bool,
}

/// A running suite.
pub struct Suite<'a> {
    /// Where it runs; contenders write into its folder.
    pub stage: &'a Stage<'a>,
    /// The tier of small tenants.
    pub tier: Arc<Tier>,
    /// What to run.
    pub workload: Workload,
    /// What to compare with.
    pub targets: Targets,
}

/// The programs that are measured, and how they reach the server.
struct Programs {
    pg_dump: PathBuf,
    pg_restore: PathBuf,
    /// None: not installed.
    zstd: Option<PathBuf>,
    /// The login passes by row security, so that pg_dump can be run as the seed runs it.
    bypasses: bool,
    host: usize,
}

/// One contender's runs.
#[derive(Default)]
struct Runs {
    seconds: Vec<f64>,
    memory: u64,
    stored: u64,
}

impl Runs {
    fn add(&mut self, cost: Cost, stored: u64) {
        self.seconds.push(cost.seconds);
        self.memory = self.memory.max(cost.peak_memory.unwrap_or(0));
        self.stored = stored;
    }

    fn median(&self) -> f64 {
        median(&self.seconds)
    }
}

/// All that the rounds of the large tenant gave.
#[derive(Default)]
struct Large {
    ours: Runs,
    seed: Runs,
    /// Empty without zstd.
    pipe: Runs,
    restore: Runs,
    pg_restore: Runs,
}

/// What `tenantctl backup -o json` prints, as far as it is needed.
#[derive(Deserialize)]
struct Printed {
    backups: Vec<PrintedBackup>,
}

#[derive(Deserialize)]
struct PrintedBackup {
    backup_id: String,
}

/// The large tenant.
struct Subject<'a> {
    tenant: &'a Provisioned,
    session: &'a Session,
    tables: &'a [String],
    counts: Vec<i64>,
    programs: &'a Programs,
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// A contender that fails, rows that are not there after a restore, too little room, an interrupt.
    pub async fn run(&self) -> Result<Measured> {
        let session = self.stage.provisioner.connector.connect().await?;
        self.require_room(&session).await?;
        let programs = self.programs(&session).await?;
        let mut figures = Vec::new();
        if self.workload.gib > 0.0 {
            self.large(&session, &programs, &mut figures).await?;
        }
        if let Some(count) = self.workload.small {
            self.small(&session, &programs, count, &mut figures).await?;
        }
        Ok(figures.into())
    }

    async fn programs(&self, session: &Session) -> Result<Programs> {
        let major = session.server().major();
        let pg_dump = tokio::task::spawn_blocking(move || PgDump::find(major))
            .await
            .map_err(|e| Error::new(ErrorKind::Unknown, "cannot look for pg_dump").with_cause(e))??;
        let pg_dump = pg_dump.path().to_owned();
        let pg_restore = pg_dump.with_file_name("pg_restore");
        if !pg_restore.is_file() {
            return Err(Error::new(ErrorKind::Unsupported, "pg_restore is not on this machine")
                .with_cause(format!("it is not beside {}", pg_dump.display())));
        }
        let zstd = in_path("zstd");
        if zstd.is_none() && self.workload.gib > 0.0 && !self.workload.alone {
            (self.stage.warn)(
                "the program zstd is not installed: `pg_dump -Fc -Z0 | zstd -3` is left out, and with it two targets",
            );
        }
        let row = session
            .query_one(
                &Sql::new(
                    "SELECT rolsuper OR rolbypassrls AS bypasses FROM pg_catalog.pg_roles WHERE rolname = current_user",
                ),
                &[],
                "look at the login's rights",
            )
            .await?;
        Ok(Programs {
            pg_dump,
            pg_restore,
            zstd,
            bypasses: column(&row, "bypasses")?,
            host: session.host(),
        })
    }

    /// The server's folder is only looked at where it can be seen and the login may know it.
    async fn require_room(&self, session: &Session) -> Result<()> {
        let size = self.workload.gib * f64::from(1 << 30);
        let in_folder = match self.workload.alone {
            true => FOLDER_SIZES_ALONE,
            false => FOLDER_SIZES,
        };
        let mut needs = vec![(self.stage.folder.path().to_owned(), size * in_folder)];
        let sql = Sql::new("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'");
        let row = session
            .query_opt(&sql, &[], "ask where the server keeps its data")
            .await?;
        let local = self.stage.provisioner.connector.info().hosts[session.host()]
            .socket_dir()
            .is_some();
        match row.map(|row| column::<String>(&row, "setting")).transpose()? {
            Some(dir) if local && Path::new(&dir).exists() => needs.push((dir.into(), size * SERVER_SIZES)),
            _ => (self.stage.progress)(
                "the server's disk cannot be looked at from here; it needs six times the tenant's size",
            ),
        }
        let looked: Vec<_> = tokio::task::spawn_blocking(move || {
            needs
                .into_iter()
                .map(|(path, bytes)| (folder::free(&path), path, bytes))
                .collect()
        })
        .await
        .map_err(|e| Error::new(ErrorKind::Unknown, "cannot look at the disks").with_cause(e))?;
        let mut wanted: Vec<(String, PathBuf, f64, u64)> = Vec::new();
        for (found, path, bytes) in looked {
            let Some((device, free)) = found else { continue };
            match wanted.iter_mut().find(|(other, ..)| *other == device) {
                Some((_, _, sum, _)) => *sum += bytes,
                None => wanted.push((device, path, bytes, free)),
            }
        }
        for (_, path, bytes, free) in wanted {
            if bytes > free as f64 {
                return Err(Error::new(
                    ErrorKind::Store,
                    format!("too little room for a tenant of {} GiB", self.workload.gib),
                )
                .with_cause(format!(
                    "the disk of {} has {:.1} GiB free and {:.1} are needed",
                    path.display(),
                    free as f64 / f64::from(1 << 30),
                    bytes / f64::from(1 << 30)
                ))
                .with_hint("--size makes the tenant smaller, --folder names a folder on another disk."));
            }
        }
        Ok(())
    }

    async fn large(&self, session: &Session, programs: &Programs, figures: &mut Vec<Figure>) -> Result<()> {
        let gib = self.workload.gib;
        (self.stage.progress)(&format!("making a tenant of {gib} GiB"));
        let unlimited = Tier {
            key: "bench".into(),
            name: "bench".into(),
            description: String::new(),
            features: Features::All,
            limits: Limits {
                max_portfolios: Limit::Unlimited,
                max_positions_per_portfolio: Limit::Unlimited,
                max_trades_per_day: Limit::Unlimited,
                max_schema_size_gb: Limit::Unlimited,
                ..Limits::at_most(100)
            },
            hypertables: Default::default(),
        };
        // No audit: its log would be most of the data.
        let provisioner = Provisioner {
            audit: Arc::new(Audit::new()),
            ..self.stage.provisioner.clone()
        };
        let request = Request {
            id: "bench-large".parse()?,
            tier: Arc::new(unlimited),
        };
        let tenant = provisioner.provision(session, &request, None).await?;
        let bytes = gib * f64::from(1 << 30);
        let volume = Volume {
            portfolios: 200,
            trades: (bytes * TRADES_SHARE / TRADE_BYTES) as i64,
            minutes: (bytes * (1.0 - TRADES_SHARE) / BAR_BYTES / SYMBOLS) as i64,
        };
        self.fill_at_once(session, &tenant, volume).await?;
        vacuum(session).await?;
        let tables: Vec<String> = self
            .stage
            .provisioner
            .template
            .modules
            .iter()
            .flat_map(|m| m.objects.tables.clone())
            .collect();
        let subject = Subject {
            counts: count(session, tenant.schema_name.as_str(), &tables).await?,
            tenant: &tenant,
            session,
            tables: &tables,
            programs,
        };
        let size = size_of_tables(session, tenant.schema_name.as_str()).await?;
        let mut large = Large::default();
        for round in 0..usize::from(self.workload.rounds) {
            (self.stage.progress)(&format!("round {} of {}", round + 1, self.workload.rounds));
            self.round(&subject, round, &mut large).await?;
        }
        self.judge(&large, size as f64 / f64::from(1 << 30), figures);
        Ok(())
    }

    /// Every contender, its backup removed when it was restored. What takes seconds is measured several times, in turn: a
    /// machine that others use, too, is not the same from one to the next.
    async fn round(&self, subject: &Subject<'_>, round: usize, large: &mut Large) -> Result<()> {
        for turn in 1..TURNS {
            for i in 0..2 {
                self.stage.uninterrupted()?;
                checkpoint(subject.session).await;
                if (round + turn + i).is_multiple_of(2) {
                    self.back_up(subject, large).await?;
                    remove(&self.store())?;
                } else if !self.workload.alone {
                    self.pipe(subject, large).await?;
                }
            }
        }
        for i in 0..3 {
            if self.workload.alone && !(round + i).is_multiple_of(3) {
                continue;
            }
            self.stage.uninterrupted()?;
            checkpoint(subject.session).await;
            match (round + i) % 3 {
                0 => self.ours(subject, large).await?,
                1 => self.seed(subject, large).await?,
                _ => self.pipe(subject, large).await?,
            }
        }
        Ok(())
    }

    fn store(&self) -> PathBuf {
        self.stage.folder.path().join("store")
    }

    /// Returns the backup's id.
    async fn back_up(&self, subject: &Subject<'_>, large: &mut Large) -> Result<String> {
        let jobs = self.workload.jobs.to_string();
        let id = subject.tenant.tenant_id.as_str();
        let printed = self.stage.folder.path().join("printed.json");
        (self.stage.progress)("  tenantctl backup");
        let mut backup = self.tenantctl(subject.programs, &["-o", "json", "backup", "--jobs", &jobs, id])?;
        backup.stdout(create(&printed)?);
        let cost = self.measure("tenantctl backup", vec![backup]).await?;
        large.ours.add(cost, folder::size_of(&self.store())?);
        let text = std::fs::read(&printed).unwrap_or_default();
        let made: Printed = serde_json::from_slice(&text)
            .map_err(|e| Error::new(ErrorKind::Unknown, "tenantctl backup printed something else").with_cause(e))?;
        Ok(made.backups.first().map(|b| b.backup_id.clone()).unwrap_or_default())
    }

    async fn ours(&self, subject: &Subject<'_>, large: &mut Large) -> Result<()> {
        let (programs, jobs) = (subject.programs, self.workload.jobs.to_string());
        let id = subject.tenant.tenant_id.as_str();
        let backup = self.back_up(subject, large).await?;
        checkpoint(subject.session).await;
        (self.stage.progress)("  tenantctl restore");
        let restore = self.tenantctl(programs, &["restore", id, "--backup", &backup, "--jobs", &jobs])?;
        let cost = self.measure("tenantctl restore", vec![restore]).await?;
        large.restore.add(cost, 0);
        self.compare(subject, "tenantctl restore").await?;
        let clear = self.tenantctl(programs, &["restore", id, "--drop-replaced"])?;
        self.measure("tenantctl restore --drop-replaced", vec![clear]).await?;
        remove(&self.store())?;
        // The new copy's rows have to be marked as visible once by whoever reads them first: no contender's cost.
        vacuum(subject.session).await
    }

    async fn seed(&self, subject: &Subject<'_>, large: &mut Large) -> Result<()> {
        let dump = self.stage.folder.path().join("seed.dump");
        (self.stage.progress)("  pg_dump -Fc --compress=9");
        let mut command = self.pg_dump(subject.programs, subject.tenant);
        command.args(["--compress=9", "--verbose"]).arg("--file").arg(&dump);
        let cost = self.measure("pg_dump", vec![command]).await?;
        large.seed.add(cost, folder::size_of(&dump)?);
        checkpoint(subject.session).await;
        let restored = self.pg_restore(subject, &dump).await?;
        large.pg_restore.add(restored, 0);
        remove(&dump)
    }

    async fn pipe(&self, subject: &Subject<'_>, large: &mut Large) -> Result<()> {
        let Some(zstd) = &subject.programs.zstd else {
            return Ok(());
        };
        let dump = self.stage.folder.path().join("pipe.dump.zst");
        (self.stage.progress)("  pg_dump -Fc -Z0 | zstd -3");
        let mut command = self.pg_dump(subject.programs, subject.tenant);
        command.arg("--compress=0");
        let mut packer = Command::new(zstd);
        packer.args(["-3", "--quiet", "--force", "-o"]).arg(&dump);
        let cost = self.measure("pg_dump | zstd", vec![command, packer]).await?;
        large.pipe.add(cost, folder::size_of(&dump)?);
        remove(&dump)
    }

    /// The tenant's schema steps aside meanwhile, so that the copy can have its name.
    async fn pg_restore(&self, subject: &Subject<'_>, dump: &Path) -> Result<Cost> {
        let jobs = self.workload.jobs;
        (self.stage.progress)(&format!("  pg_restore -j{jobs}"));
        let (session, schema) = (subject.session, subject.tenant.schema_name.as_str());
        let doing = "make room for pg_restore";
        let rename = |from: &str, to: &str| Sql::new("ALTER SCHEMA ").ident(from).text(" RENAME TO ").ident(to);
        session.batch(&rename(schema, "bench_aside"), doing).await?;
        let mut command = self.stage.program(&subject.programs.pg_restore, subject.programs.host);
        command
            .stdout(std::process::Stdio::null())
            .args(["--no-owner", "--no-privileges", "--exit-on-error", "--no-password"])
            .arg(format!("--jobs={jobs}"))
            .arg(format!("--dbname={}", self.stage.provisioner.connector.info().dbname))
            .arg(dump);
        let cost = self.measure("pg_restore", vec![command]).await?;
        self.compare(subject, "pg_restore").await?;
        session
            .batch(
                &Sql::new("SET client_min_messages = warning; DROP SCHEMA ")
                    .ident(schema)
                    .text(" CASCADE"),
                doing,
            )
            .await?;
        session.batch(&rename("bench_aside", schema), doing).await?;
        Ok(cost)
    }

    fn judge(&self, large: &Large, gib: f64, figures: &mut Vec<Figure>) {
        let jobs = self.workload.jobs;
        let (seed, pipe) = ("pg_dump -Fc --compress=9", "pg_dump -Fc -Z0 | zstd -3");
        let mut push = |metric: String, unit: &'static str, value: f64, target: Option<f64>| {
            figures.push(figure(metric, unit, value, target));
        };
        let mb = |bytes: u64| bytes as f64 / 1e6;
        push("tables of the tenant".into(), "GiB", gib, None);
        push(
            "backup".into(),
            "s",
            large.ours.median(),
            Some(scaled(self.targets.backup, gib)),
        );
        let others = [(seed, &large.seed, AGAINST_SEED), (pipe, &large.pipe, AGAINST_PIPE)];
        let others = others.iter().filter(|(_, runs, _)| !runs.seconds.is_empty());
        for (name, runs, target) in others.clone() {
            push((*name).to_owned(), "s", runs.median(), None);
            push(
                format!("backup against {name}"),
                "ratio",
                large.ours.median() / runs.median(),
                Some(*target),
            );
        }
        push("stored".into(), "MB", mb(large.ours.stored), None);
        for (name, runs, _) in others {
            push(format!("stored by {name}"), "MB", mb(runs.stored), None);
            let ratio = large.ours.stored as f64 / runs.stored as f64;
            push(format!("stored against {name}"), "ratio", ratio, Some(STORED));
        }
        push(
            "restore".into(),
            "s",
            large.restore.median(),
            Some(scaled(self.targets.restore, gib)),
        );
        if !large.pg_restore.seconds.is_empty() {
            push(format!("pg_restore -j{jobs}"), "s", large.pg_restore.median(), None);
            let ratio = large.restore.median() / large.pg_restore.median();
            push(
                format!("restore against pg_restore -j{jobs}"),
                "ratio",
                ratio,
                Some(AGAINST_RESTORE),
            );
        }
        for (name, runs, target) in [
            ("backup", &large.ours, Some(MEMORY_MB)),
            ("restore", &large.restore, Some(MEMORY_MB)),
            (seed, &large.seed, None),
            (pipe, &large.pipe, None),
            ("pg_restore", &large.pg_restore, None),
        ] {
            if runs.memory > 0 {
                push(format!("peak memory of {name}"), "MB", mb(runs.memory), target);
            }
        }
    }

    async fn small(
        &self,
        session: &Session,
        programs: &Programs,
        count: usize,
        figures: &mut Vec<Figure>,
    ) -> Result<()> {
        let mut tenants = self.make(0, FEW).await?;
        self.fill_small(session, &tenants).await?;
        let Some(first) = tenants.first().cloned() else {
            return Ok(());
        };
        let few = self.one_small(programs, &first).await?;
        let mut push = |metric: String, unit: &'static str, value: f64, target: Option<f64>| {
            figures.push(figure(metric, unit, value, target));
        };
        push(format!("one small tenant among {FEW}"), "s", few.0, None);
        push(format!("pg_dump of it among {FEW}"), "s", few.1, None);
        let many = count.min(MANY);
        let more = self.make(tenants.len(), many).await?;
        self.fill_small(session, &more).await?;
        tenants.extend(more);
        (self.stage.progress)(&format!("backup of all {} small tenants", tenants.len()));
        let jobs = self.workload.jobs.to_string();
        let all = self.tenantctl(programs, &["backup", "--all", "--jobs", &jobs])?;
        let cost = self.measure("tenantctl backup --all", vec![all]).await?;
        remove(&self.store())?;
        let target = MANY_S * tenants.len() as f64 / MANY as f64;
        push(
            format!("backup of all {} small tenants", tenants.len()),
            "s",
            cost.seconds,
            Some(target),
        );
        if let Some(bytes) = cost.peak_memory {
            push(
                format!("peak memory of it at {}", tenants.len()),
                "MB",
                bytes as f64 / 1e6,
                Some(MEMORY_MB),
            );
        }
        let more = self.make(tenants.len(), count).await?;
        tenants.extend(more);
        let count = tenants.len();
        let among = self.one_small(programs, &first).await?;
        push(format!("one small tenant among {count}"), "s", among.0, None);
        push(format!("pg_dump of it among {count}"), "s", among.1, None);
        push(
            format!("one small tenant among {count} against {FEW}"),
            "ratio",
            among.0 / few.0,
            Some(GROWTH_RATIO),
        );
        push(
            format!("pg_dump of it among {count} against {FEW}"),
            "ratio",
            among.1 / few.1,
            None,
        );
        Ok(())
    }

    /// Median seconds of a backup by tenantctl and by pg_dump, in turn.
    async fn one_small(&self, programs: &Programs, tenant: &Provisioned) -> Result<(f64, f64)> {
        (self.stage.progress)(&format!("one small tenant, {SMALL_ROUNDS} times"));
        let dump = self.stage.folder.path().join("small.dump");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SMALL_ROUNDS {
            self.stage.uninterrupted()?;
            let backup = self.tenantctl(programs, &["backup", tenant.tenant_id.as_str()])?;
            ours.push(self.measure("tenantctl backup", vec![backup]).await?.seconds);
            let mut command = self.pg_dump(programs, tenant);
            command.arg("--compress=9").arg("--file").arg(&dump);
            theirs.push(self.measure("pg_dump", vec![command]).await?.seconds);
        }
        remove(&self.store())?;
        remove(&dump)?;
        Ok((median(&ours), median(&theirs)))
    }

    /// Makes small tenants up to a number.
    async fn make(&self, from: usize, to: usize) -> Result<Vec<Provisioned>> {
        if to > from {
            (self.stage.progress)(&format!("making small tenants, from {from} to {to}"));
        }
        let requests = (from..to)
            .map(|no| {
                Ok(Request {
                    id: format!("bench-small-{no}").parse()?,
                    tier: Arc::clone(&self.tier),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut results = self
            .stage
            .provisioner
            .provision_many(requests, 4, None, self.stage.interrupt);
        let mut made = Vec::new();
        while let Some((_, result)) = results.recv().await {
            made.push(result?);
        }
        self.stage.uninterrupted()?;
        Ok(made)
    }

    async fn fill_small(&self, session: &Session, tenants: &[Provisioned]) -> Result<()> {
        let volume = Volume {
            portfolios: 1,
            trades: 200,
            minutes: 50,
        };
        self.fill(session, &tenants.iter().collect::<Vec<_>>(), volume).await
    }

    /// Fills tenants with few rows, one by one.
    async fn fill(&self, session: &Session, tenants: &[&Provisioned], volume: Volume) -> Result<()> {
        for tenant in tenants {
            self.stage.uninterrupted()?;
            let sql = rows_of(begun(tenant), tenant, volume).text("\nCOMMIT");
            session.batch(&sql, FILLING).await?;
        }
        Ok(())
    }

    /// Fills a tenant with many rows: what could be kept row by row, keys, indexes, counters, is made at the end or left out.
    async fn fill_at_once(&self, session: &Session, tenant: &Provisioned, volume: Volume) -> Result<()> {
        let schema = tenant.schema_name.as_str();
        let sql = Sql::new(include_str!("../../sql/bench/rebuilt.sql"));
        let rows = session
            .query(&sql, &[(&schema, Type::TEXT)], "look at the tenant's keys and indexes")
            .await?;
        let printed = |row, name| -> Result<Sql> {
            let text = TrustedScript::of_server(column(row, name)?);
            Ok(Sql::script(&text).text(";\n"))
        };
        let triggers = |sql: Sql, how: &'static str| {
            FILLED.iter().fold(sql, |sql, table| {
                sql.text("ALTER TABLE ").qualified(schema, table).text(how)
            })
        };
        let mut sql = begun(tenant).text("SET LOCAL maintenance_work_mem = '256MB';\n");
        for row in rows.iter().rev() {
            sql = sql.append(printed(row, "taken")?);
        }
        sql = rows_of(triggers(sql, " DISABLE TRIGGER USER;\n"), tenant, volume).text("\n");
        for row in &rows {
            sql = sql.append(printed(row, "made")?);
        }
        let sql = triggers(sql, " ENABLE TRIGGER USER;\n").text("COMMIT");
        session.batch(&sql, FILLING).await
    }

    async fn compare(&self, subject: &Subject<'_>, after: &str) -> Result<()> {
        let found = count(subject.session, subject.tenant.schema_name.as_str(), subject.tables).await?;
        match subject
            .tables
            .iter()
            .zip(subject.counts.iter().zip(&found))
            .find(|(_, (was, is))| was != is)
        {
            None => Ok(()),
            Some((table, (was, is))) => Err(Error::new(
                ErrorKind::Unknown,
                format!("after {after} table {table} has {is} rows instead of {was}"),
            )),
        }
    }

    async fn measure(&self, what: &str, commands: Vec<Command>) -> Result<Cost> {
        program::run(what, commands, &self.stage.folder.path().join("complaints")).await
    }

    /// tenantctl with the configuration of this run; the store is its own.
    fn tenantctl(&self, programs: &Programs, args: &[&str]) -> Result<Command> {
        let store = self.store();
        let store = store.to_str().ok_or_else(|| {
            Error::new(ErrorKind::Store, "the path of the folder is not Unicode")
                .with_hint("--folder names another one.")
        })?;
        let mut command = self.stage.tenantctl(programs.host, args)?;
        command
            .env("TENANTCTL_STORE", format!("file://{store}"))
            .stdout(std::process::Stdio::null());
        Ok(command)
    }

    /// The seed's pg_dump, to which the caller adds compression and file.
    fn pg_dump(&self, programs: &Programs, tenant: &Provisioned) -> Command {
        let mut command = self.stage.program(&programs.pg_dump, programs.host);
        command
            .stdout(std::process::Stdio::null())
            .args(["--format=custom", "--no-owner", "--no-privileges", "--no-password"])
            .arg(format!("--schema={}", tenant.schema_name));
        if !programs.bypasses {
            command.arg("--enable-row-security").arg(format!("--role={OWNER_ROLE}"));
        }
        command
    }
}

/// A figure of this suite; pg_dump's and pg_restore's own are no merit of ours.
fn figure(metric: String, unit: &'static str, value: f64, target: Option<f64>) -> Figure {
    let others = [
        "pg_dump",
        "pg_restore",
        "stored by ",
        "peak memory of pg_",
        "tables of ",
    ];
    let of_others = others.iter().any(|start| metric.starts_with(start));
    let figure = Figure::new(SUITE, metric, unit, value, target);
    if of_others { figure.of_others() } else { figure }
}

/// How much data a tenant gets.
#[derive(Clone, Copy)]
struct Volume {
    portfolios: i64,
    trades: i64,
    minutes: i64,
}

/// So that nobody writes another's pages. Only some logins may, and it is of no other consequence.
async fn checkpoint(session: &Session) {
    if let Err(error) = session.batch(&Sql::new("CHECKPOINT"), "write a checkpoint").await {
        tracing::debug!(%error, "checkpoint");
    }
}

/// Completes `failed to ...`.
const FILLING: &str = "fill a tenant with trading data";
/// What trading_data.sql fills.
const FILLED: [&str; 4] = ["portfolios", "market_data", "trades", "positions"];

/// A transaction as the owner, whose policy shows it all rows whatever the login is.
fn begun(tenant: &Provisioned) -> Sql {
    Sql::new("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL ROLE ")
        .ident(OWNER_ROLE)
        .text("; SET LOCAL row_security = on; SET LOCAL search_path = ")
        .ident(tenant.schema_name.as_str())
        .text(";\n")
}

fn rows_of(sql: Sql, tenant: &Provisioned, volume: Volume) -> Sql {
    sql.text("SET LOCAL bench.seed = ")
        .literal(tenant.tenant_id.as_str())
        .text("; SET LOCAL bench.portfolios = ")
        .int(volume.portfolios)
        .text("; SET LOCAL bench.trades = ")
        .int(volume.trades)
        .text("; SET LOCAL bench.minutes = ")
        .int(volume.minutes)
        .text(";\n")
        .text(include_str!("../../sql/bench/trading_data.sql"))
}

async fn vacuum(session: &Session) -> Result<()> {
    let doing = "vacuum the benchmark's database";
    session
        .batch(
            &Sql::new("SET statement_timeout = 0; SET client_min_messages = error"),
            doing,
        )
        .await?;
    session.batch(&Sql::new("VACUUM (ANALYZE)"), doing).await
}

/// The rows of each table.
async fn count(session: &Session, schema: &str, tables: &[String]) -> Result<Vec<i64>> {
    let mut sql = Sql::new("SELECT n FROM (");
    for (place, table) in (0..).zip(tables) {
        sql = if place == 0 { sql } else { sql.text(" UNION ALL ") }
            .text("SELECT ")
            .int(place)
            .text(" AS place, pg_catalog.count(*) AS n FROM ")
            .qualified(schema, table);
    }
    let sql = sql.text(") counted ORDER BY place");
    let rows = session.query(&sql, &[], "count the tenant's rows").await?;
    rows.iter().map(|row| column(row, "n")).collect()
}

/// Heap and TOAST of all tables of a schema.
async fn size_of_tables(session: &Session, schema: &str) -> Result<i64> {
    let sql = Sql::new(
        "SELECT pg_catalog.sum(pg_catalog.pg_table_size(c.oid))::bigint AS bytes FROM pg_catalog.pg_class c
WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1) AND c.relkind = 'r'",
    );
    column(
        &session
            .query_one(&sql, &[(&schema, Type::TEXT)], "measure the tenant's tables")
            .await?,
        "bytes",
    )
}

fn create(path: &Path) -> Result<std::fs::File> {
    std::fs::File::create(path)
        .map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", path.display())).with_cause(e))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    removed.map_err(|e| Error::new(ErrorKind::Store, format!("cannot remove {}", path.display())).with_cause(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_follow_the_size() {
        let targets = (30.0, 300.0);
        for (gib, seconds) in [(0.5, 15.0), (1.0, 30.0), (5.5, 165.0), (10.0, 300.0), (20.0, 600.0)] {
            assert!((scaled(targets, gib) - seconds).abs() < 1e-9, "{gib}");
        }
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }
}

//! The large tenant: its backup and restore beside pg_dump's and pg_restore's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::process::Command;

use super::data::{Volume, checkpoint, count, fill_at_once, size_of_tables, vacuum};
use super::{MEMORY_MB, Programs, Suite, figure, remove, scaled};
use crate::bench::program::Cost;
use crate::bench::{Figure, folder, median};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::provisioner::{Provisioned, Provisioner, Request};
use crate::tenant::{Audit, Features, Limit, Limits, Tier};

/// What tenantctl may take of what the others take: a tenth, 1/1.8, 1/1.25; it may store as much as they do.
const AGAINST_SEED: f64 = 0.1;
const AGAINST_PIPE: f64 = 1.0 / 1.8;
const AGAINST_RESTORE: f64 = 0.8;
const STORED: f64 = 1.0;
/// Times that backup and pipe are measured in a round.
const TURNS: usize = 3;
/// The free room that is asked for, in sizes of the tenant: dumps and backup in the folder, or the backup alone; in the server's
/// the tenant and its restored copy with their indexes, and WAL.
const FOLDER_SIZES: f64 = 2.0;
const FOLDER_SIZES_ALONE: f64 = 1.0;
const SERVER_SIZES: f64 = 6.0;

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
    /// The server's folder is only looked at where it can be seen and the login may know it.
    pub(super) async fn require_room(&self, session: &Session) -> Result<()> {
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

    pub(super) async fn large(&self, session: &Session, programs: &Programs, figures: &mut Vec<Figure>) -> Result<()> {
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
        fill_at_once(session, &tenant, Volume::of_bytes(gib * f64::from(1 << 30))).await?;
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
}

fn create(path: &Path) -> Result<std::fs::File> {
    std::fs::File::create(path)
        .map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", path.display())).with_cause(e))
}

//! Backup and restore of one tenant beside what pg_dump and pg_restore make of the same data; small tenants among few
//! and among many.
//!
//! Every contender is a program that is started anew, tenantctl too, so that start-up and memory count. All read the same
//! tenant in the same database, in an order that rotates from round to round; figures are medians.

mod data;
mod large;
mod small;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;

use super::program::{self, Cost};
use super::stage::in_path;
use super::{Figure, Measured, Stage};
use crate::backup::pg_dump::PgDump;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::provisioner::Provisioned;
use crate::tenant::{OWNER_ROLE, Tier};

const SUITE: &str = "backup";

/// Peak memory of tenantctl, in MB.
const MEMORY_MB: f64 = 150.0;

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

    fn store(&self) -> PathBuf {
        self.stage.folder.path().join("store")
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
}

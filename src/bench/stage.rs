//! What every suite works with: a database of its own with the template in it, and the run around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;

use super::folder::Folder;
use super::scratch::Scratch;
use crate::catalog;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::installer;
use crate::interrupt::Interrupt;
use crate::pg::password::random_hex;
use crate::pg::session::Session;
use crate::pg::sql::Sql;
use crate::provisioner::{Provisioner, Request};
use crate::settings::Settings;
use crate::tenant::{ModuleObjects, SchemaName, Tier};

/// What the run gives to each of its suites.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// How tenantctl was called.
    pub settings: &'a Settings,
    /// A folder of the run's own; it goes with the run.
    pub folder: &'a Folder,
    /// Told how far the suite is.
    pub progress: &'a (dyn Fn(&str) + Sync),
    /// Told what is left out, and why.
    pub warn: &'a (dyn Fn(&str) + Sync),
    /// Ends the suite early.
    pub interrupt: &'a Interrupt,
}

/// A suite's surroundings. Everything that a suite makes, it makes in the scratch database or in the folder: both are gone after
/// it, whatever happens.
pub struct Stage<'a> {
    /// Makes tenants in the scratch database, audited as the configuration says; its connector opens sessions there.
    pub provisioner: Provisioner,
    /// What the template's modules create.
    pub objects: ModuleObjects,
    /// The configuration.
    pub config: &'a Config,
    /// For files.
    pub folder: &'a Folder,
    /// Told how far the suite is.
    pub progress: &'a (dyn Fn(&str) + Sync),
    /// Told what is left out, and why.
    pub warn: &'a (dyn Fn(&str) + Sync),
    /// Ends the suite early.
    pub interrupt: &'a Interrupt,
}

impl<'a> Stage<'a> {
    /// Installs registry, roles and template into the scratch database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn set(scratch: &Scratch, around: Surroundings<'a>) -> Result<Self> {
        let Surroundings {
            settings,
            folder,
            progress,
            warn,
            interrupt,
        } = around;
        let config = &settings.config;
        let session = scratch.connector.connect().await?;
        let template = config.template()?;
        installer::install(&session, &template, &|_| Ok(()), settings.lock_timeout()).await?;
        scratch.mark_roles().await?;
        let installed = catalog::template::installed(&session, &template.name)
            .await?
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unknown,
                    "the template is not there right after it was installed",
                )
            })?;
        let objects: ModuleObjects = installed.modules.iter().map(|m| &m.objects).collect();
        Ok(Self {
            provisioner: Provisioner {
                connector: scratch.connector.clone(),
                audit: Arc::new(config.audit.of(&objects)?),
                recipients: Arc::default(),
                template: Arc::new(installed),
                timescaledb: None,
                major: session.server().major(),
                timeout: settings.timeout(),
                lock_timeout: settings.lock_timeout(),
            },
            objects,
            config,
            folder,
            progress,
            warn,
            interrupt,
        })
    }

    /// Tells how far the suite is.
    pub fn progress(&self, text: impl AsRef<str>) {
        (self.progress)(text.as_ref());
    }

    /// Tells what is left out.
    pub fn warn(&self, text: impl AsRef<str>) {
        (self.warn)(text.as_ref());
    }

    /// To be asked before anything that takes long.
    ///
    /// # Errors
    /// Kind `interrupted` after Ctrl-C.
    pub fn uninterrupted(&self) -> Result<()> {
        if self.interrupt.requested() {
            return Err(Error::interrupted());
        }
        Ok(())
    }

    /// Suites that fill tables know those of the trading template.
    ///
    /// # Errors
    /// Kind `unsupported` when the template has not all of them.
    pub fn require_tables(&self, tables: &[&str], suite: &str) -> Result<()> {
        match tables
            .iter()
            .find(|table| !self.objects.tables.iter().any(|t| t == *table))
        {
            None => Ok(()),
            Some(table) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("template {} has no table {table}", self.provisioner.template.name),
            )
            .with_hint(format!("bench {suite} fills the tables of the trading template."))),
        }
    }

    /// A tenant to be made, under an id that no other has.
    ///
    /// # Errors
    /// None that is known.
    pub fn request(&self, tier: &Arc<Tier>) -> Result<Request> {
        Ok(Request {
            id: format!("bench-{}", random_hex(8)).parse()?,
            tier: Arc::clone(tier),
        })
    }

    /// A session in the role of a tenant, as `pg_hba.conf` need not let the tenant in from here.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn become_tenant(&self, schema: &SchemaName) -> Result<Session> {
        let session = self.provisioner.connector.connect().await?;
        let role = schema.role();
        let sql = Sql::new("GRANT ")
            .ident(&role)
            .text(" TO CURRENT_USER; SET ROLE ")
            .ident(&role)
            .text("; SET row_security = on; SET search_path = ")
            .ident(schema.as_str());
        session.batch(&sql, "become the tenant").await?;
        Ok(session)
    }

    /// A program that is connected to the scratch database by its environment and inherits nothing else of the kind: neither
    /// connection nor store nor whom to tell. `host` is the place of the host in the connector's list ([`Session::host`]).
    ///
    /// [`Session::host`]: crate::pg::session::Session::host
    pub fn program(&self, path: &Path, host: usize) -> Command {
        let mut command = unconnected(path);
        command.envs(self.provisioner.connector.info().libpq_environment(host));
        command
    }

    /// This very program with the configuration of this run, connected as [`Stage::program`] does it.
    ///
    /// # Errors
    /// When the system does not tell where the program is.
    pub fn tenantctl(&self, host: usize, args: &[&str]) -> Result<Command> {
        let mut command = self.program(&own_path()?, host);
        if let Some(identity) = std::env::var_os("TENANTCTL_IDENTITY") {
            command.env("TENANTCTL_IDENTITY", identity);
        }
        command.args(["--quiet", "--no-progress"]).args(args);
        if let Some(config) = self.config.file() {
            command.arg("--config").arg(config);
        }
        Ok(command)
    }
}

/// Where this program is.
///
/// # Errors
/// When the system does not tell.
pub fn own_path() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::new(ErrorKind::Unknown, "cannot find the program itself").with_cause(e))
}

/// Where a program is that may not be installed.
pub fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// A program that inherits no connection, store or configuration.
pub fn unconnected(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["PG", "TENANTCTL_", "DATA_SOURCE"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    command.env_remove("DATABASE_URL");
    command
}

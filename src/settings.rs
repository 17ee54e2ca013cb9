//! What a command works with: flags over environment over files, decided once.

use std::time::Duration;

use crate::cli::Global;
use crate::config::Config;
use crate::error::Result;
use crate::pg::conninfo::ConnInfo;
use crate::pg::session::{Connector, Session, SessionLimits};

/// Everything a command needs to know beside its own flags.
pub struct Settings {
    /// The policy.
    pub config: Config,
    /// Opens sessions with the admin's login.
    pub connector: Connector,
}

impl Settings {
    /// Resolves the configuration and the connection for a command.
    ///
    /// # Errors
    /// Kinds `config` and `usage`, before anything was contacted.
    pub fn resolve(global: &Global, command: &str) -> Result<Self> {
        let config = Config::load(global.config.as_deref())?;
        let info = ConnInfo::resolve(global.database_url.as_deref(), &|name| std::env::var(name).ok())?;
        Ok(Self {
            connector: Connector::new(info, &format!("tenantctl {command}"), SessionLimits::default()),
            config,
        })
    }

    /// A session with a server that takes writes and has a registry of this version.
    ///
    /// # Errors
    /// When any of that is not so.
    pub async fn registry(&self, writes: bool) -> Result<Session> {
        let session = self.connector.connect().await?;
        if writes {
            session.server().require_writable()?;
        }
        crate::catalog::foundation::require_registry(&session).await?;
        Ok(session)
    }

    /// Where alerts go: the environment's TENANTCTL_ALERT_URL, which may hold a token, else `alerts.url`.
    pub fn alert_url(&self) -> Option<String> {
        from_environment("TENANTCTL_ALERT_URL").or_else(|| self.config.alerts.url.clone())
    }

    /// Where metrics are cached: the environment's TENANTCTL_REDIS_URL, which may hold a password, else `metrics.redis_url`.
    pub fn redis_url(&self) -> Option<String> {
        from_environment("TENANTCTL_REDIS_URL").or_else(|| self.config.metrics.redis_url.clone())
    }

    /// Limit of a whole provisioning or drop transaction.
    pub fn timeout(&self) -> Duration {
        self.config.provisioning.timeout
    }

    /// Limit for each wait on a lock.
    pub fn lock_timeout(&self) -> Duration {
        self.config.provisioning.lock_timeout
    }
}

/// A variable that is set to something.
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

//! Writes failures into the registry's operation log, as long as the server can be reached, and keeps the critical ones
//! for whoever tells the outside world of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::session::{Connector, Session};
use super::sql::Sql;
use crate::error::{Error, ErrorKind, Result, Severity};
use crate::tenant::TenantId;

/// How long a failing command may take longer for the sake of the log.
const PATIENCE: Duration = Duration::from_secs(3);

/// So many critical failures of a command are kept; the rest is counted.
const KEPT: usize = 100;

/// A critical failure of an operation.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The name in the operation log.
    pub operation: &'static str,
    /// The tenant; none where the command failed as a whole.
    pub tenant_id: Option<TenantId>,
    /// What went wrong.
    pub error: Error,
}

/// Critical failures.
#[derive(Debug, Default)]
pub struct Noted {
    /// The first ones, as they came.
    pub first: Vec<Failure>,
    /// How many more there were, by operation.
    pub more: BTreeMap<&'static str, usize>,
}

impl Noted {
    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// The critical failures of a command, as they happen. All connectors that stem from one have it in common.
#[derive(Debug, Default)]
pub struct Failures {
    noted: Mutex<Noted>,
    spent: Mutex<Duration>,
}

impl Failures {
    /// Keeps a failure, if it is critical and not yet known.
    pub fn note(&self, operation: &'static str, tenant_id: Option<&TenantId>, error: &Error) {
        if error.kind().severity() != Severity::Critical {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |f: &Failure| f.error.id() == error.id() && f.tenant_id.as_ref() == tenant_id;
        if noted.first.iter().any(same) {
            return;
        }
        if noted.first.len() < KEPT {
            noted.first.push(Failure {
                operation,
                tenant_id: tenant_id.cloned(),
                error: error.clone(),
            });
        } else {
            *noted.more.entry(operation).or_default() += 1;
        }
    }

    /// Remembers that telling alerts has taken so long, the last time that they were told: what is left of the time for it
    /// is for the failures.
    pub fn spend(&self, time: Duration) {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// How long telling alerts has taken.
    pub fn spent(&self) -> Duration {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands them over.
    pub fn take(&self) -> Noted {
        std::mem::take(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records a failure, on the session at hand if it still works, else on a new one. Never fails: the error itself
/// matters more, and the log line on stderr has it too.
pub async fn failure(
    connector: &Connector,
    session: Option<&Session>,
    operation: &'static str,
    tenant_id: Option<&TenantId>,
    error: &Error,
) {
    connector.failures().note(operation, tenant_id, error);
    // Nothing was asked of a server, or there is no registry to write to.
    if matches!(
        error.kind(),
        ErrorKind::Usage | ErrorKind::Config | ErrorKind::NotInitialized | ErrorKind::Interrupted
    ) {
        return;
    }
    let write = async {
        let sql = insert(operation, tenant_id, error);
        match session.filter(|s| !s.is_closed()) {
            Some(session) => session.batch(&sql, "record the failure").await,
            None => connector.connect().await?.batch(&sql, "record the failure").await,
        }
    };
    let result: Result<Result<()>, _> = tokio::time::timeout(PATIENCE, write).await;
    match result {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            tracing::info!(error_id = %error.id(), %why, cause = why.cause(), "failure not recorded in the registry")
        }
        Err(_) => tracing::info!(error_id = %error.id(), "failure not recorded in the registry in time"),
    }
}

fn insert(operation: &'static str, tenant_id: Option<&TenantId>, error: &Error) -> Sql {
    Sql::new(
        "INSERT INTO tenantctl.operations (operation, tenant_id, status, started_at, finished_at, error_id, error_type,
    severity, sqlstate, message, cause, tool_version)
VALUES (",
    )
    .literal(operation)
    .text(", ")
    .optional(tenant_id.map(TenantId::as_str))
    .text(", 'failed', pg_catalog.now(), pg_catalog.now(), ")
    .literal(&error.id().to_string())
    .text(", ")
    .literal(error.kind().as_str())
    .text(", ")
    .literal(error.kind().severity().as_str())
    .text(", ")
    .optional(error.sqlstate())
    .text(", ")
    .literal(error.message())
    .text(", ")
    .optional(error.cause())
    .text(", ")
    .literal(env!("CARGO_PKG_VERSION"))
    .text(")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_failures_are_kept_once_and_within_bounds() {
        let failures = Failures::default();
        let critical = || Error::new(ErrorKind::Timeout, "ran out of time");
        let tenant = |n: usize| format!("t{n}").parse::<TenantId>().expect("a tenant id");
        failures.note(
            "provision",
            Some(&tenant(0)),
            &Error::new(ErrorKind::Duplicate, "exists"),
        );
        failures.note("provision", None, &Error::new(ErrorKind::Connection, "gone"));
        assert!(failures.take().is_empty());
        let same = critical();
        for _ in 0..2 {
            failures.note("provision", Some(&tenant(0)), &same);
        }
        failures.note("provision", Some(&tenant(1)), &same);
        for n in 2..1000 {
            failures.note("provision", Some(&tenant(n)), &critical());
        }
        failures.note("backup prune", Some(&tenant(0)), &critical());
        let noted = failures.take();
        assert_eq!(noted.first.len(), KEPT);
        assert_eq!(noted.more, [("provision", 900), ("backup prune", 1)].into());
        assert!(failures.take().is_empty());
    }
}

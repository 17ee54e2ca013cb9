//! Writes failures into the registry's operation log, as long as the server can be reached.

use std::time::Duration;

use super::session::{Connector, Session};
use super::sql::Sql;
use crate::error::{Error, ErrorKind, Result};
use crate::tenant::TenantId;

/// How long a failing command may take longer for the sake of the log.
const PATIENCE: Duration = Duration::from_secs(3);

/// Records a failure, on the session at hand if it still works, else on a new one. Never fails: the error itself
/// matters more, and the log line on stderr has it too.
pub async fn failure(
    connector: &Connector,
    session: Option<&Session>,
    operation: &'static str,
    tenant_id: Option<&TenantId>,
    error: &Error,
) {
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

//! The database as a whole: its size, its connections, its standbys, what has failed in it.

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// The database and its standbys.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cluster {
    /// The database.
    pub database: String,
    /// Client sessions of the whole cluster.
    pub connections: u64,
    /// `max_connections`.
    pub max_connections: u64,
    /// Whether this server is a standby itself.
    pub in_recovery: bool,
    /// Standbys that stream from it.
    pub standbys: Vec<Standby>,
    /// Failed provisionings and backups that nobody has made good.
    pub failures: Vec<Failure>,
}

/// A standby that streams from this server.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Standby {
    /// Its `application_name`.
    pub name: String,
    /// Its address; absent over a socket, and where this admin may not see it.
    pub address: Option<String>,
    /// `streaming`, `catchup` and so on; absent where this admin may not see it.
    pub state: Option<String>,
    /// Bytes of WAL that it has not replayed yet.
    pub lag_bytes: Option<u64>,
    /// Milliseconds until what was written here was last seen replayed there; 0 when it has replayed all.
    pub lag_ms: Option<f64>,
}

/// The latest of an operation on a tenant, when it failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// `provision` or `backup`.
    pub operation: String,
    /// The tenant; absent where the command failed as a whole.
    pub tenant_id: Option<String>,
    /// As in the operation log.
    pub error_id: Option<String>,
    /// What went wrong.
    pub message: String,
    /// Seconds ago.
    pub age_seconds: f64,
}

/// Reads all of it; failures of the last hours.
///
/// # Errors
/// When the server refuses a query.
pub async fn read(session: &Session, failed_operations_hours: u32) -> Result<Cluster> {
    let sql = Sql::new(include_str!("../../sql/metrics/database.sql"));
    let row = session.query_one(&sql, &[], "look at the server").await?;
    let number = |name| Ok(column::<i64>(&row, name)?.unsigned_abs());
    Ok(Cluster {
        database: column(&row, "database")?,
        connections: number("connections")?,
        max_connections: number("max_connections")?,
        in_recovery: column(&row, "in_recovery")?,
        standbys: standbys(session).await?,
        failures: failures(session, failed_operations_hours).await?,
    })
}

async fn standbys(session: &Session) -> Result<Vec<Standby>> {
    let sql = Sql::new(include_str!("../../sql/metrics/standbys.sql"));
    let rows = session.query(&sql, &[], "look at the standbys").await?;
    rows.iter()
        .map(|row| {
            Ok(Standby {
                name: column(row, "name")?,
                address: column(row, "address")?,
                state: column(row, "state")?,
                // It may have replayed more since this server was asked how far it is itself.
                lag_bytes: column::<Option<i64>>(row, "lag_bytes")?.map(|bytes| bytes.max(0).unsigned_abs()),
                lag_ms: column::<Option<f64>>(row, "lag_ms")?.map(|ms| ms.max(0.0)),
            })
        })
        .collect()
}

async fn failures(session: &Session, hours: u32) -> Result<Vec<Failure>> {
    let hours = i32::try_from(hours).unwrap_or(i32::MAX);
    let sql = Sql::new(include_str!("../../sql/metrics/failures.sql"));
    let rows = session
        .query(&sql, &[(&hours, Type::INT4)], "look for failed operations")
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Failure {
                operation: column(row, "operation")?,
                tenant_id: column(row, "tenant_id")?,
                error_id: column(row, "error_id")?,
                message: column(row, "message")?,
                age_seconds: column::<f64>(row, "age")?.max(0.0),
            })
        })
        .collect()
}

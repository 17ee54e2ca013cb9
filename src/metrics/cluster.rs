//! The database as a whole: its size, its connections, its standbys, what has failed in it.

use serde::Serialize;

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

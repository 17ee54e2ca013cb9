//! Queries of tenants' roles, from pg_stat_statements.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::pg::session::Session;

/// One query of a tenant's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopQuery {
    /// As pg_stat_statements numbers it.
    pub queryid: i64,
    /// How often it ran.
    pub calls: u64,
    /// Milliseconds, all calls together.
    pub total_time_ms: f64,
    /// Milliseconds, the mean of a call.
    pub mean_time_ms: f64,
    /// Rows that it returned or changed.
    pub rows_returned: u64,
    /// Its text with constants taken out; only for tenants that were asked for by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// What of a query is counted up for ever, for whoever takes differences.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters {
    /// The role's name.
    pub role: String,
    /// As pg_stat_statements numbers it.
    pub queryid: i64,
    /// How often it ran.
    pub calls: u64,
    /// Milliseconds, all calls together.
    pub total_time_ms: f64,
}

/// The kinds that queries are told apart by.
pub const QUERY_TYPES: [&str; 5] = ["select", "insert", "update", "delete", "other"];

/// The type of a query by its first keyword: one of [`QUERY_TYPES`].
pub fn query_type(_text: &str) -> &'static str {
    "other"
}

/// Counters of all queries of all tenants' roles in this database; none without pg_stat_statements.
///
/// # Errors
/// When the server refuses the query.
pub async fn counters(_session: &Session) -> Result<Option<Vec<Counters>>> {
    Ok(None)
}

/// The types of these queries, by queryid; those that are gone meanwhile are absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn types(_session: &Session, _queryids: &[i64]) -> Result<std::collections::HashMap<i64, &'static str>> {
    Ok(std::collections::HashMap::new())
}

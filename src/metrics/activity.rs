//! Sessions of tenants' roles.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// Sessions of one role in this database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// All of them.
    pub total: u64,
    /// Those in other databases of the cluster, which none of the other figures counts: the limit holds for all together.
    #[serde(default)]
    pub elsewhere: u64,
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

impl Connections {
    /// A role without a session.
    pub fn none() -> Self {
        Self {
            active: Some(0),
            idle: Some(0),
            idle_in_transaction: Some(0),
            ..Self::default()
        }
    }

    /// Whether there are sessions of which this admin may not see what they do.
    pub fn hidden(&self) -> bool {
        self.active.is_none()
    }
}

/// Sessions by role name, all tenants in one query; a role without a session is absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn read(session: &Session) -> Result<HashMap<String, Connections>> {
    let sql = Sql::new(include_str!("../../sql/metrics/activity.sql"));
    let rows = session.query(&sql, &[], "look at the tenants' sessions").await?;
    rows.iter()
        .map(|row| {
            let number = |name| Ok(column::<i64>(row, name)?.unsigned_abs());
            let visible = column::<i64>(row, "hidden")? == 0;
            let seen = |name| Ok(if visible { Some(number(name)?) } else { None });
            let seconds = |name| {
                let seconds: Option<f64> = column(row, name)?;
                // The clock of a session that began after this statement did is ahead of it.
                Ok(seconds.filter(|_| visible).map(|seconds| seconds.max(0.0)))
            };
            let connections = Connections {
                total: number("total")?,
                elsewhere: number("elsewhere")?,
                active: seen("active")?,
                idle: seen("idle")?,
                idle_in_transaction: seen("idle_in_transaction")?,
                longest_seconds: seconds("longest_seconds")?,
                longest_transaction_seconds: seconds("longest_transaction_seconds")?,
            };
            Ok((column(row, "role")?, connections))
        })
        .collect()
}

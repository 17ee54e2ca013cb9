//! What the tenants' counters say: rows against the limits that triggers enforce.

use std::collections::HashMap;

use futures_util::future::join3;
use tokio_postgres::types::Type;

use super::sizes::{Opened, Question};
use crate::error::Result;
use crate::pg::session::{Param, Row, Session, column};
use crate::pg::sql::Sql;

/// What a tenant's counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rows in `portfolios`.
    pub portfolios: u64,
    /// Rows in `positions` of the portfolio that has most.
    pub positions_per_portfolio: u64,
    /// Rows in `trades` of today, in UTC.
    pub trades_per_day: u64,
}

/// The counters of these schemas that may be read, by place.
///
/// # Errors
/// When the server refuses the query.
pub async fn tables(session: &Session, schemas: &[&str], sees_all_rows: bool) -> Result<Vec<Opened>> {
    let sql = Sql::new(include_str!("../../sql/metrics/usage_tables.sql"));
    let params: [Param<'_>; 2] = [(&schemas, Type::TEXT_ARRAY), (&sees_all_rows, Type::BOOL)];
    let rows = session.query(&sql, &params, "look for the tenants' counters").await?;
    rows.iter()
        .map(|row| {
            let at: i64 = column(row, "at")?;
            Ok(Opened {
                at: usize::try_from(at).unwrap_or_default().saturating_sub(1),
                relations: vec![column(row, "oid")?],
            })
        })
        .collect()
}

/// Reads the counters of tenants whose tables [`tables`] has named.
#[derive(Clone, Copy, Debug)]
pub struct Counters<'a> {
    /// By place.
    pub schemas: &'a [&'a str],
    /// YYYY-MM-DD.
    pub today: &'a str,
    /// Whether this login sees all rows by itself.
    pub sees_all_rows: bool,
}

impl Question for Counters<'_> {
    type Answer = Counted;

    async fn put(&self, session: &Session, tenants: &[Opened]) -> Result<Vec<(usize, Counted)>> {
        let mut sql = Sql::new("SELECT u.at, u.resource, pg_catalog.max(u.used) AS used FROM (");
        for (i, tenant) in tenants.iter().enumerate() {
            let at = i128::try_from(tenant.at).unwrap_or(i128::MAX);
            sql = if i == 0 { sql } else { sql.text(" UNION ALL ") }
                .text("SELECT ")
                .int(at)
                .text(" AS at, resource, used FROM ONLY ")
                .qualified(self.schemas[tenant.at], "tenant_usage")
                .text(" WHERE resource <> 'trades_per_day' OR scope = ")
                .literal(self.today);
        }
        let sql = sql.text(") u GROUP BY u.at, u.resource");
        let doing = "read the tenants' counters";
        let rows = if self.sees_all_rows {
            session.query(&sql, &[], doing).await?
        } else {
            as_owner(session, &sql, doing).await?
        };
        // No row: nothing was counted, as nothing is there.
        let mut found: HashMap<usize, Counted> = tenants.iter().map(|t| (t.at, Counted::default())).collect();
        for row in &rows {
            let at = usize::try_from(column::<i32>(row, "at")?).unwrap_or(usize::MAX);
            let used = column::<i64>(row, "used")?.max(0).unsigned_abs();
            if let Some(counted) = found.get_mut(&at) {
                match column::<&str>(row, "resource")? {
                    "portfolios" => counted.portfolios = used,
                    "positions_per_portfolio" => counted.positions_per_portfolio = used,
                    "trades_per_day" => counted.trades_per_day = used,
                    _ => {}
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// Row security shows the owner every row, which was proven; this login it might not.
async fn as_owner(session: &Session, sql: &Sql, doing: &str) -> Result<Vec<Row>> {
    let begin = Sql::new("BEGIN READ ONLY; SET LOCAL ROLE tenantctl_owner; SET LOCAL row_security = on");
    // Sent together, in this order.
    let (begun, rows, ()) = join3(
        session.batch(&begin, doing),
        session.query(sql, &[], doing),
        session.rollback(),
    )
    .await;
    begun?;
    rows
}

//! How far the database meets the hardening standard.

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::plan::hardening::{Line, Observed};

/// Reads every line of the standard in one query.
///
/// # Errors
/// When the server refuses the query.
pub async fn read(session: &Session) -> Result<Vec<Observed>> {
    let sql = Sql::new(include_str!("../../sql/catalog/hardening.sql"));
    let rows = session.query(&sql, &[], "read the database's privileges").await?;
    let mut observed = Vec::new();
    for line in Line::ALL {
        let key = serde_json::to_value(line)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default();
        for row in &rows {
            if column::<&str>(row, "line")? == key {
                observed.push(Observed {
                    line,
                    broken: column(row, "broken")?,
                    may_mend: column(row, "may_mend")?,
                });
            }
        }
    }
    Ok(observed)
}

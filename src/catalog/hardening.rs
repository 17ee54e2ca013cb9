//! How far the database meets the hardening standard.

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::plan::hardening::{Broken, Line, Observed};

/// Reads every line of the standard in one query.
///
/// # Errors
/// When the server refuses the query.
pub async fn read(session: &Session) -> Result<Vec<Observed>> {
    let sql = Sql::new(include_str!("../../sql/catalog/hardening.sql"));
    let rows = session.query(&sql, &[], "read the database's privileges").await?;
    let mut observed = Vec::new();
    for line in Line::ALL {
        let mut broken = Vec::new();
        for row in &rows {
            if column::<&str>(row, "line")? == line.key() {
                broken.push(Broken {
                    object: column(row, "object")?,
                    revoke: column(row, "revoke")?,
                    grant_owner: column(row, "grant_owner")?,
                    may_mend: column(row, "may_mend")?,
                });
            }
        }
        observed.push(Observed { line, broken });
    }
    Ok(observed)
}

//! Typed reads of the live cluster. Every query names its schema, is set-based, and none changes anything.

pub mod foundation;
pub mod hardening;
pub mod template;
pub mod tenants;

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// The schema that timescaledb's functions live in, where the extension is installed in this database.
///
/// # Errors
/// When the server refuses the query.
pub async fn timescaledb_schema(session: &Session) -> Result<Option<String>> {
    let sql = Sql::new(
        "SELECT n.nspname::text AS schema FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'",
    );
    let row = session
        .query_opt(&sql, &[], "look for the timescaledb extension")
        .await?;
    row.map(|row| column(&row, "schema")).transpose()
}

//! Typed reads of the live cluster. Every query names its schema and is set-based; none changes anything, but for the
//! pruning of audit logs, which is counted in the same breath.

pub mod audit;
pub mod backups;
pub mod chunks;
pub mod contents;
pub mod credentials;
pub mod foundation;
pub mod hardening;
pub mod restores;
pub mod standard;
pub mod template;
pub mod tenants;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// The first version of timescaledb whose hypertables take statement triggers with transition tables.
const TIMESCALEDB_OLDEST: (u32, u32) = (2, 18);

/// Whether a version such as `2.17.2` comes before another; one that cannot be read does not.
fn is_older(version: &str, oldest: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < oldest,
        _ => false,
    }
}

/// The schema that timescaledb's functions live in, where the extension is installed in this database.
///
/// The admin calls `create_hypertable` there, so nobody else may be able to put a function of that name beside the
/// extension's: PostgreSQL would prefer the one whose argument types fit better.
///
/// # Errors
/// Kind `unsupported` when another role may create in that schema, or has made such a function already.
pub async fn timescaledb_schema(session: &Session) -> Result<Option<String>> {
    let sql = Sql::new(include_str!("../../sql/catalog/timescaledb.sql"));
    let Some(row) = session
        .query_opt(&sql, &[], "look for the timescaledb extension")
        .await?
    else {
        return Ok(None);
    };
    let schema: String = column(&row, "schema")?;
    let version: String = column(&row, "version")?;
    if is_older(&version, TIMESCALEDB_OLDEST) {
        let (major, minor) = TIMESCALEDB_OLDEST;
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("timescaledb {version} is too old; tenantctl needs {major}.{minor} or later"),
        )
        .with_cause("statement triggers with transition tables, which audit and limits are, work on its hypertables from then on")
        .with_hint("Update it: ALTER EXTENSION timescaledb UPDATE; as the first statement of a new session."));
    }
    let (creators, impostors): (Vec<String>, Vec<String>) = (column(&row, "creators")?, column(&row, "impostors")?);
    let refuse = |cause: String, hint: String| {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("functions of timescaledb in schema {schema:?} cannot be trusted"),
        )
        .with_cause(cause)
        .with_hint(hint))
    };
    if let Some(impostor) = impostors.first() {
        return refuse(
            format!("{impostor} is not the extension's"),
            format!("Find out who made it, then DROP FUNCTION {impostor};"),
        );
    }
    if !creators.is_empty() {
        let hint = format!("Run: REVOKE CREATE ON SCHEMA {schema} FROM {};", creators.join(", "));
        return refuse(
            format!("{} may create functions beside the extension's", creators.join(", ")),
            hint,
        );
    }
    Ok(Some(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_of_timescaledb_are_told() {
        for (version, older) in [
            ("2.17.2", true),
            ("1.7.5", true),
            ("2.18.0", false),
            ("2.28.3", false),
            ("3.0", false),
            ("dev", false),
        ] {
            assert_eq!(is_older(version, TIMESCALEDB_OLDEST), older, "{version}");
        }
    }
}

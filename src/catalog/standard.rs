//! What there is of tenants' schemas and roles, beside what the standard wants.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::tenants::TenantRow;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Session, column};
use crate::pg::sql::Sql;
use crate::plan::standard::Observed;

/// How many tenants are read at a time: a document takes some kilobytes.
pub const BATCH: usize = 1000;

/// Reads these tenants' schemas and roles in one query, by schema name; a schema that does not exist is absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn read(session: &Session, tenants: &[TenantRow]) -> Result<HashMap<String, Observed>> {
    let schemas: Vec<&str> = tenants.iter().map(|t| t.schema_name.as_str()).collect();
    let roles: Vec<&str> = tenants.iter().map(|t| t.role_name.as_str()).collect();
    read_all(session, &schemas, &roles).await
}

/// Reads one schema, whatever its name, and a role; none when there is no such schema.
///
/// # Errors
/// When the server refuses the query.
pub async fn read_one(session: &Session, schema: &str, role: &str) -> Result<Option<Observed>> {
    Ok(read_all(session, &[schema], &[role]).await?.remove(schema))
}

async fn read_all(session: &Session, schemas: &[&str], roles: &[&str]) -> Result<HashMap<String, Observed>> {
    let sql = Sql::new(include_str!("../../sql/catalog/tenant_state.sql"));
    let params: [Param<'_>; 2] = [(&schemas, Type::TEXT_ARRAY), (&roles, Type::TEXT_ARRAY)];
    let doing = "read what the tenants have";
    let rows = session.query(&sql, &params, doing).await?;
    rows.iter()
        .map(|row| {
            let state = serde_json::from_str(column(row, "state")?)
                .map_err(|e| Error::new(ErrorKind::Unknown, format!("failed to {doing}")).with_cause(e))?;
            Ok((column(row, "schema_name")?, state))
        })
        .collect()
}

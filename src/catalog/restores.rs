//! What the registry knows of restores, and what the catalog knows of tables whose contents are exchanged.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Row, Session, column};
use crate::pg::sql::Sql;
use crate::plan::restore::{Column, ForeignKey};
use crate::tenant::{Audit, TenantId};

/// A restore as the registry has it. Times are ISO 8601 in UTC.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreRow {
    /// Its key.
    pub restore_id: Uuid,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The backup, where there was one.
    pub backup_id: Option<String>,
    /// `replace`, `tables`, `new`, `undo` or `drill`.
    pub kind: String,
    /// `running`, `done` or `failed`.
    pub status: String,
    /// Of a restore of single tables.
    pub tables: Option<Vec<String>>,
    /// The schema that is being loaded.
    pub staging_schema: Option<String>,
    /// The schema that keeps what was replaced.
    pub replaced_schema: Option<String>,
    /// What the registry said of what is kept.
    #[serde(skip)]
    pub replaced: Option<String>,
    /// Until when it is kept.
    pub drop_after: Option<String>,
    /// When it was done.
    pub finished_at: Option<String>,
}

/// What the registry said of a schema that is kept.
#[derive(Clone, Debug, Deserialize)]
pub struct KeptSchema {
    /// The template.
    pub template: String,
    /// Its version.
    pub template_version: i32,
    /// The modules.
    pub modules: Vec<String>,
    /// The hypertables.
    pub hypertables: Vec<String>,
    /// The audited tables.
    pub audit: Audit,
}

/// What the sequences of tables had whose contents are kept.
#[derive(Clone, Debug, Deserialize)]
pub struct KeptSequences {
    /// By name.
    pub sequences: Vec<KeptSequence>,
}

/// A sequence's state.
#[derive(Clone, Debug, Deserialize)]
pub struct KeptSequence {
    /// Its name.
    pub name: String,
    /// As `setval` takes it.
    pub last_value: i64,
    /// As `setval` takes it.
    pub is_called: bool,
}

const DOING: &str = "read the registry's restores";

fn columns() -> Sql {
    Sql::new(
        "SELECT r.restore_id, r.tenant_id, r.backup_id, r.kind, r.status, r.tables, r.staging_schema, r.replaced_schema,
    r.replaced::text AS replaced,
    pg_catalog.to_char(r.drop_after AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS drop_after,
    pg_catalog.to_char(r.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS finished_at
FROM tenantctl.restores r ",
    )
}

fn row(row: &Row) -> Result<RestoreRow> {
    Ok(RestoreRow {
        restore_id: column(row, "restore_id")?,
        tenant_id: column::<&str>(row, "tenant_id")?.parse()?,
        backup_id: column(row, "backup_id")?,
        kind: column(row, "kind")?,
        status: column(row, "status")?,
        tables: column(row, "tables")?,
        staging_schema: column(row, "staging_schema")?,
        replaced_schema: column(row, "replaced_schema")?,
        replaced: column(row, "replaced")?,
        drop_after: column(row, "drop_after")?,
        finished_at: column(row, "finished_at")?,
    })
}

/// The restores of these tenants, or of all with none given, that have a schema of their own still, newest first.
///
/// # Errors
/// When the registry cannot be read.
pub async fn with_schemas(session: &Session, tenants: &[&TenantId]) -> Result<Vec<RestoreRow>> {
    let ids: Vec<&str> = tenants.iter().map(|id| id.as_str()).collect();
    let sql = columns().text(
        "WHERE (r.staging_schema IS NOT NULL OR r.replaced_schema IS NOT NULL)
AND (pg_catalog.cardinality($1) = 0 OR r.tenant_id = ANY ($1)) ORDER BY r.started_at DESC, r.restore_id",
    );
    let rows = session.query(&sql, &[(&ids, Type::TEXT_ARRAY)], DOING).await?;
    rows.iter().map(row).collect()
}

/// The restores whose grace is over, by the server's clock.
///
/// # Errors
/// When the registry cannot be read.
pub async fn past_grace(session: &Session) -> Result<Vec<RestoreRow>> {
    let sql = columns().text(
        "WHERE r.replaced_schema IS NOT NULL AND r.drop_after <= pg_catalog.now() ORDER BY r.tenant_id, r.started_at",
    );
    let rows = session.query(&sql, &[], DOING).await?;
    rows.iter().map(row).collect()
}

/// The restores of a tenant that are marked as running. For whoever holds the tenant's lock they are dead.
///
/// # Errors
/// When the registry cannot be read.
pub async fn unfinished(session: &Session, tenant: &TenantId) -> Result<Vec<RestoreRow>> {
    let sql = columns().text("WHERE r.tenant_id = $1 AND r.status = 'running' ORDER BY r.started_at");
    let rows = session.query(&sql, &[(&tenant.as_str(), Type::TEXT)], DOING).await?;
    rows.iter().map(row).collect()
}

/// Reads what a row keeps in JSON.
///
/// # Errors
/// When it is not there or cannot be read.
pub fn kept<T: serde::de::DeserializeOwned>(row: &RestoreRow) -> Result<T> {
    serde_json::from_str(row.replaced.as_deref().unwrap_or("null")).map_err(|e| {
        Error::new(
            ErrorKind::Unknown,
            format!(
                "the registry does not tell what schema {} was",
                row.replaced_schema.as_deref().unwrap_or("?")
            ),
        )
        .with_cause(e)
    })
}

/// Foreign keys from these tables of a schema and to them.
///
/// # Errors
/// When the server refuses the query.
pub async fn foreign_keys(session: &Session, schema: &str, tables: &[&str]) -> Result<Vec<ForeignKey>> {
    let sql = Sql::new(include_str!("../../sql/catalog/foreign_keys.sql"));
    let params: [Param<'_>; 2] = [(&schema, Type::TEXT), (&tables, Type::TEXT_ARRAY)];
    let rows = session.query(&sql, &params, "read the foreign keys").await?;
    let word = |row: &Row, name: &str| -> Result<char> { Ok(column::<&str>(row, name)?.chars().next().unwrap_or(' ')) };
    rows.iter()
        .map(|row| {
            Ok(ForeignKey {
                name: column(row, "name")?,
                table: (column(row, "schema")?, column(row, "table_name")?),
                columns: column(row, "columns")?,
                references: (column(row, "referenced_schema")?, column(row, "referenced_table")?),
                referenced: column(row, "referenced_columns")?,
                matching: word(row, "matching")?,
                on_update: word(row, "on_update")?,
                on_delete: word(row, "on_delete")?,
                set_columns: column(row, "set_columns")?,
                deferrable: column(row, "deferrable")?,
                deferred: column(row, "deferred")?,
                validated: column(row, "validated")?,
            })
        })
        .collect()
}

/// What tables are, for an exchange of their contents.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// The table.
    pub name: String,
    /// `pg_class.relkind`.
    pub kind: char,
    /// Its columns without generated ones, in their order, with their types as the server prints them.
    pub columns: Vec<(String, String)>,
    /// The same, as their contents are exchanged.
    pub contents: Vec<Column>,
    /// Sequences that belong to its columns.
    pub sequences: Vec<String>,
    /// It has rules, which would rewrite what is done to it.
    pub has_rules: bool,
}

/// What these tables of a schema are; those that are missing are absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn shapes(session: &Session, schema: &str, tables: &[&str]) -> Result<Vec<TableShape>> {
    let sql = Sql::new(
        "SELECT c.relname::text AS name, c.relkind::text AS kind, c.relhasrules AS has_rules,
    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
    ARRAY(SELECT pg_catalog.replace(pg_catalog.format_type(a.atttypid, a.atttypmod), n.nspname || '.', '')
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS types,
    ARRAY(SELECT CASE WHEN COALESCE(e.typnamespace, y.typnamespace) = n.oid THEN COALESCE(e.typname, y.typname)::text END
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type e ON e.oid = y.typelem AND e.typarray = y.oid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS local_types,
    ARRAY(SELECT e.oid IS NOT NULL
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type e ON e.oid = y.typelem AND e.typarray = y.oid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS arrays,
    ARRAY(SELECT s.relname::text FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid
        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid
        AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
        AND s.relnamespace = n.oid AND s.relowner = c.relowner ORDER BY s.relname) AS sequences
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind IN ('r', 'p') AND c.relowner = pg_catalog.to_regrole('tenantctl_owner')
ORDER BY c.relname",
    );
    let params: [Param<'_>; 2] = [(&schema, Type::TEXT), (&tables, Type::TEXT_ARRAY)];
    let rows = session.query(&sql, &params, "look at the tables").await?;
    rows.iter()
        .map(|row| {
            let (names, types): (Vec<String>, Vec<String>) = (column(row, "columns")?, column(row, "types")?);
            let (local, arrays): (Vec<Option<String>>, Vec<bool>) =
                (column(row, "local_types")?, column(row, "arrays")?);
            let contents = names
                .iter()
                .zip(local)
                .zip(arrays)
                .map(|((name, local), array)| Column {
                    name: name.clone(),
                    local,
                    array,
                });
            Ok(TableShape {
                name: column(row, "name")?,
                kind: column::<&str>(row, "kind")?.chars().next().unwrap_or(' '),
                contents: contents.collect(),
                columns: names.into_iter().zip(types).collect(),
                sequences: column(row, "sequences")?,
                has_rules: column(row, "has_rules")?,
            })
        })
        .collect()
}

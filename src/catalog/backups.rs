//! What the registry knows of backups.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::backup::manifest::BackupId;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Row, Session, column};
use crate::pg::sql::Sql;
use crate::tenant::TenantId;

/// A backup as the registry has it. What is known only of a whole one is absent before that; times are ISO 8601 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupRow {
    /// The backup.
    pub backup_id: BackupId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The tenant's schema at the time.
    pub schema_name: String,
    /// `scheduled`, `weekly`, `monthly`, `manual`, `pre_migration` or a word of the user's.
    pub backup_type: String,
    /// `running`, `done` or `failed`.
    pub status: String,
    /// The store's URL.
    pub store: String,
    /// Its prefix there.
    pub key: String,
    /// When it was begun.
    pub started_at: String,
    /// The moment that it shows the tenant at.
    pub created_at: Option<String>,
    /// When it may be pruned.
    pub expires_at: Option<String>,
    /// Whether that time has come, by the server's clock.
    pub expired: bool,
    /// Bytes before compression.
    pub raw_bytes: Option<u64>,
    /// Bytes in the store.
    pub stored_bytes: Option<u64>,
    /// Rows of all tables.
    pub rows: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// Of the bytes of `manifest.json`.
    pub manifest_sha256: Option<String>,
    /// Whether it is encrypted.
    pub encrypted: Option<bool>,
    /// Whether it was read from a standby.
    pub from_replica: Option<bool>,
    /// When all of it was last read again and found good.
    pub verified_at: Option<String>,
    /// When it was last restored for trial.
    pub drilled_at: Option<String>,
    /// When it was found to be damaged, and never since to be whole.
    pub damaged_at: Option<String>,
    /// Of a failed one: the id of the error, as in the operation log; none where it died and told nobody.
    pub error_id: Option<String>,
}

fn columns() -> Sql {
    Sql::new(
        "SELECT b.backup_id, b.tenant_id, b.schema_name, b.backup_type, b.status, b.store, b.key,
    pg_catalog.to_char(b.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS started_at,
    pg_catalog.to_char(b.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS created_at,
    pg_catalog.to_char(b.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS expires_at,
    COALESCE(b.expires_at <= pg_catalog.now(), false) AS expired,
    b.raw_bytes, b.stored_bytes, b.rows, b.duration_ms, b.manifest_sha256, b.encrypted, b.from_replica,
    pg_catalog.to_char(b.verified_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS verified_at,
    pg_catalog.to_char(b.drilled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS drilled_at,
    pg_catalog.to_char(b.damaged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS damaged_at,
    b.error_id::text AS error_id
FROM tenantctl.backups b ",
    )
}

fn unreadable(error: Error) -> Error {
    error.with_kind(ErrorKind::Unknown).at("the registry")
}

fn row(row: &Row) -> Result<BackupRow> {
    let number = |name: &str| -> Result<Option<u64>> { Ok(column::<Option<i64>>(row, name)?.map(i64::unsigned_abs)) };
    Ok(BackupRow {
        backup_id: column::<&str>(row, "backup_id")?.parse().map_err(unreadable)?,
        tenant_id: column::<&str>(row, "tenant_id")?.parse().map_err(unreadable)?,
        schema_name: column(row, "schema_name")?,
        backup_type: column(row, "backup_type")?,
        status: column(row, "status")?,
        store: column(row, "store")?,
        key: column(row, "key")?,
        started_at: column(row, "started_at")?,
        created_at: column(row, "created_at")?,
        expires_at: column(row, "expires_at")?,
        expired: column(row, "expired")?,
        raw_bytes: number("raw_bytes")?,
        stored_bytes: number("stored_bytes")?,
        rows: number("rows")?,
        duration_ms: column(row, "duration_ms")?,
        manifest_sha256: column(row, "manifest_sha256")?,
        encrypted: column(row, "encrypted")?,
        from_replica: column(row, "from_replica")?,
        verified_at: column(row, "verified_at")?,
        drilled_at: column(row, "drilled_at")?,
        damaged_at: column(row, "damaged_at")?,
        error_id: column(row, "error_id")?,
    })
}

const DOING: &str = "read the registry's backups";

/// The backups of these tenants, or with none given of all, newest first.
///
/// # Errors
/// When the registry cannot be read.
pub async fn list(session: &Session, tenants: &[TenantId]) -> Result<Vec<BackupRow>> {
    let ids: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    let sql = columns().text(
        "WHERE pg_catalog.cardinality($1) = 0 OR b.tenant_id = ANY ($1)
ORDER BY COALESCE(b.created_at, b.started_at) DESC, b.backup_id DESC",
    );
    let rows = session.query(&sql, &[(&ids, Type::TEXT_ARRAY)], DOING).await?;
    rows.iter().map(row).collect()
}

/// Those of the backups that the registry has, whatever their status.
///
/// # Errors
/// When the registry cannot be read.
pub async fn find(session: &Session, ids: &[BackupId]) -> Result<Vec<BackupRow>> {
    let ids: Vec<&str> = ids.iter().map(BackupId::as_str).collect();
    let sql = columns().text("WHERE b.backup_id = ANY ($1) ORDER BY b.backup_id");
    let rows = session.query(&sql, &[(&ids, Type::TEXT_ARRAY)], DOING).await?;
    rows.iter().map(row).collect()
}

/// One backup, whatever its status.
///
/// # Errors
/// When the registry cannot be read.
pub async fn find_one(session: &Session, id: &BackupId) -> Result<Option<BackupRow>> {
    Ok(find(session, std::slice::from_ref(id)).await?.pop())
}

/// The newest whole backup of a tenant, in one store or in any; none if it has none. One that was found damaged comes only where
/// there is no other: reading it tells what is wrong with it.
///
/// # Errors
/// When the registry cannot be read.
pub async fn newest_good(session: &Session, tenant: &TenantId, store: Option<&str>) -> Result<Option<BackupRow>> {
    let sql = columns().text(
        "WHERE b.tenant_id = $1 AND b.status = 'done' AND ($2::text IS NULL OR b.store = $2)
ORDER BY b.damaged_at IS NOT NULL, b.created_at DESC, b.backup_id DESC LIMIT 1",
    );
    let params: [Param<'_>; 2] = [(&tenant.as_str(), Type::TEXT), (&store, Type::TEXT)];
    let rows = session.query(&sql, &params, DOING).await?;
    rows.first().map(row).transpose()
}

/// A tenant that has had no good backup for too long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overdue {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: String,
    /// Its tier.
    pub tier: String,
    /// Its newest good backup.
    pub backup_id: Option<BackupId>,
    /// The moment that that shows it at, ISO 8601 in UTC.
    pub created_at: Option<String>,
    /// Hours since then or, without a backup, since it was provisioned.
    pub hours: f64,
}

/// Those of these tenants, or with none given of all, that have had no good backup for so many hours; the longest first.
///
/// # Errors
/// When the registry cannot be read.
pub async fn overdue(session: &Session, tenants: &[TenantId], hours: u32) -> Result<Vec<Overdue>> {
    let ids: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    let hours = i32::try_from(hours).unwrap_or(i32::MAX);
    let sql = Sql::new(include_str!("../../sql/catalog/backup_overdue.sql"));
    let params: [Param<'_>; 2] = [(&ids, Type::TEXT_ARRAY), (&hours, Type::INT4)];
    let rows = session.query(&sql, &params, "look for overdue backups").await?;
    rows.iter()
        .map(|row| {
            let backup: Option<&str> = column(row, "backup_id")?;
            Ok(Overdue {
                tenant_id: column::<&str>(row, "tenant_id")?.parse().map_err(unreadable)?,
                schema_name: column(row, "schema_name")?,
                tier: column(row, "tier")?,
                backup_id: backup.map(str::parse).transpose().map_err(unreadable)?,
                created_at: column(row, "created_at")?,
                hours: column(row, "hours")?,
            })
        })
        .collect()
}

/// A tenant's backups that are marked as running. For whoever holds the tenant's lock they are dead.
///
/// # Errors
/// When the registry cannot be read.
pub async fn unfinished(session: &Session, tenant: &TenantId) -> Result<Vec<BackupRow>> {
    let sql = columns().text("WHERE b.tenant_id = $1 AND b.status = 'running' ORDER BY b.backup_id");
    let rows = session.query(&sql, &[(&tenant.as_str(), Type::TEXT)], DOING).await?;
    rows.iter().map(row).collect()
}

/// Bytes of tables and TOAST that these schemas take by the planner's last estimate, by schema; far off where a table was
/// never vacuumed or analysed.
///
/// # Errors
/// When the server refuses the query.
pub async fn estimates(session: &Session, schemas: &[&str]) -> Result<BTreeMap<String, u64>> {
    let sql = Sql::new(include_str!("../../sql/catalog/backup_estimate.sql"));
    let rows = session
        .query(
            &sql,
            &[(&schemas, Type::TEXT_ARRAY)],
            "estimate what there is to back up",
        )
        .await?;
    rows.iter()
        .map(|row| Ok((column(row, "schema_name")?, column::<i64>(row, "bytes")?.unsigned_abs())))
        .collect()
}

/// The server's time and the same so many days later, ISO 8601 in UTC with milliseconds.
///
/// # Errors
/// When the server refuses the query.
pub async fn now_and_later(session: &Session, days: u32) -> Result<(String, String)> {
    let sql = Sql::new(
        "SELECT pg_catalog.to_char(s.now, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS now,
    pg_catalog.to_char(s.now + pg_catalog.make_interval(days => $1), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS later
FROM (SELECT pg_catalog.clock_timestamp() AT TIME ZONE 'UTC' AS now) s",
    );
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let row = session.query_one(&sql, &[(&days, Type::INT4)], "read the time").await?;
    Ok((column(&row, "now")?, column(&row, "later")?))
}

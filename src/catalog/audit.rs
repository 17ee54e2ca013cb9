//! Reads and prunes tenants' audit logs, as their owner, once it is sure that they are what tenantctl made.

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::types::Type;

use super::standard;
use super::tenants::TenantRow;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Session, column};
use crate::pg::sql::Sql;
use crate::plan::standard::{HAS_TRIGGER, Observed, Policy, without_triggers};
use crate::plan::{as_owner, record_done};
use crate::tenant::OWNER_ROLE;

/// Entries that one transaction removes at most, so that none runs for long.
const PRUNE_BATCH: i64 = 50_000;

/// One change of a row, or a TRUNCATE.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Ascending.
    pub id: i64,
    /// When, ISO 8601 in UTC with microseconds.
    pub at: String,
    /// The server's transaction id.
    pub transaction: String,
    /// `INSERT`, `UPDATE`, `DELETE` or `TRUNCATE`.
    pub operation: String,
    /// The table.
    pub table: String,
    /// The row before, or its key.
    pub old_row: Option<Box<RawValue>>,
    /// The row after, or its key.
    pub new_row: Option<Box<RawValue>>,
    /// Who was logged in.
    pub role_name: String,
    /// What the client called itself.
    pub application_name: String,
    /// Where it came from; none: a Unix socket.
    pub client_address: Option<String>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this table only.
    pub table: Option<String>,
    /// Of this operation only.
    pub operation: Option<String>,
    /// Not before this time, in any form that PostgreSQL reads.
    pub since: Option<String>,
    /// At most so many, the newest.
    pub limit: i64,
    /// Rows longer than so many bytes are replaced by their length; none: never.
    pub row_bytes: Option<i64>,
}

/// Refuses a tenant whose audit log is not the owner's ordinary table with the owner's policy: reading anything else
/// could run somebody's code, or hide rows.
///
/// # Errors
/// Kind `unsupported` with what is wrong.
pub async fn require_sound(session: &Session, tenant: &TenantRow) -> Result<()> {
    let state = standard::read(session, std::slice::from_ref(tenant))
        .await?
        .remove(tenant.schema_name.as_str());
    check(tenant, state.as_ref())
}

/// The same for a tenant whose state was read already.
///
/// # Errors
/// As [`require_sound`].
pub fn check(tenant: &TenantRow, state: Option<&Observed>) -> Result<()> {
    let log = state.and_then(|s| s.relations.iter().find(|r| r.name == "audit_log"));
    let bypass = |p: &Policy| p.plain && p.roles == [OWNER_ROLE];
    let wrong = match log {
        None => "it is not there",
        Some(log) if log.kind != 'r' => "it is not a table",
        Some(log) if log.owner != OWNER_ROLE => "it does not belong to tenantctl_owner",
        Some(log) if !log.policies.iter().all(|p| p.plain) || !log.policies.iter().any(bypass) => {
            "its policies are not the standard's"
        }
        Some(_) => return Ok(()),
    };
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("the audit log of tenant {} cannot be read", tenant.tenant_id),
    )
    .with_cause(wrong)
    .with_hint(format!(
        "`tenantctl secure {}` brings the tenant to the standard.",
        tenant.tenant_id
    )))
}

/// The owner's policy lets the owner see all rows; `row_security = off` would raise an error instead.
fn begin_as_owner(read_only: bool) -> Sql {
    let begin = Sql::new(if read_only { "BEGIN READ ONLY;\n" } else { "BEGIN;\n" });
    begin.append(as_owner()).text("\nSET LOCAL row_security = on;")
}

/// The newest entries, newest first. The tenant was found sound before.
///
/// # Errors
/// Kind `usage` when `since` is no time; otherwise what the server refused.
pub async fn entries(session: &Session, tenant: &TenantRow, filter: &Filter) -> Result<Vec<Entry>> {
    let sql = Sql::new(
        "SELECT a.id, a.transaction::text AS transaction, a.operation, a.table_name, 
    CASE WHEN pg_catalog.octet_length(a.old_row::text) > $5 THEN
        pg_catalog.jsonb_build_object('cut, bytes', pg_catalog.octet_length(a.old_row::text))::text ELSE a.old_row::text END AS old_row,
    CASE WHEN pg_catalog.octet_length(a.new_row::text) > $5 THEN
        pg_catalog.jsonb_build_object('cut, bytes', pg_catalog.octet_length(a.new_row::text))::text ELSE a.new_row::text END AS new_row, a.role_name::text AS role_name, a.application_name,
    pg_catalog.host(a.client_address) AS client_address,
    pg_catalog.to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at
FROM ",
    )
    .qualified(tenant.schema_name.as_str(), "audit_log")
    .text(
        " a WHERE COALESCE(a.table_name = $1, true) AND COALESCE(a.operation = $2, true)
    AND COALESCE(a.at >= $3::text::timestamptz, true)
ORDER BY a.id DESC LIMIT $4",
    );
    let doing = "read the audit log";
    let params: [Param<'_>; 5] = [
        (&filter.table, Type::TEXT),
        (&filter.operation, Type::TEXT),
        (&filter.since, Type::TEXT),
        (&filter.limit, Type::INT8),
        (&filter.row_bytes, Type::INT8),
    ];
    session.batch(&begin_as_owner(true), doing).await?;
    let rows = session.query(&sql, &params, doing).await;
    session.rollback().await;
    let rows = rows.map_err(|e| match e.sqlstate() {
        // What was given is no time, or one out of range.
        Some("22007" | "22008" | "22009") => e
            .with_kind(ErrorKind::Usage)
            .with_message(format!(
                "invalid time {:?}",
                filter.since.as_deref().unwrap_or_default()
            ))
            .with_hint(
                "Write it as 2026-01-31, \"2026-01-31 12:00\" (UTC), or with a zone: 2026-01-31T12:00:00+01:00.",
            ),
        _ => e,
    })?;
    // As the server wrote it: a number must not lose a digit on its way.
    let json = |text: Option<String>| {
        text.map(RawValue::from_string)
            .transpose()
            .map_err(|e| Error::new(ErrorKind::Unknown, format!("failed to {doing}")).with_cause(e))
    };
    rows.iter()
        .map(|row| {
            Ok(Entry {
                id: column(row, "id")?,
                at: column(row, "at")?,
                transaction: column(row, "transaction")?,
                operation: column(row, "operation")?,
                table: column(row, "table_name")?,
                old_row: json(column(row, "old_row")?)?,
                new_row: json(column(row, "new_row")?)?,
                role_name: column(row, "role_name")?,
                application_name: column(row, "application_name")?,
                client_address: column(row, "client_address")?,
            })
        })
        .collect()
}

/// Entries older than so many days.
///
/// # Errors
/// What the server refused.
pub async fn count_older(session: &Session, tenant: &TenantRow, days: u32) -> Result<i64> {
    let sql = Sql::new("SELECT pg_catalog.count(*) AS entries FROM ")
        .qualified(tenant.schema_name.as_str(), "audit_log")
        .text(" WHERE at < pg_catalog.now() - pg_catalog.make_interval(days => $1)");
    let doing = "count old entries of the audit log";
    session.batch(&begin_as_owner(true), doing).await?;
    let row = session.query_one(&sql, &[(&days_param(days), Type::INT4)], doing).await;
    session.rollback().await;
    column(&row?, "entries")
}

/// Removes entries older than so many days, some at a time, each time in a transaction that records how it ended.
/// Returns how many went; an error in between leaves those gone that were counted by then.
///
/// # Errors
/// What the server refused.
pub async fn prune(session: &Session, tenant: &TenantRow, days: u32, timeout: std::time::Duration) -> Result<i64> {
    let table = || Sql::default().qualified(tenant.schema_name.as_str(), "audit_log");
    let sql = Sql::new("WITH gone AS (DELETE FROM ")
        .append(table())
        .text(" WHERE ctid = ANY (ARRAY(SELECT ctid FROM ")
        .append(table())
        .text(
            " WHERE at < pg_catalog.now() - pg_catalog.make_interval(days => $1) LIMIT $2)) RETURNING 1)
SELECT pg_catalog.count(*) AS entries FROM gone",
        );
    let doing = "prune the audit log";
    let params: [Param<'_>; 2] = [(&days_param(days), Type::INT4), (&PRUNE_BATCH, Type::INT8)];
    let mut total = 0;
    loop {
        let begin = begin_as_owner(false).text("\n");
        let begin = begin.append(without_triggers(tenant.schema_name.as_str(), "audit_log"));
        if let Err(error) = session.batch(&begin, doing).await {
            session.rollback().await;
            return Err(match error.sqlstate() {
                Some(HAS_TRIGGER) => error
                    .with_kind(ErrorKind::Unsupported)
                    .with_message(format!("the audit log of tenant {} has a trigger", tenant.tenant_id))
                    .with_hint("It would run with the owner's rights. `tenantctl secure` removes it; `tenantctl validate` tells how it may have come there."),
                // invalid_schema_name, undefined_table
                Some("3F000" | "42P01") => error
                    .with_kind(ErrorKind::NotFound)
                    .with_message(format!("tenant {} was dropped by somebody else meanwhile", tenant.tenant_id))
                    .with_hint("`tenantctl list` shows what is there."),
                _ => error,
            });
        }
        let row = match session.query_one(&sql, &params, doing).await {
            Ok(row) => row,
            Err(error) => {
                session.rollback().await;
                return Err(error);
            }
        };
        let gone: i64 = column(&row, "entries")?;
        if gone == 0 {
            session.rollback().await;
            return Ok(total);
        }
        let end = record_done("audit_prune", Some(tenant.tenant_id.as_str()), timeout).text(" COMMIT;");
        if let Err(error) = session.batch(&end, doing).await {
            session.rollback().await;
            return Err(error);
        }
        total += gone;
        if gone < PRUNE_BATCH {
            return Ok(total);
        }
    }
}

/// Bounded by the configuration and the command line to a hundred years.
fn days_param(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}

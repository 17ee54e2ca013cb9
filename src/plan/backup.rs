//! What is written into the registry about backups.

use std::time::Duration;

use super::{Plan, as_owner, record_done};
use crate::error::Error;
use crate::pg::sql::Sql;
use crate::tenant::TenantId;

/// The lock of a tenant against another backup or restore of it, as the first statements of a transaction that holds it.
/// The row is committed before it is locked, so that nobody ever waits for it.
pub fn lock_tenant(tenant: &TenantId) -> Sql {
    Sql::new("BEGIN;\nINSERT INTO tenantctl.tenant_locks (tenant_id) VALUES (")
        .literal(tenant.as_str())
        .text(
            ") ON CONFLICT DO NOTHING;
COMMIT;
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT FROM tenantctl.tenant_locks WHERE tenant_id = ",
        )
        .literal(tenant.as_str())
        .text(" FOR UPDATE NOWAIT;\n")
        .append(no_time_limit())
}

/// Takes all limits off the transaction: it lasts as long as the data take, and may be idle for most of that time.
pub fn no_time_limit() -> Sql {
    Sql::new(
        "SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SELECT pg_catalog.set_config(p.name, '0', true) FROM (VALUES ('transaction_timeout')) p (name)
WHERE pg_catalog.current_setting(p.name, true) IS NOT NULL;
",
    )
}

/// A backup that is about to write its first object.
pub struct Begun<'a> {
    /// The backup.
    pub backup_id: &'a str,
    /// Its tenant.
    pub tenant_id: &'a TenantId,
    /// The tenant's schema.
    pub schema_name: &'a str,
    /// Its type.
    pub backup_type: &'a str,
    /// The store's URL.
    pub store: &'a str,
    /// Its prefix there.
    pub key: &'a str,
    /// Whether it reads from a standby.
    pub from_replica: bool,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// The registry row of a backup that is under way.
pub fn begun(backup: &Begun<'_>) -> Sql {
    let yes_or_no = |yes| if yes { "true" } else { "false" };
    Sql::new(
        "INSERT INTO tenantctl.backups (backup_id, tenant_id, schema_name, backup_type, store, key, status, from_replica,
    encrypted, tool_version)
VALUES (",
    )
    .literal(backup.backup_id)
    .text(", ")
    .literal(backup.tenant_id.as_str())
    .text(", ")
    .literal(backup.schema_name)
    .text(", ")
    .literal(backup.backup_type)
    .text(", ")
    .literal(backup.store)
    .text(", ")
    .literal(backup.key)
    .text(", 'running', ")
    .text(yes_or_no(backup.from_replica))
    .text(", ")
    .text(yes_or_no(backup.encrypted))
    .text(", ")
    .literal(env!("CARGO_PKG_VERSION"))
    .text(");")
}

/// What is known of a backup once its manifest is made.
pub struct Finished<'a> {
    /// The backup.
    pub backup_id: &'a str,
    /// Its tenant.
    pub tenant_id: &'a TenantId,
    /// As the manifest says.
    pub created_at: &'a str,
    /// As the manifest says.
    pub expires_at: &'a str,
    /// As the manifest says.
    pub raw_bytes: u64,
    /// As the manifest says.
    pub stored_bytes: u64,
    /// As the manifest says.
    pub rows: u64,
    /// As the manifest says.
    pub duration_ms: f64,
    /// Of the manifest's bytes.
    pub manifest_sha256: &'a str,
}

/// The row of a backup that is whole, with its line in the operation log. Fails with SQLSTATE 22012 when somebody else has
/// taken the backup for dead meanwhile.
pub fn finished(backup: &Finished<'_>) -> Sql {
    // Longer than any backup takes; the log demands a limit.
    const LONGEST: Duration = Duration::from_secs(1000 * 86_400);
    Sql::new("WITH done AS (UPDATE tenantctl.backups SET status = 'done', created_at = ")
        .literal(backup.created_at)
        .text(", expires_at = ")
        .literal(backup.expires_at)
        .text(", raw_bytes = ")
        .int(backup.raw_bytes)
        .text(", stored_bytes = ")
        .int(backup.stored_bytes)
        .text(", rows = ")
        .int(backup.rows)
        .text(", duration_ms = ")
        .literal(&backup.duration_ms.to_string())
        .text(", manifest_sha256 = ")
        .literal(backup.manifest_sha256)
        .text("\n    WHERE backup_id = ")
        .literal(backup.backup_id)
        .text(" AND status = 'running' RETURNING 1)\nSELECT 1 / pg_catalog.count(*) FROM done;\n")
        .append(record_done("backup", Some(backup.tenant_id.as_str()), LONGEST))
}

/// Marks a backup as failed, unless it is done. Without an error it died and left none.
pub fn failed(backup_id: &str, error: Option<&Error>) -> Sql {
    Sql::new("UPDATE tenantctl.backups SET status = 'failed', error_id = ")
        .optional(error.map(|e| e.id().to_string()).as_deref())
        .text("::uuid WHERE backup_id = ")
        .literal(backup_id)
        .text(" AND status = 'running';")
}

/// Notes that all of a backup was read again, and maybe restored for trial, and found good.
pub fn verified(backup_id: &str, drilled: bool) -> Sql {
    Sql::new("UPDATE tenantctl.backups SET damaged_at = NULL, verified_at = pg_catalog.clock_timestamp()")
        .text(if drilled {
            ", drilled_at = pg_catalog.clock_timestamp()"
        } else {
            ""
        })
        .text(" WHERE backup_id = ")
        .literal(backup_id)
        .text(" AND status = 'done';")
}

/// Notes that a backup was found to be damaged: it counts as good no more, and stays for somebody to look at.
pub fn found_damaged(backup_id: &str) -> Sql {
    Sql::new("UPDATE tenantctl.backups SET damaged_at = COALESCE(damaged_at, pg_catalog.clock_timestamp()) WHERE backup_id = ")
        .literal(backup_id)
        .text(" AND status = 'done';")
}

/// Takes a whole backup out of those that count, before it is removed.
pub fn withdrawn(backup_id: &str) -> Sql {
    Sql::new("UPDATE tenantctl.backups SET status = 'failed' WHERE backup_id = ")
        .literal(backup_id)
        .text(" AND status = 'done';")
}

/// Takes the row of a backup that is gone from its store.
pub fn forget(backup_id: &str) -> Sql {
    Sql::new("DELETE FROM tenantctl.backups WHERE backup_id = ")
        .literal(backup_id)
        .text(";")
}

/// The registry's row of a backup that lies in a store and that this registry does not know. As the owner.
pub struct FoundBackup<'a> {
    /// The backup.
    pub backup: &'a str,
    /// Its tenant.
    pub tenant: &'a TenantId,
    /// The tenant's schema.
    pub schema: &'a str,
    /// Its type.
    pub backup_type: &'a str,
    /// The store's URL.
    pub store: &'a str,
    /// Its prefix there.
    pub key: &'a str,
    /// ISO 8601.
    pub created_at: &'a str,
    /// ISO 8601.
    pub expires_at: &'a str,
    /// Before compression.
    pub raw_bytes: u64,
    /// In the store.
    pub stored_bytes: u64,
    /// Of all tables.
    pub rows: u64,
    /// Milliseconds.
    pub duration_ms: f64,
    /// Of the manifest's bytes.
    pub manifest_sha256: &'a str,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether it was read from a standby.
    pub from_replica: bool,
}

/// Writes rows of backups that are there already, as far as the registry lacks them.
pub fn register_backups(found: &[FoundBackup<'_>], timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new("write the store's backups into the registry", timeout, lock_timeout);
    let mut sql = as_owner().text("\nINSERT INTO tenantctl.backups (backup_id, tenant_id, schema_name, backup_type, store, key, status, started_at, created_at, expires_at,
    raw_bytes, stored_bytes, rows, duration_ms, manifest_sha256, encrypted, from_replica, tool_version)\nVALUES ");
    for (i, b) in found.iter().enumerate() {
        sql = sql
            .text(if i == 0 { "(" } else { ",\n(" })
            .literal(b.backup)
            .text(", ")
            .literal(b.tenant.as_str())
            .text(", ")
            .literal(b.schema)
            .text(", ")
            .literal(b.backup_type)
            .text(", ")
            .literal(b.store)
            .text(", ")
            .literal(b.key)
            .text(", 'done', ")
            .literal(b.created_at)
            .text("::timestamptz, ")
            .literal(b.created_at)
            .text("::timestamptz, ")
            .literal(b.expires_at)
            .text("::timestamptz, ")
            .int(b.raw_bytes)
            .text(", ")
            .int(b.stored_bytes)
            .text(", ")
            .int(b.rows)
            .text(", ")
            .literal(&b.duration_ms.to_string())
            .text("::double precision, ")
            .literal(b.manifest_sha256)
            .text(if b.encrypted { ", true" } else { ", false" })
            .text(if b.from_replica { ", true, " } else { ", false, " })
            .literal(env!("CARGO_PKG_VERSION"))
            .text(")");
    }
    plan.step("write them down", sql.text("\nON CONFLICT (backup_id) DO NOTHING;"));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_was_taken_for_dead_cannot_be_done() {
        let tenant: TenantId = "acme".parse().expect("a valid id");
        let sql = finished(&Finished {
            backup_id: "acme_20260131_020000_1f0c3a",
            tenant_id: &tenant,
            created_at: "2026-01-31T02:00:00.000Z",
            expires_at: "2026-02-07T02:00:00.000Z",
            raw_bytes: 3,
            stored_bytes: 2,
            rows: 1,
            duration_ms: 1.5,
            manifest_sha256: "00",
        })
        .to_string();
        assert!(
            sql.contains("AND status = 'running'") && sql.contains("1 / pg_catalog.count(*)"),
            "{sql}"
        );
        assert!(sql.contains("duration_ms = '1.5'"), "{sql}");
        let sql = failed("b", None).to_string();
        assert!(
            sql.contains("error_id = NULL::uuid") && sql.contains("status = 'running'"),
            "{sql}"
        );
    }

    #[test]
    fn the_lock_is_taken_in_a_transaction_of_its_own() {
        let tenant: TenantId = "acme".parse().expect("a valid id");
        let sql = lock_tenant(&tenant).to_string();
        let at = |part: &str| sql.find(part).unwrap_or_else(|| panic!("{part} not in {sql}"));
        assert!(at("ON CONFLICT DO NOTHING") < at("COMMIT"));
        assert!(at("COMMIT") < at("FOR UPDATE NOWAIT"));
        assert!(!sql[at("FOR UPDATE NOWAIT")..].contains("COMMIT"));
    }
}

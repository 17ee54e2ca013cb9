//! What a tier keeps no longer: whole chunks, a batch a transaction, each written down with what went.

use std::time::Duration;

use super::chunks::{Batch, Claim, HypertableChunks, Range, batch};
use super::standard::{COUNTED_LIMITS, without_triggers};
use super::{Plan, record_said, unless_changed};
use crate::pg::sql::Sql;
use crate::tenant::{SchemaName, TenantId};

/// A hypertable whose old chunks go.
pub struct Expired<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// The tier that keeps its rows no longer.
    pub tier: &'a str,
    /// The schema of the timescaledb extension.
    pub extension: &'a str,
    /// The hypertable, with the ranges that have expired.
    pub table: &'a HypertableChunks,
    /// Each transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction of one batch. None: time is counted in a way of its own.
///
/// A backup reads all of a tenant as of one moment, which chunks that are dropped meanwhile do not have any more: the batch does
/// not wait for one but fails with SQLSTATE 55P03.
pub fn plan(old: &Expired<'_>, range: &Range) -> Option<Plan> {
    let mut then = Vec::new();
    let counted = COUNTED_LIMITS
        .iter()
        .find(|l| l.table == old.table.table && l.column == Some(old.table.column.as_str()));
    if let Some(limit) = counted {
        then.push((
            "forget what was counted on days that are gone",
            Sql::new("SET LOCAL row_security = on;\n")
                .append(without_triggers(old.schema.as_str(), "tenant_usage"))
                .text("DELETE FROM ")
                .qualified(old.schema.as_str(), "tenant_usage")
                .text(" WHERE resource = ")
                .literal(limit.resource)
                .text("\nAND CASE WHEN scope ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN scope::pg_catalog.date + 1 <= (")
                .literal(&range.end)
                .text("::pg_catalog.timestamptz AT TIME ZONE 'UTC') ELSE false END;\nSET LOCAL row_security = off;"),
        ));
    }
    let chunks = range.chunks;
    let said = format!(
        "dropped {chunks} chunk{} of {} that end by {}",
        if chunks == 1 { "" } else { "s" },
        old.table.table,
        range.end
    );
    then.push((
        "record the operation, unless the time limit has passed",
        record_said("retention", Some(old.id.as_str()), old.timeout, &said),
    ));
    let same_tier = unless_changed(
        Sql::new("SELECT tier = ")
            .literal(old.tier)
            .text(" FROM tenantctl.tenants WHERE tenant_id = ")
            .literal(old.id.as_str()),
    );
    let alone = Sql::new("INSERT INTO tenantctl.tenant_locks (tenant_id) VALUES (")
        .literal(old.id.as_str())
        .text(") ON CONFLICT DO NOTHING;\nSELECT FROM tenantctl.tenant_locks WHERE tenant_id = ")
        .literal(old.id.as_str())
        .text(" FOR UPDATE NOWAIT;");
    let mut plan = batch(&Batch {
        claim: Claim::Tenant(old.id, old.schema),
        extension: old.extension,
        table: old.table,
        range,
        before: vec![
            ("see that it is still of the tier that keeps them no longer", same_tier),
            ("see that no backup or restore of it is under way", alone),
        ],
        then,
        timeout: old.timeout,
        lock_timeout: old.lock_timeout,
    })?;
    plan.title = format!(
        "drop what of {} of tenant {} is kept no longer",
        old.table.table, old.id
    );
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::super::chunks::TimeType;
    use super::*;

    fn text(table: &str, column: &str) -> String {
        let id: TenantId = "acme".parse().expect("a valid id");
        let range = Range {
            end: "2024-01-08 00:00:00.000000+00 AD".into(),
            chunks: 7,
        };
        let table = HypertableChunks {
            schema: SchemaName::derive(&id, "salt").to_string(),
            table: table.into(),
            column: column.into(),
            time: Some(TimeType::Timestamptz),
            interval: 86_400_000_000,
            chunks: 9,
            locks: 20,
            ranges: vec![range.clone()],
            cutoff: None,
            referenced_by: Vec::new(),
        };
        let old = Expired {
            id: &id,
            schema: &SchemaName::derive(&id, "salt"),
            tier: "basic",
            extension: "ext",
            table: &table,
            timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
        };
        plan(&old, &range).expect("a plan").to_string()
    }

    #[test]
    fn a_batch_keeps_out_of_backups_and_says_what_went() {
        let text = text("trades", "executed_at");
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} not in\n{text}"));
        assert!(at("FOR UPDATE)") < at("SELECT tier = 'basic'"));
        assert!(at("SELECT tier = 'basic'") < at("drop_chunks"));
        assert!(at("FOR UPDATE)") < at("FOR UPDATE NOWAIT"));
        assert!(at("FOR UPDATE NOWAIT") < at("drop_chunks"));
        assert!(at("drop_chunks") < at("WHERE resource = 'trades_per_day'"));
        at("'dropped 7 chunks of trades that end by 2024-01-08 00:00:00.000000+00 AD'");
    }

    #[test]
    fn what_is_not_counted_is_not_forgotten() {
        assert!(!text("market_data", "timestamp").contains("tenant_usage"));
        assert!(!text("trades", "created_at").contains("tenant_usage"));
    }
}

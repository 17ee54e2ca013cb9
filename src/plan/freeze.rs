//! Writes of a tenant that has reached its size: taken back, and given back once it is well below it.
//!
//! A frozen tenant reads and deletes, so that it can make room; it neither inserts nor updates. The rights and the registry row
//! that says so change in one transaction.

use std::time::Duration;

use uuid::Uuid;

use super::standard::{Observed, Wanted, writes};
use super::{Plan, as_owner, lock_tenant_as, record_as, unless_changed};
use crate::pg::sql::Sql;
use crate::tenant::{Limit, SchemaName, TenantId};

/// Bytes of a GiB.
const GIB: u128 = 1 << 30;

/// Per cent of the limit below which a frozen tenant is thawed: what hovers around the limit is not frozen and thawed in turn.
pub const THAW_BELOW: u128 = 90;

/// What becomes of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may neither insert nor update from now on.
    Freeze,
    /// It may again.
    Thaw,
}

impl Turn {
    /// The name in the operation log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
        }
    }
}

/// What a limit is in bytes; none: unlimited.
pub fn max_bytes(limit: Limit) -> Option<u128> {
    limit.max().map(|gib| u128::from(gib) * GIB)
}

/// What is due to a tenant of this size (in bytes; none: unknown), by the limit that its registry row has. None: it stays as
/// it is, which an unknown size always means where there is a limit.
pub fn due(frozen: bool, size: Option<u64>, limit: Limit) -> Option<Turn> {
    match (max_bytes(limit), size.map(u128::from)) {
        (None, _) => frozen.then_some(Turn::Thaw),
        (Some(_), None) => None,
        (Some(max), Some(size)) if frozen => (size * 100 < max * THAW_BELOW).then_some(Turn::Thaw),
        (Some(max), Some(size)) => (size >= max).then_some(Turn::Freeze),
    }
}

/// A tenant that is to be frozen or thawed.
pub struct Change<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// What is due.
    pub turn: Turn,
    /// The limit by which that was decided.
    pub limit: Limit,
    /// What the standard says of the tenant.
    pub wanted: Wanted<'a>,
    /// What there is.
    pub now: &'a Observed,
    /// The key of the row in the operation log, by which the transaction is found again.
    pub operation: Uuid,
    /// The transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction that freezes or thaws. It takes no lock on the tenant's tables; of a hypertable TimescaleDB carries the rights
/// over to its chunks. Fails with [`super::CHANGED_MEANWHILE`] when
/// somebody else has frozen or thawed the tenant, or changed its limit, since that was decided.
pub fn plan(change: &Change<'_>) -> Plan {
    let (title, frozen_at) = match change.turn {
        Turn::Freeze => ("freeze the writes of tenant", "pg_catalog.now()"),
        Turn::Thaw => ("thaw the writes of tenant", "NULL"),
    };
    let mut plan = Plan::new(format!("{title} {}", change.id), change.timeout, change.lock_timeout);
    let row = || Sql::new("tenant_id = ").literal(change.id.as_str());
    let limit = match change.limit.max() {
        Some(gib) => Sql::new("IS NOT DISTINCT FROM '").int(gib).text("'"),
        None => Sql::new("IS NULL"),
    };
    plan.step(
        "lock the tenant, unless it is frozen or thawed already",
        lock_tenant_as(change.id, change.schema, change.turn == Turn::Thaw),
    );
    plan.step(
        "see that its limit is still the one that was reached",
        unless_changed(
            Sql::new("SELECT (limits ->> 'max_schema_size_gb') ")
                .append(limit)
                .text(" FROM tenantctl.tenants WHERE ")
                .append(row()),
        ),
    );
    plan.step(
        "write down since when",
        Sql::new("UPDATE tenantctl.tenants SET writes_frozen_at = ")
            .text(frozen_at)
            .text(" WHERE ")
            .append(row())
            .text(";"),
    );
    let writes = writes(&change.wanted, change.now);
    // All of them, whatever was seen: a right that came since then must not stay, and one that is there is no harm.
    let (what, head, tables, tail) = match change.turn {
        Turn::Freeze => {
            let tables: Vec<&String> = writes.standard.iter().chain(&writes.beyond).collect();
            (
                "take INSERT and UPDATE, on tables and columns",
                "REVOKE INSERT, UPDATE ON TABLE ",
                tables,
                (" FROM ", " CASCADE;"),
            )
        }
        Turn::Thaw => {
            let tables = writes.standard.iter().collect();
            (
                "give INSERT and UPDATE back",
                "GRANT INSERT, UPDATE ON TABLE ",
                tables,
                (" TO ", ";"),
            )
        }
    };
    if !tables.is_empty() {
        plan.step(
            what,
            Sql::new(head)
                .qualified_list(change.schema.as_str(), tables)
                .text(tail.0)
                .ident(change.wanted.role)
                .text(tail.1),
        );
    }
    plan.step(
        "record the operation, unless the time limit has passed",
        as_owner().text("\n").append(record_as(
            Some(change.operation),
            change.turn.as_str(),
            Some(change.id.as_str()),
            change.timeout,
        )),
    );
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::standard::{Grant, Relation};
    use super::*;
    use crate::tenant::{Audit, Limits, ModuleObjects, OWNER_ROLE};

    #[test]
    fn frozen_from_the_limit_on_and_thawed_below_nine_tenths_of_it() {
        let ten = Limit::Max(10);
        let gib = |tenths: u64| Some((1 << 30) * tenths / 10);
        for (frozen, size, limit, expected) in [
            (false, gib(99), ten, None),
            (false, Some((10 << 30) - 1), ten, None),
            (false, Some(10 << 30), ten, Some(Turn::Freeze)),
            (false, gib(500), ten, Some(Turn::Freeze)),
            (true, gib(500), ten, None),
            (true, gib(90), ten, None),
            (true, Some((9 << 30) - 1), ten, Some(Turn::Thaw)),
            (true, Some(0), ten, Some(Turn::Thaw)),
            // Unknown is neither full nor empty.
            (false, None, ten, None),
            (true, None, ten, None),
            // Without a limit nothing is held against it.
            (false, Some(u64::MAX), Limit::Unlimited, None),
            (true, Some(u64::MAX), Limit::Unlimited, Some(Turn::Thaw)),
            (true, None, Limit::Unlimited, Some(Turn::Thaw)),
            // No figure is too large to be compared.
            (false, Some(u64::MAX), Limit::Max(u64::MAX), None),
            (true, Some(u64::MAX), Limit::Max(u64::MAX), Some(Turn::Thaw)),
        ] {
            assert_eq!(due(frozen, size, limit), expected, "{frozen} {size:?} {limit}");
        }
    }

    fn planned(turn: Turn, limit: Limit, change: impl FnOnce(&mut Observed)) -> String {
        let id: TenantId = "acme".parse().expect("a valid id");
        let schema = SchemaName::derive(&id, "salt");
        let objects = ModuleObjects {
            tables: vec!["trades".into(), "trades_2026".into(), "lent".into()],
            views: vec!["daily".into()],
            sequences: vec!["numbers".into()],
            partitions: ["trades_2026".into()].into(),
            ..ModuleObjects::default()
        };
        let mut now = Observed::fresh(&objects);
        change(&mut now);
        let wanted = Wanted {
            schema: schema.as_str(),
            role: "r",
            objects: &objects,
            bulk_load: &BTreeSet::new(),
            audit: &Audit::new(),
            limits: &Limits::at_most(1),
            major: 15,
            recount: false,
            frozen: turn == Turn::Thaw,
        };
        let second = Duration::from_secs(1);
        plan(&Change {
            id: &id,
            schema: &schema,
            turn,
            limit,
            wanted,
            now: &now,
            operation: Uuid::nil(),
            timeout: second,
            lock_timeout: second,
        })
        .to_string()
        .replace(schema.as_str(), "s")
    }

    #[test]
    fn a_freeze_takes_all_and_a_thaw_gives_the_standards_own() {
        let extra = |now: &mut Observed| {
            let right = |right: &str| Grant("r".into(), right.into(), false);
            let made = |name: &str, owner: &str, grants: Vec<Grant>| Relation {
                name: name.into(),
                kind: 'r',
                owner: owner.into(),
                grants,
                ..Relation::default()
            };
            now.relations.push(made("notes", OWNER_ROLE, vec![right("UPDATE")]));
            now.relations.push(made("readings", OWNER_ROLE, vec![right("SELECT")]));
            now.relations.push(made("foreign", "postgres", vec![right("INSERT")]));
        };
        let text = planned(Turn::Freeze, Limit::Max(7), extra);
        for part in [
            "REVOKE INSERT, UPDATE ON TABLE \"s\".\"trades\", \"s\".\"lent\", \"s\".\"notes\" FROM \"r\" CASCADE;",
            "SET writes_frozen_at = pg_catalog.now() WHERE tenant_id = 'acme';",
            "writes_frozen_at IS NULL",
            "(limits ->> 'max_schema_size_gb') IS NOT DISTINCT FROM '7'",
            "'freeze', 'acme', 'done'",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("DELETE") && !text.contains("LOCK TABLE"), "{text}");
        let text = planned(Turn::Thaw, Limit::Unlimited, extra);
        for part in [
            "GRANT INSERT, UPDATE ON TABLE \"s\".\"trades\", \"s\".\"lent\" TO \"r\";",
            "SET writes_frozen_at = NULL WHERE tenant_id = 'acme';",
            "writes_frozen_at IS NOT NULL",
            "(limits ->> 'max_schema_size_gb') IS NULL",
            "'thaw', 'acme', 'done'",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn without_tables_only_the_registry_changes() {
        let text = planned(Turn::Freeze, Limit::Max(1), |now| now.relations.clear());
        assert!(
            !text.contains("REVOKE") && text.contains("writes_frozen_at = "),
            "{text}"
        );
    }
}

//! The triggers of audit and limits, and the counts that limits are held against.

use std::collections::{BTreeMap, BTreeSet};

use super::protection::is_as_wanted;
use super::{Observed, Wanted, function_name, is_standard_table, without_triggers};
use crate::pg::sql::Sql;
use crate::tenant::AuditMode;

/// An event that triggers fire on, with its bit in `pg_trigger.tgtype` and the transition tables that it has.
#[derive(Clone, Copy)]
struct Event {
    name: &'static str,
    keyword: &'static str,
    bit: i16,
    referencing: &'static str,
    old: bool,
    new: bool,
}

const EVENTS: [Event; 4] = [
    Event {
        name: "insert",
        keyword: "INSERT",
        bit: 4,
        referencing: "REFERENCING NEW TABLE AS new_rows ",
        old: false,
        new: true,
    },
    Event {
        name: "delete",
        keyword: "DELETE",
        bit: 8,
        referencing: "REFERENCING OLD TABLE AS old_rows ",
        old: true,
        new: false,
    },
    Event {
        name: "update",
        keyword: "UPDATE",
        bit: 16,
        referencing: "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ",
        old: true,
        new: true,
    },
    Event {
        name: "truncate",
        keyword: "TRUNCATE",
        bit: 32,
        referencing: "",
        old: false,
        new: false,
    },
];

/// A limit that triggers enforce: its name, the table that it counts, the column that decides what is counted together.
pub struct CountedLimit {
    /// The limit's name in the triggers' arguments, after `max_` in the registry.
    pub resource: &'static str,
    /// The table.
    pub table: &'static str,
    /// The column without which there is nothing to count by.
    pub column: Option<&'static str>,
    /// What moves rows from one count to another beside INSERT and DELETE.
    update: bool,
    /// Counts anew, as the owner, with the schema as search path.
    recount: &'static str,
}

/// All of them.
pub const COUNTED_LIMITS: [CountedLimit; 3] = [
    CountedLimit {
        resource: "portfolios",
        table: "portfolios",
        column: None,
        update: false,
        recount: "INSERT INTO tenant_usage (resource, scope, used)
SELECT 'portfolios', '', pg_catalog.count(*) FROM portfolios;
",
    },
    CountedLimit {
        resource: "positions_per_portfolio",
        table: "positions",
        column: Some("portfolio_id"),
        update: true,
        recount: "INSERT INTO tenant_usage (resource, scope, used)
SELECT 'positions_per_portfolio', COALESCE(portfolio_id::text, ''), pg_catalog.count(*) FROM positions GROUP BY 2;
",
    },
    CountedLimit {
        resource: "trades_per_day",
        table: "trades",
        column: Some("executed_at"),
        update: true,
        recount: "INSERT INTO tenant_usage (resource, scope, used)
SELECT 'trades_per_day', COALESCE(pg_catalog.to_char(pg_catalog.timezone(INTERVAL '0', executed_at), 'YYYY-MM-DD'), 'infinity'),
    pg_catalog.count(*) FROM trades GROUP BY 2;
",
    },
];

impl CountedLimit {
    /// Whether this limit is to be enforced by triggers for a tenant.
    pub(in crate::plan) fn is_due(&self, wanted: &Wanted<'_>) -> bool {
        let limits = wanted.limits;
        let limit = match self.resource {
            "portfolios" => limits.max_portfolios,
            "positions_per_portfolio" => limits.max_positions_per_portfolio,
            _ => limits.max_trades_per_day,
        };
        let has_column = match (self.column, wanted.objects.columns.get(self.table)) {
            (Some(column), Some(columns)) => columns.iter().any(|c| c == column),
            _ => true,
        };
        limit.max().is_some() && has_column && wanted.objects.tables.iter().any(|t| t == self.table)
    }
}

/// Audit triggers, limit triggers, and the counting that new limit triggers need. A trigger's lock keeps writers out
/// from here to the end of the transaction, so nothing is missed.
pub(super) fn triggers(wanted: &Wanted<'_>, now: &Observed) -> (Sql, Sql, Sql) {
    let none = Vec::new();
    let on = |table: &str| {
        now.relations
            .iter()
            .find(|r| r.name == table)
            .map_or(&none, |r| &r.triggers)
    };
    let mut due: BTreeMap<(&str, String), (Event, &'static str, Vec<&str>)> = BTreeMap::new();
    for (table, mode) in wanted.audit {
        let mut arguments = vec![mode.as_str()];
        if *mode == AuditMode::Keys {
            arguments.extend(wanted.objects.keys.get(table).into_iter().flatten().map(String::as_str));
        }
        for event in EVENTS {
            let name = format!("tenantctl_audit_{}", event.name);
            due.insert((table, name), (event, "audit_changes", arguments.clone()));
        }
    }
    let counted: Vec<&CountedLimit> = COUNTED_LIMITS.iter().filter(|l| l.is_due(wanted)).collect();
    for limit in &counted {
        for event in EVENTS.into_iter().filter(|e| limit.update || e.name != "update") {
            let name = format!("tenantctl_limit_{}", event.name);
            due.insert((limit.table, name), (event, "enforce_limits", vec![limit.resource]));
        }
    }
    let (mut audit, mut limits) = (Sql::default(), Sql::default());
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    // Those on the tables that are tenantctl's own are gone already.
    let tables = now
        .relations
        .iter()
        .filter(|r| matches!(r.kind, 'r' | 'p') && !is_standard_table(&r.name));
    for relation in tables {
        for trigger in &relation.triggers {
            if trigger.name.starts_with("tenantctl_")
                && !due.contains_key(&(relation.name.as_str(), trigger.name.clone()))
            {
                let sql = Sql::new("DROP TRIGGER ")
                    .ident(&trigger.name)
                    .text(" ON ")
                    .qualified(wanted.schema, &relation.name)
                    .text(";\n");
                if trigger.name.starts_with("tenantctl_limit_") {
                    limits = limits.append(sql);
                    changed.insert(&relation.name);
                } else {
                    audit = audit.append(sql);
                }
            }
        }
    }
    for ((table, name), (event, base, arguments)) in &due {
        let function = function_name(base, wanted.role);
        // A table that is missing or something else cannot have one.
        if !now
            .relations
            .iter()
            .any(|r| r.name == *table && matches!(r.kind, 'r' | 'p'))
        {
            continue;
        }
        let there = on(table).iter().any(|t| {
            t.name == *name
                && (&*t.function.0, &t.function.1) == (wanted.schema, &function)
                && t.events == event.bit
                && t.enabled == 'O'
                && t.arguments == *arguments
                && t.transition.0.as_deref() == event.old.then_some("old_rows")
                && t.transition.1.as_deref() == event.new.then_some("new_rows")
                && t.unconditional
        });
        if there {
            continue;
        }
        let mut sql = Sql::new("CREATE OR REPLACE TRIGGER ")
            .ident(name)
            .text(" AFTER ")
            .text(event.keyword)
            .text(" ON ")
            .qualified(wanted.schema, table)
            .text(" ")
            .text(event.referencing)
            .text("FOR EACH STATEMENT EXECUTE FUNCTION ")
            .qualified(wanted.schema, &function)
            .text("(");
        for (i, argument) in arguments.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") }.literal(argument);
        }
        sql = sql.text(");\n");
        if *base == "audit_changes" {
            audit = audit.append(sql);
        } else {
            changed.insert(table);
            limits = limits.append(sql);
        }
    }
    // Whatever another body of the function counted, or did not, is counted anew.
    let replaced = !is_as_wanted(wanted, now, "enforce_limits");
    if wanted.recount || replaced || !now.relations.iter().any(|r| r.name == "tenant_usage") {
        changed.extend(counted.iter().map(|limit| limit.table));
    }
    let recount = recount(wanted, now, &counted, &changed);
    (audit, limits, recount)
}

/// Counts anew what these tables' limits are held against, as the owner and with the schema as search path. A limit that
/// is not enforced has no count.
pub fn count_anew(wanted: &Wanted<'_>, tables: &BTreeSet<&str>) -> Sql {
    let limits = COUNTED_LIMITS.iter().filter(|limit| tables.contains(limit.table));
    limits.fold(Sql::default(), |sql, limit| {
        let sql = sql
            .text("DELETE FROM tenant_usage WHERE resource = ")
            .literal(limit.resource)
            .text(";\n");
        if limit.is_due(wanted) {
            sql.text(limit.recount)
        } else {
            sql
        }
    })
}

/// Counts anew what limit triggers were changed for. A new tenant has nothing to count.
fn recount(wanted: &Wanted<'_>, now: &Observed, counted: &[&CountedLimit], changed: &BTreeSet<&str>) -> Sql {
    if now.fresh || changed.is_empty() {
        return Sql::default();
    }
    // Row security is on for the owner too, whose policies stand by now; `off` would raise an error instead.
    let mut sql = Sql::new("SET LOCAL row_security = on;\n").append(without_triggers(wanted.schema, "tenant_usage"));
    for limit in COUNTED_LIMITS.iter().filter(|l| changed.contains(l.table)) {
        sql = sql
            .text("DELETE FROM tenant_usage WHERE resource = ")
            .literal(limit.resource)
            .text(";\n");
        if counted.iter().any(|c| c.resource == limit.resource) {
            sql = sql.text(limit.recount);
        }
    }
    sql.text("SET LOCAL row_security = off;\n")
}

//! From what a tenant is to the standard, in up to three transactions: the role, the rights, the rest with its registry row.
//!
//! An admin who may change the schema need not be allowed to change the role, and a transaction that a tenant leaves open
//! must not keep its rights from being taken back: what can be mended is.

use std::time::Duration;

use super::standard::{Change, Observed, Wanted, role_changes, schema_parts};
use super::{Plan, as_admin, as_owner, lock_tenant_as, record_done};
use crate::pg::sql::Sql;
use crate::tenant::{Audit, Limits, SchemaName, TenantId};

/// A tenant, and what is wanted of it.
pub struct Tenant<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// What the registry says it may use.
    pub limits: &'a Limits,
    /// What the registry says is audited.
    pub audit: &'a Audit,
    /// What is wanted; its limits and audit are those of the configuration.
    pub wanted: Wanted<'a>,
    /// What there is.
    pub now: &'a Observed,
    /// Chunk intervals of hypertables to be changed; run as the admin.
    pub intervals: Vec<Change>,
    /// Each transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transactions that bring the tenant to the standard; none when it is there already. First the role and the rights,
/// which wait for no transaction of the tenant, then what has to lock its tables.
pub fn plans(tenant: &Tenant<'_>) -> Vec<Plan> {
    let mut plans = Vec::new();
    let role = role_changes(&tenant.wanted, tenant.now);
    if !role.is_empty() {
        let mut plan = begin(tenant, format!("secure the role of tenant {}", tenant.id));
        plan.step("act as the admin", as_admin());
        for (what, sql) in role {
            plan.step(what, sql);
        }
        plans.push(end(plan, tenant));
    }
    let mut parts = schema_parts(&tenant.wanted, tenant.now);
    // Rights on what is yet to be made or handed over come after that.
    let rights = std::mem::take(&mut parts.rights);
    let (alone, with_all) = if parts.before.is_empty() {
        (rights, Vec::new())
    } else {
        (Vec::new(), rights)
    };
    let all = registry_changes(tenant)
        .into_iter()
        .chain(parts.before)
        .chain(with_all)
        .chain(parts.after)
        .chain(tenant.intervals.iter().cloned());
    for (title, changes) in [("secure the rights of tenant", alone), ("secure tenant", all.collect())] {
        if changes.is_empty() {
            continue;
        }
        let mut plan = begin(tenant, format!("{title} {}", tenant.id));
        for (what, sql) in changes {
            plan.step(what, sql);
        }
        plans.push(end(plan, tenant));
    }
    plans
}

fn begin(tenant: &Tenant<'_>, title: String) -> Plan {
    let mut plan = Plan::new(title, tenant.timeout, tenant.lock_timeout);
    plan.step(
        "lock the tenant",
        lock_tenant_as(tenant.id, tenant.schema, tenant.wanted.frozen)
            .text("\nSET LOCAL search_path = ")
            .ident(tenant.schema.as_str())
            .text(", pg_temp;"),
    );
    plan
}

fn end(mut plan: Plan, tenant: &Tenant<'_>) -> Plan {
    plan.step(
        "record the operation, unless the time limit has passed",
        as_owner().text("\nSET LOCAL search_path = '';\n").append(record_done(
            "secure",
            Some(tenant.id.as_str()),
            tenant.timeout,
        )),
    );
    plan
}

/// Limits of a changed tier, and tables that are audited in another way, are written down with what enforces them.
fn registry_changes(tenant: &Tenant<'_>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let wanted = &tenant.wanted;
    let update = |column: &'static str, json: serde_json::Result<String>| {
        Sql::new("UPDATE tenantctl.tenants SET ")
            .text(column)
            .text(" = ")
            .literal(&json.unwrap_or_default())
            .text(" WHERE tenant_id = ")
            .literal(tenant.id.as_str())
            .text(";")
    };
    if wanted.limits != tenant.limits {
        changes.push((
            format!("change limits: {}", differences(tenant.limits, wanted.limits)).into(),
            update("limits", serde_json::to_string(wanted.limits)),
        ));
    }
    if wanted.audit != tenant.audit {
        changes.push((
            "change what is audited".into(),
            update("audit", serde_json::to_string(wanted.audit)),
        ));
    }
    changes
}

fn differences(old: &Limits, new: &Limits) -> String {
    let pairs = [
        ("max_portfolios", old.max_portfolios, new.max_portfolios),
        (
            "max_positions_per_portfolio",
            old.max_positions_per_portfolio,
            new.max_positions_per_portfolio,
        ),
        ("max_trades_per_day", old.max_trades_per_day, new.max_trades_per_day),
        (
            "max_api_calls_per_minute",
            old.max_api_calls_per_minute,
            new.max_api_calls_per_minute,
        ),
        ("max_schema_size_gb", old.max_schema_size_gb, new.max_schema_size_gb),
        ("max_connections", old.max_connections, new.max_connections),
    ];
    let changed = pairs.iter().filter(|(_, old, new)| old != new);
    changed
        .map(|(name, old, new)| format!("{name} {old} -> {new}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::standard::{Grant, Membership, RoleState};
    use super::*;
    use crate::tenant::{AuditMode, ModuleObjects, OWNER_ROLE, TENANTS_ROLE};

    const LIMIT: Duration = Duration::from_secs(1);

    fn objects() -> ModuleObjects {
        ModuleObjects {
            tables: vec!["portfolios".into(), "market_data".into()],
            ..ModuleObjects::default()
        }
    }

    fn plans_for(now: &Observed, limits: &Limits) -> Vec<Plan> {
        plans_of(now, limits, false)
    }

    fn plans_of(now: &Observed, limits: &Limits, frozen: bool) -> Vec<Plan> {
        let id: TenantId = "acme".parse().expect("a valid id");
        let schema = SchemaName::derive(&id, "salt");
        let (objects, audit) = (objects(), Audit::from([("portfolios".into(), AuditMode::Full)]));
        let wanted = Wanted {
            schema: schema.as_str(),
            role: "r",
            objects: &objects,
            bulk_load: &["market_data".to_owned()].into(),
            audit: &audit,
            limits,
            major: 15,
            recount: false,
            frozen,
        };
        plans(&Tenant {
            id: &id,
            schema: &schema,
            limits,
            audit: &audit,
            wanted,
            now,
            intervals: Vec::new(),
            timeout: LIMIT,
            lock_timeout: LIMIT,
        })
    }

    #[test]
    fn a_role_gets_back_to_its_group_and_its_search_path() {
        let role = RoleState {
            connection_limit: 5,
            settings: vec!["search_path=elsewhere".into()],
            member_of: vec![Membership {
                role: OWNER_ROLE.into(),
                grantor: OWNER_ROLE.into(),
                admin: false,
                set: true,
                inherit: true,
            }],
            members: vec!["other".into()],
            ..RoleState::default()
        };
        let now = Observed {
            role: Some(role),
            ..Observed::fresh(&objects())
        };
        let plans = plans_for(&now, &Limits::at_most(1));
        let text = plans.first().expect("a plan for the role").to_string();
        for part in [
            "set the connection limit from 5 to 1",
            "ALTER ROLE \"r\" RESET ALL",
            "REVOKE \"tenantctl_owner\" FROM \"r\" CASCADE",
            "GRANT \"tenantctl_tenants\" TO \"r\"",
            "REVOKE \"r\" FROM \"other\" CASCADE",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let fine = RoleState {
            connection_limit: 1,
            settings: vec!["search_path=\"tenant_8eb3df7a43f2\"".into()],
            member_of: vec![Membership {
                role: TENANTS_ROLE.into(),
                grantor: OWNER_ROLE.into(),
                admin: false,
                set: true,
                inherit: true,
            }],
            ..RoleState::default()
        };
        let id: TenantId = "acme".parse().expect("a valid id");
        let mut fine = fine;
        fine.settings = vec![format!("search_path={}", SchemaName::derive(&id, "salt"))];
        let now = Observed {
            role: Some(fine),
            ..Observed::fresh(&objects())
        };
        assert_eq!(plans_for(&now, &Limits::at_most(1)).len(), 1, "the role needs nothing");
    }

    #[test]
    fn strays_lose_everything_and_the_tenant_keeps_its_own() {
        let mut now = Observed::fresh(&objects());
        for relation in &mut now.relations {
            for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
                relation.grants.push(Grant("r".into(), right.into(), false));
            }
        }
        now.relations[0]
            .grants
            .push(Grant(String::new(), "SELECT".into(), false));
        now.relations[1]
            .grants
            .push(Grant("r".into(), "TRUNCATE".into(), false));
        let plans = plans_for(&now, &Limits::at_most(1));
        let text: String = plans.iter().map(ToString::to_string).collect();
        assert!(text.contains("portfolios\" FROM PUBLIC CASCADE"), "{text}");
        assert!(text.contains("market_data\" FROM \"r\" CASCADE"), "{text}");
        let grant = text
            .lines()
            .find(|l| l.starts_with("GRANT SELECT, INSERT"))
            .expect("a grant");
        assert!(
            grant.contains("market_data") && !grant.contains("portfolios"),
            "{grant}"
        );
    }

    #[test]
    fn a_frozen_tenant_stays_frozen() {
        let mut now = Observed::fresh(&objects());
        for relation in &mut now.relations {
            for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
                relation.grants.push(Grant("r".into(), right.into(), false));
            }
        }
        now.relations[0]
            .grants
            .retain(|grant| grant.1 != "INSERT" && grant.1 != "UPDATE");
        let text: String = plans_of(&now, &Limits::at_most(1), true)
            .iter()
            .map(ToString::to_string)
            .collect();
        let line = |start: &str| {
            text.lines()
                .find(|l| l.starts_with(start) && l.contains("TABLE"))
                .unwrap_or_default()
        };
        for start in ["REVOKE ALL PRIVILEGES", "GRANT SELECT, DELETE"] {
            let line = line(start);
            assert!(line.contains("market_data") && !line.contains("portfolios"), "{line}");
        }
        assert!(!text.contains("GRANT SELECT, INSERT"), "{text}");
        assert!(text.contains("bool_and(writes_frozen_at IS NOT NULL)"), "{text}");
    }
}

//! The end of a tenant: schema, role and registry row go together.

use std::time::Duration;

use super::restore::{drop_kept, give_up_kept, no_others};
use super::{Plan, as_admin, as_owner, lock_tenant, record_done, unless_dropping};
use crate::pg::sql::Sql;
use crate::tenant::{DROPPING, SchemaName, TenantId};

/// What of a tenant there is to drop.
pub struct OldTenant<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// Whether the schema is there.
    pub schema_exists: bool,
    /// Schemas that restores of it have made: loaded and not swapped in, or replaced and kept.
    pub kept: &'a [String],
    /// Whether the role is there.
    pub role_exists: bool,
    /// Whether the admin must become a member of the tenant's role before it may drop what the role was granted.
    pub join_role: bool,
    /// The transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction that begins a drop that takes several: from here on the tenant is not what it was, which the registry says, and
/// its role cannot log in to see the rest.
pub fn begin(old: &OldTenant<'_>) -> Plan {
    let mut plan = Plan::new(
        format!("begin to drop tenant {}", old.id),
        old.timeout,
        old.lock_timeout,
    );
    plan.step("lock the tenant", lock_tenant(old.id, old.schema));
    plan.step("see that no restore has come in between", no_others(old.id, old.kept));
    plan.step(
        "write down that it is being dropped, and that nothing of its restores can be put back",
        Sql::new("UPDATE tenantctl.tenants SET status = ")
            .literal(DROPPING)
            .text(" WHERE tenant_id = ")
            .literal(old.id.as_str())
            .text(";\n")
            .append(give_up_kept(old.kept)),
    );
    if old.role_exists {
        plan.step(
            "lock its role out",
            as_admin()
                .text("\nALTER ROLE ")
                .ident(&old.schema.role())
                .text(" NOLOGIN;"),
        );
    }
    plan.step(
        "record the operation, unless the time limit has passed",
        as_owner()
            .text("\n")
            .append(record_done("drop_begin", Some(old.id.as_str()), old.timeout)),
    );
    plan
}

/// The transaction that lets a tenant's role log in again after a drop that came to nothing. Fails with
/// [`CHANGED_MEANWHILE`](super::CHANGED_MEANWHILE) when another drop of it has begun by now: that one has locked the role out for good.
pub fn let_in_again(old: &OldTenant<'_>) -> Plan {
    let mut plan = Plan::new(
        format!("let the role of tenant {} in again", old.id),
        old.timeout,
        old.lock_timeout,
    );
    plan.step("lock the tenant", lock_tenant(old.id, old.schema));
    plan.step("see that no drop of it has begun", unless_dropping(old.id));
    plan.step(
        "let its role log in",
        as_admin()
            .text("\nALTER ROLE ")
            .ident(&old.schema.role())
            .text(" LOGIN;"),
    );
    plan
}

/// The transaction that drops the tenant. The registry row goes first: its lock serialises commands on one tenant.
pub fn plan(old: &OldTenant<'_>) -> Plan {
    let mut plan = Plan::new(format!("drop tenant {}", old.id), old.timeout, old.lock_timeout);
    let role = old.schema.role();
    plan.step(
        "delete the registry row",
        as_owner()
            .text("\nWITH gone AS (DELETE FROM tenantctl.tenants WHERE tenant_id = ")
            .literal(old.id.as_str())
            .text(" AND schema_name = ")
            .literal(old.schema.as_str())
            // Nothing to delete: somebody else was faster, and division by zero ends the transaction.
            .text(" RETURNING 1)\nSELECT 1 / pg_catalog.count(*) FROM gone;"),
    );
    plan.step("see that no restore has come in between", no_others(old.id, old.kept));
    if old.schema_exists {
        plan.step(
            "drop the schema",
            Sql::new("DROP SCHEMA ").ident(old.schema.as_str()).text(" CASCADE;"),
        );
    }
    if !old.kept.is_empty() {
        for (what, sql) in drop_kept(old.kept) {
            plan.step(what, sql);
        }
    }
    if old.role_exists {
        let mut sql = as_admin().text("\n");
        if old.join_role {
            sql = sql.text("GRANT ").ident(&role).text(" TO CURRENT_USER;\n");
        }
        // What the role was granted outside its schema would keep it alive.
        sql = sql
            .text("DROP OWNED BY ")
            .ident(&role)
            .text(";\nDROP ROLE ")
            .ident(&role)
            .text(";");
        plan.step("drop the role and all it was granted in this database", sql);
    }
    plan.step(
        "record the operation, unless the time limit has passed",
        as_owner()
            .text("\n")
            .append(record_done("drop", Some(old.id.as_str()), old.timeout)),
    );
    plan
}

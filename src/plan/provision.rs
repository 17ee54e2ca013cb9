//! A new tenant, whole: registry row, role, schema, modules, grants and row security in one transaction.
//!
//! What a tenant has beside its modules' objects comes from [`standard`](super::standard), as it does for `secure`.

use std::time::Duration;

use super::rotate::{Stored, store};
use super::standard::{self, Observed, Wanted};
use super::{Plan, as_admin, as_owner, record_done};
use crate::pg::sql::Sql;
use crate::tenant::{
    Audit, Hypertable, Limits, Module, ModuleObjects, OWNER_ROLE, SchemaName, TENANTS_ROLE, Template, TenantId, Tier,
};

/// What a new tenant is made from.
pub struct NewTenant<'a> {
    /// The caller's name for it.
    pub id: &'a TenantId,
    /// The salt its schema name was derived with.
    pub salt: &'a str,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// Its tier.
    pub tier: &'a Tier,
    /// The template as installed in the registry.
    pub template: &'a Template,
    /// The template's audited tables, whether this tenant has them or not.
    pub audit: &'a Audit,
    /// SCRAM-SHA-256 verifier of its password.
    pub verifier: &'a str,
    /// The password encrypted; none: it is not stored.
    pub stored: Option<Stored<'a>>,
    /// The schema of the timescaledb extension, where it is installed.
    pub timescaledb: Option<&'a str>,
    /// The server's major version.
    pub major: i32,
    /// The transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction that makes the tenant.
pub fn plan(new: &NewTenant<'_>) -> Plan {
    let mut plan = Plan::new(format!("provision tenant {}", new.id), new.timeout, new.lock_timeout);
    let modules: Vec<&Module> = new.template.modules_for(&new.tier.features).collect();
    // The id is claimed first: another client with the same id waits here, then learns that it exists.
    plan.step(
        "claim the tenant id",
        as_owner().text("\n").append(registry_row(new, &modules)),
    );
    plan.step("create the tenant's role", as_admin().text("\n").append(role(new)));
    plan.step("create the schema", schema(new));
    plan.step(
        "work as the owner, with names resolving in the new schema only",
        pin(new.schema.as_str()),
    );
    append_tenant_objects(&mut plan, new, &modules);
    if let Some(stored) = new.stored {
        plan.step("store the password, encrypted", store(new.id, stored));
    }
    plan.step(
        "record the operation, unless the time limit has passed",
        Sql::new("SET LOCAL search_path = '';\n").append(record_done("provision", Some(new.id.as_str()), new.timeout)),
    );
    plan
}

/// The tenant's DDL alone, as a hand-written script would send it: what `bench provisioning` compares with.
pub fn raw_ddl(new: &NewTenant<'_>) -> Plan {
    let mut plan = Plan::new(format!("raw DDL for {}", new.id), new.timeout, new.lock_timeout);
    let modules: Vec<&Module> = new.template.modules_for(&new.tier.features).collect();
    plan.step("create the tenant's role", role(new));
    plan.step("create the schema", schema(new));
    plan.step(
        "work as the owner, with names resolving in the new schema only",
        pin(new.schema.as_str()),
    );
    append_tenant_objects(&mut plan, new, &modules);
    plan
}

fn append_tenant_objects(plan: &mut Plan, new: &NewTenant<'_>, modules: &[&Module]) {
    for module in modules {
        plan.step(format!("module {}", module.name), Sql::module(module));
    }
    let hypertables = hypertables(new.template, modules, new.timescaledb.is_some());
    if let Some(extension) = new.timescaledb.filter(|_| !hypertables.is_empty()) {
        let sql = hypertables.iter().fold(Sql::default(), |sql, table| {
            let table = Hypertable {
                chunk_interval: new.tier.chunk_interval(table).to_owned(),
                ..(*table).clone()
            };
            sql.append(create_hypertable(extension, new.schema.as_str(), &table))
        });
        // The owner need not have USAGE on the extension's schema; the admin has.
        plan.step(
            "turn time series into hypertables",
            as_admin().text("\n").append(sql).append(as_owner()),
        );
    }
    let objects: ModuleObjects = modules.iter().map(|m| &m.objects).collect();
    let audit = audited(new, &objects);
    let wanted = Wanted {
        schema: new.schema.as_str(),
        role: &new.schema.role(),
        objects: &objects,
        bulk_load: &new.template.bulk_load,
        audit: &audit,
        limits: &new.tier.limits,
        major: new.major,
        recount: false,
        frozen: false,
    };
    for (what, sql) in standard::schema_changes(&wanted, &Observed::fresh(&objects)) {
        plan.step(what, sql);
    }
}

/// The tables of these modules that become hypertables.
pub fn hypertables<'a>(template: &'a Template, modules: &[&Module], available: bool) -> Vec<&'a Hypertable> {
    template
        .hypertables
        .iter()
        .filter(|h| available && modules.iter().any(|m| m.objects.tables.contains(&h.table)))
        .collect()
}

/// Makes one table a hypertable; its indexes are the template's, none are added.
pub fn create_hypertable(extension: &str, schema: &str, table: &Hypertable) -> Sql {
    Sql::new("SELECT FROM ")
        .ident(extension)
        .text(".create_hypertable(")
        .literal(&Sql::new("").qualified(schema, &table.table).to_string())
        .text("::pg_catalog.regclass, ")
        .literal(&table.column)
        .text("::pg_catalog.name, chunk_time_interval => ")
        .literal(&table.chunk_interval)
        // Time may be counted in whole numbers.
        .text(if table.chunk_interval.bytes().all(|b| b.is_ascii_digit()) {
            "::bigint"
        } else {
            "::pg_catalog.interval"
        })
        .text(", create_default_indexes => false);\n")
}

/// Those of the audited tables that this tenant has.
fn audited(new: &NewTenant<'_>, objects: &ModuleObjects) -> Audit {
    let has = |table: &String| objects.tables.contains(table);
    new.audit
        .iter()
        .filter(|(table, _)| has(table))
        .map(|(table, mode)| (table.clone(), *mode))
        .collect()
}

fn registry_row(new: &NewTenant<'_>, modules: &[&Module]) -> Sql {
    let hypertables = hypertables(new.template, modules, new.timescaledb.is_some());
    // Plain numbers, nulls and words; serialising them cannot fail.
    let limits = serde_json::to_string(&new.tier.limits).unwrap_or_default();
    Sql::new("INSERT INTO tenantctl.tenants (tenant_id, schema_name, salt, tier, limits, template, template_version, modules, hypertables, audit, structure_xid)\nVALUES (")
        .literal(new.id.as_str())
        .text(", ")
        .literal(new.schema.as_str())
        .text(", ")
        .literal(new.salt)
        .text(", ")
        .literal(&new.tier.key)
        .text(", ")
        .literal(&limits)
        .text(", ")
        .literal(&new.template.name)
        .text(", ")
        .int(new.template.version)
        .text(", ")
        .text_array(modules.iter().map(|m| &m.name))
        .text(", ")
        .text_array(hypertables.iter().map(|h| &h.table))
        .text(", ")
        .literal(&serde_json::to_string(&audited(new, &modules.iter().map(|m| &m.objects).collect())).unwrap_or_default())
        // Everything the tenant gets comes from this transaction, so its rows in the catalog carry this number.
        .text(", pg_catalog.pg_current_xact_id()::pg_catalog.xid);")
}

fn role(new: &NewTenant<'_>) -> Sql {
    create_role(new.schema, &new.tier.limits, new.verifier, new.major)
}

/// Makes a tenant's login role, as the admin.
pub(super) fn create_role(schema: &SchemaName, limits: &Limits, verifier: &str, major: i32) -> Sql {
    let role = schema.role();
    let sql = Sql::new("CREATE ROLE ")
        .ident(&role)
        .text(" LOGIN PASSWORD ")
        .secret(verifier);
    let sql = match limits.max_connections.max() {
        Some(limit) => sql.text(" CONNECTION LIMIT ").int(limit),
        None => sql,
    };
    // Before 16 in one statement, as each costs an update of the role's rows.
    let sql = if major >= 16 {
        sql.text(";\n").append(standard::join_group(&role, major))
    } else {
        sql.text(" IN ROLE ").ident(TENANTS_ROLE).text(";\n")
    };
    sql.append(standard::search_path(schema.as_str(), &role))
}

fn schema(new: &NewTenant<'_>) -> Sql {
    Sql::new("CREATE SCHEMA ")
        .ident(new.schema.as_str())
        .text(" AUTHORIZATION ")
        .ident(OWNER_ROLE)
        .text(";")
}

/// pg_temp is named, and last: left out it would come first. A module may read its own views, which sessions are
/// otherwise kept from; everything in the schema is the owner's at this point.
pub fn pin(schema: &str) -> Sql {
    as_owner().text("\nSET LOCAL search_path = ").ident(schema).text(
        ", pg_temp;
SELECT pg_catalog.set_config('restrict_nonsystem_relation_kind', '', true)
WHERE pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL;",
    )
}

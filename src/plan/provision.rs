//! A new tenant, whole: registry row, role, schema, modules, grants and row security in one transaction.
//!
//! Every table is named: `GRANT ... ON ALL TABLES IN SCHEMA` reads all of pg_class, so that its cost grows with
//! the number of tenants. Grants are folded into one statement a kind, and row security is switched on and forced
//! by one ALTER a table, because each statement costs catalog writes and an invalidation.

use std::time::Duration;

use super::{Plan, as_admin, as_owner, record_done};
use crate::pg::sql::{FunctionSignature, Sql};
use crate::tenant::{Module, ModuleObjects, OWNER_ROLE, SchemaName, TENANTS_ROLE, Template, TenantId, Tier};

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
    /// SCRAM-SHA-256 verifier of its password.
    pub verifier: &'a str,
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
            sql.append(create_hypertable(extension, new.schema.as_str(), table))
        });
        // The owner need not have USAGE on the extension's schema; the admin has.
        plan.step(
            "turn time series into hypertables",
            as_admin().text("\n").append(sql).append(as_owner()),
        );
    }
    let (schema, role) = (new.schema.as_str(), new.schema.role());
    plan.step(
        "grant the tenant its rows, not its structure",
        grants(schema, &role, modules),
    );
    plan.step(
        "enable and force row security",
        row_security(schema, &role, new.template, modules),
    );
}

/// The tables of these modules that become hypertables.
pub fn hypertables<'a>(
    template: &'a Template,
    modules: &[&Module],
    available: bool,
) -> Vec<&'a crate::tenant::Hypertable> {
    template
        .hypertables
        .iter()
        .filter(|h| available && modules.iter().any(|m| m.objects.tables.contains(&h.table)))
        .collect()
}

/// Makes one table a hypertable; its indexes are the template's, none are added.
pub fn create_hypertable(extension: &str, schema: &str, table: &crate::tenant::Hypertable) -> Sql {
    Sql::new("SELECT FROM ")
        .ident(extension)
        .text(".create_hypertable(")
        .literal(&Sql::new("").qualified(schema, &table.table).to_string())
        .text("::pg_catalog.regclass, ")
        .literal(&table.column)
        .text("::pg_catalog.name, chunk_time_interval => ")
        .literal(&table.chunk_interval)
        .text("::pg_catalog.interval, create_default_indexes => false);\n")
}

fn registry_row(new: &NewTenant<'_>, modules: &[&Module]) -> Sql {
    let hypertables = hypertables(new.template, modules, new.timescaledb.is_some());
    // Limits are plain numbers and nulls; serialising them cannot fail.
    let limits = serde_json::to_string(&new.tier.limits).unwrap_or_default();
    Sql::new("INSERT INTO tenantctl.tenants (tenant_id, schema_name, salt, tier, limits, template, template_version, modules, hypertables)\nVALUES (")
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
        .text(");")
}

fn role(new: &NewTenant<'_>) -> Sql {
    let role = new.schema.role();
    let sql = Sql::new("CREATE ROLE ")
        .ident(&role)
        .text(" LOGIN PASSWORD ")
        .secret(new.verifier);
    let sql = match new.tier.limits.max_connections.max() {
        Some(limit) => sql.text(" CONNECTION LIMIT ").int(limit),
        None => sql,
    };
    // The group lets tenants connect. Where the server has it, a tenant may not become the group, so that nothing
    // can pass from one to another in its name.
    let sql = if new.major >= 16 {
        sql.text(";\nGRANT ")
            .ident(TENANTS_ROLE)
            .text(" TO ")
            .ident(&role)
            .text(" WITH INHERIT TRUE, SET FALSE")
    } else {
        sql.text(" IN ROLE ").ident(TENANTS_ROLE)
    };
    sql.text(";\nALTER ROLE ")
        .ident(&role)
        .text(" SET search_path = ")
        .ident(new.schema.as_str())
        .text(";")
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

/// USAGE on the schema and the standard's rights on everything the modules create, for one role.
pub fn grants(schema: &str, role: &str, modules: &[&Module]) -> Sql {
    let all = |pick: fn(&ModuleObjects) -> &Vec<String>| -> Vec<&String> {
        modules.iter().flat_map(|m| pick(&m.objects)).collect()
    };
    let to_role = |sql: Sql| sql.text(" TO ").ident(role).text(";\n");
    let mut sql = to_role(Sql::new("GRANT USAGE ON SCHEMA ").ident(schema));
    for (names, grant) in [
        (all(|o| &o.tables), "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "),
        (all(|o| &o.views), "GRANT SELECT ON TABLE "),
        (all(|o| &o.sequences), "GRANT USAGE, SELECT ON SEQUENCE "),
        (all(|o| &o.types), "GRANT USAGE ON TYPE "),
    ] {
        if !names.is_empty() {
            sql = sql.append(to_role(Sql::new(grant).qualified_list(schema, names)));
        }
    }
    let functions = all(|o| &o.functions);
    for signature in functions.iter().filter_map(|f| FunctionSignature::parse(f)) {
        sql = sql.append(to_role(
            Sql::new("GRANT EXECUTE ON ROUTINE ").function(schema, &signature),
        ));
    }
    sql
}

/// Row security on every table but the bulk-loaded ones.
///
/// Two permissive policies a table: the tenant sees its rows, the owner sees them too, anyone else with a stray grant
/// sees none. Without the owner's policy FORCE would hide rows from foreign-key checks.
pub fn row_security(schema: &str, role: &str, template: &Template, modules: &[&Module]) -> Sql {
    let tables = modules
        .iter()
        .flat_map(|m| &m.objects.tables)
        .filter(|t| !template.bulk_load.contains(*t));
    tables.fold(Sql::default(), |sql, table| {
        sql.text("ALTER TABLE ")
            .qualified(schema, table)
            .text(" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;\n")
            .append(policy(schema, table, &format!("{table}_tenant_isolation"), role))
            .append(policy(schema, table, &format!("{table}_admin_bypass"), OWNER_ROLE))
    })
}

fn policy(schema: &str, table: &str, name: &str, role: &str) -> Sql {
    Sql::new("CREATE POLICY ")
        .ident(name)
        .text(" ON ")
        .qualified(schema, table)
        .text(" TO ")
        .ident(role)
        .text(" USING (true) WITH CHECK (true);\n")
}

/// The longest table name for which both policy names fit into 63 bytes.
pub const TABLE_NAME_MAX: usize = 63 - "_tenant_isolation".len();

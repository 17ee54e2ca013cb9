//! The pooler's lookup of passwords, and its role.

use super::Mutation;

/// What stands before the body of the lookup.
macro_rules! lookup {
    ($body:expr) => {
        concat!(
            "CREATE OR REPLACE FUNCTION tenantctl.pooler_lookup(wanted text) RETURNS TABLE (role_name text, verifier text) ",
            "LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $lookup$",
            $body,
            "$lookup$"
        )
    };
}

/// One break a row, with what takes it back.
pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "lookup_answers_for_everybody",
        checks: &["pooler_access"],
        tenant: false,
        object: "function tenantctl.pooler_lookup(text)",
        apply: lookup!("SELECT a.rolname::text, a.rolpassword FROM pg_catalog.pg_authid a WHERE a.rolname = wanted"),
        undo: lookup!(include_str!("../../../sql/pooler/lookup.sql")),
    },
    Mutation {
        name: "lookup_open_to_the_world",
        checks: &["pooler_access", "definer_functions", "registry_access"],
        tenant: false,
        object: "function tenantctl.pooler_lookup(text)",
        apply: "GRANT EXECUTE ON FUNCTION tenantctl.pooler_lookup(text) TO PUBLIC",
        undo: "REVOKE EXECUTE ON FUNCTION tenantctl.pooler_lookup(text) FROM PUBLIC",
    },
    Mutation {
        name: "lookup_open_to_a_tenant",
        checks: &["pooler_access", "definer_functions", "registry_access"],
        tenant: false,
        object: "function tenantctl.pooler_lookup(text)",
        apply: "GRANT EXECUTE ON FUNCTION tenantctl.pooler_lookup(text) TO {role}",
        undo: "REVOKE EXECUTE ON FUNCTION tenantctl.pooler_lookup(text) FROM {role}",
    },
    Mutation {
        name: "lookup_without_a_path",
        checks: &["pooler_access"],
        tenant: false,
        object: "function tenantctl.pooler_lookup(text)",
        apply: "ALTER FUNCTION tenantctl.pooler_lookup(text) RESET search_path",
        undo: "ALTER FUNCTION tenantctl.pooler_lookup(text) SET search_path = pg_catalog, pg_temp",
    },
    Mutation {
        name: "lookup_of_the_owner",
        checks: &["pooler_access"],
        tenant: false,
        object: "function tenantctl.pooler_lookup(text)",
        apply: "ALTER FUNCTION tenantctl.pooler_lookup(text) OWNER TO tenantctl_owner",
        undo: "ALTER FUNCTION tenantctl.pooler_lookup(text) OWNER TO postgres",
    },
    Mutation {
        name: "lookup_with_a_double",
        checks: &["pooler_access"],
        tenant: false,
        object: "function tenantctl.pooler_lookup(name)",
        apply: "CREATE FUNCTION tenantctl.pooler_lookup(name) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'",
        undo: "DROP FUNCTION tenantctl.pooler_lookup(name)",
    },
    Mutation {
        name: "pooler_reads_the_registry",
        checks: &["pooler_access"],
        tenant: false,
        object: "role tenantctl_pooler",
        apply: "GRANT SELECT ON tenantctl.tenants TO tenantctl_pooler",
        undo: "REVOKE SELECT ON tenantctl.tenants FROM tenantctl_pooler",
    },
    Mutation {
        name: "pooler_reads_all_data",
        checks: &["pooler_access"],
        tenant: false,
        object: "role tenantctl_pooler",
        apply: "GRANT pg_read_all_data TO tenantctl_pooler",
        undo: "REVOKE pg_read_all_data FROM tenantctl_pooler",
    },
    Mutation {
        name: "pooler_bypasses_row_security",
        checks: &["pooler_access"],
        tenant: false,
        object: "role tenantctl_pooler",
        apply: "ALTER ROLE tenantctl_pooler BYPASSRLS",
        undo: "ALTER ROLE tenantctl_pooler NOBYPASSRLS",
    },
    Mutation {
        name: "pooler_makes_temporary_tables",
        checks: &["pooler_access"],
        tenant: false,
        object: "role tenantctl_pooler",
        apply: "GRANT TEMPORARY ON DATABASE {db} TO tenantctl_pooler",
        undo: "REVOKE TEMPORARY ON DATABASE {db} FROM tenantctl_pooler",
    },
    Mutation {
        name: "tenant_in_the_poolers_role",
        checks: &["pooler_access"],
        tenant: false,
        object: "role tenantctl_pooler",
        apply: "GRANT tenantctl_pooler TO {role}",
        undo: "REVOKE tenantctl_pooler FROM {role}",
    },
    Mutation {
        name: "pooler_with_a_path",
        checks: &["pooler_access"],
        tenant: false,
        object: "role tenantctl_pooler",
        apply: "ALTER ROLE tenantctl_pooler SET search_path = {schema}",
        undo: "ALTER ROLE tenantctl_pooler RESET search_path",
    },
];

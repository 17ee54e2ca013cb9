-- check: row_security
-- title: tables whose row security is off, not forced, or on where tenants bulk-load
-- explain: Row security is the second wall: a grant that goes astray, to another tenant or to PUBLIC, still shows no row. Without
-- explain: ENABLE the wall is not there; without FORCE it does not hold for the owner, so that a view or function that runs as
-- explain: the owner sees everything. Tables that tenants load with COPY have none by design, as the server refuses COPY FROM under
-- explain: row security; there it keeps the tenant from loading.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, v.bulk_load
    FROM tenants t
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
    LEFT JOIN tenantctl.template_versions v ON v.template = t.template AND v.version = t.template_version
), states AS (
    SELECT s.*, pg_catalog.format('%I.%I', s.schema_name, c.relname) AS name, c.relrowsecurity, c.relforcerowsecurity,
        COALESCE(c.relname = ANY (s.bulk_load), false) AS bulk
    FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
)
SELECT CASE WHEN bulk THEN 'medium' WHEN NOT relrowsecurity THEN 'high' ELSE 'medium' END AS severity,
    tenant_id, schema_name, 'table ' || name AS object,
    CASE WHEN bulk THEN 'row security is on for a table that the tenant loads with COPY, which the server then refuses'
        WHEN NOT relrowsecurity THEN 'row security is not enabled, so that a stray grant on the table shows all its rows'
        ELSE 'row security is not forced, so that whatever runs as tenantctl_owner passes it by' END AS detail,
    CASE WHEN bulk THEN pg_catalog.format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;', name)
        ELSE pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;', name) END AS remedy
FROM states
WHERE CASE WHEN bulk THEN relrowsecurity OR relforcerowsecurity ELSE NOT (relrowsecurity AND relforcerowsecurity) END
ORDER BY 3, 4

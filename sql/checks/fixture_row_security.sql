-- check: fixture_row_security
-- title: tables without row security
-- explain: Without row security one mistaken grant shows the rows to somebody else.
-- explain: Tables that tenants load with COPY are left out.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
)
SELECT CASE WHEN c.relrowsecurity THEN 'medium' ELSE 'critical' END AS severity, t.tenant_id, t.schema_name,
    pg_catalog.format('table %I.%I', t.schema_name, c.relname) AS object,
    CASE WHEN c.relrowsecurity THEN 'row security is not forced' ELSE 'row security is off' END AS detail,
    pg_catalog.format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;', t.schema_name, c.relname) AS remedy
FROM tenants t
JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity) AND c.relname <> 'market_data'

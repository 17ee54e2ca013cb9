-- check: fixture_schema
-- title: tenants whose schema is missing
-- explain: The registry says that the tenant exists and its schema is not there.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
)
SELECT 'high' AS severity, t.tenant_id, t.schema_name, 'schema ' || t.schema_name AS object,
    'the schema does not exist' AS detail, 'tenantctl drop ' || t.tenant_id || ' --yes' AS remedy
FROM tenants t LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
WHERE n.oid IS NULL

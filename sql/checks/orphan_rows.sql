-- check: orphan_rows
-- title: registry rows without their schema or role, or with another row's
-- explain: A tenant in the registry whose schema or role is gone cannot work, and what is not there cannot be checked. Two rows with one schema would
-- explain: be two tenants with one set of data.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
)
SELECT CASE w.what WHEN 'twin' THEN 'critical' ELSE 'medium' END AS severity, t.tenant_id::text, t.schema_name::text,
    CASE w.what WHEN 'role' THEN pg_catalog.format('role %I', t.role_name) ELSE pg_catalog.format('schema %I', t.schema_name) END AS object,
    CASE w.what WHEN 'role' THEN pg_catalog.format('the registry''s row has no role; roles are shared by all databases of the cluster; once it is back, tenantctl secure %s and tenantctl rotate %s restore its rights and password', t.tenant_id, t.tenant_id)
        WHEN 'schema' THEN 'the registry''s row has no schema' ELSE pg_catalog.format('more than one registry row has this schema; the oldest is that of tenant %s', d.first) END AS detail,
    CASE w.what WHEN 'twin' THEN pg_catalog.format('DELETE FROM tenantctl.tenants WHERE schema_name = %L AND tenant_id <> %L;', t.schema_name, d.first)
        WHEN 'role' THEN pg_catalog.format('CREATE ROLE %I LOGIN IN ROLE tenantctl_tenants;', t.role_name)
        ELSE pg_catalog.format('tenantctl drop %s --yes', t.tenant_id) END AS remedy
FROM tenants t
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::pg_catalog.name
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
LEFT JOIN (
    SELECT o.schema_name, (pg_catalog.array_agg(o.tenant_id ORDER BY o.created_at, o.tenant_id))[1] AS first
    FROM tenantctl.tenants o GROUP BY o.schema_name HAVING pg_catalog.count(*) > 1
) d ON d.schema_name = t.schema_name
CROSS JOIN LATERAL (VALUES ('schema', n.oid IS NULL), ('role', r.oid IS NULL), ('twin', d.schema_name IS NOT NULL)) w (what, broken)
WHERE w.broken
ORDER BY 2, 4, 5

-- check: writable_schemas
-- title: schemas outside the tenants' own where tenants may create
-- explain: Whoever may create in a schema that others have in their search path puts functions, operators and tables where their unqualified names
-- explain: find them, and their rights run its code. It is also a place where tenants meet. CREATE for PUBLIC on schema public is told by public_schema_create.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
)
SELECT CASE WHEN x.grantee = 0 THEN 'high' ELSE 'critical' END AS severity, t.tenant_id::text, t.schema_name::text,
    pg_catalog.format('schema %I', n.nspname) AS object,
    pg_catalog.format('%s may create objects in it', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END) AS detail,
    pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s;', n.nspname, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(g.name) END) AS remedy
FROM pg_catalog.pg_namespace n
CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) x
CROSS JOIN LATERAL (SELECT CASE x.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END) g (name)
LEFT JOIN tenantctl.tenants o ON o.role_name = g.name
LEFT JOIN tenants t ON t.tenant_id = o.tenant_id
WHERE x.privilege_type = 'CREATE' AND x.grantee <> n.nspowner AND (x.grantee = 0 OR g.name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$')
AND NOT (n.nspname = 'public' AND x.grantee = 0) AND n.nspname !~ '^(tenant_[0-9a-f]{12}|tenantctl)$'
AND (o.tenant_id IS NULL OR t.tenant_id IS NOT NULL)
ORDER BY 2, 4, 5

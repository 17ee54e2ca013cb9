-- check: extension_objects
-- title: extensions and objects of extensions in tenant schemas
-- explain: An extension's objects belong to whoever installed it, mostly the superuser, and change with its next update.
-- explain: In a tenant's schema they come first on the tenant's search path, and DROP SCHEMA fails or takes the extension with it.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
)
SELECT 'high' AS severity, s.tenant_id, s.schema_name, pg_catalog.format('extension %I', e.extname) AS object,
    pg_catalog.format('it is installed in schema %s', s.schema_name) AS detail,
    CASE WHEN e.extrelocatable THEN pg_catalog.format('ALTER EXTENSION %I SET SCHEMA public;', e.extname) ELSE pg_catalog.format('DROP EXTENSION %I;', e.extname) END AS remedy
FROM pg_catalog.pg_extension e JOIN spaces s ON s.namespace = e.extnamespace
UNION ALL
SELECT 'high', s.tenant_id, s.schema_name, x.object,
    pg_catalog.format('it belongs to extension %s', e.extname), pg_catalog.format('ALTER EXTENSION %I DROP %s;', e.extname, x.object)
FROM (
    -- Relations, functions and types have everything that extensions bring of their own.
    SELECT d.refobjid, c.relnamespace AS namespace, pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END, n.nspname, c.relname) AS object
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
    WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
    UNION ALL
    SELECT d.refobjid, f.pronamespace, pg_catalog.format('%s %I.%I(%s)', CASE f.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes))
    FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid
    WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
    UNION ALL
    SELECT d.refobjid, t.typnamespace, pg_catalog.format('type %I.%I', n.nspname, t.typname)
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid
    WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
) x
JOIN spaces s ON s.namespace = x.namespace
JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
WHERE e.extnamespace <> s.namespace
ORDER BY 3, 4

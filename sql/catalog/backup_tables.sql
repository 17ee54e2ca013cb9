-- The tables of a tenant's schema that its backup has to lock ($1: tenant).
SELECT t.schema_name, n.oid IS NOT NULL AS there, ARRAY(
    SELECT c.relname::text
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p')
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
    AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND pg_catalog.pg_get_userbyid(c.relowner) = 'tenantctl_owner'
    ORDER BY c.relname) AS tables
FROM tenantctl.tenants t LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::name
WHERE t.tenant_id = $1

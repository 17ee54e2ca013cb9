-- check: orphan_schemas
-- title: tenant schemas that no registry row knows
-- explain: A schema with a tenant's name that the registry does not know is data that no check looks at, no backup holds and no drop removes: a
-- explain: remainder of a tenant that was dropped by hand, or somebody's copy of one.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('schema %I', n.nspname) AS object,
    pg_catalog.format('no registry row has this schema, which belongs to role %I; look at its data before it is dropped', pg_catalog.pg_get_userbyid(n.nspowner)) AS detail,
    pg_catalog.format('DROP SCHEMA %I CASCADE;', n.nspname) AS remedy
FROM pg_catalog.pg_namespace n
WHERE n.nspname ~ '^tenant_[0-9a-f]{12}$'
AND NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.schema_name::pg_catalog.name = n.nspname)
ORDER BY 4

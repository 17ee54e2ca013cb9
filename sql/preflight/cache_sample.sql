-- Tables and indexes of tenants, whole tenants of them, that belong to the owner: to be touched, so that what remembering them
-- takes can be measured ($1: how many).
SELECT c.oid
FROM tenantctl.tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'i')
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner AND o.rolname = 'tenantctl_owner'
ORDER BY t.tenant_id, c.oid LIMIT $1

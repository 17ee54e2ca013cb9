-- Pairs of tenants between which the catalog shows a direct way: USAGE on the schema, or membership in the role. They
-- are probed whatever the ring says. A way through PUBLIC shows between any two tenants.
WITH tenants AS MATERIALIZED (
    SELECT t.tenant_id, t.schema_name, r.oid AS role_oid
    FROM tenantctl.tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name
)
SELECT a.tenant_id AS attacker, v.tenant_id AS victim
FROM tenants v
JOIN pg_catalog.pg_namespace n ON n.nspname = v.schema_name
CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) x
JOIN tenants a ON a.role_oid = x.grantee
WHERE a.tenant_id <> v.tenant_id
UNION
SELECT a.tenant_id, v.tenant_id
FROM tenants v
JOIN pg_catalog.pg_auth_members m ON m.roleid = v.role_oid
JOIN tenants a ON a.role_oid = m.member
WHERE a.tenant_id <> v.tenant_id

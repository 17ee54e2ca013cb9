-- Pairs of tenants between which the catalog shows a way: a right on the schema, or membership in the role, directly or
-- through other roles. They are probed whatever the ring says. A way through PUBLIC or through the group of all tenants
-- shows between any two tenants. At most 20 victims an attacker: by then the hole is known.
WITH RECURSIVE tenants AS MATERIALIZED (
    SELECT t.tenant_id, t.schema_name, r.oid AS role_oid
    FROM tenantctl.tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name
), ours AS MATERIALIZED (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname IN ('tenantctl_owner', 'tenantctl_tenants')
), direct AS (
    SELECT v.tenant_id AS victim, x.grantee AS holder
    FROM tenants v
    JOIN pg_catalog.pg_namespace n ON n.nspname = v.schema_name
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) x
    WHERE x.grantee <> 0 AND x.grantee <> v.role_oid AND x.grantee NOT IN (SELECT oid FROM ours)
    UNION
    SELECT v.tenant_id, m.member
    FROM tenants v JOIN pg_catalog.pg_auth_members m ON m.roleid = v.role_oid
), reach (victim, holder) AS (
    SELECT d.victim, d.holder FROM direct d
    UNION
    SELECT r.victim, m.member
    FROM reach r JOIN pg_catalog.pg_auth_members m ON m.roleid = r.holder
), pairs AS (
    SELECT a.tenant_id AS attacker, r.victim,
        pg_catalog.row_number() OVER (PARTITION BY a.tenant_id ORDER BY r.victim) AS place
    FROM reach r JOIN tenants a ON a.role_oid = r.holder
    WHERE a.tenant_id <> r.victim
)
SELECT p.attacker, p.victim FROM pairs p WHERE p.place <= 20

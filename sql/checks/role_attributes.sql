-- check: role_attributes
-- title: attributes of the roles of tenants, the group and the owner
-- explain: A tenant's role may log in and nothing else; the group and the owner may not even do that. SUPERUSER, BYPASSRLS and REPLICATION read
-- explain: everything, CREATEROLE makes roles and members, CREATEDB makes a place outside, an owner with LOGIN is every tenant at once.
-- explain: The role of a tenant whose drop has begun may not log in either: of its rows some may be gone.
-- explain: Before 16 NOINHERIT takes the right to connect, and a password that has expired keeps the tenant out.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), roles AS (
    SELECT r.*, t.tenant_id, t.schema_name, t.status <> 'dropping' AS may_log_in
    FROM tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
    UNION ALL
    SELECT r.*, NULL, NULL, false FROM pg_catalog.pg_roles r WHERE r.rolname IN ('tenantctl_tenants', 'tenantctl_owner')
)
SELECT a.severity, r.tenant_id::text, r.schema_name::text, pg_catalog.format('role %I', r.rolname) AS object,
    pg_catalog.format('role %I %s; roles are shared by all databases of the cluster', r.rolname, a.detail) AS detail, pg_catalog.format('ALTER ROLE %I %s;', r.rolname, a.remedy) AS remedy
FROM roles r CROSS JOIN LATERAL (VALUES
    (r.rolsuper, 'critical', 'is SUPERUSER', 'NOSUPERUSER'),
    (r.rolbypassrls, 'critical', 'has BYPASSRLS', 'NOBYPASSRLS'),
    (r.rolreplication, 'critical', 'has REPLICATION', 'NOREPLICATION'),
    (r.rolcreaterole, 'critical', 'has CREATEROLE', 'NOCREATEROLE'),
    (r.rolcreatedb, 'critical', 'has CREATEDB', 'NOCREATEDB'),
    (NOT r.rolinherit AND r.may_log_in, 'low', 'has NOINHERIT, where the standard has INHERIT', 'INHERIT'),
    (NOT r.rolcanlogin AND r.may_log_in, 'low', 'has NOLOGIN, so the tenant is shut out', 'LOGIN'),
    (r.rolcanlogin AND NOT r.may_log_in, CASE r.rolname WHEN 'tenantctl_owner' THEN 'critical' ELSE 'high' END, 'can log in', 'NOLOGIN'),
    (r.may_log_in AND r.rolvaliduntil <= pg_catalog.now(), 'low', 'has a password that expired', 'VALID UNTIL ''infinity''')
) a (broken, severity, detail, remedy)
WHERE a.broken
UNION ALL
SELECT 'low', r.tenant_id, r.schema_name, pg_catalog.format('role %I', r.rolname),
    pg_catalog.format('role %I is locked out: a drop of its tenant has begun and has not come to its end', r.rolname), pg_catalog.format('tenantctl drop %s --yes', r.tenant_id)
FROM roles r WHERE r.tenant_id IS NOT NULL AND NOT r.may_log_in AND NOT r.rolcanlogin
UNION ALL
SELECT 'high', NULL, NULL, 'role ' || w.name, pg_catalog.format('role %I does not exist', w.name), 'tenantctl init'
FROM (VALUES ('tenantctl_owner'), ('tenantctl_tenants')) w (name) WHERE pg_catalog.to_regrole(w.name) IS NULL
ORDER BY 2, 4, 5

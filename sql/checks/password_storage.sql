-- check: password_storage
-- title: tenants whose password is stored as anything but SCRAM
-- explain: An md5 verifier is enough to log in with, so whoever sees one, in a dump or a backup, is that tenant. A role without a password gets in
-- explain: only by a line of pg_hba.conf that asks for none. The owner and the group have none, as they do not log in.
-- needs: superuser: only superusers may read pg_authid
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
)
SELECT CASE WHEN a.rolpassword IS NULL THEN 'low' ELSE 'high' END AS severity, t.tenant_id::text, t.schema_name::text, pg_catalog.format('role %I', a.rolname) AS object,
    pg_catalog.format('role %I has %s; roles are shared by all databases of the cluster', a.rolname,
        CASE WHEN a.rolpassword IS NULL THEN 'no password' ELSE 'a password that is not stored as SCRAM-SHA-256' END) AS detail,
    pg_catalog.format('tenantctl rotate %s', t.tenant_id) AS remedy
FROM tenants t JOIN pg_catalog.pg_authid a ON a.rolname = t.role_name::pg_catalog.name
WHERE a.rolpassword IS NULL OR a.rolpassword NOT LIKE 'SCRAM-SHA-256$%'
UNION ALL
SELECT 'low', NULL, NULL, pg_catalog.format('role %I', a.rolname),
    pg_catalog.format('role %I has a password, which it needs none of', a.rolname), pg_catalog.format('ALTER ROLE %I PASSWORD NULL;', a.rolname)
FROM pg_catalog.pg_authid a WHERE a.rolname IN ('tenantctl_owner', 'tenantctl_tenants') AND a.rolpassword IS NOT NULL
ORDER BY 2, 4

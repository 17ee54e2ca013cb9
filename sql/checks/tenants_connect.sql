-- check: tenants_connect
-- title: the right of the tenants to connect to this database
-- explain: Tenants connect by a grant to their group. Where that is missing they are shut out, or get in by a right of PUBLIC that ought not to be.
-- explain: Hardening line tenants_connect.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('database %I', d.datname) AS object,
    'the group tenantctl_tenants has no CONNECT of its own on this database (hardening.tenants_connect)' AS detail,
    pg_catalog.format('GRANT CONNECT ON DATABASE %I TO tenantctl_tenants;', d.datname) AS remedy
FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database() AND NOT EXISTS (
    SELECT FROM pg_catalog.aclexplode(d.datacl) x
    WHERE x.grantee = pg_catalog.to_regrole('tenantctl_tenants') AND x.privilege_type = 'CONNECT')

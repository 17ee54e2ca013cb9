
-- A tenant that may log in: registered, active, with a password that has not expired, and nothing beside a tenant.
WITH found AS (
    SELECT a.rolname::text AS role_name, a.rolpassword AS verifier
    FROM tenantctl.tenants t JOIN pg_catalog.pg_authid a ON a.rolname = t.role_name::pg_catalog.name
    WHERE t.schema_name = pg_catalog.left(wanted, -5) AND t.role_name = wanted AND t.status = 'active'
    AND a.rolcanlogin AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > pg_catalog.clock_timestamp())
    AND NOT (a.rolsuper OR a.rolcreaterole OR a.rolcreatedb OR a.rolreplication OR a.rolbypassrls)
    AND a.rolpassword LIKE 'SCRAM-SHA-256$%'
)
SELECT f.role_name, f.verifier FROM found f
UNION ALL
-- Anybody else gets a verifier that no password fits, the same each time, so that an unknown name looks like a wrong
-- password. PgBouncer keeps what it was told by name and for ever: 256 names, however many are tried.
SELECT 'tenantctl_nobody_' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to('name' || m.secret || wanted, 'UTF8')), 1, 1), 'hex'),
    'SCRAM-SHA-256$4096:' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to('salt' || m.secret || wanted, 'UTF8')), 1, 16), 'base64')
    || '$' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to('stored' || m.secret || wanted, 'UTF8')), 'base64')
    || ':' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to('server' || m.secret || wanted, 'UTF8')), 'base64')
FROM tenantctl.pooler_mock m WHERE NOT EXISTS (SELECT FROM found)

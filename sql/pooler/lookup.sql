
-- This runs as a superuser, so it reads what is the server's own and nothing else: whoever owns a table, such as the registry's,
-- could have it run code of theirs, by a view in its place, an index on an expression or the type of a column.
-- A tenant that may log in: a role as tenants have it, whose schema is in this database, with a password that has not expired,
-- and nothing beside a tenant. A tenant that is being dropped has no LOGIN.
WITH found AS (
    SELECT a.rolname::text AS role_name, a.rolpassword AS verifier
    FROM pg_catalog.pg_authid a
    WHERE a.rolname = wanted::pg_catalog.name AND wanted ~ '^tenant_[0-9a-f]{12}_user$'
    AND EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_authid g ON g.oid = m.roleid
        WHERE m.member = a.oid AND g.rolname = 'tenantctl_tenants')
    AND EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_authid o ON o.oid = n.nspowner
        WHERE n.nspname = pg_catalog.left(wanted, -5)::pg_catalog.name AND o.rolname = 'tenantctl_owner')
    AND a.rolcanlogin AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > pg_catalog.clock_timestamp())
    AND NOT (a.rolsuper OR a.rolcreaterole OR a.rolcreatedb OR a.rolreplication OR a.rolbypassrls)
    AND a.rolpassword LIKE 'SCRAM-SHA-256$%'
), mock AS (
    -- What only a superuser can read, the same on standbys. It is another after the pooler's password was rotated.
    SELECT c.system_identifier::text || ' ' || COALESCE((
        SELECT pg_catalog.string_agg(p.rolpassword, ' ' ORDER BY p.oid) FROM pg_catalog.pg_authid p
        WHERE p.rolname = 'tenantctl_pooler' OR p.oid = 10), '') AS secret
    FROM pg_catalog.pg_control_system() c
)
SELECT f.role_name, f.verifier FROM found f
UNION ALL
-- Anybody else gets a verifier that no password fits, the same each time, so that an unknown name looks like a wrong
-- password. PgBouncer keeps what it was told by name and for ever: 256 names, however many are tried.
SELECT 'tenantctl_nobody_' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to('name' || m.secret || wanted, 'UTF8')), 1, 1), 'hex'),
    'SCRAM-SHA-256$4096:' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to('salt' || m.secret || wanted, 'UTF8')), 1, 16), 'base64')
    || '$' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to('stored' || m.secret || wanted, 'UTF8')), 'base64')
    || ':' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to('server' || m.secret || wanted, 'UTF8')), 'base64')
FROM mock m WHERE NOT EXISTS (SELECT FROM found)

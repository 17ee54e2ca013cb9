-- Roles that a killed probe has left: nobody is in as one of them, and either it was already closed to logins, or its
-- time is over, or the session that made it is gone.
SELECT r.rolname::text AS name
FROM pg_catalog.pg_roles r
JOIN pg_catalog.pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE r.rolname ~ '^tenantctl_probe_[0-9a-f]{12}$' AND d.description ~ '^tenantctl probe of backend [0-9]+$'
AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid)
AND (NOT r.rolcanlogin OR r.rolvaliduntil < pg_catalog.now() OR NOT EXISTS (
    SELECT FROM pg_catalog.pg_stat_activity a
    WHERE a.pid = pg_catalog.substring(d.description, '[0-9]+')::pg_catalog.int4))

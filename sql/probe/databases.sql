-- The other databases that can be connected to at all, and whether PUBLIC may.
SELECT d.datname::text AS name, d.oid,
    EXISTS (SELECT FROM pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
        WHERE x.grantee = 0 AND x.privilege_type = 'CONNECT') AS public_connects
FROM pg_catalog.pg_database d
WHERE d.datallowconn AND d.datname <> pg_catalog.current_database()
ORDER BY d.datname
LIMIT 200

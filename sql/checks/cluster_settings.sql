-- check: cluster_settings
-- title: server settings that weaken isolation
-- explain: lo_compat_privileges lets everybody read and write every large object. session_replication_role = replica switches triggers off, and audit and
-- explain: limits with them. allow_system_table_mods lets a mistake change the catalog. row_security = off turns rows that are hidden into errors for tenants.
-- explain: Passwords that are stored as md5 can be replayed from a dump, and a server that listens to the network without TLS sends data in clear text. Each is read
-- explain: as it is at the start of this session, so that what the session changed itself does not count.
SELECT s.severity, NULL::text AS tenant_id, NULL::text AS schema_name, 'setting ' || g.name AS object,
    pg_catalog.format('%s is %s; %s', g.name, g.reset_val, s.why) AS detail,
    -- Where it is set decides what mends it.
    COALESCE((
        SELECT CASE WHEN k.setrole = 0 AND k.setdatabase <> 0 THEN pg_catalog.format('ALTER DATABASE %I RESET %s;', pg_catalog.current_database(), g.name)
            ELSE pg_catalog.format('ALTER ROLE %s%s RESET %s;', CASE k.setrole WHEN 0 THEN 'ALL' ELSE pg_catalog.quote_ident(session_user) END,
                CASE k.setdatabase WHEN 0 THEN '' ELSE ' IN DATABASE ' || pg_catalog.quote_ident(pg_catalog.current_database()) END, g.name) END
        FROM pg_catalog.pg_db_role_setting k
        WHERE k.setrole IN (0, (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = session_user))
        AND k.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
        AND EXISTS (SELECT FROM pg_catalog.unnest(k.setconfig) c (item) WHERE pg_catalog.split_part(c.item, '=', 1) = g.name)
        ORDER BY k.setrole DESC, k.setdatabase DESC LIMIT 1
    ), pg_catalog.format('ALTER SYSTEM SET %s = %L; SELECT pg_catalog.pg_reload_conf();', g.name, s.wanted)) AS remedy
FROM (VALUES
    ('lo_compat_privileges', 'off', 'critical', 'every tenant reads and writes every large object'),
    ('session_replication_role', 'origin', 'critical', 'triggers, and with them audit and limits, do not fire'),
    ('allow_system_table_mods', 'off', 'high', 'the catalogs can be changed by hand'),
    ('row_security', 'on', 'medium', 'queries that row security would filter fail instead'),
    ('password_encryption', 'scram-sha-256', 'medium', 'passwords set as plain text are stored in a form that can be replayed')
) s (name, wanted, severity, why)
JOIN pg_catalog.pg_settings g ON g.name = s.name
WHERE g.reset_val <> s.wanted
UNION ALL
SELECT 'low', NULL, NULL, 'setting ssl', pg_catalog.format('the server listens on %s without TLS, so that data and queries cross the network in clear text', l.setting),
    'ALTER SYSTEM SET ssl = ''on''; SELECT pg_catalog.pg_reload_conf();'
FROM pg_catalog.pg_settings g JOIN pg_catalog.pg_settings l ON l.name = 'listen_addresses'
WHERE g.name = 'ssl' AND g.setting = 'off'
AND EXISTS (SELECT FROM pg_catalog.string_to_table(l.setting, ',') a (address)
    WHERE pg_catalog.btrim(a.address) NOT IN ('', 'localhost', '127.0.0.1', '::1'))
ORDER BY 4

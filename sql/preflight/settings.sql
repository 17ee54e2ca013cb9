-- Every setting as a new session of this login would have it: what this session has set itself does not count. `own`: it is set for
-- this login, or by its connection string, so that other logins have another value.
WITH own AS MATERIALIZED (
    SELECT pg_catalog.lower(pg_catalog.split_part(c.line, '=', 1)) AS name
    FROM pg_catalog.pg_db_role_setting r, pg_catalog.unnest(r.setconfig) c (line)
    WHERE r.setrole = (SELECT a.oid FROM pg_catalog.pg_roles a WHERE a.rolname = session_user)
    AND r.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
)
SELECT s.name, s.reset_val AS value, s.unit, s.vartype, s.context, s.pending_restart, s.source,
    CASE WHEN s.sourcefile IS NOT NULL THEN pg_catalog.format('%s:%s', s.sourcefile, s.sourceline) END AS place,
    s.source IN ('client', 'user', 'database user') OR pg_catalog.lower(s.name) IN (SELECT o.name FROM own o) AS own
FROM pg_catalog.pg_settings s

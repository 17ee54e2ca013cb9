-- Sessions of a role ($2) with an open transaction that has written to a table of a schema ($1): such a transaction has the lock
-- already, so that its prepared statements are not told of rights that are taken meanwhile.
SELECT DISTINCT l.pid
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND r.rolname = $2::pg_catalog.name
JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::pg_catalog.name
WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock'
ORDER BY 1

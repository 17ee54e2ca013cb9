-- Relations that another session has locked, or waits to lock, so that nobody can look into them, each with the table that
-- it is an index or the TOAST of. Whoever asks for such a relation waits behind that session.
SELECT DISTINCT o.oid
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = l.relation
LEFT JOIN pg_catalog.pg_class t ON t.reltoastrelid = COALESCE(i.indrelid, l.relation)
CROSS JOIN LATERAL (VALUES (l.relation), (i.indrelid), (t.oid)) o (oid)
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND o.oid IS NOT NULL
AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())

-- How near the server is to the end of its transaction ids, and of the ids of groups that share row locks: for each, the
-- database that is oldest, one that takes connections first.
SELECT 'transaction ids' AS kind, 'autovacuum_freeze_max_age' AS setting, d.*
FROM (
    SELECT pg_catalog.age(d.datfrozenxid) AS age, d.datname::text AS database, d.datallowconn AS open
    FROM pg_catalog.pg_database d
    ORDER BY 1 DESC, 3 DESC, 2 LIMIT 1
) d
UNION ALL
SELECT 'multixact ids', 'autovacuum_multixact_freeze_max_age', d.*
FROM (
    SELECT pg_catalog.mxid_age(d.datminmxid), d.datname::text, d.datallowconn
    FROM pg_catalog.pg_database d
    ORDER BY 1 DESC, 3 DESC, 2 LIMIT 1
) d

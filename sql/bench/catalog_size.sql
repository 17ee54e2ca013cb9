-- How large the catalogs are beside what keeps them in memory, and how many locks a dump of the whole database takes beside how
-- many there are.
SELECT
    (
        SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid))::bigint
        FROM pg_catalog.pg_class c
        WHERE c.relkind = 'r' AND c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
    ) AS catalog_bytes,
    pg_catalog.pg_database_size(pg_catalog.current_database()) AS database_bytes,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class) AS relations,
    (
        SELECT pg_catalog.count(*)
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ) AS tables,
    pg_catalog.current_setting('max_locks_per_transaction')::bigint
        * (pg_catalog.current_setting('max_connections')::bigint + pg_catalog.current_setting('max_prepared_transactions')::bigint)
        AS locks,
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) AS buffers_bytes,
    (SELECT s.setting::bigint FROM pg_catalog.pg_settings s WHERE s.name = 'autovacuum_naptime') AS naptime_s

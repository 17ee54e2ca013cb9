-- What all tenants together take on disk: their tables, indexes and TOAST tables with all forks; the database as a whole, and
-- the catalogs that all databases share; and the number of relations that have a file.
SELECT
    COALESCE(t.bytes, 0) AS tenants_bytes,
    COALESCE(t.relations, 0) AS relations,
    pg_catalog.pg_database_size(pg_catalog.current_database()) AS database_bytes,
    (
        SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid))::bigint
        FROM pg_catalog.pg_class c
        WHERE c.relisshared AND c.relkind = 'r'
    ) AS shared_bytes
FROM (
    SELECT pg_catalog.sum(pg_catalog.pg_relation_size(c.oid, f.fork))::bigint AS bytes, pg_catalog.count(DISTINCT c.oid) AS relations
    FROM (
        SELECT c.oid, c.reltoastrelid
        FROM tenantctl.tenants w
        JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'm', 'S', 'i')
    ) o
    -- TOAST tables and their indexes are in a schema of their own.
    CROSS JOIN LATERAL (
        SELECT o.oid
        UNION ALL
        SELECT o.reltoastrelid WHERE o.reltoastrelid <> 0
        UNION ALL
        SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = o.reltoastrelid
    ) c
    CROSS JOIN (VALUES ('main'), ('fsm'), ('vm'), ('init')) f (fork)
) t

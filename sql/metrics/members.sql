-- Head of a query: what has files of its own in schemas of tenants ($1: schemas), with the schema's place in $1. Tables,
-- materialized views and their indexes lie in the schema; TOAST does not, and neither do the chunks of a hypertable, which
-- inherit. Who inherits in another tenant's schema is counted there. Reads the catalog only: nothing here waits for a lock.
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT w.at, n.oid
    FROM pg_catalog.unnest($1) WITH ORDINALITY w (name, at) JOIN pg_catalog.pg_namespace n ON n.nspname = w.name::name
), kin (at, oid) AS (
    SELECT w.at, i.inhrelid
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind IN ('r', 'p')
    JOIN wanted w ON w.oid = p.relnamespace
    -- A child of several is its first parent's.
    WHERE i.inhseqno = 1
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN tenantctl.tenants t ON t.schema_name = n.nspname::text
        WHERE c.oid = i.inhrelid)
    UNION ALL
    SELECT k.at, i.inhrelid
    FROM kin k JOIN pg_catalog.pg_inherits i ON i.inhparent = k.oid AND i.inhseqno = 1
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN tenantctl.tenants t ON t.schema_name = n.nspname::text
        WHERE c.oid = i.inhrelid)
), own AS MATERIALIZED (
    SELECT w.at, c.oid, c.relkind, c.relfilenode, c.reltablespace, c.relpages, c.reltuples, c.reltoastrelid, false AS is_chunk
    FROM pg_catalog.pg_class c JOIN wanted w ON w.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'i')
    UNION ALL
    SELECT k.at, c.oid, c.relkind, c.relfilenode, c.reltablespace, c.relpages, c.reltuples, c.reltoastrelid, true
    FROM kin k JOIN pg_catalog.pg_class c ON c.oid = k.oid AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT k.at, c.oid, c.relkind, c.relfilenode, c.reltablespace, c.relpages, c.reltuples, c.reltoastrelid, true
    FROM kin k
    JOIN pg_catalog.pg_index i ON i.indrelid = k.oid
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
), toast AS MATERIALIZED (
    SELECT o.at, c.oid, c.relfilenode, c.reltablespace, c.relpages
    FROM own o JOIN pg_catalog.pg_class c ON c.oid = o.reltoastrelid
    WHERE o.reltoastrelid <> 0
), members AS (
    SELECT o.at, o.oid, o.relfilenode, o.reltablespace, o.relpages, o.relkind, o.reltuples, o.is_chunk FROM own o
    UNION ALL
    SELECT t.at, t.oid, t.relfilenode, t.reltablespace, t.relpages, 't', NULL, false FROM toast t
    UNION ALL
    SELECT t.at, c.oid, c.relfilenode, c.reltablespace, c.relpages, 'i', NULL, false
    FROM toast t
    JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
), uncounted AS MATERIALIZED (
    -- Schemas with a table that had more rows when it was last looked at than the server's statistics know to have been
    -- written, and of which they know no VACUUM or ANALYZE: they were lost, as in a crash or a failover, or reset.
    SELECT DISTINCT m.at FROM members m
    WHERE m.relkind IN ('r', 'm') AND m.reltuples > 0
    AND CASE WHEN m.reltuples > 1.01 * pg_catalog.pg_stat_get_tuples_inserted(m.oid) THEN
        COALESCE(pg_catalog.pg_stat_get_last_analyze_time(m.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(m.oid),
            pg_catalog.pg_stat_get_last_vacuum_time(m.oid), pg_catalog.pg_stat_get_last_autovacuum_time(m.oid)) IS NULL END
)

-- The indexes of a schema beside the data of their tables (heap and TOAST, all forks), the largest first. An index that a
-- constraint needs cannot be left out.
SELECT
    t.relname::text AS table_name,
    x.relname::text AS index_name,
    EXISTS (
        SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
    ) AS needed,
    pg_catalog.pg_total_relation_size(i.indexrelid) AS index_bytes,
    pg_catalog.pg_table_size(i.indrelid) AS table_bytes
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid AND t.relkind = 'r'
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = $1
ORDER BY index_bytes DESC, table_name, index_name

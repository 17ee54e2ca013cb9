-- Foreign keys from tables ($2) of a schema ($1) and to them, whatever tables are at their other ends; those of partitions
-- that come from their parent's apart.
WITH wanted AS MATERIALIZED (
    SELECT c.oid FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
    WHERE n.nspname = $1 AND c.relname = ANY ($2)
), keys AS MATERIALIZED (
    SELECT k.oid FROM wanted w JOIN pg_catalog.pg_constraint k ON k.conrelid = w.oid WHERE k.contype = 'f'
    UNION
    -- A key that refers to a table hangs on the table.
    SELECT k.oid FROM wanted w
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = w.oid
        AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
    JOIN pg_catalog.pg_constraint k ON k.oid = d.objid
    WHERE k.contype = 'f' AND k.confrelid = w.oid
)
SELECT k.conname::text AS name, n.nspname::text AS schema, c.relname::text AS table_name,
    rn.nspname::text AS referenced_schema, rc.relname::text AS referenced_table,
    k.confmatchtype::text AS matching, k.confupdtype::text AS on_update, k.confdeltype::text AS on_delete,
    k.condeferrable AS deferrable, k.condeferred AS deferred, k.convalidated AS validated,
    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY x (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum ORDER BY x.place) AS columns,
    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY x (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.attnum ORDER BY x.place) AS referenced_columns,
    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confdelsetcols) WITH ORDINALITY x (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum ORDER BY x.place) AS set_columns
FROM keys JOIN pg_catalog.pg_constraint k ON k.oid = keys.oid
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class rc ON rc.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
WHERE k.conparentid = 0
ORDER BY 2, 3, 1

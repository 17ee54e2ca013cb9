-- What the schemas named in $1 hold, for the probe's attempts: relations, routines, types. Plain catalog columns only.
WITH schemas AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1)
)
SELECT s.nspname::text AS schema_name, s.oid AS schema_oid, c.relkind::text AS kind, c.relname::text AS name, c.oid,
    (SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum LIMIT 1) AS first_column
FROM schemas s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT s.nspname::text, s.oid,
    CASE WHEN p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype THEN 'trigger function' ELSE 'function' END,
    p.proname || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')', p.oid, NULL
FROM schemas s JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
UNION ALL
SELECT s.nspname::text, s.oid, 'type', t.typname::text, t.oid, NULL
FROM schemas s JOIN pg_catalog.pg_type t ON t.typnamespace = s.oid
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c'
UNION ALL
SELECT s.nspname::text, s.oid, 'schema', s.nspname::text, s.oid, NULL
FROM schemas s
ORDER BY 1, 3, 4

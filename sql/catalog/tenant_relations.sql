-- The tables and views of one schema ($1) with size, estimated rows and row security; $2 names its hypertables.
-- Chunks and partitions count with the table they belong to.
WITH RECURSIVE own AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity AND c.relforcerowsecurity AS row_security
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
    AND d.refobjid = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)
), family AS (
    SELECT own.oid AS root, own.oid FROM own WHERE own.relkind <> 'v'
    UNION ALL
    SELECT family.root, i.inhrelid FROM family JOIN pg_catalog.pg_inherits i ON i.inhparent = family.oid
), totals AS (
    SELECT f.root, pg_catalog.sum(pg_catalog.pg_total_relation_size(f.oid))::bigint AS bytes,
        pg_catalog.sum(c.reltuples) FILTER (WHERE c.reltuples >= 0)::bigint AS estimated_rows
    FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid GROUP BY f.root
)
SELECT own.relname::text AS name, own.relname = ANY ($2) AS hypertable, own.relkind = 'v' AS is_view,
    t.estimated_rows, t.bytes, own.row_security
FROM own LEFT JOIN totals t ON t.root = own.oid
ORDER BY is_view, name

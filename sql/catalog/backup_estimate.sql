-- What tables of tenants take, by the planner's last estimate, hypertables with their chunks ($1: schemas). Reads pg_class
-- only: nothing here waits for a lock.
SELECT s.schema_name, (
    SELECT COALESCE(pg_catalog.sum(c.relpages::bigint + COALESCE(t.relpages, 0)
        + COALESCE((SELECT pg_catalog.sum(k.relpages::bigint) FROM pg_catalog.pg_inherits i
            JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid AND k.relnamespace <> n.oid WHERE i.inhparent = c.oid), 0)), 0)::bigint
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'r'
    LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
    AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    ) * pg_catalog.current_setting('block_size')::bigint AS bytes
FROM pg_catalog.unnest($1) s (schema_name) JOIN pg_catalog.pg_namespace n ON n.nspname = s.schema_name::name

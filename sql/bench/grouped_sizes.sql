-- What anybody would ask first: sizes of all tenants in one query, which opens every table, index and TOAST table of theirs.
SELECT n.nspname, pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN tenantctl.tenants t ON t.schema_name = n.nspname::text
WHERE c.relkind IN ('r', 'p', 'm')
GROUP BY n.nspname

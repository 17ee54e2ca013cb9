-- Relations of one schema ($1) that a role ($2) may insert into or update, by whatever right: its own on the table or on columns,
-- PUBLIC's, or one of a role that it is a member of. The server is asked; no relation is opened.
SELECT c.relname::text AS name, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind,
    pg_catalog.pg_get_userbyid(c.relowner)::text AS owner
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.rolname = $2::pg_catalog.name
WHERE n.nspname = $1::pg_catalog.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE')
ORDER BY 1

-- Tenants' counters ($1: schemas, $2: whether this login sees all rows by itself), for those that are what they should be: an
-- ordinary table of tenantctl_owner's in a schema of tenantctl_owner's. Nobody else can put another relation in its place
-- then, so that the name still means this table when it is read. Row security must show the owner every row.
SELECT w.at, c.oid
FROM pg_catalog.unnest($1) WITH ORDINALITY w (name, at)
JOIN pg_catalog.pg_roles o ON o.rolname = 'tenantctl_owner'
JOIN pg_catalog.pg_namespace n ON n.nspname = w.name::name AND n.nspowner = o.oid
JOIN pg_catalog.pg_class c ON c.relname = 'tenant_usage' AND c.relnamespace = n.oid AND c.relkind = 'r' AND c.relowner = o.oid
WHERE (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND NOT a.attisdropped
    AND (a.attname, a.atttypid) IN (('resource', 'text'::pg_catalog.regtype), ('scope', 'text'::pg_catalog.regtype), ('used', 'bigint'::pg_catalog.regtype))
) = 3
AND ($2 OR NOT c.relrowsecurity OR COALESCE((
    -- As it is stored: pg_get_expr waits for whoever has locked the table.
    SELECT pg_catalog.bool_and(p.polqual::text ~ '^\{CONST :consttype 16 [^{}]*:constisnull false [^{}]*:constvalue 1 \[ 1 0 0 0 0 0 0 0 \]\}$')
        AND pg_catalog.bool_or(p.polpermissive AND p.polroles && ARRAY[0::oid, o.oid])
    FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('*', 'r')), false))

-- Schemas of tenants ($1, $2 their roles) in which a query may run with names of the schema's: all that such a name can mean
-- belongs to tenantctl_owner, and nobody else can add to it, so that no code of a tenant's or stranger's runs, with whatever
-- rights. $3 is the kind of membership that SET ROLE takes on this server. `as_tenant`: this login may become the tenant;
-- `all_rows`: row security shows the owner every row, too.
WITH wanted AS MATERIALIZED (
    SELECT w.at, n.oid AS namespace, r.oid AS role, o.oid AS owner, n.nspowner = o.oid AND NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(n.nspacl) x WHERE x.privilege_type = 'CREATE' AND x.grantee <> o.oid) AS closed
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY w (schema, role, at)
    JOIN pg_catalog.pg_roles o ON o.rolname = 'tenantctl_owner'
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema::name
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role::name
), strangers AS MATERIALIZED (
    SELECT w.at FROM wanted w JOIN pg_catalog.pg_class x ON x.relnamespace = w.namespace
    WHERE x.relowner <> w.owner OR x.relkind = 'f'
    UNION
    SELECT w.at FROM wanted w JOIN pg_catalog.pg_proc x ON x.pronamespace = w.namespace WHERE x.proowner <> w.owner
    UNION
    SELECT w.at FROM wanted w JOIN pg_catalog.pg_type x ON x.typnamespace = w.namespace WHERE x.typowner <> w.owner
    UNION
    SELECT w.at FROM wanted w JOIN pg_catalog.pg_operator x ON x.oprnamespace = w.namespace WHERE x.oprowner <> w.owner
    UNION
    SELECT w.at FROM wanted w JOIN pg_catalog.pg_opclass x ON x.opcnamespace = w.namespace WHERE x.opcowner <> w.owner
    UNION
    SELECT w.at FROM wanted w JOIN pg_catalog.pg_collation x ON x.collnamespace = w.namespace WHERE x.collowner <> w.owner
    UNION
    SELECT w.at FROM wanted w JOIN pg_catalog.pg_extension x ON x.extnamespace = w.namespace
), hiding AS MATERIALIZED (
    SELECT DISTINCT w.at
    FROM wanted w
    JOIN pg_catalog.pg_class c ON c.relnamespace = w.namespace AND c.relkind IN ('r', 'p') AND c.relrowsecurity
    WHERE NOT COALESCE(pg_catalog.pg_has_role(session_user, w.role, $3), false)
    AND NOT COALESCE((
        -- As it is stored: pg_get_expr waits for whoever has locked the table.
        SELECT pg_catalog.bool_and(p.polqual::text ~ '^\{CONST :consttype 16 [^{}]*:constisnull false [^{}]*:constvalue 1 \[ 1 0 0 0 0 0 0 0 \]\}$')
            AND pg_catalog.bool_or(p.polpermissive AND p.polroles && ARRAY[0::oid, w.owner])
        FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('*', 'r')), false)
)
SELECT w.at, w.closed AND s.at IS NULL AS safe,
    COALESCE(pg_catalog.pg_has_role(session_user, w.role, $3), false) AS as_tenant,
    h.at IS NULL AS all_rows
FROM wanted w
LEFT JOIN strangers s ON s.at = w.at
LEFT JOIN hiding h ON h.at = w.at

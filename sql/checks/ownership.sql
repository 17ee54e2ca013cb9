-- check: ownership
-- title: objects in tenant schemas that do not belong to tenantctl_owner
-- explain: An owner may do anything with its object: drop it, grant it, switch row security off, hang triggers on it that run as whoever writes.
-- explain: So everything in a tenant's schema, and the schema, belongs to tenantctl_owner. What belongs to the tenant escapes every limit; what belongs to
-- explain: somebody else, an admin included, runs with that role's rights in views and definer functions.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), places AS MATERIALIZED (
    SELECT t.tenant_id, t.schema_name, n.oid, n.nspowner
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::pg_catalog.name
), owner AS MATERIALIZED (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_owner'
), objects AS (
    SELECT p.oid AS namespace, 'schema' AS kind, NULL::text AS name, p.nspowner AS owner FROM places p
    UNION ALL
    SELECT c.relnamespace, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'table' END,
        pg_catalog.quote_ident(c.relname), c.relowner
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT f.pronamespace, CASE f.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
        pg_catalog.format('%I(%s)', f.proname, pg_catalog.oidvectortypes(f.proargtypes)), f.proowner
    FROM pg_catalog.pg_proc f
    -- The constructors of a range type are the bootstrap superuser's and go with the type.
    WHERE NOT (f.proowner = 10 AND EXISTS (SELECT FROM pg_catalog.pg_depend i
        WHERE i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objid = f.oid AND i.deptype = 'i'))
    UNION ALL
    -- Row and array types follow what they are of.
    SELECT y.typnamespace, CASE y.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, pg_catalog.quote_ident(y.typname), y.typowner
    FROM pg_catalog.pg_type y LEFT JOIN pg_catalog.pg_class c ON c.oid = y.typrelid
    WHERE y.typtype IN ('d', 'e', 'r') OR (y.typtype = 'c' AND c.relkind = 'c') OR (y.typtype = 'b' AND y.typcategory <> 'A')
    UNION ALL
    SELECT o.oprnamespace, 'operator', pg_catalog.format('%s(%s, %s)', o.oprname,
        CASE o.oprleft WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprleft, NULL) END, pg_catalog.format_type(o.oprright, NULL)), o.oprowner
    FROM pg_catalog.pg_operator o
    UNION ALL
    SELECT l.collnamespace, 'collation', pg_catalog.quote_ident(l.collname), l.collowner FROM pg_catalog.pg_collation l
    UNION ALL
    SELECT v.connamespace, 'conversion', pg_catalog.quote_ident(v.conname), v.conowner FROM pg_catalog.pg_conversion v
    UNION ALL
    SELECT k.opcnamespace, 'operator class', pg_catalog.format('%I USING %I', k.opcname, a.amname), k.opcowner
    FROM pg_catalog.pg_opclass k JOIN pg_catalog.pg_am a ON a.oid = k.opcmethod
    UNION ALL
    SELECT k.opfnamespace, 'operator family', pg_catalog.format('%I USING %I', k.opfname, a.amname), k.opfowner
    FROM pg_catalog.pg_opfamily k JOIN pg_catalog.pg_am a ON a.oid = k.opfmethod
    UNION ALL
    SELECT s.stxnamespace, 'statistics', pg_catalog.quote_ident(s.stxname), s.stxowner FROM pg_catalog.pg_statistic_ext s
    UNION ALL
    SELECT x.cfgnamespace, 'text search configuration', pg_catalog.quote_ident(x.cfgname), x.cfgowner FROM pg_catalog.pg_ts_config x
    UNION ALL
    SELECT x.dictnamespace, 'text search dictionary', pg_catalog.quote_ident(x.dictname), x.dictowner FROM pg_catalog.pg_ts_dict x
), wrong AS (
    SELECT o.*, pg_catalog.pg_get_userbyid(o.owner)::text AS owner_name
    FROM objects o WHERE NOT EXISTS (SELECT FROM owner w WHERE w.oid = o.owner)
)
SELECT CASE WHEN w.owner_name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' THEN CASE WHEN w.owner_name = p.schema_name || '_user' THEN 'high' ELSE 'critical' END ELSE 'high' END AS severity,
    p.tenant_id::text, p.schema_name::text,
    w.kind || ' ' || pg_catalog.quote_ident(p.schema_name) || COALESCE('.' || w.name, '') AS object,
    pg_catalog.format('it belongs to role %I%s, not to tenantctl_owner', w.owner_name, CASE WHEN w.owner_name = p.schema_name || '_user' THEN ', the tenant itself' ELSE '' END) AS detail,
    pg_catalog.format('ALTER %s %I%s OWNER TO tenantctl_owner;', pg_catalog.upper(w.kind), p.schema_name, COALESCE('.' || w.name, '')) AS remedy
FROM places p JOIN wrong w ON w.namespace = p.oid
ORDER BY 2, 4, 5

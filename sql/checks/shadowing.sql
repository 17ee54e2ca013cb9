-- check: shadowing
-- title: objects that bear the name of a built-in one, where a search path may find them first
-- explain: A function or operator that fits the argument types better than the built-in one of the same name is chosen even when
-- explain: pg_catalog comes first; a relation or type is, where pg_catalog does not come first. In public, which is on
-- explain: everybody's search path by default, that makes the author's code run in the name of whoever writes an unqualified name, the admin included. In a
-- explain: tenant's schema it is met by the tenant, and by an admin who works there. Objects of extensions and of the template are left out.
-- explain: A table in public with the name of one of the registry's misleads people.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, n.nspname, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.template, t.modules
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
    UNION ALL
    SELECT n.oid, n.nspname, NULL, NULL, NULL, NULL FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'
), builtin AS MATERIALIZED (
    SELECT n.oid AS namespace FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pg_catalog'
), relations AS MATERIALIZED (
    SELECT c.relname FROM pg_catalog.pg_class c JOIN builtin b ON b.namespace = c.relnamespace WHERE c.relkind IN ('r', 'v')
), functions AS MATERIALIZED (
    SELECT DISTINCT f.proname FROM pg_catalog.pg_proc f JOIN builtin b ON b.namespace = f.pronamespace
), operators AS MATERIALIZED (
    SELECT DISTINCT o.oprname FROM pg_catalog.pg_operator o JOIN builtin b ON b.namespace = o.oprnamespace
), types AS MATERIALIZED (
    SELECT t.typname FROM pg_catalog.pg_type t JOIN builtin b ON b.namespace = t.typnamespace WHERE t.typtype <> 'c' AND t.typelem = 0
), found AS (
    SELECT s.*, 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, c.oid,
        CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind,
        pg_catalog.quote_ident(c.relname) AS name, 'the built-in relation of that name' AS what
    FROM pg_catalog.pg_class c JOIN relations r ON r.relname = c.relname JOIN spaces s ON s.namespace = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT s.*, 'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, CASE f.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
        pg_catalog.quote_ident(f.proname) || '(' || pg_catalog.oidvectortypes(f.proargtypes) || ')', 'a built-in function of that name'
    FROM pg_catalog.pg_proc f JOIN functions b ON b.proname = f.proname JOIN spaces s ON s.namespace = f.pronamespace
    UNION ALL
    SELECT s.*, 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, 'operator',
        pg_catalog.format('%s (%s, %s)', o.oprname, COALESCE(pg_catalog.format_type(NULLIF(o.oprleft, 0), NULL), 'NONE'), COALESCE(pg_catalog.format_type(NULLIF(o.oprright, 0), NULL), 'NONE')),
        'a built-in operator of that name'
    FROM pg_catalog.pg_operator o JOIN operators b ON b.oprname = o.oprname JOIN spaces s ON s.namespace = o.oprnamespace
    UNION ALL
    SELECT s.*, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, pg_catalog.quote_ident(t.typname), 'the built-in type of that name'
    FROM pg_catalog.pg_type t JOIN types b ON b.typname = t.typname JOIN spaces s ON s.namespace = t.typnamespace
    WHERE t.typelem = 0
    UNION ALL
    SELECT s.*, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, pg_catalog.quote_ident(c.relname), 'a table of the registry'
    FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace AND s.tenant_id IS NULL
    JOIN pg_catalog.pg_class g ON g.relname = c.relname AND g.relkind = 'r' JOIN pg_catalog.pg_namespace n ON n.oid = g.relnamespace AND n.nspname = 'tenantctl'
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
)
SELECT CASE WHEN f.what = 'a table of the registry' THEN 'low' WHEN f.tenant_id IS NULL THEN 'high' WHEN f.kind IN ('function', 'operator') THEN 'medium' ELSE 'low' END AS severity,
    f.tenant_id, f.schema_name, pg_catalog.format('%s %I.%s', f.kind, f.nspname, f.name) AS object,
    pg_catalog.format('it stands beside %s%s', f.what, CASE WHEN f.tenant_id IS NULL THEN ', in a schema that is on the default search path' ELSE '' END) AS detail,
    pg_catalog.format('DROP %s %I.%s;', pg_catalog.upper(f.kind), f.nspname, f.name) AS remedy
FROM found f
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = f.classid AND d.objid = f.oid AND d.deptype = 'e')
AND NOT (f.tenant_id IS NOT NULL AND EXISTS (
    SELECT FROM tenantctl.template_objects o
    JOIN tenantctl.template_modules m ON m.template = o.template AND m.version = o.version AND m.ordinal = o.ordinal
    WHERE o.template = f.template AND m.module = ANY (f.modules) AND o.kind = f.kind
    AND (o.object = '{schema}.' || pg_catalog.replace(f.name, f.schema_name || '.', '{schema}.') OR f.kind = 'operator')))
UNION ALL
-- What somebody has put into pg_catalog itself is found first, whatever the search path says.
SELECT 'critical', NULL, NULL, pg_catalog.format('%s pg_catalog.%s', u.kind, u.name),
    'it is not the server''s, and stands where every query looks first', pg_catalog.format('DROP %s pg_catalog.%s;', pg_catalog.upper(u.kind), u.name)
FROM (
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass AS classid, f.oid, CASE f.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
        pg_catalog.format('%I(%s)', f.proname, pg_catalog.oidvectortypes(f.proargtypes)) AS name
    FROM pg_catalog.pg_proc f WHERE f.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND f.oid >= 16384
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, 'operator', pg_catalog.format('%s (%s, %s)', o.oprname,
        COALESCE(pg_catalog.format_type(NULLIF(o.oprleft, 0), NULL), 'NONE'), COALESCE(pg_catalog.format_type(NULLIF(o.oprright, 0), NULL), 'NONE'))
    FROM pg_catalog.pg_operator o WHERE o.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace AND o.oid >= 16384
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, pg_catalog.quote_ident(c.relname)
    FROM pg_catalog.pg_class c WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
) u
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = u.classid AND d.objid = u.oid AND d.deptype = 'e')
ORDER BY 3, 4

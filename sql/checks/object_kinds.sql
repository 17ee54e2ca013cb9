-- check: object_kinds
-- title: kinds of objects in tenant schemas that row security and grants do not protect
-- explain: A materialized view holds a copy of rows, without row security, filled with its owner's rights. A foreign table is a
-- explain: door to another server, and its credentials. A rule rewrites the tenant's, and the admin's, statements into
-- explain: others that run with the rights of the table's owner. An unlogged table is empty after a crash, and not in replicas.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
)
SELECT k.severity, k.tenant_id, k.schema_name, k.object, k.detail, k.remedy FROM (
    SELECT CASE c.relkind WHEN 'm' THEN 'high' WHEN 'f' THEN 'high' ELSE 'medium' END AS severity, s.tenant_id, s.schema_name,
        pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END, s.schema_name, c.relname) AS object,
        CASE c.relkind WHEN 'm' THEN 'a copy of rows without row security, filled with the rights of ' || pg_catalog.pg_get_userbyid(c.relowner)
            WHEN 'f' THEN pg_catalog.format('it reaches out of the database through server %s', (
                SELECT v.srvname FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_foreign_server v ON v.oid = f.ftserver WHERE f.ftrelid = c.oid))
            ELSE 'it is unlogged: a crash empties it, and replicas have none of its rows' END AS detail,
        CASE c.relkind WHEN 'm' THEN pg_catalog.format('DROP MATERIALIZED VIEW %I.%I;', s.schema_name, c.relname)
            WHEN 'f' THEN pg_catalog.format('DROP FOREIGN TABLE %I.%I;', s.schema_name, c.relname)
            ELSE pg_catalog.format('ALTER TABLE %I.%I SET LOGGED;', s.schema_name, c.relname) END AS remedy
    FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace
    WHERE c.relkind IN ('m', 'f') OR (c.relkind IN ('r', 'p') AND c.relpersistence = 'u')
    UNION ALL
    SELECT 'high', s.tenant_id, s.schema_name, pg_catalog.format('rule %I on %I.%I', w.rulename, s.schema_name, c.relname),
        pg_catalog.format('it turns %s into something else, with the rights of %s',
            CASE w.ev_type WHEN '1' THEN 'SELECT' WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END, pg_catalog.pg_get_userbyid(c.relowner)),
        pg_catalog.format('DROP RULE %I ON %I.%I;', w.rulename, s.schema_name, c.relname)
    FROM pg_catalog.pg_rewrite w
    JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
    JOIN spaces s ON s.namespace = c.relnamespace
    JOIN tenants t ON t.tenant_id = s.tenant_id
    WHERE w.rulename <> '_RETURN'
    AND NOT EXISTS (
        SELECT FROM tenantctl.template_objects o
        JOIN tenantctl.template_modules m ON m.template = o.template AND m.version = o.version AND m.ordinal = o.ordinal
        WHERE o.template = t.template AND m.module = ANY (t.modules) AND o.kind = 'rule'
        AND o.object = pg_catalog.quote_ident(w.rulename) || ' on {schema}.' || pg_catalog.quote_ident(c.relname))
) k
ORDER BY 3, 4

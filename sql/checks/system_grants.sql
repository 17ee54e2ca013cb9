-- check: system_grants
-- title: system functions, views and columns opened to PUBLIC that the server keeps shut
-- explain: The server keeps pg_authid, pg_read_file, pg_ls_dir, lo_export, pg_reload_conf and the like from ordinary roles. One GRANT to PUBLIC and
-- explain: every tenant reads password verifiers or the server's files. Grants to a tenant by name are told by grants_outside.
WITH initial AS MATERIALIZED (
    SELECT p.classoid, p.objoid, p.objsubid, x.privilege_type FROM pg_catalog.pg_init_privs p CROSS JOIN LATERAL pg_catalog.aclexplode(p.initprivs) x
    WHERE x.grantee = 0
), guarded AS MATERIALIZED (
    SELECT DISTINCT p.objoid FROM pg_catalog.pg_init_privs p WHERE p.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
), open AS (
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass AS classid, f.oid AS objid, 0 AS objsubid, x.privilege_type, 'function' AS kind,
        pg_catalog.format('%I.%I(%s)', n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)) AS name, '' AS suffix
    FROM pg_catalog.pg_proc f JOIN guarded g ON g.objoid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) x
    WHERE x.grantee = 0
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0, x.privilege_type, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END,
        pg_catalog.format('%I.%I', n.nspname, c.relname), ''
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) x
    WHERE n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relacl IS NOT NULL AND x.grantee = 0
    -- The information schema shows everybody their own, and is made after initial privileges were noted.
    AND NOT (n.nspname = 'information_schema' AND x.privilege_type = 'SELECT')
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, a.attnum, x.privilege_type, 'column',
        pg_catalog.format('%I.%I.%I', n.nspname, c.relname, a.attname), pg_catalog.format(' (%I)', a.attname)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    -- OFFSET keeps the planner from reading the columns of all tables.
    CROSS JOIN LATERAL (SELECT k.attname, k.attnum, k.attacl FROM pg_catalog.pg_attribute k WHERE k.attrelid = c.oid AND k.attacl IS NOT NULL OFFSET 0) a
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x
    WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v') AND x.grantee = 0
)
SELECT 'critical' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, o.kind || ' ' || o.name AS object,
    pg_catalog.format('PUBLIC, and so every tenant, has %s, which the server did not give at first', pg_catalog.string_agg(o.privilege_type, ', ' ORDER BY o.privilege_type)) AS detail,
    pg_catalog.format('REVOKE %s ON %s FROM PUBLIC;', pg_catalog.string_agg(o.privilege_type || o.suffix, ', ' ORDER BY o.privilege_type),
        CASE o.kind WHEN 'function' THEN 'FUNCTION ' || o.name WHEN 'column' THEN 'TABLE ' || pg_catalog.format('%s', o.objid::pg_catalog.regclass) ELSE 'TABLE ' || o.name END) AS remedy
FROM open o
WHERE NOT EXISTS (
    SELECT FROM initial i
    WHERE i.classoid = o.classid AND i.objoid = o.objid AND i.objsubid = o.objsubid AND i.privilege_type = o.privilege_type)
GROUP BY o.kind, o.name, o.objid
ORDER BY 4

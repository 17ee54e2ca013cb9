-- check: shared_relations
-- title: tables outside tenant schemas that PUBLIC may read or write
-- explain: A table that PUBLIC may write is a place where tenants leave data for each other, fill the disk, or feed whoever trusts what is in it; with
-- explain: TRIGGER a tenant hangs code on it that the next writer runs. One that PUBLIC may read holds what all tenants see. System catalogs, and what an
-- explain: extension opened when it was installed, are left out; what was opened on those later is told by system_grants.
WITH initial AS MATERIALIZED (
    SELECT p.objoid, x.privilege_type FROM pg_catalog.pg_init_privs p CROSS JOIN LATERAL pg_catalog.aclexplode(p.initprivs) x
    WHERE p.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.objsubid = 0 AND x.grantee = 0
), places AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
    WHERE n.nspname !~ '^(pg_catalog|information_schema|pg_toast|tenantctl|tenant_[0-9a-f]{12}|template_.*|_timescaledb_.*)$'
), relations AS MATERIALIZED (
    SELECT c.oid, p.nspname, c.relname, c.relkind, c.relacl FROM pg_catalog.pg_class c JOIN places p ON p.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), open AS (
    SELECT r.oid, r.nspname, r.relname, r.relkind, x.privilege_type, '' AS suffix
    FROM relations r CROSS JOIN LATERAL pg_catalog.aclexplode(r.relacl) x
    WHERE x.grantee = 0 AND NOT EXISTS (SELECT FROM initial i WHERE i.objoid = r.oid AND i.privilege_type = x.privilege_type)
    UNION ALL
    SELECT r.oid, r.nspname, r.relname, r.relkind, x.privilege_type, pg_catalog.format(' (%I)', a.attname)
    FROM relations r
    -- OFFSET keeps the planner from reading the columns of all tables.
    CROSS JOIN LATERAL (SELECT k.attname, k.attacl FROM pg_catalog.pg_attribute k WHERE k.attrelid = r.oid AND k.attacl IS NOT NULL OFFSET 0) a
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x
    WHERE x.grantee = 0
)
SELECT CASE WHEN pg_catalog.bool_and(o.privilege_type IN ('SELECT', 'USAGE')) THEN 'medium' ELSE 'high' END AS severity,
    NULL::text AS tenant_id, NULL::text AS schema_name,
    pg_catalog.format('%s %I.%I', CASE o.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'table' END,
        o.nspname, o.relname) AS object,
    pg_catalog.format('PUBLIC, and so every tenant, has %s', pg_catalog.string_agg(o.privilege_type || o.suffix, ', ' ORDER BY o.privilege_type, o.suffix)) AS detail,
    pg_catalog.format('REVOKE %s ON %s %I.%I FROM PUBLIC;', pg_catalog.string_agg(o.privilege_type || o.suffix, ', ' ORDER BY o.privilege_type, o.suffix),
        CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, o.nspname, o.relname) AS remedy
FROM open o
GROUP BY o.oid, o.nspname, o.relname, o.relkind
ORDER BY 4

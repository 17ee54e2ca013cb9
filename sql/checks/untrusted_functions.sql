-- check: untrusted_functions
-- title: functions in languages without a sandbox that tenants may execute
-- explain: A function in plpython3u, plperlu, C or another language that is not trusted does what the server's operating system user can do. The server's own and
-- explain: those of extensions are reviewed; one that somebody added and that tenants may execute is as good as its author was careful.
WITH RECURSIVE trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
)
SELECT 'high' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    pg_catalog.format('function %I.%I(%s)', n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)) AS object,
    pg_catalog.format('%s may execute it, and its language %I is not trusted', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END, l.lanname) AS detail,
    pg_catalog.format('REVOKE EXECUTE ON ROUTINE %I.%I(%s) FROM %s;', n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes),
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END) AS remedy
FROM pg_catalog.pg_language l
JOIN pg_catalog.pg_proc f ON f.prolang = l.oid
JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) x
-- 16384 is the first oid that is not the server's own.
WHERE NOT l.lanpltrusted AND f.oid >= 16384 AND x.grantee <> f.proowner
AND f.prorettype NOT IN ('pg_catalog.language_handler'::pg_catalog.regtype, 'pg_catalog.fdw_handler'::pg_catalog.regtype)
AND (x.grantee = 0 OR pg_catalog.pg_get_userbyid(x.grantee) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$')
AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
-- An aggregate is what its functions are; the constructors of a range type are the server's own.
AND f.prokind <> 'a'
AND NOT (f.proowner = 10 AND EXISTS (SELECT FROM pg_catalog.pg_depend i
    WHERE i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objid = f.oid AND i.deptype = 'i'))
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid AND d.deptype = 'e')
ORDER BY 4, 5

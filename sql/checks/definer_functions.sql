-- check: definer_functions
-- title: SECURITY DEFINER functions for tenants that run as somebody powerful, or with an open search path
-- explain: A SECURITY DEFINER function runs with its owner's rights. Unless its search_path is pinned and ends in pg_temp, its caller's path, or a temporary
-- explain: object of the caller, decides what the names in its body mean, and the caller's code runs as the owner. With a pinned path it still does for
-- explain: its caller whatever its body can be led to, with the rights of an owner who can read every tenant. Extensions' own with a pinned path
-- explain: are trusted; those inside tenant schemas are told elsewhere.
WITH RECURSIVE trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
), candidates AS MATERIALIZED (
    -- Tenants' own, two each, before anything is joined or asked of them.
    SELECT p.* FROM pg_catalog.pg_proc p
    WHERE p.prosecdef AND p.pronamespace NOT IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname ~ '^tenant_[0-9a-f]{12}$')
)
SELECT CASE WHEN f.powerful AND NOT f.pinned THEN 'critical' ELSE 'high' END AS severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    pg_catalog.format('%s %I.%I(%s)', CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)) AS object,
    pg_catalog.format('%s may execute it, it runs as role %I, ' || CASE WHEN f.pinned THEN 'which can read every tenant' ELSE 'and its search_path is not pinned to end in pg_temp, which takes qualified names in its body' END, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END, pg_catalog.pg_get_userbyid(f.proowner)) AS detail,
    CASE WHEN f.pinned THEN pg_catalog.format('REVOKE EXECUTE ON ROUTINE %I.%I(%s) FROM %s;', n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes),
            CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END)
        ELSE pg_catalog.format('ALTER ROUTINE %I.%I(%s) SET search_path = pg_catalog, pg_temp;', n.nspname, f.proname,
            pg_catalog.oidvectortypes(f.proargtypes)) END AS remedy
FROM (
    SELECT p.*, EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) s (item) WHERE s.item ~ '^search_path=([^"]*,\s*)?"?pg_temp"?$') AS pinned,
        o.oid IN (SELECT q.oid FROM trusted q) OR o.rolbypassrls OR pg_catalog.pg_has_role(o.oid, 'pg_read_all_data', 'USAGE') AS powerful
    FROM candidates p JOIN pg_catalog.pg_roles o ON o.oid = p.proowner
) f
JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace AND n.nspname !~ '^tenant_[0-9a-f]{12}$'
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) x
WHERE f.prosecdef AND x.grantee <> f.proowner
AND (x.grantee = 0 OR pg_catalog.pg_get_userbyid(x.grantee) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$')
AND (NOT f.pinned OR (f.powerful AND f.oid >= 16384 AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid AND d.deptype = 'e')))
ORDER BY 4, 5

-- check: definer_functions
-- title: SECURITY DEFINER functions outside tenant schemas that tenants may execute, with an open search path
-- explain: A SECURITY DEFINER function runs with its owner's rights. Unless its search_path is pinned and ends in pg_temp, its caller's path, or a temporary
-- explain: object of the caller, decides what the names in its body mean, and the caller's code runs as the owner. Those inside tenant
-- explain: schemas are told elsewhere.
WITH RECURSIVE trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
)
SELECT CASE WHEN f.proowner IN (SELECT q.oid FROM trusted q) THEN 'critical' ELSE 'high' END AS severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    pg_catalog.format('%s %I.%I(%s)', CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)) AS object,
    pg_catalog.format('%s may execute it, it runs as role %I, and its search_path is not pinned to end in pg_temp, which takes qualified names in its body', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END, pg_catalog.pg_get_userbyid(f.proowner)) AS detail,
    pg_catalog.format('ALTER ROUTINE %I.%I(%s) SET search_path = pg_catalog, pg_temp;', n.nspname, f.proname,
        pg_catalog.oidvectortypes(f.proargtypes)) AS remedy
FROM pg_catalog.pg_proc f
JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace AND n.nspname !~ '^tenant_[0-9a-f]{12}$'
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) x
WHERE f.prosecdef AND x.grantee <> f.proowner
AND (x.grantee = 0 OR pg_catalog.pg_get_userbyid(x.grantee) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$')
AND NOT EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) s (item) WHERE s.item ~ '^search_path=([^"]*,\s*)?"?pg_temp"?$')
ORDER BY 4, 5

-- check: foreign_access
-- title: foreign servers and user mappings that tenants can use
-- explain: A foreign server with a user mapping is somebody's login elsewhere. A mapping for PUBLIC or for a tenant lends that login to tenants;
-- explain: USAGE on a server or a wrapper lets a tenant point it where it likes, this very database under another name included.
WITH RECURSIVE tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
), doors AS (
    SELECT 'foreign-data wrapper' AS kind, w.fdwname AS name, w.fdwowner AS owner, w.fdwacl AS acl FROM pg_catalog.pg_foreign_data_wrapper w
    UNION ALL
    SELECT 'server', s.srvname, s.srvowner, s.srvacl FROM pg_catalog.pg_foreign_server s
), found AS (
    SELECT CASE x.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS role_name,
        pg_catalog.format('%s %I', d.kind, d.name) AS object,
        pg_catalog.format('%s has USAGE', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END) AS detail,
        pg_catalog.format('REVOKE USAGE ON FOREIGN %s %I FROM %s CASCADE;', CASE d.kind WHEN 'server' THEN 'SERVER' ELSE 'DATA WRAPPER' END, d.name,
            CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END) AS remedy
    FROM doors d CROSS JOIN LATERAL pg_catalog.aclexplode(d.acl) x
    WHERE x.grantee <> d.owner AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    AND (x.grantee = 0 OR pg_catalog.pg_get_userbyid(x.grantee) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$')
    UNION ALL
    SELECT CASE m.umuser WHEN 0 THEN NULL ELSE m.usename::text END, pg_catalog.format('user mapping for %s on server %I', name, m.srvname),
        pg_catalog.format('%s may log in to foreign server %I by this mapping', CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE 'role ' || name END, m.srvname),
        pg_catalog.format('DROP USER MAPPING FOR %s SERVER %I;', name, m.srvname)
    FROM pg_catalog.pg_user_mappings m
    CROSS JOIN LATERAL (SELECT CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(m.usename) END) u (name)
    WHERE m.umuser = 0 OR m.usename ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
)
SELECT 'critical' AS severity, t.tenant_id::text, t.schema_name::text, f.object, f.detail, f.remedy
FROM found f LEFT JOIN tenantctl.tenants o ON o.role_name = f.role_name
LEFT JOIN tenants t ON t.tenant_id = o.tenant_id
WHERE o.tenant_id IS NULL OR t.tenant_id IS NOT NULL
ORDER BY 2, 4, 5

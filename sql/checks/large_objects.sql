-- check: large_objects
-- title: large objects that tenants own or share
-- explain: Large objects belong to no schema and to no template: a tenant that may make one has a place outside its schema, which outlasts it and
-- explain: which no backup of the tenant holds. One that PUBLIC, the group or another tenant may read or write carries data from tenant to tenant.
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
), objects AS (
    SELECT l.oid, l.lomowner, l.lomacl, r.rolname AS owner_name, r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' AS by_tenant
    FROM pg_catalog.pg_largeobject_metadata l JOIN pg_catalog.pg_roles r ON r.oid = l.lomowner
), shares AS (
    SELECT o.oid, o.owner_name, x.grantee, pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) AS rights,
        CASE x.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee_name
    FROM objects o CROSS JOIN LATERAL pg_catalog.aclexplode(o.lomacl) x
    WHERE x.grantee <> o.lomowner AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    AND (x.grantee = 0 OR o.by_tenant OR pg_catalog.pg_get_userbyid(x.grantee) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$')
    GROUP BY 1, 2, 3
), found AS (
    SELECT 'medium' AS severity, o.owner_name::text AS role_name, o.oid,
        pg_catalog.format('role %I owns it, outside its schema and beyond its tenant''s backups', o.owner_name) AS detail,
        pg_catalog.format('SELECT pg_catalog.lo_unlink(%s);', o.oid) AS remedy
    FROM objects o WHERE o.by_tenant
    UNION ALL
    -- What a tenant owns exposes the tenant; else it concerns the one who may reach it.
    SELECT 'critical', CASE WHEN s.owner_name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' THEN s.owner_name::text ELSE s.grantee_name END, s.oid,
        pg_catalog.format('%s has %s on this large object of role %I', CASE s.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', s.grantee_name) END,
            s.rights, s.owner_name),
        pg_catalog.format('REVOKE ALL ON LARGE OBJECT %s FROM %s;', s.oid, CASE s.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(s.grantee_name) END)
    FROM shares s
)
SELECT f.severity, t.tenant_id::text, t.schema_name::text, pg_catalog.format('large object %s', f.oid) AS object, f.detail, f.remedy
FROM found f LEFT JOIN tenantctl.tenants o ON o.role_name = f.role_name
LEFT JOIN tenants t ON t.tenant_id = o.tenant_id
WHERE o.tenant_id IS NULL OR t.tenant_id IS NOT NULL
ORDER BY 2, 4, 5

-- check: default_privileges
-- title: default privileges that hand rights on what is made later
-- explain: Default privileges are grants in advance: whatever their role creates from now on comes with them. One that names PUBLIC, a tenant or
-- explain: the group, or that holds in a tenant's schema, opens tables that do not exist yet, and no look at today's tables shows it.
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
), entries AS (
    SELECT pg_catalog.pg_get_userbyid(a.defaclrole)::text AS maker, a.defaclrole, n.nspname::text AS place,
        a.defaclobjtype, x.grantee, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee_name,
        pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) AS rights,
        CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES'
            WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind
    FROM pg_catalog.pg_default_acl a
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.defaclacl) x
    WHERE x.grantee <> a.defaclrole
    GROUP BY 1, 2, 3, 4, 5
), wrong AS (
    SELECT e.*, e.grantee = 0 OR e.grantee_name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' AS to_tenants,
        e.maker ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' AS by_tenant, e.place ~ '^tenant_[0-9a-f]{12}$' AS in_tenant
    FROM entries e
    WHERE NOT EXISTS (SELECT FROM trusted q WHERE q.oid = e.grantee)
    -- EXECUTE and USAGE of PUBLIC are the server's own default for every role but the owner of the tenants' objects.
    AND NOT (e.grantee = 0 AND e.place IS NULL AND e.maker <> 'tenantctl_owner'
        AND ((e.defaclobjtype = 'f' AND e.rights = 'EXECUTE') OR (e.defaclobjtype = 'T' AND e.rights = 'USAGE')))
)
SELECT CASE WHEN (w.to_tenants AND (w.maker = 'tenantctl_owner' OR w.in_tenant)) OR w.by_tenant THEN 'critical'
        WHEN w.maker = 'tenantctl_owner' OR w.in_tenant OR w.grantee <> 0 THEN 'high' ELSE 'medium' END AS severity,
    t.tenant_id::text, t.schema_name::text,
    pg_catalog.format('default privileges of role %I on %s', w.maker, pg_catalog.lower(w.kind)) || COALESCE(' in schema ' || pg_catalog.quote_ident(w.place), '') AS object,
    pg_catalog.format('%s will have %s on whatever role %I creates%s', CASE w.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', w.grantee_name) END,
        w.rights, w.maker, COALESCE(' in schema ' || pg_catalog.quote_ident(w.place), '')) AS detail,
    pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE ALL ON %s FROM %s;', w.maker, COALESCE(' IN SCHEMA ' || pg_catalog.quote_ident(w.place), ''), w.kind,
        CASE w.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(w.grantee_name) END) AS remedy
FROM wrong w
LEFT JOIN tenantctl.tenants o ON CASE WHEN w.in_tenant THEN o.schema_name = w.place ELSE o.role_name IN (w.maker, w.grantee_name) END
LEFT JOIN tenants t ON t.tenant_id = o.tenant_id
WHERE (w.to_tenants OR w.by_tenant OR w.in_tenant OR w.maker = 'tenantctl_owner') AND (o.tenant_id IS NULL OR t.tenant_id IS NOT NULL)
ORDER BY 2, 4, 5

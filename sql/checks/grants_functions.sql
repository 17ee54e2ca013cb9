-- check: grants_functions
-- title: rights on functions of a tenant that go beyond EXECUTE for its own role
-- explain: A function without an ACL may be executed by PUBLIC, which is the built-in default. In a tenant's schema that hands its code, and with
-- explain: SECURITY DEFINER the owner's rights, to everybody who passes the schema. tenantctl's own trigger functions audit_changes and
-- explain: enforce_limits run as the owner: nobody may call or attach them.
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
), places AS MATERIALIZED (
    SELECT t.tenant_id, t.schema_name, t.role_name, n.oid AS namespace, n.nspowner, n.nspacl,
        COALESCE(r.oid, '4294967295') AS role,
        pg_catalog.to_regrole('tenantctl_owner')::pg_catalog.oid AS owner
    FROM tenants t
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::pg_catalog.name
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
), standard AS MATERIALIZED (
    SELECT p.*, CASE WHEN pg_catalog.to_regrole(p.role_name) IS NOT NULL THEN
        ARRAY['tenantctl_owner=X/tenantctl_owner', p.role_name || '=X/tenantctl_owner']::pg_catalog.aclitem[] END AS function_acl
    FROM places p
), items AS MATERIALIZED (
    SELECT s.tenant_id, s.schema_name, s.role, s.role_name, f.proowner AS owner,
        pg_catalog.format('%s %I.%I(%s)', CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, s.schema_name, f.proname,
            pg_catalog.oidvectortypes(f.proargtypes)) AS object,
        pg_catalog.format('ROUTINE %I.%I(%s)', s.schema_name, f.proname, pg_catalog.oidvectortypes(f.proargtypes)) AS target,
        '' AS suffix,
        CASE WHEN f.proname IN ('audit_changes' || pg_catalog.substr(s.schema_name, 7), 'enforce_limits' || pg_catalog.substr(s.schema_name, 7)) THEN '{}'::text[] ELSE ARRAY['EXECUTE'] END AS allowed,
        COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner)) AS acl
    FROM standard s JOIN pg_catalog.pg_proc f ON f.pronamespace = s.namespace
    WHERE (f.proacl IS DISTINCT FROM s.function_acl OR f.proname IN ('audit_changes' || pg_catalog.substr(s.schema_name, 7), 'enforce_limits' || pg_catalog.substr(s.schema_name, 7)))
    -- The constructors of a range type are the bootstrap superuser's and go with the type.
    AND NOT (f.proowner = 10 AND EXISTS (SELECT FROM pg_catalog.pg_depend i
        WHERE i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objid = f.oid AND i.deptype = 'i'))
), wrong AS (
    SELECT i.tenant_id, i.schema_name, i.object, i.target, i.role, i.role_name, i.owner, i.allowed, x.grantor, x.grantee,
        x.grantee = i.role AND x.privilege_type = ANY (i.allowed) AS option_only,
        pg_catalog.string_agg(x.privilege_type || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END, ', '
            ORDER BY x.privilege_type) AS rights,
        pg_catalog.string_agg(x.privilege_type || i.suffix, ', ' ORDER BY x.privilege_type) AS privileges,
        pg_catalog.bool_or(x.is_grantable) AS grantable,
        pg_catalog.bool_or(x.privilege_type IN ('CREATE', 'TRIGGER')) AS code
    FROM items i CROSS JOIN LATERAL pg_catalog.aclexplode(i.acl) x
    WHERE x.grantee <> i.owner
    AND (x.grantee <> i.role OR x.is_grantable OR x.privilege_type <> ALL (i.allowed))
    AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
), named AS (
    SELECT w.*, pg_catalog.pg_get_userbyid(w.grantee)::text AS grantee_name FROM wrong w
)
SELECT CASE
        WHEN n.grantee = n.role THEN CASE WHEN n.code THEN 'critical' ELSE 'high' END
        WHEN n.grantee = 0 OR n.grantee_name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' THEN 'critical'
        ELSE 'high'
    END AS severity,
    n.tenant_id::text, n.schema_name::text, n.object,
    CASE
        WHEN n.option_only THEN pg_catalog.format('the tenant''s role %I may hand on what it has here: %s', n.role_name, n.rights)
        WHEN n.grantee = n.role THEN pg_catalog.format('the tenant''s role %I has %s beyond the standard, which is %s', n.role_name, n.rights,
            COALESCE(NULLIF(pg_catalog.array_to_string(n.allowed, ', '), ''), 'nothing'))
        WHEN n.grantee = 0 THEN pg_catalog.format('PUBLIC, and so every other tenant, has %s', n.rights)
        ELSE pg_catalog.format('role %I%s has %s, where only the tenant''s own role may have rights', n.grantee_name,
            CASE WHEN n.grantee_name = 'tenantctl_tenants' THEN ', the group of all tenants,'
                ELSE ' of tenant ' || o.tenant_id END, n.rights)
    END || CASE WHEN n.grantor <> n.owner THEN pg_catalog.format(', granted by role %I', pg_catalog.pg_get_userbyid(n.grantor)) ELSE '' END AS detail,
    CASE WHEN n.grantor <> n.owner THEN pg_catalog.format('SET ROLE %I; ', pg_catalog.pg_get_userbyid(n.grantor)) ELSE '' END
    || pg_catalog.format('REVOKE %s%s ON %s FROM %s%s;', CASE WHEN n.option_only THEN 'GRANT OPTION FOR ' ELSE '' END, n.privileges,
        n.target, CASE n.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(n.grantee_name) END,
        CASE WHEN n.grantable THEN ' CASCADE' ELSE '' END)
    || CASE WHEN n.grantor <> n.owner THEN ' RESET ROLE;' ELSE '' END AS remedy
FROM named n LEFT JOIN tenantctl.tenants o ON o.role_name = n.grantee_name AND n.grantee <> 0
ORDER BY 2, 4, 5

-- check: role_memberships
-- title: roles that tenants, their group or the owner are members of, with the path
-- explain: Membership is a grant of everything: on the spot or by SET ROLE the member has the other role's rights, and the rights of all roles that
-- explain: one is a member of. A tenant is a member of its group and of nothing else. A tenant in another tenant's role reads that tenant's data, one in
-- explain: tenantctl_owner or a predefined role such as pg_read_all_data reads everybody's, one in pg_execute_server_program has a shell.
-- explain: What the group is a member of, every tenant is.
WITH RECURSIVE tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), starts AS MATERIALIZED (
    SELECT r.oid, r.rolname, t.tenant_id, t.schema_name
    FROM tenantctl.tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
    UNION ALL
    SELECT r.oid, r.rolname, NULL, NULL FROM pg_catalog.pg_roles r WHERE r.rolname IN ('tenantctl_tenants', 'tenantctl_owner')
), edges AS MATERIALIZED (
    -- Before 16 whoever inherits may also SET ROLE.
    SELECT m.member, m.roleid, m.admin_option, COALESCE((pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean, true) AS inherits,
        (pg_catalog.to_jsonb(m) ->> 'set_option')::boolean AS sets,
        m.roleid = pg_catalog.to_regrole('tenantctl_tenants') AS to_group
    FROM pg_catalog.pg_auth_members m
), walk (start, path) AS (
    SELECT s.oid, ARRAY[e.member, e.roleid] FROM starts s JOIN edges e ON e.member = s.oid WHERE NOT e.to_group
    UNION
    SELECT w.start, w.path || e.roleid FROM walk w JOIN edges e ON e.member = w.path[pg_catalog.cardinality(w.path)]
    WHERE NOT e.to_group AND e.roleid <> ALL (w.path)
), reached AS (
    SELECT s.oid, s.rolname, s.tenant_id, s.schema_name, w.path, g.rolname AS goal, o.tenant_id AS victim,
        g.rolsuper OR g.rolname = 'tenantctl_owner' OR g.rolname ~ '^pg_' OR g.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' OR g.rolcreaterole
            OR g.rolbypassrls OR g.rolreplication AS worst
    FROM walk w JOIN starts s ON s.oid = w.start
    JOIN pg_catalog.pg_roles g ON g.oid = w.path[pg_catalog.cardinality(w.path)]
    LEFT JOIN tenantctl.tenants o ON o.role_name::pg_catalog.name = g.rolname
), found AS (
    -- Whom it exposes: the tenant whose role is reached, else the one whose role reaches too far.
    SELECT CASE WHEN r.worst OR r.rolname = 'tenantctl_tenants' THEN 'critical' ELSE 'high' END AS severity,
        COALESCE(r.victim, r.tenant_id) AS tenant_id, CASE WHEN r.victim IS NULL THEN r.rolname ELSE r.goal END AS role_name,
        pg_catalog.format('%srole %I is a member of %I: %s', CASE WHEN r.victim IS NOT NULL THEN COALESCE('tenant ' || r.tenant_id || '''s ', '') ELSE '' END,
            r.rolname, r.goal, pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(p.oid)) FROM pg_catalog.unnest(r.path) WITH ORDINALITY p (oid, place) ORDER BY p.place), ' -> ')) AS detail,
        pg_catalog.format('REVOKE %I FROM %I;', pg_catalog.pg_get_userbyid(r.path[2]), pg_catalog.pg_get_userbyid(r.path[1])) AS remedy
    FROM reached r
    UNION ALL
    SELECT 'high', s.tenant_id, s.rolname, pg_catalog.format('role %I may hand on membership in the group of all tenants (ADMIN OPTION)', s.rolname),
        pg_catalog.format('REVOKE ADMIN OPTION FOR tenantctl_tenants FROM %I CASCADE;', s.rolname)
    FROM starts s JOIN edges e ON e.member = s.oid WHERE e.to_group AND e.admin_option
    UNION ALL
    SELECT 'medium', s.tenant_id, s.rolname, pg_catalog.format('role %I may SET ROLE to the group of all tenants, where large objects pass from one to another', s.rolname),
        pg_catalog.format('GRANT tenantctl_tenants TO %I WITH SET FALSE;', s.rolname)
    FROM starts s JOIN edges e ON e.member = s.oid WHERE e.to_group AND e.sets
    UNION ALL
    SELECT 'low', s.tenant_id, s.rolname, pg_catalog.format('role %I does not have the group''s right to connect', s.rolname),
        pg_catalog.format('GRANT tenantctl_tenants TO %I%s;', s.rolname,
            CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000 THEN ' WITH INHERIT TRUE, SET FALSE' ELSE '' END)
    FROM starts s WHERE s.tenant_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM edges e WHERE e.member = s.oid AND e.to_group AND e.inherits)
)
SELECT f.severity, t.tenant_id::text, t.schema_name::text, pg_catalog.format('role %I', f.role_name) AS object,
    f.detail || '; roles are shared by all databases of the cluster' AS detail, f.remedy
FROM found f LEFT JOIN tenants t ON t.tenant_id = f.tenant_id
WHERE f.tenant_id IS NULL OR t.tenant_id IS NOT NULL
ORDER BY 2, 4, 5

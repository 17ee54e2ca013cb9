-- check: role_members
-- title: members of tenants' roles, of their group and of their owner that need not be
-- explain: Whoever is a member of a tenant's role can become that tenant, by way of any number of roles between, and reads and writes its data;
-- explain: row security takes it for the tenant. The group may have tenants' roles as members only: anybody else in it connects where
-- explain: tenants connect, and with ADMIN OPTION decides who is one. Tenants that are members of other tenants are told by role_memberships.
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
), edges AS MATERIALIZED (
    SELECT m.member, m.roleid, m.admin_option,
        -- What CREATE ROLE gives its creator from 16 on: neither rights nor SET ROLE.
        m.admin_option AND NOT (pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean AND NOT (pg_catalog.to_jsonb(m) ->> 'set_option')::boolean AS as_creator
    FROM pg_catalog.pg_auth_members m
), walk (goal, path, as_creator) AS (
    SELECT e.roleid, ARRAY[e.member, e.roleid], COALESCE(e.as_creator, false)
    FROM tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name JOIN edges e ON e.roleid = r.oid
    UNION
    SELECT w.goal, e.member || w.path, w.as_creator FROM walk w JOIN edges e ON e.roleid = w.path[1] WHERE e.member <> ALL (w.path)
), members AS (
    SELECT w.goal, w.path, m.rolname, EXISTS (SELECT FROM trusted q WHERE q.oid = m.oid) AS is_trusted, m.rolsuper, w.as_creator,
        pg_catalog.pg_get_userbyid(w.goal)::text AS goal_name
    FROM walk w JOIN pg_catalog.pg_roles m ON m.oid = w.path[1]
    -- Tenants of this registry and their group are told by role_memberships.
    WHERE m.rolname <> 'tenantctl_tenants' AND NOT EXISTS (SELECT FROM tenantctl.tenants o WHERE o.role_name::pg_catalog.name = m.rolname)
)
SELECT CASE WHEN m.is_trusted THEN 'low' ELSE 'critical' END AS severity, t.tenant_id::text, t.schema_name::text,
    pg_catalog.format('role %I', m.goal_name) AS object,
    pg_catalog.format('role %I, which is no tenant, is a member of this tenant''s role: %s', m.rolname, pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(p.oid)) FROM pg_catalog.unnest(m.path) WITH ORDINALITY p (oid, place) ORDER BY p.place), ' -> ')) || '; roles are shared by all databases of the cluster' AS detail,
    pg_catalog.format('REVOKE %I FROM %I;', m.goal_name, pg_catalog.pg_get_userbyid(m.path[pg_catalog.cardinality(m.path) - 1])) AS remedy
FROM members m JOIN tenants t ON t.role_name = m.goal_name
WHERE NOT m.rolsuper AND NOT (m.is_trusted AND m.as_creator)
UNION ALL
SELECT CASE WHEN EXISTS (SELECT FROM trusted q WHERE q.oid = m.oid) THEN 'low' WHEN e.admin_option THEN 'high' ELSE 'medium' END, NULL, NULL, 'role tenantctl_tenants',
    pg_catalog.format('role %I is in the group of all tenants%s and is none', m.rolname, CASE WHEN e.admin_option THEN ' with ADMIN OPTION' ELSE '' END) || '; roles are shared by all databases of the cluster',
    pg_catalog.format('REVOKE tenantctl_tenants FROM %I CASCADE;', m.rolname)
FROM edges e JOIN pg_catalog.pg_roles m ON m.oid = e.member
WHERE e.roleid = pg_catalog.to_regrole('tenantctl_tenants') AND NOT m.rolname ~ '^tenant_[0-9a-f]{12}_user$' AND NOT m.rolsuper
-- An admin hands out membership; what it hands to itself does no harm.
AND NOT (EXISTS (SELECT FROM trusted q WHERE q.oid = m.oid) AND e.admin_option)
UNION ALL
-- An admin makes roles; who cannot, and acts as the owner all the same, reads and writes every tenant without need.
SELECT 'medium', NULL, NULL, 'role tenantctl_owner',
    pg_catalog.format('role %I, which cannot make roles and so is no admin, acts as the owner of every tenant', r.rolname) || '; roles are shared by all databases of the cluster',
    pg_catalog.format('REVOKE tenantctl_owner FROM %I;', r.rolname)
FROM trusted q JOIN pg_catalog.pg_roles r ON r.oid = q.oid
WHERE NOT r.rolsuper AND NOT r.rolcreaterole AND r.rolname <> 'tenantctl_owner'
AND pg_catalog.pg_has_role(r.oid, 'tenantctl_owner', 'USAGE')
UNION ALL
SELECT 'medium', NULL, NULL, pg_catalog.format('role %I', r.rolname),
    CASE WHEN r.rolbypassrls THEN 'row security does not hold for it' ELSE pg_catalog.format('it has what %I has, and so every tenant''s rows', p.name) END || '; roles are shared by all databases of the cluster',
    CASE WHEN r.rolbypassrls THEN pg_catalog.format('ALTER ROLE %I NOBYPASSRLS;', r.rolname) ELSE pg_catalog.format('REVOKE %I FROM %I;', p.name, r.rolname) END
FROM pg_catalog.pg_roles r
LEFT JOIN (VALUES ('pg_read_all_data'), ('pg_write_all_data')) p (name) ON pg_catalog.pg_has_role(r.oid, p.name::pg_catalog.name, 'USAGE')
-- Those of tenants have checks of their own.
WHERE NOT r.rolsuper AND r.oid >= 16384 AND r.rolname !~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants|tenantctl_owner)$'
AND (r.rolbypassrls OR p.name IS NOT NULL)
ORDER BY 2, 4, 5

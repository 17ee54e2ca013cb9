-- check: registry_access
-- title: rights on the registry and on the template's reference copy
-- explain: The registry says which tenants exist and what they are made of, and may hold their encrypted credentials; the template's reference copy
-- explain: is what they are compared with. Who can read the registry learns about every tenant; who can write it decides what the next
-- explain: provision and the next secure do, as the owner. The pooler's role may enter the schema and call its lookup, which pooler_access looks at.
WITH RECURSIVE trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
), places AS MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
    WHERE n.nspname = 'tenantctl' OR n.nspname IN (SELECT ('template_' || v.template)::pg_catalog.name FROM tenantctl.template_versions v)
), relations AS MATERIALIZED (
    SELECT c.oid, p.nspname, c.relname, c.relkind, c.relowner, c.relacl FROM places p JOIN pg_catalog.pg_class c ON c.relnamespace = p.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), things AS (
    SELECT 'schema' AS kind, pg_catalog.quote_ident(p.nspname) AS name, 'SCHEMA' AS word, '' AS suffix, p.nspowner AS owner,
        COALESCE(p.nspacl, pg_catalog.acldefault('n', p.nspowner)) AS acl
    FROM places p
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
        pg_catalog.format('%I.%I', c.nspname, c.relname), CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, '', c.relowner,
        COALESCE(c.relacl, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
    FROM relations c
    UNION ALL
    SELECT 'column', pg_catalog.format('%I.%I.%I', c.nspname, c.relname, a.attname), pg_catalog.format('TABLE %I.%I', c.nspname, c.relname),
        pg_catalog.format(' (%I)', a.attname), c.relowner, a.attacl
    FROM relations c
    -- OFFSET keeps the planner from reading the columns of all tables.
    CROSS JOIN LATERAL (SELECT k.attname, k.attacl FROM pg_catalog.pg_attribute k WHERE k.attrelid = c.oid AND k.attacl IS NOT NULL OFFSET 0) a
    UNION ALL
    SELECT CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, pg_catalog.format('%I.%I(%s)', p.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)),
        'ROUTINE', '', f.proowner, COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))
    FROM places p JOIN pg_catalog.pg_proc f ON f.pronamespace = p.oid
    -- The constructors of a range type are the server's own and go with it.
    WHERE NOT (f.proowner = 10 AND EXISTS (SELECT FROM pg_catalog.pg_depend i
        WHERE i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objid = f.oid AND i.deptype = 'i'))
)
SELECT CASE WHEN g.grantee = 0 OR g.grantee_name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' OR g.writes THEN 'critical' ELSE 'high' END AS severity,
    NULL::text AS tenant_id, NULL::text AS schema_name, g.kind || ' ' || g.name AS object,
    pg_catalog.format('%s has %s, where only the owner role may have rights', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', g.grantee_name) END, g.rights) AS detail,
    pg_catalog.format('REVOKE %s ON %s FROM %s CASCADE;', g.privileges, CASE g.kind WHEN 'column' THEN g.word ELSE g.word || ' ' || g.name END,
        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(g.grantee_name) END) AS remedy
FROM (
    SELECT i.kind, i.name, i.word, x.grantee, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee_name,
        pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) AS rights,
        pg_catalog.string_agg(x.privilege_type || i.suffix, ', ' ORDER BY x.privilege_type) AS privileges,
        pg_catalog.bool_or(x.privilege_type NOT IN ('SELECT', 'USAGE', 'EXECUTE')) AS writes
    FROM things i CROSS JOIN LATERAL pg_catalog.aclexplode(i.acl) x
    WHERE x.grantee <> i.owner AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    AND NOT (x.grantee = pg_catalog.to_regrole('tenantctl_pooler') AND NOT x.is_grantable
        AND (i.kind, i.name, x.privilege_type) IN (('schema', 'tenantctl', 'USAGE'), ('function', 'tenantctl.pooler_lookup(text)', 'EXECUTE')))
    GROUP BY 1, 2, 3, 4, 5
) g
UNION ALL
SELECT 'critical', NULL, NULL, i.kind || ' ' || i.name, pg_catalog.format('it belongs to role %I, not to tenantctl_owner', pg_catalog.pg_get_userbyid(i.owner)),
    pg_catalog.format('ALTER %s %s OWNER TO tenantctl_owner;', pg_catalog.upper(i.kind), i.name)
FROM things i WHERE i.kind <> 'column' AND i.owner <> pg_catalog.to_regrole('tenantctl_owner')
-- It reads the passwords of the server, so it is a superuser's: told by pooler_access.
AND NOT (i.kind = 'function' AND i.name = 'tenantctl.pooler_lookup(text)')
ORDER BY 4, 5

-- check: pooler_access
-- title: the pooler's lookup of passwords or its role that is more, less or other than it is to be
-- explain: tenantctl.pooler_lookup() runs as a superuser and hands out password verifiers, to the role tenantctl_pooler alone. Whoever changes its body,
-- explain: takes the search_path off it, or may call it beside the pooler reads what every tenant logs in with, or any other role. The pooler's role
-- explain: stands in a file on another machine: it may connect, enter the registry's schema and call the lookup, and nothing else.
WITH pooler AS MATERIALIZED (
    SELECT r.* FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_pooler'
), here AS MATERIALIZED (
    SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
), registry AS MATERIALIZED (
    SELECT n.oid, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'tenantctl'
), lookups AS MATERIALIZED (
    SELECT f.*, o.rolsuper AS owner_is_super, o.rolname AS owner_name, l.lanname, pg_catalog.oidvectortypes(f.proargtypes) AS arguments
    FROM registry n JOIN pg_catalog.pg_proc f ON f.pronamespace = n.oid
    JOIN pg_catalog.pg_roles o ON o.oid = f.proowner JOIN pg_catalog.pg_language l ON l.oid = f.prolang
    WHERE f.proname = 'pooler_lookup'
), registries AS MATERIALIZED (
    -- Databases with a registry of their own may have a lookup, too; their own validate tells of it.
    SELECT DISTINCT d.dbid FROM pg_catalog.pg_shdepend d
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = pg_catalog.to_regrole('tenantctl_owner')
    AND d.deptype = 'o' AND d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
    -- All that the owner owns is read for it, so only where it is asked for.
    AND EXISTS (SELECT FROM pooler)
), held AS MATERIALIZED (
    SELECT s.classid, s.objid, s.objsubid, s.dbid, s.deptype FROM pg_catalog.pg_shdepend s JOIN pooler p ON p.oid = s.refobjid
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
), wrong AS (
    -- The lookup.
    SELECT 'critical' AS severity, pg_catalog.format('function tenantctl.pooler_lookup(%s)', l.arguments) AS object,
        'it has the name of the pooler''s lookup and other arguments, so that PgBouncer or an admin may call it by mistake' AS detail
    FROM lookups l WHERE l.arguments <> 'text'
    UNION ALL
    SELECT 'critical', 'function tenantctl.pooler_lookup(text)', p.detail
    FROM lookups l CROSS JOIN LATERAL (
        SELECT 'its body is not tenantctl''s' AS detail
        WHERE pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(l.prosrc, 'UTF8')), 'hex') <> 'a49106cec8cdfb722d6bfb7d618c5e8343a0d4ce6e8a4af3a1421a4cb77fe558'
        UNION ALL
        SELECT pg_catalog.format('its settings are %s, where search_path = pg_catalog, pg_temp is to be pinned and nothing else', COALESCE(pg_catalog.array_to_string(l.proconfig, ', '), 'none'))
        WHERE l.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
        UNION ALL
        SELECT pg_catalog.format('it belongs to role %I, which is no superuser, so that it answers nobody or is not tenantctl''s', l.owner_name)
        WHERE NOT l.owner_is_super
        UNION ALL
        SELECT 'its language, kind, result or attributes are not the standard''s'
        WHERE NOT (l.lanname = 'sql' AND l.prokind = 'f' AND l.prosecdef AND l.proretset AND l.provolatile = 's' AND l.proisstrict AND NOT l.proleakproof
            AND l.provariadic = 0 AND l.prosupport = 0 AND l.proparallel = 'u'
            AND pg_catalog.pg_get_function_result(l.oid) = 'TABLE(role_name text, verifier text)')
        UNION ALL
        SELECT pg_catalog.format('%s may execute it%s, and read the password verifier of every tenant', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END,
            CASE WHEN x.is_grantable THEN ' and hand that on' ELSE '' END)
        FROM pg_catalog.aclexplode(COALESCE(l.proacl, pg_catalog.acldefault('f', l.proowner))) x
        WHERE x.grantee <> l.proowner AND (x.is_grantable OR NOT EXISTS (SELECT FROM pooler p WHERE p.oid = x.grantee))
    ) p
    WHERE l.arguments = 'text'
    UNION ALL
    SELECT 'low', 'function tenantctl.pooler_lookup(text)', 'it is there, and the role tenantctl_pooler, which is to call it, cannot: nobody can log in through PgBouncer'
    WHERE EXISTS (SELECT FROM lookups l WHERE l.arguments = 'text') AND NOT EXISTS (
        SELECT FROM pooler p CROSS JOIN lookups l CROSS JOIN registry n
        WHERE l.arguments = 'text' AND pg_catalog.has_function_privilege(p.oid, l.oid, 'EXECUTE') AND pg_catalog.has_schema_privilege(p.oid, n.oid, 'USAGE')
        AND p.rolcanlogin AND pg_catalog.has_database_privilege(p.oid, (SELECT h.oid FROM here h), 'CONNECT'))
    UNION ALL
    -- The role.
    SELECT a.severity, 'role tenantctl_pooler', 'role tenantctl_pooler ' || a.detail || '; roles are shared by all databases of the cluster'
    FROM pooler p CROSS JOIN LATERAL (VALUES
        (p.rolsuper, 'critical', 'is SUPERUSER'),
        (p.rolbypassrls, 'critical', 'has BYPASSRLS'),
        (p.rolreplication, 'critical', 'has REPLICATION'),
        (p.rolcreaterole, 'critical', 'has CREATEROLE'),
        (p.rolcreatedb, 'critical', 'has CREATEDB'),
        (p.rolvaliduntil <= pg_catalog.now(), 'low', 'has a password that expired: nobody can log in through PgBouncer')
    ) a (broken, severity, detail)
    WHERE a.broken
    UNION ALL
    SELECT CASE WHEN g.rolsuper OR g.rolname = 'tenantctl_owner' OR g.rolname ~ '^(pg_|tenant_[0-9a-f]{12}_user$)' THEN 'critical' ELSE 'high' END, 'role tenantctl_pooler',
        pg_catalog.format('role tenantctl_pooler is a member of %I; roles are shared by all databases of the cluster', g.rolname)
    FROM pooler p JOIN pg_catalog.pg_auth_members m ON m.member = p.oid JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
    UNION ALL
    SELECT CASE WHEN r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' THEN 'critical' ELSE 'high' END, 'role tenantctl_pooler',
        pg_catalog.format('role %I is a member of tenantctl_pooler and may call the lookup; roles are shared by all databases of the cluster', r.rolname)
    FROM pooler p JOIN pg_catalog.pg_auth_members m ON m.roleid = p.oid JOIN pg_catalog.pg_roles r ON r.oid = m.member
    WHERE NOT r.rolsuper
    -- What CREATE ROLE gives its creator from 16 on: neither rights nor SET ROLE.
    AND NOT COALESCE(m.admin_option AND NOT (pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean AND NOT (pg_catalog.to_jsonb(m) ->> 'set_option')::boolean, false)
    UNION ALL
    SELECT 'medium', 'role tenantctl_pooler', pg_catalog.format('role tenantctl_pooler has settings of its own: %s; roles are shared by all databases of the cluster', pg_catalog.array_to_string(s.setconfig, ', '))
    FROM pooler p JOIN pg_catalog.pg_db_role_setting s ON s.setrole = p.oid
    UNION ALL
    SELECT 'critical', 'role tenantctl_pooler', pg_catalog.format('role tenantctl_pooler owns %s', CASE
        WHEN h.dbid IN (0, (SELECT d.oid FROM here d)) THEN pg_catalog.pg_describe_object(h.classid, h.objid, h.objsubid)
        ELSE 'something in database ' || (SELECT pg_catalog.quote_ident(d.datname) FROM pg_catalog.pg_database d WHERE d.oid = h.dbid) END)
    FROM held h WHERE h.deptype = 'o'
    UNION ALL
    SELECT 'high', 'role tenantctl_pooler', pg_catalog.format('role tenantctl_pooler has rights on %s, where the lookup is all that it may use', pg_catalog.pg_describe_object(h.classid, h.objid, h.objsubid))
    FROM held h
    WHERE h.deptype = 'a' AND h.dbid = (SELECT d.oid FROM here d)
    AND NOT (h.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND h.objid IN (SELECT l.oid FROM lookups l))
    AND NOT (h.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND h.objid = (SELECT n.oid FROM registry n) AND NOT EXISTS (
        SELECT FROM registry n CROSS JOIN pooler p CROSS JOIN pg_catalog.aclexplode(n.nspacl) x
        WHERE x.grantee = p.oid AND (x.privilege_type <> 'USAGE' OR x.is_grantable)))
    UNION ALL
    SELECT 'high', 'role tenantctl_pooler', pg_catalog.format('role tenantctl_pooler has rights in database %I, which has no registry', d.datname)
    FROM held h JOIN pg_catalog.pg_database d ON d.oid = h.dbid
    WHERE h.deptype = 'a' AND h.dbid <> (SELECT c.oid FROM here c) AND h.dbid NOT IN (SELECT r.dbid FROM registries r)
    GROUP BY d.datname
    UNION ALL
    SELECT 'high', 'role tenantctl_pooler', pg_catalog.format('role tenantctl_pooler has %s on database %I', pg_catalog.string_agg(x.privilege_type || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END, ', ' ORDER BY x.privilege_type), d.datname)
    FROM pooler p CROSS JOIN pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) x
    WHERE x.grantee = p.oid AND (x.privilege_type <> 'CONNECT' OR x.is_grantable OR (d.oid <> (SELECT c.oid FROM here c) AND d.oid NOT IN (SELECT r.dbid FROM registries r)))
    GROUP BY d.datname
    UNION ALL
    SELECT 'high', 'role tenantctl_pooler', pg_catalog.format('role tenantctl_pooler has rights on %s', t.thing)
    FROM (
        SELECT 'tablespace ' || pg_catalog.quote_ident(b.spcname) AS thing FROM pooler p CROSS JOIN pg_catalog.pg_tablespace b
        WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(b.spcacl) x WHERE x.grantee = p.oid)
        UNION ALL
        SELECT 'parameter ' || a.parname FROM pooler p CROSS JOIN pg_catalog.pg_parameter_acl a
        WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(a.paracl) x WHERE x.grantee = p.oid)
    ) t
)
SELECT w.severity, NULL::text AS tenant_id, NULL::text AS schema_name, w.object, w.detail,
    CASE WHEN w.detail LIKE '% owns %' THEN 'REASSIGN OWNED BY tenantctl_pooler TO tenantctl_owner;' ELSE 'tenantctl pgbouncer --setup' END AS remedy
FROM wrong w
ORDER BY 4, 5

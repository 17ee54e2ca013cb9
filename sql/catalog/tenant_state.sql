-- What there is of tenants' schemas and roles ($1: schemas, $2: their roles), a JSON document a schema that exists.
-- Plain catalog columns only: nothing here waits for a lock that a tenant holds on its tables.
WITH wanted AS MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl, r.oid AS role
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) w (schema_name, role_name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role_name::name
), members AS MATERIALIZED (
    SELECT d.classid, d.objid, w.oid AS namespace
    FROM wanted w JOIN pg_catalog.pg_depend d
        ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = w.oid
), relations AS MATERIALIZED (
    SELECT c.oid, m.namespace, c.relname, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity
    FROM members m JOIN pg_catalog.pg_class c ON c.oid = m.objid
    WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), rights AS MATERIALIZED (
    SELECT o.class, o.oid, pg_catalog.json_agg(pg_catalog.json_build_array(
        CASE x.grantee WHEN 0 THEN '' ELSE COALESCE(g.rolname, x.grantee::text) END, x.privilege_type, x.is_grantable)) AS grants
    FROM (
        SELECT 'n' AS class, w.oid, w.nspowner AS owner, COALESCE(w.nspacl, pg_catalog.acldefault('n', w.nspowner)) AS acl
        FROM wanted w
        UNION ALL
        SELECT 'r', r.oid, r.relowner,
            COALESCE(r.relacl, pg_catalog.acldefault(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner))
        FROM relations r
        UNION ALL
        SELECT 'f', p.oid, p.proowner, COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))
        FROM members m JOIN pg_catalog.pg_proc p ON p.oid = m.objid
        WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        UNION ALL
        SELECT 'T', t.oid, t.typowner, COALESCE(t.typacl, pg_catalog.acldefault('T', t.typowner))
        FROM members m JOIN pg_catalog.pg_type t ON t.oid = m.objid
        WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.typtype IN ('d', 'e', 'r', 'c')
    ) o
    CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) x
    LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
    WHERE x.grantee <> o.owner
    GROUP BY o.class, o.oid
), columns AS (
    SELECT r.oid, pg_catalog.json_agg(DISTINCT CASE x.grantee WHEN 0 THEN '' ELSE COALESCE(g.rolname, x.grantee::text) END) AS grantees
    FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attacl IS NOT NULL
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x
    LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
    WHERE x.grantee <> r.relowner
    GROUP BY r.oid
), policies AS (
    SELECT r.oid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', y.polname,
        -- The constant true, whatever place in the source it was read from.
        'plain', y.polpermissive AND y.polcmd = '*' AND y.polqual IS NOT NULL AND y.polwithcheck IS NOT NULL
            AND y.polqual::text ~ '^\{CONST :consttype 16 [^{}]*:constisnull false [^{}]*:constvalue 1 \[ 1 0 0 0 0 0 0 0 \]\}$'
            AND y.polwithcheck::text ~ '^\{CONST :consttype 16 [^{}]*:constisnull false [^{}]*:constvalue 1 \[ 1 0 0 0 0 0 0 0 \]\}$',
        'roles', (SELECT COALESCE(pg_catalog.json_agg(CASE u.role WHEN 0 THEN '' ELSE COALESCE(g.rolname, u.role::text) END), '[]')
            FROM pg_catalog.unnest(y.polroles) u (role) LEFT JOIN pg_catalog.pg_roles g ON g.oid = u.role)
        )) AS policies
    FROM relations r JOIN pg_catalog.pg_policy y ON y.polrelid = r.oid
    GROUP BY r.oid
), triggers AS (
    SELECT r.oid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', t.tgname,
        'function', pg_catalog.json_build_array(n.nspname, p.proname),
        'events', t.tgtype,
        'enabled', t.tgenabled,
        -- Of ours only. Each argument ends with a zero byte; what escape encoding makes of the rest is undone.
        'arguments', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.convert_from(pg_catalog.decode(a.text, 'escape'), 'UTF8') ORDER BY a.place)
            FROM pg_catalog.string_to_table(pg_catalog.encode(t.tgargs, 'escape'), '\000') WITH ORDINALITY a (text, place)
            WHERE a.place <= t.tgnargs AND t.tgname LIKE 'tenantctl\_%'), '[]'),
        'transition', pg_catalog.json_build_array(t.tgoldtable, t.tgnewtable),
        'unconditional', t.tgqual IS NULL AND pg_catalog.cardinality(t.tgattr::int2[]) = 0
        )) AS triggers
    FROM relations r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    GROUP BY r.oid
), relation_documents AS (
    SELECT r.namespace, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', r.relname, 'kind', r.relkind, 'owner', pg_catalog.pg_get_userbyid(r.relowner),
        'grants', COALESCE(x.grants, '[]'), 'column_grantees', COALESCE(c.grantees, '[]'),
        'row_security', r.relrowsecurity, 'forced', r.relforcerowsecurity,
        'policies', COALESCE(y.policies, '[]'), 'triggers', COALESCE(t.triggers, '[]')) ORDER BY r.relname) AS documents
    FROM relations r
    LEFT JOIN rights x ON x.class = 'r' AND x.oid = r.oid
    LEFT JOIN columns c ON c.oid = r.oid
    LEFT JOIN policies y ON y.oid = r.oid
    LEFT JOIN triggers t ON t.oid = r.oid
    GROUP BY r.namespace
), function_documents AS (
    SELECT m.namespace, pg_catalog.json_agg(pg_catalog.json_build_object(
        -- As init saw it in the template's schema, on whose path types of the same schema need no prefix.
        'signature', p.proname || '(' || pg_catalog.replace(pg_catalog.oidvectortypes(p.proargtypes), w.nspname || '.', '') || ')',
        'owner', pg_catalog.pg_get_userbyid(p.proowner), 'grants', COALESCE(x.grants, '[]'),
        'body', CASE WHEN p.proname IN ('audit_changes', 'enforce_limits') THEN p.prosrc END,
        'definer', p.prosecdef, 'settings', COALESCE(pg_catalog.to_json(p.proconfig), '[]'),
        'trigger', p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype AND l.lanname = 'plpgsql')) AS documents
    FROM members m JOIN pg_catalog.pg_proc p ON p.oid = m.objid
    JOIN wanted w ON w.oid = m.namespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    LEFT JOIN rights x ON x.class = 'f' AND x.oid = p.oid
    WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    -- The constructors of a range type are the server's own and go with it.
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = m.classid AND i.objid = m.objid AND i.deptype = 'i')
    GROUP BY m.namespace
), type_documents AS (
    SELECT m.namespace, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', y.typname, 'owner', pg_catalog.pg_get_userbyid(y.typowner), 'grants', COALESCE(x.grants, '[]'))) AS documents
    FROM members m JOIN pg_catalog.pg_type y ON y.oid = m.objid
    LEFT JOIN rights x ON x.class = 'T' AND x.oid = y.oid
    WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND y.typtype IN ('d', 'e', 'r', 'c')
    GROUP BY m.namespace
), settings AS MATERIALIZED (
    SELECT s.setrole, s.setdatabase, s.setconfig, d.datname
    FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
    WHERE s.setrole <> 0
), memberships AS MATERIALIZED (
    SELECT m.roleid, m.member, m.admin_option,
        COALESCE((pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean, true) AS inherit_option,
        COALESCE((pg_catalog.to_jsonb(m) ->> 'set_option')::boolean, true) AS set_option
    FROM pg_catalog.pg_auth_members m
)
SELECT w.nspname::text AS schema_name, pg_catalog.json_build_object(
    'owner', pg_catalog.pg_get_userbyid(w.nspowner),
    'grants', COALESCE(x.grants, '[]'),
    'relations', COALESCE(r.documents, '[]'),
    'functions', COALESCE(f.documents, '[]'),
    'types', COALESCE(t.documents, '[]'),
    'role', CASE WHEN a.oid IS NOT NULL THEN pg_catalog.json_build_object(
        'surplus', pg_catalog.array_remove(ARRAY[CASE WHEN a.rolsuper THEN 'superuser' END,
            CASE WHEN a.rolcreaterole THEN 'createrole' END, CASE WHEN a.rolcreatedb THEN 'createdb' END,
            CASE WHEN a.rolreplication THEN 'replication' END, CASE WHEN a.rolbypassrls THEN 'bypassrls' END,
            CASE WHEN NOT a.rolinherit THEN 'noinherit' END,
            CASE WHEN a.rolvaliduntil < 'infinity' THEN 'valid_until' END], NULL),
        'connection_limit', a.rolconnlimit,
        'settings', COALESCE((SELECT pg_catalog.to_json(s.setconfig) FROM settings s
            WHERE s.setrole = a.oid AND s.setdatabase = 0), '[]'),
        'databases_with_settings', COALESCE((SELECT pg_catalog.json_agg(s.datname) FROM settings s
            WHERE s.setrole = a.oid AND s.setdatabase <> 0 AND s.datname IS NOT NULL), '[]'),
        'member_of', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'role', g.rolname, 'admin', m.admin_option, 'set', m.set_option, 'inherit', m.inherit_option))
            FROM memberships m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid), '[]'),
        -- From 16 on, the admin who made a role is its member, without a right but to administer it.
        'members', COALESCE((SELECT pg_catalog.json_agg(DISTINCT g.rolname)
            FROM memberships m JOIN pg_catalog.pg_roles g ON g.oid = m.member
            WHERE m.roleid = a.oid AND (m.inherit_option OR m.set_option)), '[]')
    ) END)::text AS state
FROM wanted w
LEFT JOIN rights x ON x.class = 'n' AND x.oid = w.oid
LEFT JOIN relation_documents r ON r.namespace = w.oid
LEFT JOIN function_documents f ON f.namespace = w.oid
LEFT JOIN type_documents t ON t.namespace = w.oid
LEFT JOIN pg_catalog.pg_roles a ON a.oid = w.role

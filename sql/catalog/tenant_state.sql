-- What there is of tenants' schemas and roles ($1: schemas, $2: their roles), a JSON document a schema that exists.
-- Plain catalog columns only: nothing here waits for a lock that a tenant holds on its tables. Everything hangs on the
-- schema by correlated subqueries, each an index lookup, so that no estimate of the planner's can make it quadratic.
SELECT n.nspname::text AS schema_name, pg_catalog.json_build_object(
    'owner', pg_catalog.pg_get_userbyid(n.nspowner),
    'grants', (
        SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_array(
            CASE WHEN x.grantee <> 0 THEN pg_catalog.pg_get_userbyid(x.grantee) ELSE '' END, x.privilege_type, x.is_grantable)), '[]')
        FROM pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x
        WHERE x.grantee <> n.nspowner),
    'owner_lacks', pg_catalog.pg_get_userbyid(n.nspowner) = 'tenantctl_owner'
        AND COALESCE(NOT n.nspacl OPERATOR(pg_catalog.@>) 'tenantctl_owner=UC/tenantctl_owner'::pg_catalog.aclitem, false),
    'relations', (
        SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', c.relname, 'kind', c.relkind, 'owner', pg_catalog.pg_get_userbyid(c.relowner),
            -- Revoked from its own owner: foreign keys, audit and limits run with these.
            'owner_lacks', pg_catalog.pg_get_userbyid(c.relowner) = 'tenantctl_owner' AND COALESCE(NOT c.relacl OPERATOR(pg_catalog.@>)
                CASE c.relkind WHEN 'S' THEN 'tenantctl_owner=rU/tenantctl_owner' ELSE 'tenantctl_owner=arwd/tenantctl_owner' END::pg_catalog.aclitem, false),
            'row_security', c.relrowsecurity, 'forced', c.relforcerowsecurity,
            'grants', (
                SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_array(
                    CASE WHEN x.grantee <> 0 THEN pg_catalog.pg_get_userbyid(x.grantee) ELSE '' END, x.privilege_type, x.is_grantable)), '[]')
                FROM pg_catalog.aclexplode(c.relacl) x WHERE x.grantee <> c.relowner),
            'column_grantees', (
                SELECT COALESCE(pg_catalog.json_agg(DISTINCT
                    CASE WHEN x.grantee <> 0 THEN pg_catalog.pg_get_userbyid(x.grantee) ELSE '' END), '[]')
                FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x
                WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL AND x.grantee <> c.relowner),
            'policies', (
                SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', y.polname,
                    -- The constant true, whatever place in the source it was read from.
                    'plain', y.polpermissive AND y.polcmd = '*' AND y.polqual IS NOT NULL AND y.polwithcheck IS NOT NULL
                        AND y.polqual::text ~ '^\{CONST :consttype 16 [^{}]*:constisnull false [^{}]*:constvalue 1 \[ 1 0 0 0 0 0 0 0 \]\}$'
                        AND y.polwithcheck::text ~ '^\{CONST :consttype 16 [^{}]*:constisnull false [^{}]*:constvalue 1 \[ 1 0 0 0 0 0 0 0 \]\}$',
                    'roles', (
                        SELECT COALESCE(pg_catalog.json_agg(
                            CASE WHEN u.role <> 0 THEN pg_catalog.pg_get_userbyid(u.role) ELSE '' END), '[]')
                        FROM pg_catalog.unnest(y.polroles) u (role)))), '[]')
                FROM pg_catalog.pg_policy y WHERE y.polrelid = c.oid),
            'triggers', (
                SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', t.tgname,
                    'function', (
                        SELECT pg_catalog.json_build_array(f.nspname, p.proname)
                        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace WHERE p.oid = t.tgfoid),
                    'events', t.tgtype,
                    'enabled', t.tgenabled,
                    -- Of ours only. Each argument ends with a zero byte; what escape encoding makes of the rest is undone.
                    'arguments', (
                        SELECT COALESCE(pg_catalog.json_agg(
                            pg_catalog.convert_from(pg_catalog.decode(a.text, 'escape'), pg_catalog.getdatabaseencoding()) ORDER BY a.place), '[]')
                        FROM pg_catalog.string_to_table(pg_catalog.encode(t.tgargs, 'escape'), '\000') WITH ORDINALITY a (text, place)
                        WHERE a.place <= t.tgnargs AND t.tgname LIKE 'tenantctl\_%'),
                    'transition', pg_catalog.json_build_array(t.tgoldtable, t.tgnewtable),
                    'unconditional', t.tgqual IS NULL AND pg_catalog.cardinality(t.tgattr::int2[]) = 0)), '[]')
                FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
            )), '[]')
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
        AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass),
    'functions', (
        SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            -- As init saw it in the template's schema, on whose path types of the same schema need no prefix.
            'signature', p.proname || '(' || pg_catalog.replace(pg_catalog.oidvectortypes(p.proargtypes), n.nspname || '.', '') || ')',
            'owner', pg_catalog.pg_get_userbyid(p.proowner),
            'grants', (
                SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_array(
                    CASE WHEN x.grantee <> 0 THEN pg_catalog.pg_get_userbyid(x.grantee) ELSE '' END, x.privilege_type, x.is_grantable)), '[]')
                FROM pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
                WHERE x.grantee <> p.proowner),
            'body_sha256', CASE WHEN p.proname ~ '^(audit_changes|enforce_limits)(_[0-9a-f]{12})?$' THEN
                pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(p.prosrc, 'UTF8')), 'hex') END,
            'definer', p.prosecdef, 'settings', COALESCE(pg_catalog.to_json(p.proconfig), '[]'),
            'trigger', p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
                AND p.prolang = (SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname = 'plpgsql'))), '[]')
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
        AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        -- The constructors of a range type are the server's own and go with it.
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i
            WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i')),
    'types', (
        SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', y.typname, 'owner', pg_catalog.pg_get_userbyid(y.typowner),
            'grants', (
                SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_array(
                    CASE WHEN x.grantee <> 0 THEN pg_catalog.pg_get_userbyid(x.grantee) ELSE '' END, x.privilege_type, x.is_grantable)), '[]')
                FROM pg_catalog.aclexplode(COALESCE(y.typacl, pg_catalog.acldefault('T', y.typowner))) x
                WHERE x.grantee <> y.typowner))), '[]')
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_type y ON y.oid = d.objid AND y.typtype IN ('d', 'e', 'r', 'c')
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
        AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass),
    'role', (
        SELECT pg_catalog.json_build_object(
            'surplus', pg_catalog.array_remove(ARRAY[CASE WHEN a.rolsuper THEN 'superuser' END,
                CASE WHEN a.rolcreaterole THEN 'createrole' END, CASE WHEN a.rolcreatedb THEN 'createdb' END,
                CASE WHEN a.rolreplication THEN 'replication' END, CASE WHEN a.rolbypassrls THEN 'bypassrls' END,
                CASE WHEN NOT a.rolinherit THEN 'noinherit' END,
                CASE WHEN a.rolvaliduntil < 'infinity' THEN 'valid_until' END], NULL),
            'connection_limit', a.rolconnlimit,
            'settings', COALESCE((SELECT pg_catalog.to_json(s.setconfig) FROM pg_catalog.pg_db_role_setting s
                WHERE s.setrole = a.oid AND s.setdatabase = 0), '[]'),
            'databases_with_settings', (
                SELECT COALESCE(pg_catalog.json_agg(b.datname), '[]')
                FROM pg_catalog.pg_database b JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = b.oid AND s.setrole = a.oid),
            'member_of', (
                SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
                    'role', pg_catalog.pg_get_userbyid(m.roleid), 'grantor', pg_catalog.pg_get_userbyid(m.grantor), 'admin', m.admin_option,
                    -- Before 16 both are as the role is.
                    'set', COALESCE((pg_catalog.to_jsonb(m) ->> 'set_option')::boolean, true),
                    'inherit', COALESCE((pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean, true))), '[]')
                FROM pg_catalog.pg_auth_members m WHERE m.member = a.oid),
            -- From 16 on, the admin who made a role is its member, without a right but to administer it.
            'members', (
                SELECT COALESCE(pg_catalog.json_agg(DISTINCT pg_catalog.pg_get_userbyid(m.member)), '[]')
                FROM pg_catalog.pg_auth_members m
                WHERE m.roleid = a.oid AND COALESCE((pg_catalog.to_jsonb(m) ->> 'set_option')::boolean
                    OR (pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean, true)))
        FROM pg_catalog.pg_roles a WHERE a.rolname = w.role_name::name)
    )::text AS state
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) w (schema_name, role_name)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name

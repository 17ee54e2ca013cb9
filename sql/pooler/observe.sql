-- What is there of the pooler's role and of its lookup.
WITH pooler AS MATERIALIZED (
    SELECT r.* FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_pooler'
), here AS MATERIALIZED (
    SELECT d.oid, d.datname::text AS name, d.datacl FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
), registry AS MATERIALIZED (
    SELECT n.oid, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'tenantctl'
), lookups AS MATERIALIZED (
    SELECT f.*, o.rolsuper AS owner_is_super, o.rolname::text AS owner_name, l.lanname::text AS language, pg_catalog.oidvectortypes(f.proargtypes) AS arguments,
        f.prokind = 'f' AND f.prosecdef AND f.proretset AND f.provolatile = 's' AND f.proisstrict AND NOT f.proleakproof
            AND f.provariadic = 0 AND f.prosupport = 0 AND f.proparallel = 'u'
            AND pg_catalog.pg_get_function_result(f.oid) = 'TABLE(role_name text, verifier text)' AS shape,
        f.proconfig IS NOT DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp'] AS pinned,
        NOT EXISTS (SELECT FROM pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) x
            WHERE x.grantee NOT IN (f.proowner, COALESCE((SELECT p.oid FROM pooler p), f.proowner)) OR (x.grantee <> f.proowner AND x.is_grantable)) AS closed,
        EXISTS (SELECT FROM pooler p CROSS JOIN pg_catalog.aclexplode(f.proacl) x WHERE x.grantee = p.oid) AS granted
    FROM registry n JOIN pg_catalog.pg_proc f ON f.pronamespace = n.oid
    JOIN pg_catalog.pg_roles o ON o.oid = f.proowner JOIN pg_catalog.pg_language l ON l.oid = f.prolang
    WHERE f.proname = 'pooler_lookup'
), dependencies AS MATERIALIZED (
    SELECT s.* FROM pg_catalog.pg_shdepend s JOIN pooler p ON p.oid = s.refobjid
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
)
SELECT (SELECT h.name FROM here h) AS database,
    (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = session_user) AS superuser,
    EXISTS (SELECT FROM pooler) AS role_exists,
    COALESCE((SELECT p.rolcanlogin AND NOT (p.rolsuper OR p.rolcreaterole OR p.rolcreatedb OR p.rolreplication OR p.rolbypassrls)
        AND p.rolconnlimit = -1 AND (p.rolvaliduntil IS NULL OR p.rolvaliduntil = 'infinity') FROM pooler p), false) AS plain,
    ARRAY(SELECT g.rolname::text FROM pooler p JOIN pg_catalog.pg_auth_members m ON m.member = p.oid
        JOIN pg_catalog.pg_roles g ON g.oid = m.roleid ORDER BY 1) AS member_of,
    -- A superuser's own membership changes nothing; from 16 on whoever makes a role is a member without its rights.
    ARRAY(SELECT DISTINCT g.rolname::text FROM pooler p JOIN pg_catalog.pg_auth_members m ON m.roleid = p.oid
        JOIN pg_catalog.pg_roles g ON g.oid = m.member WHERE NOT g.rolsuper ORDER BY 1) AS members,
    ARRAY(SELECT CASE s.setdatabase WHEN 0 THEN '' ELSE d.datname::text END FROM pooler p JOIN pg_catalog.pg_db_role_setting s ON s.setrole = p.oid
        LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase ORDER BY 1) AS settings,
    EXISTS (SELECT FROM here h CROSS JOIN pooler p CROSS JOIN pg_catalog.aclexplode(h.datacl) x
        WHERE x.grantee = p.oid AND x.privilege_type = 'CONNECT') AS may_connect,
    EXISTS (SELECT FROM registry n CROSS JOIN pooler p CROSS JOIN pg_catalog.aclexplode(n.nspacl) x
        WHERE x.grantee = p.oid AND x.privilege_type = 'USAGE') AS may_use_registry,
    -- What it holds beyond: in this database, and of databases anything but CONNECT.
    ARRAY(SELECT pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid) FROM dependencies s
        WHERE s.deptype = 'a' AND s.dbid = (SELECT h.oid FROM here h)
        AND NOT (s.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND s.objid = (SELECT n.oid FROM registry n)
            AND NOT EXISTS (SELECT FROM registry n CROSS JOIN pooler p CROSS JOIN pg_catalog.aclexplode(n.nspacl) x
                WHERE x.grantee = p.oid AND (x.privilege_type <> 'USAGE' OR x.is_grantable)))
        AND NOT (s.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND s.objid IN (SELECT l.oid FROM lookups l))
        UNION ALL
        SELECT 'database ' || pg_catalog.quote_ident(d.datname) FROM pooler p CROSS JOIN pg_catalog.pg_database d
        WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) x WHERE x.grantee = p.oid AND (x.privilege_type <> 'CONNECT' OR x.is_grantable))
        UNION ALL
        SELECT 'tablespace ' || pg_catalog.quote_ident(b.spcname) FROM pooler p CROSS JOIN pg_catalog.pg_tablespace b
        WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(b.spcacl) x WHERE x.grantee = p.oid)
        UNION ALL
        SELECT 'parameter ' || a.parname FROM pooler p CROSS JOIN pg_catalog.pg_parameter_acl a
        WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(a.paracl) x WHERE x.grantee = p.oid)
        ORDER BY 1) AS beyond,
    ARRAY(SELECT d.datname::text FROM pooler p CROSS JOIN pg_catalog.pg_database d
        WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) x WHERE x.grantee = p.oid AND x.privilege_type = 'CONNECT') ORDER BY 1) AS connects,
    ARRAY(SELECT CASE WHEN s.dbid IN (0, (SELECT h.oid FROM here h)) THEN pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid)
            ELSE 'something in database ' || (SELECT d.datname::text FROM pg_catalog.pg_database d WHERE d.oid = s.dbid) END
        FROM dependencies s WHERE s.deptype = 'o' ORDER BY 1) AS owns,
    -- Whom this login's default privileges would let call a function that it makes.
    ARRAY(SELECT DISTINCT g.rolname::text FROM pg_catalog.pg_default_acl d CROSS JOIN pg_catalog.aclexplode(d.defaclacl) x
        JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
        WHERE d.defaclobjtype = 'f' AND d.defaclrole = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = session_user)
        AND d.defaclnamespace IN (0, (SELECT n.oid FROM registry n)) AND x.grantee <> d.defaclrole ORDER BY 1) AS default_grantees,
    -- Every function of the name, as an overload could be taken for the lookup.
    ARRAY(SELECT l.arguments FROM lookups l ORDER BY 1) AS signatures,
    (SELECT l.prosrc FROM lookups l WHERE l.arguments = 'text') AS body,
    COALESCE((SELECT l.language = 'sql' AND l.shape FROM lookups l WHERE l.arguments = 'text'), false) AS shape,
    COALESCE((SELECT l.pinned FROM lookups l WHERE l.arguments = 'text'), false) AS pinned,
    COALESCE((SELECT l.owner_is_super FROM lookups l WHERE l.arguments = 'text'), false) AS owner_is_super,
    COALESCE((SELECT l.closed FROM lookups l WHERE l.arguments = 'text'), false) AS closed,
    COALESCE((SELECT l.granted FROM lookups l WHERE l.arguments = 'text'), false) AS granted

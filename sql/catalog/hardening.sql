-- The database-wide lines of the hardening standard: what breaks each, one row an object. `revoke`: PUBLIC has what it
-- must not have; `grant_owner`: tenantctl_owner lacks, by name, what PUBLIC's right gave it; `may_mend`: this session's
-- rights suffice for both. A null ACL means the built-in default.
WITH me AS (
    SELECT r.oid, r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = session_user
), owner AS (
    SELECT COALESCE((SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_owner'), 0) AS oid
), databases AS (
    SELECT d.datname, d.datdba, x.grantee, x.privilege_type
    FROM pg_catalog.pg_database d
    CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
    WHERE d.datallowconn
), functions AS (
    -- Advisory locks and notify are shared by all tenants of a database, query_to_xml runs any text as the
    -- caller of a view, large objects outlast every schema, size functions wait on a tenant's locks.
    SELECT p.proname || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')' AS signature,
        pg_catalog.bool_or(x.grantee = 0) AS public,
        -- The ones that tenantctl itself calls.
        p.proname LIKE '%\_size' AND NOT pg_catalog.bool_or(x.grantee = owner.oid) AS lacks
    FROM pg_catalog.pg_proc p
    CROSS JOIN owner
    CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
    WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND x.privilege_type = 'EXECUTE'
    AND (p.proname LIKE 'pg\_advisory\_%' OR p.proname LIKE 'pg\_try\_advisory\_%'
        OR p.proname IN ('pg_notify', 'query_to_xml', 'query_to_xml_and_xmlschema', 'query_to_xmlschema',
            'table_to_xml', 'table_to_xml_and_xmlschema', 'table_to_xmlschema',
            'schema_to_xml', 'schema_to_xml_and_xmlschema', 'schema_to_xmlschema',
            'database_to_xml', 'database_to_xml_and_xmlschema', 'database_to_xmlschema',
            'cursor_to_xml', 'cursor_to_xmlschema',
            'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import',
            'pg_total_relation_size', 'pg_relation_size', 'pg_table_size', 'pg_indexes_size',
            'pg_database_size', 'pg_tablespace_size'))
    GROUP BY p.oid, p.proname, p.proargtypes
), views AS (
    SELECT c.relname,
        COALESCE((SELECT pg_catalog.bool_or(x.grantee = 0) FROM pg_catalog.aclexplode(c.relacl) x WHERE x.privilege_type = 'SELECT'), false) AS public,
        NOT COALESCE((SELECT pg_catalog.bool_or(x.grantee = owner.oid) FROM pg_catalog.aclexplode(c.relacl) x
            WHERE x.privilege_type = 'SELECT'), false) AS lacks
    FROM pg_catalog.pg_class c CROSS JOIN owner
    WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
    AND c.relname IN ('pg_stat_all_tables', 'pg_stat_user_tables', 'pg_stat_xact_all_tables', 'pg_stat_xact_user_tables',
        'pg_statio_all_tables', 'pg_statio_user_tables', 'pg_stat_all_indexes', 'pg_stat_user_indexes',
        'pg_statio_all_indexes', 'pg_statio_user_indexes', 'pg_statio_all_sequences', 'pg_statio_user_sequences')
)
SELECT 'tenants_connect' AS line, pg_catalog.current_database()::text AS object, false AS revoke, false AS grant_owner,
    pg_catalog.has_database_privilege(session_user, pg_catalog.current_database(), 'CONNECT WITH GRANT OPTION') AS may_mend
WHERE NOT EXISTS (
    SELECT FROM databases d JOIN pg_catalog.pg_roles r ON r.oid = d.grantee
    WHERE d.datname = pg_catalog.current_database() AND r.rolname = 'tenantctl_tenants' AND d.privilege_type = 'CONNECT')
UNION ALL
SELECT 'owner_default_privileges', k.kind, true, false, true
FROM (VALUES ('functions', 'f'), ('types', 'T')) k (kind, objtype)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_default_acl a, owner
    WHERE a.defaclrole = owner.oid AND a.defaclnamespace = 0 AND a.defaclobjtype = k.objtype::"char"
    AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(a.defaclacl) x WHERE x.grantee = 0))
UNION ALL
SELECT 'public_schema_create', n.nspname::text, true, false, pg_catalog.pg_has_role(session_user, n.nspowner, 'USAGE')
FROM pg_catalog.pg_namespace n
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x
WHERE n.nspname = 'public' AND x.grantee = 0 AND x.privilege_type = 'CREATE'
UNION ALL
SELECT 'database_public', d.datname::text, pg_catalog.bool_or(d.grantee = 0),
    d.datname = pg_catalog.current_database()
        AND NOT pg_catalog.bool_or(d.grantee = owner.oid AND d.privilege_type = 'CONNECT'),
    pg_catalog.pg_has_role(session_user, d.datdba, 'USAGE')
FROM databases d CROSS JOIN owner
GROUP BY d.datname, d.datdba
HAVING pg_catalog.bool_or(d.grantee = 0) OR (d.datname = pg_catalog.current_database()
    AND NOT pg_catalog.bool_or(d.grantee = owner.oid AND d.privilege_type = 'CONNECT'))
UNION ALL
SELECT 'language_public', l.lanname::text, pg_catalog.bool_or(x.grantee = 0), NOT pg_catalog.bool_or(x.grantee = owner.oid),
    pg_catalog.pg_has_role(session_user, l.lanowner, 'USAGE')
FROM pg_catalog.pg_language l CROSS JOIN owner
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(l.lanacl, pg_catalog.acldefault('l', l.lanowner))) x
WHERE l.lanname IN ('sql', 'plpgsql')
GROUP BY l.lanname, l.lanowner
HAVING pg_catalog.bool_or(x.grantee = 0) OR NOT pg_catalog.bool_or(x.grantee = owner.oid)
UNION ALL
SELECT 'builtin_functions', f.signature, f.public, f.lacks, me.rolsuper FROM functions f, me WHERE f.public OR f.lacks
UNION ALL
SELECT 'statistics_views', v.relname::text, v.public, v.lacks, me.rolsuper FROM views v, me WHERE v.public OR v.lacks
ORDER BY 1, 2

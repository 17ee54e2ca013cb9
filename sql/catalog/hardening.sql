-- The database-wide lines of the hardening standard: what breaks each, and whether this session may mend it.
-- One row a line; `broken` is empty where the line holds. A null ACL means the built-in default.
WITH me AS (
    SELECT r.oid, r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = session_user
), databases AS (
    SELECT d.datname, d.datdba, x.grantee, x.privilege_type
    FROM pg_catalog.pg_database d
    CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
    WHERE d.datallowconn
), functions AS (
    -- Advisory locks and notify are shared by all tenants of a database, query_to_xml runs any text as the
    -- caller of a view, large objects outlast every schema, size functions wait on a tenant's locks.
    SELECT p.proname, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' AS signature
    FROM pg_catalog.pg_proc p
    CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
    WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND x.grantee = 0 AND x.privilege_type = 'EXECUTE'
    AND (p.proname LIKE 'pg\_advisory\_%' OR p.proname LIKE 'pg\_try\_advisory\_%'
        OR p.proname IN ('pg_notify', 'query_to_xml', 'query_to_xml_and_xmlschema', 'query_to_xmlschema',
            'table_to_xml', 'table_to_xml_and_xmlschema', 'table_to_xmlschema',
            'schema_to_xml', 'schema_to_xml_and_xmlschema', 'schema_to_xmlschema',
            'database_to_xml', 'database_to_xml_and_xmlschema', 'database_to_xmlschema',
            'cursor_to_xml', 'cursor_to_xmlschema',
            'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import',
            'pg_total_relation_size', 'pg_relation_size', 'pg_table_size', 'pg_indexes_size',
            'pg_database_size', 'pg_tablespace_size'))
), views AS (
    SELECT c.relname
    FROM pg_catalog.pg_class c
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) x
    WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND x.grantee = 0 AND x.privilege_type = 'SELECT'
    AND c.relname IN ('pg_stat_all_tables', 'pg_stat_user_tables', 'pg_stat_xact_all_tables', 'pg_stat_xact_user_tables',
        'pg_statio_all_tables', 'pg_statio_user_tables', 'pg_stat_all_indexes', 'pg_stat_user_indexes',
        'pg_statio_all_indexes', 'pg_statio_user_indexes', 'pg_statio_all_sequences', 'pg_statio_user_sequences')
)
SELECT 'tenants_connect' AS line,
    ARRAY(SELECT pg_catalog.current_database()::text WHERE NOT EXISTS (
        SELECT FROM databases d JOIN pg_catalog.pg_roles r ON r.oid = d.grantee
        WHERE d.datname = pg_catalog.current_database() AND r.rolname = 'tenantctl_tenants'
        AND d.privilege_type = 'CONNECT')) AS broken,
    pg_catalog.has_database_privilege(session_user, pg_catalog.current_database(), 'CONNECT WITH GRANT OPTION') AS may_mend
UNION ALL
SELECT 'owner_default_privileges',
    ARRAY(SELECT k.kind FROM (VALUES ('functions', 'f'), ('types', 'T')) k (kind, objtype)
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_default_acl a JOIN pg_catalog.pg_roles r ON r.oid = a.defaclrole
            WHERE r.rolname = 'tenantctl_owner' AND a.defaclnamespace = 0 AND a.defaclobjtype = k.objtype::"char"
            AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(a.defaclacl) x WHERE x.grantee = 0))),
    true
UNION ALL
SELECT 'public_schema_create',
    ARRAY(SELECT n.nspname::text FROM pg_catalog.pg_namespace n
        CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x
        WHERE n.nspname = 'public' AND x.grantee = 0 AND x.privilege_type = 'CREATE'),
    COALESCE((SELECT pg_catalog.pg_has_role(session_user, n.nspowner, 'USAGE')
        FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'), true)
UNION ALL
SELECT 'database_public',
    ARRAY(SELECT DISTINCT d.datname::text FROM databases d WHERE d.grantee = 0 ORDER BY 1),
    NOT EXISTS (SELECT FROM databases d
        WHERE d.grantee = 0 AND NOT pg_catalog.pg_has_role(session_user, d.datdba, 'USAGE'))
UNION ALL
SELECT 'language_public',
    ARRAY(SELECT l.lanname::text FROM pg_catalog.pg_language l
        CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(l.lanacl, pg_catalog.acldefault('l', l.lanowner))) x
        WHERE l.lanname IN ('sql', 'plpgsql') AND x.grantee = 0 ORDER BY 1),
    (SELECT rolsuper FROM me)
UNION ALL
SELECT 'builtin_functions', ARRAY(SELECT signature FROM functions ORDER BY 1), (SELECT rolsuper FROM me)
UNION ALL
SELECT 'statistics_views', ARRAY(SELECT relname::text FROM views ORDER BY 1), (SELECT rolsuper FROM me)

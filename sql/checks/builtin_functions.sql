-- check: builtin_functions
-- title: built-in functions for PUBLIC that reach across tenants
-- explain: Advisory locks and notifications are shared by all tenants of a database: one can stall or listen to another. query_to_xml and its family run any
-- explain: text as the owner of a view around them, large objects outlast every schema, and the size functions wait on a tenant's locks and measure
-- explain: everybody's tables. Hardening line builtin_functions.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    pg_catalog.format('function pg_catalog.%I(%s)', p.proname, pg_catalog.oidvectortypes(p.proargtypes)) AS object,
    'PUBLIC, and so every tenant, may execute it (hardening.builtin_functions)' AS detail,
    pg_catalog.format('REVOKE EXECUTE ON FUNCTION pg_catalog.%I(%s) FROM PUBLIC;', p.proname, pg_catalog.oidvectortypes(p.proargtypes)) AS remedy
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
ORDER BY 4

-- check: statistics_views
-- title: per-table statistics for PUBLIC
-- explain: The statistics views show every tenant how many rows its neighbours insert, read and delete, table by table, as they do it.
-- explain: Hardening line statistics_views.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('view pg_catalog.%I', c.relname) AS object,
    'PUBLIC, and so every tenant, may read the activity on everybody''s tables (hardening.statistics_views)' AS detail,
    pg_catalog.format('REVOKE SELECT ON pg_catalog.%I FROM PUBLIC;', c.relname) AS remedy
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) x
WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND x.grantee = 0 AND x.privilege_type = 'SELECT'
AND c.relname IN ('pg_stat_all_tables', 'pg_stat_user_tables', 'pg_stat_xact_all_tables', 'pg_stat_xact_user_tables',
    'pg_statio_all_tables', 'pg_statio_user_tables', 'pg_stat_all_indexes', 'pg_stat_user_indexes',
    'pg_statio_all_indexes', 'pg_statio_user_indexes', 'pg_statio_all_sequences', 'pg_statio_user_sequences')
ORDER BY 4

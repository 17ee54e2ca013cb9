-- check: fixture_hba
-- title: lines of pg_hba.conf that the server refuses
-- explain: A line that the server cannot read is not in force, so whoever wrote it is mistaken about who may log in.
-- needs: superuser, or EXECUTE on pg_hba_file_rules()
SELECT 'low'::text AS severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    'line ' || h.line_number AS object, 'the server refuses this line: ' || h.error AS detail,
    'SELECT pg_catalog.pg_reload_conf();' AS remedy
FROM pg_catalog.pg_hba_file_rules h WHERE h.error IS NOT NULL

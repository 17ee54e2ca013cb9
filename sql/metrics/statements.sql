-- The extension pg_stat_statements: where its function lies, and what that has. Found by the extension that it belongs to, as
-- anybody may have made a function of that name.
SELECT n.nspname::text AS schema, 'total_exec_time' = ANY (p.proargnames) AS recent, 'toplevel' = ANY (p.proargnames) AS toplevel,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AS usable,
    e.extversion::text AS version
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
    AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'
JOIN pg_catalog.pg_proc p ON p.oid = d.objid AND p.proname = 'pg_stat_statements' AND p.pronargs = 1
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE e.extname = 'pg_stat_statements'

-- Where timescaledb is installed in this database: the schema of its functions, its version, who else may create functions there
-- (superusers, the schema's owner and this session's user apart), and which functions of the names that
-- are called are not the extension's.
SELECT n.nspname::text AS schema, e.extversion::text AS version,
    ARRAY(
        SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::pg_catalog.regrole::text END
        FROM pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee
        WHERE x.privilege_type = 'CREATE' AND x.grantee <> n.nspowner
        AND NOT COALESCE(r.rolsuper OR r.rolname = session_user, false)
    ) AS creators,
    ARRAY(
        SELECT p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = n.oid AND p.proname IN ('create_hypertable', 'add_dimension', 'drop_chunks', 'set_chunk_time_interval')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
            AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.deptype = 'e')
    ) AS impostors
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'timescaledb'

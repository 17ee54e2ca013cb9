-- What a session may see of a tenant's rows, which extensions change how tables are read, and which cluster this is.
SELECT r.rolsuper OR r.rolbypassrls AS sees_all_rows,
    EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = 'citus') AS citus,
    EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = 'timescaledb') AS timescaledb,
    (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c) AS system_identifier
FROM pg_catalog.pg_roles r WHERE r.rolname = session_user

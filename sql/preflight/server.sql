-- What the server is, and what of it can be told without the registry.
SELECT (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() c) AS system_identifier,
    -- By a socket both are NULL.
    pg_catalog.inet_server_addr() IS NOT DISTINCT FROM pg_catalog.inet_client_addr() AS nearby,
    pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS today,
    (SELECT pg_catalog.array_agg(x.extname::text) FROM pg_catalog.pg_extension x) AS extensions,
    (SELECT a.default_version FROM pg_catalog.pg_available_extensions a WHERE a.name = 'timescaledb') AS timescaledb_available,
    (SELECT x.extversion FROM pg_catalog.pg_extension x WHERE x.extname = 'timescaledb') AS timescaledb_installed,
    EXISTS (SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = 'pg_stat_statements') AS statements_available,
    -- What pg_dump locks: every table that is not the system's, chunks and partitions among them.
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384) AS tables,
    (SELECT d.datconnlimit FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS database_limit,
    pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') AS sees_all_settings,
    EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'tenantctl') AS has_registry

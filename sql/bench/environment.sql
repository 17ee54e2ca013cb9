-- What decides how fast the server is. Sizes have the units that people write.
SELECT COALESCE((SELECT pg_catalog.array_agg(s.name || ' = ' || pg_catalog.current_setting(s.name) ORDER BY s.name)
    FROM pg_catalog.pg_settings s WHERE s.name IN ('autovacuum', 'checkpoint_timeout', 'effective_cache_size', 'fsync', 'full_page_writes',
        'jit', 'maintenance_work_mem', 'max_connections', 'max_locks_per_transaction', 'max_parallel_workers_per_gather', 'max_wal_size',
        'random_page_cost', 'shared_buffers', 'shared_preload_libraries', 'synchronous_commit', 'synchronous_standby_names',
        'track_io_timing', 'wal_compression', 'wal_level', 'work_mem')), '{}') AS settings,
    COALESCE((SELECT pg_catalog.array_agg(e.extname || ' ' || e.extversion ORDER BY e.extname)
        FROM pg_catalog.pg_extension e WHERE e.extname <> 'plpgsql'), '{}') AS extensions,
    COALESCE(pg_catalog.inet_server_addr() = pg_catalog.inet_client_addr(), false) AS same_address,
    pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS now

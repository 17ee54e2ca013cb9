-- The database and its server. Of others' sessions a login without pg_read_all_stats does not see what kind they are; those
-- of clients have a role and a database.
SELECT pg_catalog.current_database()::text AS database, pg_catalog.pg_is_in_recovery() AS in_recovery,
    pg_catalog.current_setting('max_connections')::bigint AS max_connections,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a
        WHERE a.backend_type = 'client backend'
        OR (a.backend_start IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL)) AS connections

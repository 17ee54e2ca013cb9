-- Sessions of tenants' roles in this database, by role. Of others' sessions a login without pg_read_all_stats sees the role
-- and little else: no time of start, no state, not even whether it is a parallel worker.
SELECT a.usename::text AS role, pg_catalog.count(*) AS total,
    pg_catalog.count(*) FILTER (WHERE a.backend_start IS NULL OR a.state = 'disabled') AS hidden,
    pg_catalog.count(*) FILTER (WHERE a.state IN ('active', 'fastpath function call')) AS active,
    pg_catalog.count(*) FILTER (WHERE a.state = 'idle') AS idle,
    pg_catalog.count(*) FILTER (WHERE a.state IN ('idle in transaction', 'idle in transaction (aborted)')) AS idle_in_transaction,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - pg_catalog.min(a.backend_start)) AS longest_seconds,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - pg_catalog.min(a.xact_start)) AS longest_transaction_seconds
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = pg_catalog.current_database() AND a.usename ~ '^tenant_[0-9a-f]{12}_user$'
AND (a.backend_type = 'client backend' OR a.backend_start IS NULL)
GROUP BY a.usename

-- Sessions of tenants' roles by role: in this database, and how many are in others, as a role's connection limit is the whole
-- cluster's. Of others' sessions a login without pg_read_all_stats sees the role and little else: no time of start, no state,
-- not even whether it is a parallel worker.
SELECT a.usename::text AS role, pg_catalog.count(*) FILTER (WHERE a.here) AS total,
    pg_catalog.count(*) FILTER (WHERE NOT a.here) AS elsewhere,
    pg_catalog.count(*) FILTER (WHERE a.here AND (a.backend_start IS NULL OR a.state = 'disabled')) AS hidden,
    pg_catalog.count(*) FILTER (WHERE a.here AND a.state IN ('active', 'fastpath function call')) AS active,
    pg_catalog.count(*) FILTER (WHERE a.here AND a.state = 'idle') AS idle,
    pg_catalog.count(*) FILTER (WHERE a.here AND a.state IN ('idle in transaction', 'idle in transaction (aborted)')) AS idle_in_transaction,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - pg_catalog.min(a.backend_start) FILTER (WHERE a.here)) AS longest_seconds,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - pg_catalog.min(a.xact_start) FILTER (WHERE a.here)) AS longest_transaction_seconds
FROM (SELECT s.*, s.datname IS NOT DISTINCT FROM pg_catalog.current_database() AS here FROM pg_catalog.pg_stat_activity s) a
WHERE a.usename ~ '^tenant_[0-9a-f]{12}_user$'
AND (a.backend_type = 'client backend' OR a.backend_start IS NULL)
GROUP BY a.usename

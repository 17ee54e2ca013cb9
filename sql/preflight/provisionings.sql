-- Provisionings of the last 30 days, and those of them that took longer than so many milliseconds ($1).
SELECT pg_catalog.count(*) AS made,
    pg_catalog.count(*) FILTER (WHERE o.duration_ms > $1) AS late,
    pg_catalog.percentile_cont(0.95) WITHIN GROUP (ORDER BY o.duration_ms) AS p95,
    pg_catalog.max(o.duration_ms) AS slowest
FROM tenantctl.operations o
WHERE o.operation = 'provision' AND o.status = 'done' AND o.finished_at > pg_catalog.now() - '30 days'::pg_catalog.interval

-- What is to be told after the measurement at $1 (seconds since 1970), the worst first and what was never told before the
-- rest. A webhook is told what began, got worse or ended, and what goes on after so many hours ($2). Alertmanager ($3) is told
-- of all that goes on, as it takes for ended what nobody confirms, for so many minutes ($4). Only what this measurement has
-- seen goes on; what another one left untold is told all the same. The end is told of whatever the receiver may know of.
SELECT a.alert_key, a.alert_type, a.tenant_id, a.object, a.severity, a.notified_severity, a.message, a.value, a.threshold,
    pg_catalog.to_char(a.fired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS fired_at,
    pg_catalog.to_char(a.resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS resolved_at,
    pg_catalog.to_char(n.now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now,
    pg_catalog.to_char((n.now + pg_catalog.make_interval(mins => $4)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS expires
FROM (SELECT pg_catalog.clock_timestamp() AS now, pg_catalog.to_timestamp($1) AS moment) n
CROSS JOIN tenantctl.alerts a
WHERE CASE WHEN a.resolved_at IS NULL
    THEN a.notified_at IS NULL
        OR a.severity = 'critical' AND a.notified_severity IS DISTINCT FROM 'critical'
        OR a.seen_at >= n.moment AND ($3 OR a.notified_at <= n.now - pg_catalog.make_interval(hours => $2))
    ELSE (a.notified_at IS NOT NULL OR a.offered_at IS NOT NULL) AND a.resolution_notified_at IS NULL END
ORDER BY a.severity = 'critical' DESC, a.notified_at NULLS FIRST, a.alert_key

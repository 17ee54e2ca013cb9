-- Writes down what fires ($1 to $8: arrays of key, type, tenant, object, severity, message, value, threshold) at the moment of
-- the measurement ($9: seconds since 1970). One that had ended begins anew, and nothing of it is told yet.
INSERT INTO tenantctl.alerts AS a
    (alert_key, alert_type, tenant_id, object, severity, message, value, threshold, fired_at, seen_at)
SELECT f.*, m.moment, m.moment
FROM (SELECT pg_catalog.to_timestamp($9) AS moment) m
CROSS JOIN ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
    pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8)) f
ON CONFLICT (alert_key) DO UPDATE SET
    severity = excluded.severity, message = excluded.message, value = excluded.value, threshold = excluded.threshold,
    seen_at = excluded.seen_at,
    fired_at = CASE WHEN a.resolved_at IS NULL THEN a.fired_at ELSE excluded.fired_at END,
    notified_at = CASE WHEN a.resolved_at IS NULL THEN a.notified_at END,
    notified_severity = CASE WHEN a.resolved_at IS NULL THEN a.notified_severity END,
    offered_at = CASE WHEN a.resolved_at IS NULL THEN a.offered_at END,
    resolved_at = NULL, resolution_notified_at = NULL
-- A run that has measured later knows better.
WHERE a.seen_at <= excluded.seen_at

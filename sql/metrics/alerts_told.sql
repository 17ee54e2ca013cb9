-- Notes what the receiver has accepted ($1 to $4: arrays of key, beginning, severity, whether it was the end). The beginning
-- tells whether it is still the story that was told: an alert that has ended and begun anew meanwhile is told again.
UPDATE tenantctl.alerts a SET
    notified_at = CASE WHEN t.ended THEN a.notified_at ELSE pg_catalog.clock_timestamp() END,
    notified_severity = CASE WHEN t.ended THEN a.notified_severity ELSE t.severity END,
    resolution_notified_at = CASE WHEN t.ended THEN pg_catalog.clock_timestamp() ELSE a.resolution_notified_at END
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
    t (alert_key, fired_at, severity, ended)
WHERE a.alert_key = t.alert_key AND a.fired_at = t.fired_at::timestamptz
AND (a.resolved_at IS NOT NULL OR NOT t.ended)

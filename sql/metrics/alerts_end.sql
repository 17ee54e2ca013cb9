-- Ends the alerts of these tenants ($1), and of the database ($2), that the measurement at $3 (seconds since 1970) has not
-- found: what it found, or could not say anything of, it has seen. What is told of a tenant that is not there, such as one
-- whose provisioning failed or one that was dropped, is the database's. Of a tenant that another run has frozen meanwhile, the
-- registry knows better.
UPDATE tenantctl.alerts a SET resolved_at = m.moment, seen_at = m.moment
FROM (SELECT pg_catalog.to_timestamp($3) AS moment) m
WHERE a.resolved_at IS NULL AND a.seen_at < m.moment
AND (a.tenant_id IN (SELECT pg_catalog.unnest($1))
    OR $2 AND (a.tenant_id IS NULL OR NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.tenant_id = a.tenant_id)))
AND NOT (a.alert_type = 'writes_frozen' AND EXISTS (
    SELECT FROM tenantctl.tenants t WHERE t.tenant_id = a.tenant_id AND t.writes_frozen_at IS NOT NULL))

-- Tenants without a good backup of the last hours ($1: tenants, none for all; $2: hours), whoever has waited longest first. A
-- tenant that has none waits since it was made; backups of another that bore its name before do not count.
SELECT t.tenant_id, t.schema_name, t.tier, b.backup_id,
    pg_catalog.to_char(b.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
    pg_catalog.date_part('epoch', n.now - COALESCE(b.created_at, t.created_at)) / 3600 AS hours
FROM (SELECT pg_catalog.clock_timestamp() AS now) n
CROSS JOIN tenantctl.tenants t
LEFT JOIN LATERAL (
    SELECT b.backup_id, b.created_at FROM tenantctl.backups b
    WHERE b.tenant_id = t.tenant_id AND b.schema_name = t.schema_name AND b.status = 'done' AND b.damaged_at IS NULL
    ORDER BY b.created_at DESC LIMIT 1
) b ON true
WHERE (pg_catalog.cardinality($1) = 0 OR t.tenant_id = ANY ($1))
AND COALESCE(b.created_at, t.created_at) < n.now - pg_catalog.make_interval(hours => $2)
ORDER BY COALESCE(b.created_at, t.created_at), t.tenant_id

-- Tenants without a good backup of a type ($1; 'any' is whichever) within so many hours ($2), the longest first. One that has
-- none waits since it was made.
SELECT t.tenant_id, b.created_at IS NULL AS never,
    pg_catalog.date_part('epoch', pg_catalog.now() - COALESCE(b.created_at, t.created_at)) / 3600 AS hours
FROM tenantctl.tenants t
LEFT JOIN LATERAL (
    SELECT b.created_at FROM tenantctl.backups b
    WHERE b.tenant_id = t.tenant_id AND b.schema_name = t.schema_name AND b.status = 'done' AND ($1 = 'any' OR b.backup_type = $1)
    ORDER BY b.created_at DESC LIMIT 1
) b ON true
WHERE b.created_at IS NULL OR b.created_at < pg_catalog.now() - pg_catalog.make_interval(hours => $2)
ORDER BY COALESCE(b.created_at, t.created_at), t.tenant_id

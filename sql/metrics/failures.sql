-- Provisionings and backups that failed in the last hours ($1) and that nobody has made good since: the latest of each tenant.
-- A tenant that is there has been provisioned, one that is gone needs no backup. What was refused because it was there already
-- is only a warning. Without a tenant, the command failed as a whole; the next one that did anything has made that good.
WITH failed AS (
    SELECT DISTINCT ON (o.operation, o.tenant_id) o.operation, o.tenant_id, o.error_id, o.message, o.finished_at
    FROM tenantctl.operations o
    WHERE o.status = 'failed' AND o.operation IN ('provision', 'backup') AND o.severity IN ('error', 'critical')
    AND o.finished_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(hours => $1)
    ORDER BY o.operation, o.tenant_id, o.finished_at DESC
)
SELECT f.operation, f.tenant_id, f.error_id::text AS error_id, COALESCE(f.message, '') AS message,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - f.finished_at) AS age
FROM failed f LEFT JOIN tenantctl.tenants t ON t.tenant_id = f.tenant_id
WHERE CASE
    WHEN f.tenant_id IS NULL THEN NOT EXISTS (
        SELECT FROM tenantctl.operations o
        WHERE o.operation = f.operation AND o.status = 'done' AND o.finished_at > f.finished_at)
    WHEN f.operation = 'provision' THEN t.tenant_id IS NULL AND NOT EXISTS (
        SELECT FROM tenantctl.operations o
        WHERE o.tenant_id = f.tenant_id AND o.operation = 'provision' AND o.status = 'done' AND o.finished_at > f.finished_at)
    ELSE t.tenant_id IS NOT NULL AND t.created_at <= f.finished_at AND NOT EXISTS (
        SELECT FROM tenantctl.backups b
        WHERE b.tenant_id = f.tenant_id AND b.status = 'done' AND b.created_at > f.finished_at)
    END
ORDER BY f.finished_at DESC, f.operation, f.tenant_id

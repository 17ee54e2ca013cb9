-- Tenants, those with a backup that was ever verified, and those with one that was in the last days ($1).
SELECT pg_catalog.count(*) AS tenants,
    pg_catalog.count(v.at) AS verified,
    pg_catalog.count(*) FILTER (WHERE v.at > pg_catalog.now() - pg_catalog.make_interval(days => $1)) AS lately,
    pg_catalog.min(t.tenant_id) FILTER (WHERE v.at IS NULL OR v.at <= pg_catalog.now() - pg_catalog.make_interval(days => $1)) AS example
FROM tenantctl.tenants t
LEFT JOIN (
    SELECT b.tenant_id, b.schema_name, pg_catalog.max(GREATEST(b.verified_at, b.drilled_at)) AS at
    FROM tenantctl.backups b WHERE b.status = 'done' GROUP BY 1, 2
) v ON v.tenant_id = t.tenant_id AND v.schema_name = t.schema_name

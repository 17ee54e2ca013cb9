-- The registry in figures: tenants, and their limits on connections (NULL is none).
SELECT pg_catalog.count(*) AS tenants,
    COALESCE(pg_catalog.sum((t.limits ->> 'max_connections')::bigint), 0)::bigint AS connections,
    COALESCE(pg_catalog.max((t.limits ->> 'max_connections')::bigint), 0)::bigint AS most_connections,
    pg_catalog.count(*) FILTER (WHERE t.limits ->> 'max_connections' IS NULL) AS unlimited,
    pg_catalog.count(*) FILTER (WHERE t.hypertables = '{}') AS plain
FROM tenantctl.tenants t

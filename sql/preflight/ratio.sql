-- How far backups of the last 30 days were compressed, and how many are kept in this store ($1) with their bytes.
SELECT (SELECT pg_catalog.sum(b.stored_bytes) / NULLIF(pg_catalog.sum(b.raw_bytes), 0) FROM tenantctl.backups b
        WHERE b.status = 'done' AND b.created_at > pg_catalog.now() - '30 days'::pg_catalog.interval)::double precision AS ratio,
    (SELECT COALESCE(pg_catalog.sum(b.stored_bytes), 0)::bigint FROM tenantctl.backups b WHERE b.status = 'done' AND b.store = $1) AS kept

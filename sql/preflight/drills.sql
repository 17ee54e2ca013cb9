-- Backups in the registry, and days since one was restored for trial.
SELECT pg_catalog.count(*) AS backups,
    pg_catalog.date_part('epoch', pg_catalog.now() - pg_catalog.max(b.drilled_at)) / 86400 AS days,
    (pg_catalog.array_agg(b.backup_id ORDER BY b.drilled_at DESC NULLS LAST))[1] AS backup_id
FROM tenantctl.backups b WHERE b.status = 'done'

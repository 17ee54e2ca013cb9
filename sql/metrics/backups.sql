-- The newest good backups of tenants ($1) by type, and how old the tenants are themselves. Backups of another tenant that bore
-- the name before do not count. A tenant that was dropped meanwhile is absent.
WITH good AS MATERIALIZED (
    SELECT b.tenant_id, b.schema_name, b.backup_type, pg_catalog.max(b.created_at) AS created_at
    FROM tenantctl.backups b
    WHERE b.status = 'done' AND b.damaged_at IS NULL AND b.tenant_id = ANY ($1)
    GROUP BY b.tenant_id, b.schema_name, b.backup_type
), aged AS (
    SELECT g.tenant_id, g.schema_name,
        pg_catalog.array_agg(g.backup_type ORDER BY g.backup_type) AS types,
        pg_catalog.array_agg(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - g.created_at) ORDER BY g.backup_type) AS ages
    FROM good g GROUP BY g.tenant_id, g.schema_name
)
SELECT t.tenant_id, t.schema_name, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - t.created_at) AS tenant_age,
    a.types, a.ages, n.backup_id,
    pg_catalog.to_char(n.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - n.created_at) AS age
FROM tenantctl.tenants t
LEFT JOIN aged a ON a.tenant_id = t.tenant_id AND a.schema_name = t.schema_name
LEFT JOIN LATERAL (
    SELECT b.backup_id, b.created_at FROM tenantctl.backups b
    WHERE a.tenant_id IS NOT NULL AND b.tenant_id = t.tenant_id AND b.schema_name = t.schema_name AND b.status = 'done' AND b.damaged_at IS NULL
    ORDER BY b.created_at DESC, b.backup_id DESC LIMIT 1
) n ON true
WHERE t.tenant_id = ANY ($1)

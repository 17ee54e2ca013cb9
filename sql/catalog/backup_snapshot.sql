-- Exports the transaction's snapshot, and reads what the registry says of a tenant in it ($1: tenant, $2: days to keep).
SELECT pg_catalog.pg_export_snapshot() AS snapshot,
    pg_catalog.to_char(s.now, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS taken_at,
    pg_catalog.to_char(s.now, 'YYYYMMDD_HH24MISS') AS moment,
    pg_catalog.to_char(s.now + pg_catalog.make_interval(days => $2), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS expires_at,
    t.schema_name, t.status, t.salt, t.tier, t.limits::text AS limits, t.audit::text AS audit, t.template, t.template_version, t.modules,
    t.hypertables, v.sha256,
    pg_catalog.to_char(t.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS provisioned_at
FROM (SELECT pg_catalog.statement_timestamp() AT TIME ZONE 'UTC' AS now) s
JOIN tenantctl.tenants t ON t.tenant_id = $1
JOIN tenantctl.template_versions v ON v.template = t.template AND v.version = t.template_version

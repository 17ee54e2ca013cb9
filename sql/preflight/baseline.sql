-- The newest baseline: its age in days, the server that it was measured on, and figures that missed their target.
SELECT pg_catalog.date_part('epoch', pg_catalog.now() - b.recorded_at) / 86400 AS days,
    b.environment ->> 'server_version' AS server_version,
    pg_catalog.jsonb_array_length(b.results) AS figures,
    ARRAY(SELECT COALESCE(r ->> 'suite', '') || ' ' || COALESCE(r ->> 'metric', '') FROM pg_catalog.jsonb_array_elements(b.results) r
        WHERE r -> 'pass' = 'false' ORDER BY 1) AS missed,
    ARRAY(SELECT DISTINCT r ->> 'suite' FROM pg_catalog.jsonb_array_elements(b.results) r WHERE r ->> 'suite' IS NOT NULL ORDER BY 1) AS suites
FROM tenantctl.baselines b ORDER BY b.recorded_at DESC, b.baseline_id LIMIT 1

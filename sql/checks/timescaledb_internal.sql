-- check: timescaledb_internal
-- title: USAGE for PUBLIC on the schema of TimescaleDB's chunks
-- explain: Chunks carry no row security, only their table's grants, and the extension opens their schema to PUBLIC. With that door shut a
-- explain: grant that went astray on a chunk still leads nowhere. Hardening line timescaledb_internal.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, 'schema _timescaledb_internal' AS object,
    pg_catalog.format('PUBLIC, and so every tenant, has %s on the schema of all chunks (hardening.timescaledb_internal)', pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)) AS detail,
    'REVOKE ALL ON SCHEMA _timescaledb_internal FROM PUBLIC;' AS remedy
FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) x
WHERE n.nspname = '_timescaledb_internal' AND x.grantee = 0
HAVING pg_catalog.count(*) > 0

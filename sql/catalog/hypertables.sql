-- The hypertables of a schema with their dimensions, time first ($1: schema). The catalog's tables and not its views, which
-- sessions of ours may not read.
SELECT h.table_name::text AS hypertable, d.column_name::text AS dimension, d.num_slices::integer AS slices,
    CASE WHEN d.column_type IN ('pg_catalog.timestamptz'::pg_catalog.regtype, 'pg_catalog.timestamp'::pg_catalog.regtype,
        'pg_catalog.date'::pg_catalog.regtype)
        THEN (d.interval_length * '1 microsecond'::pg_catalog.interval)::text ELSE d.interval_length::text END AS chunk_interval
FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id
WHERE h.schema_name = $1::name ORDER BY h.table_name, d.interval_length IS NULL, d.id

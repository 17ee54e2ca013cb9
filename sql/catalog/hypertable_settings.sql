-- What of the hypertables of a schema ($1) a backup cannot bring back, a row each: refused where it would be lost for good or
-- point into the old tables, and told of where the rows are whole without it. The catalog's tables and not its views, which
-- sessions of ours may not read.
SELECT true AS refused, pg_catalog.format('%I is a continuous aggregate', a.user_view_name) AS what
FROM _timescaledb_catalog.continuous_agg a
WHERE a.user_view_schema = $1::name
OR EXISTS (SELECT FROM _timescaledb_catalog.hypertable h WHERE h.id = a.raw_hypertable_id AND h.schema_name = $1::name)
UNION ALL
SELECT true, pg_catalog.format('hypertable %I is partitioned by %I in a way of its own', h.table_name, d.column_name)
FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id
WHERE h.schema_name = $1::name
AND ((d.partitioning_func IS NOT NULL AND d.partitioning_func <> 'get_partition_hash')
    -- A second dimension by ranges.
    OR (d.interval_length IS NOT NULL AND EXISTS (
        SELECT FROM _timescaledb_catalog.dimension o WHERE o.hypertable_id = d.hypertable_id AND o.interval_length IS NOT NULL AND o.id < d.id)))
UNION ALL
SELECT false, pg_catalog.format('compression of %I', h.table_name)
FROM _timescaledb_catalog.hypertable h WHERE h.schema_name = $1::name AND h.compression_state = 1
UNION ALL
SELECT false, pg_catalog.format('%s of %I', j.proc_name, h.table_name)
FROM _timescaledb_catalog.hypertable h
JOIN LATERAL (SELECT b.* FROM _timescaledb_catalog.bgw_job b WHERE b.hypertable_id = h.id) j ON true
WHERE h.schema_name = $1::name
UNION ALL
SELECT false, pg_catalog.format('integer_now function of %I', h.table_name)
FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id
WHERE h.schema_name = $1::name AND d.integer_now_func IS NOT NULL
ORDER BY 1, 2

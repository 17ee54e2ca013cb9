-- The hypertables of a schema ($1), and how the binary form of their time column tells the chunk of a row: "epoch" is the distance
-- of its zero from the one that chunks count from, "width" the length of a chunk, both in its unit (microseconds, days, or
-- integers as they are); NULL: it does not tell. "partitions": the chunks that share one range of time.
SELECT h.table_name::text AS table_name, d.column_name::text AS column_name, u.epoch, d.interval_length / u.micros AS width,
    (SELECT COALESCE(pg_catalog.max(o.num_slices), 1)::integer FROM _timescaledb_catalog.dimension o
        WHERE o.hypertable_id = h.id AND o.interval_length IS NULL) AS partitions
FROM _timescaledb_catalog.hypertable h
JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id AND d.interval_length IS NOT NULL
LEFT JOIN (VALUES ('timestamptz'::pg_catalog.regtype, 946684800000000, 1::bigint), ('timestamp', 946684800000000, 1),
    ('date', 10957, 86400000000), ('int8', 0, 1), ('int4', 0, 1), ('int2', 0, 1)) u (type, epoch, micros) ON u.type = d.column_type
WHERE h.schema_name = $1::name
ORDER BY h.table_name

-- The hypertables of schemas ($1; $2: one table of it, NULL: all) with the time ranges of their chunks, oldest first; $3: only those
-- that end before now less an interval, NULL: all. Ranges without an end are left out. "locks" is what dropping one chunk takes
-- at most: the table, its TOAST, its indexes, its types, and an entry for each default, constraint and trigger.
SELECT w.schema_name, h.table_name::text AS table_name, d.column_name::text AS column_name,
    CASE d.column_type WHEN 'pg_catalog.timestamptz'::pg_catalog.regtype THEN 'timestamptz' WHEN 'pg_catalog.timestamp'::pg_catalog.regtype THEN 'timestamp'
        WHEN 'pg_catalog.date'::pg_catalog.regtype THEN 'date' WHEN 'pg_catalog.int8'::pg_catalog.regtype THEN 'bigint'
        WHEN 'pg_catalog.int4'::pg_catalog.regtype THEN 'integer' WHEN 'pg_catalog.int2'::pg_catalog.regtype THEN 'smallint' END AS time,
    d.interval_length, m.chunks, l.locks, COALESCE(r.ends, '{}') AS ends, COALESCE(r.counts, '{}') AS counts,
    (SELECT pg_catalog.to_char(z.cutoff AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS cutoff,
    ARRAY(
        SELECT pg_catalog.format('%I on %s', k.conname, k.conrelid::pg_catalog.regclass) FROM pg_catalog.pg_constraint k
        WHERE k.contype = 'f' AND k.confrelid = c.oid ORDER BY 1) AS referenced_by
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) w (schema_name, table_name, keep)
-- Longer than that no time reaches back.
CROSS JOIN LATERAL (SELECT pg_catalog.now() - LEAST(w.keep::pg_catalog.interval, '6000 years'::pg_catalog.interval) AS cutoff) b
JOIN _timescaledb_catalog.hypertable h ON h.schema_name = w.schema_name::pg_catalog.name
    AND (w.table_name IS NULL OR h.table_name = w.table_name::pg_catalog.name)
JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = h.table_name
CROSS JOIN LATERAL (
    SELECT d.* FROM _timescaledb_catalog.dimension d
    WHERE d.hypertable_id = h.id AND d.interval_length IS NOT NULL ORDER BY d.id LIMIT 1
) d
-- A time without a zone may be that of any place, and the last of them are twelve hours behind UTC.
CROSS JOIN LATERAL (SELECT b.cutoff - CASE WHEN d.column_type = 'pg_catalog.timestamptz'::pg_catalog.regtype THEN '0'
    ELSE '12 hours' END::pg_catalog.interval AS cutoff) z
CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS chunks FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) m
CROSS JOIN LATERAL (
    SELECT 6 + CASE h.compression_state WHEN 0 THEN 0 ELSE 10 END
        + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid)
        + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attrdef x WHERE x.adrelid = c.oid)
        + (SELECT pg_catalog.count(*) FROM _timescaledb_catalog.dimension x WHERE x.hypertable_id = h.id)
        -- A foreign key has two triggers on each of its sides.
        + (SELECT pg_catalog.count(*) + 4 * pg_catalog.count(*) FILTER (WHERE x.contype = 'f') FROM pg_catalog.pg_constraint x WHERE x.conrelid = c.oid)
        + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger x WHERE x.tgrelid = c.oid AND NOT x.tgisinternal AND x.tgtype & 1 = 1) AS locks
) l
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(s.ends ORDER BY s.range_end) AS ends, pg_catalog.array_agg(s.chunks ORDER BY s.range_end) AS counts
    FROM (
        -- Each chunk has slices of its own; before, chunks of one range and several space partitions shared them.
        SELECT s.range_end, (pg_catalog.count(*) * pg_catalog.max(CASE WHEN pg_catalog.to_jsonb(s) -> 'chunk_id' IS NOT NULL THEN 1 ELSE COALESCE(o.parts, 1) END))::integer AS chunks,
            CASE d.column_type
                WHEN 'pg_catalog.timestamptz'::pg_catalog.regtype THEN
                    pg_catalog.to_char('1970-01-01 00:00:00'::timestamp + s.range_end * '1 microsecond'::pg_catalog.interval, 'YYYY-MM-DD HH24:MI:SS.US+00 BC')
                WHEN 'pg_catalog.timestamp'::pg_catalog.regtype THEN
                    pg_catalog.to_char('1970-01-01 00:00:00'::timestamp + s.range_end * '1 microsecond'::pg_catalog.interval, 'YYYY-MM-DD HH24:MI:SS.US BC')
                WHEN 'pg_catalog.date'::pg_catalog.regtype THEN
                    pg_catalog.to_char('1970-01-01 00:00:00'::timestamp + s.range_end * '1 microsecond'::pg_catalog.interval, 'YYYY-MM-DD BC')
                ELSE s.range_end::text END AS ends
        FROM _timescaledb_catalog.dimension_slice s
        CROSS JOIN LATERAL (
            SELECT pg_catalog.max(x.num_slices) AS parts FROM _timescaledb_catalog.dimension x WHERE x.hypertable_id = h.id) o
        WHERE s.dimension_id = d.id AND s.range_end < 9200000000000000000
        AND (w.keep IS NULL OR (d.column_type IN ('pg_catalog.timestamptz'::pg_catalog.regtype, 'pg_catalog.timestamp'::pg_catalog.regtype,
                'pg_catalog.date'::pg_catalog.regtype)
            AND s.range_end <= (extract(epoch FROM z.cutoff) * 1000000)::bigint))
        GROUP BY s.range_end
    ) s
) r ON true
ORDER BY 1, 2

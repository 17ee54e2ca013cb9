, counted AS (
    SELECT m.at, m.relkind, m.relpages::bigint AS pages, m.is_chunk,
        CASE WHEN m.relkind IN ('r', 'm') THEN pg_catalog.pg_stat_get_live_tuples(m.oid) END AS live, m.reltuples
    FROM members m
)
-- What the last VACUUM or ANALYZE wrote down of each schema's pages; `unseen` are rows of tables that never had either.
SELECT w.at, pg_catalog.count(*) FILTER (WHERE c.relkind IN ('r', 'p') AND NOT c.is_chunk) AS tables,
    CASE WHEN w.at NOT IN (SELECT u.at FROM uncounted u) THEN COALESCE(pg_catalog.sum(c.live), 0)::bigint END AS live,
    COALESCE(pg_catalog.max(c.live) FILTER (WHERE c.reltuples < 0), 0) AS unseen,
    -- A table without statistics that has rows has a page at least.
    COALESCE(pg_catalog.sum(CASE WHEN c.reltuples < 0 AND c.live > 0 THEN GREATEST(c.pages, 1) ELSE c.pages END), 0)::bigint
        * pg_catalog.current_setting('block_size')::bigint AS bytes
FROM wanted w LEFT JOIN counted c ON c.at = w.at
GROUP BY w.at

-- Bytes by the server's own functions ($1: places, $2: relations), which open each relation and wait for its lock. Of one that
-- was dropped meanwhile they say NULL; another may be in its place by now, so that the sum would be too small.
SELECT s.at, CASE WHEN pg_catalog.bool_and(s.bytes IS NOT NULL) THEN pg_catalog.sum(s.bytes)::bigint END AS bytes
FROM (
    SELECT t.at, pg_catalog.pg_total_relation_size(t.oid) AS bytes
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS t (at, oid)
    OFFSET 0
) s
GROUP BY s.at

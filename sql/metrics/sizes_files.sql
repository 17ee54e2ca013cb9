, folders AS MATERIALIZED (
    -- The folder of this database in each tablespace, as the server names it for one file there.
    SELECT s.reltablespace, pg_catalog.regexp_replace(pg_catalog.pg_relation_filepath(s.oid::oid), '[^/]*$', '') AS folder
    FROM (SELECT m.reltablespace, pg_catalog.min(m.oid::bigint) AS oid FROM members m WHERE m.relfilenode <> 0 GROUP BY 1) s
), listed AS MATERIALIZED (
    -- <relfilenode>, with _fsm, _vm or _init for other forks and .1, .2 for segments after the first.
    SELECT f.reltablespace, f.folder || d.name AS path, d.name !~ '[._]' AS is_main,
        pg_catalog.split_part(pg_catalog.split_part(d.name, '.', 1), '_', 1) AS node
    FROM folders f CROSS JOIN LATERAL pg_catalog.pg_ls_dir(f.folder) d (name)
    WHERE d.name < ':' COLLATE "C"
), files AS MATERIALIZED (
    -- Only those that are wanted are looked at, hence the steps.
    SELECT m.at, l.path, l.is_main
    FROM members m JOIN listed l ON l.node = m.relfilenode::text AND l.reltablespace = m.reltablespace
), found AS (
    SELECT f.at, pg_catalog.sum(s.size)::bigint AS bytes, pg_catalog.count(s.size) FILTER (WHERE f.is_main) AS files
    FROM files f CROSS JOIN LATERAL pg_catalog.pg_stat_file(f.path, true) s
    GROUP BY f.at
), known AS (
    SELECT m.at, pg_catalog.count(*) FILTER (WHERE m.relkind IN ('r', 'p') AND NOT m.is_chunk) AS tables,
        COALESCE(pg_catalog.sum(CASE WHEN m.relkind IN ('r', 'm') THEN pg_catalog.pg_stat_get_live_tuples(m.oid) END), 0)::bigint AS live,
        pg_catalog.count(*) FILTER (WHERE m.relfilenode <> 0) AS files,
        pg_catalog.bit_xor(pg_catalog.hashint8extended((m.oid::bigint << 32) | m.relfilenode::bigint, 0)) AS fingerprint
    FROM members m GROUP BY m.at
)
-- Bytes of the files themselves, and what tells whether one was replaced meanwhile. Where a file is missing, bytes is NULL.
SELECT w.at, COALESCE(k.tables, 0) AS tables, CASE WHEN u.at IS NULL THEN COALESCE(k.live, 0) END AS live, k.fingerprint,
    CASE WHEN COALESCE(k.files, 0) = COALESCE(f.files, 0) THEN COALESCE(f.bytes, 0) END AS bytes
FROM wanted w LEFT JOIN known k ON k.at = w.at LEFT JOIN found f ON f.at = w.at LEFT JOIN uncounted u ON u.at = w.at

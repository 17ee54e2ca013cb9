-- The relations that the server's size functions are to be asked about, schema by schema; a schema may have none.
SELECT w.at, COALESCE(pg_catalog.array_agg(m.oid) FILTER (WHERE m.oid IS NOT NULL), '{}') AS tables
FROM wanted w LEFT JOIN members m ON m.at = w.at AND m.relkind IN ('r', 'p', 'm')
GROUP BY w.at

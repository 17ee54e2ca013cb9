-- Lines of the configuration files that the server cannot use.
SELECT pg_catalog.format('%s:%s', f.sourcefile, f.sourceline) AS place, COALESCE(f.name, '') AS name, f.error
FROM pg_catalog.pg_file_settings f
WHERE f.error IS NOT NULL
-- A good value that only a restart brings has an error here, too.
AND NOT EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE s.name = f.name AND s.pending_restart)
ORDER BY f.sourcefile, f.sourceline

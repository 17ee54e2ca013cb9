-- Lines of the configuration files that the server cannot use.
SELECT pg_catalog.format('%s:%s', f.sourcefile, f.sourceline) AS place, COALESCE(f.name, '') AS name, f.error
FROM pg_catalog.pg_file_settings f
-- A change that only a restart brings is said of pending_restart.
WHERE f.error IS NOT NULL AND f.error <> 'setting could not be applied'
ORDER BY f.sourcefile, f.sourceline

-- Every setting as a new session of this login would have it: what this session has set itself does not count.
SELECT s.name, s.reset_val AS value, s.unit, s.vartype, s.context, s.pending_restart, s.source,
    CASE WHEN s.sourcefile IS NOT NULL THEN pg_catalog.format('%s:%s', s.sourcefile, s.sourceline) END AS place
FROM pg_catalog.pg_settings s

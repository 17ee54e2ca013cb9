-- Looks for a function of this name ($1), which puts all functions of the name into the session's cache.
SELECT pg_catalog.to_regproc(pg_catalog.quote_ident($1))::oid AS found

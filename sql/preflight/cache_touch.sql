-- Opens each of these relations ($1), which puts what the server knows of it into the session's cache.
SELECT pg_catalog.count(pg_catalog.pg_relation_size(r.oid)) AS touched FROM pg_catalog.unnest($1::pg_catalog.oid[]) r (oid)

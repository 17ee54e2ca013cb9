-- Bytes in use by this session.
SELECT pg_catalog.sum(c.used_bytes)::bigint AS bytes, pg_catalog.sum(c.total_bytes)::bigint AS reserved
FROM pg_catalog.pg_backend_memory_contexts c

-- Which files there are in the whole database. When this is the same before and after, no table was rewritten in between.
SELECT pg_catalog.count(*) AS relations,
    COALESCE(pg_catalog.bit_xor(pg_catalog.hashint8extended((c.oid::bigint << 32) | c.relfilenode::bigint, 0)), 0) AS fingerprint
FROM pg_catalog.pg_class c WHERE c.relpersistence <> 't'

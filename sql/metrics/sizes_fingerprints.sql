-- Which files each schema has: another fingerprint than before means that one was replaced, made or dropped meanwhile.
SELECT m.at, pg_catalog.bit_xor(pg_catalog.hashint8extended((m.oid::bigint << 32) | m.relfilenode::bigint, 0)) AS fingerprint
FROM members m GROUP BY m.at

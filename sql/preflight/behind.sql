-- Bytes of WAL up to a place ($1) that this standby has not replayed.
SELECT pg_catalog.pg_wal_lsn_diff($1::text::pg_catalog.pg_lsn, COALESCE(pg_catalog.pg_last_wal_replay_lsn(), '0/0'))::bigint AS bytes

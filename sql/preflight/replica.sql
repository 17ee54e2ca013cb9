-- What a replica says of itself. Whether it streams is seen by pg_read_all_stats and superusers alone.
SELECT (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() c) AS system_identifier,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    (SELECT w.status FROM pg_catalog.pg_stat_wal_receiver w) AS receiver,
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() END AS paused

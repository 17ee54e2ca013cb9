-- Standbys that stream from this server. Base backups and subscribers of logical replication stream too and are none. A login
-- without pg_read_all_stats sees that they are there and little else.
SELECT COALESCE(r.application_name, '') AS name, r.client_addr::text AS address, r.state,
    pg_catalog.pg_wal_lsn_diff(s.here, r.replay_lsn)::bigint AS lag_bytes,
    CASE
        WHEN r.replay_lsn >= s.here THEN 0
        WHEN r.replay_lag IS NOT NULL THEN pg_catalog.date_part('epoch', r.replay_lag) * 1000
        -- All that was sent is replayed, and nothing was written lately: what the sender has not got to yet is little. One that
        -- does not send any more knows of no lag.
        WHEN r.replay_lsn = r.sent_lsn AND pg_catalog.pg_wal_lsn_diff(s.here, r.sent_lsn) < 65536 THEN 0
    END AS lag_ms
FROM pg_catalog.pg_stat_replication r
CROSS JOIN (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn()
    ELSE pg_catalog.pg_current_wal_flush_lsn() END AS here) s
WHERE r.state IS DISTINCT FROM 'backup' AND r.application_name IS DISTINCT FROM 'pg_basebackup'
AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots l WHERE l.active_pid = r.pid AND l.slot_type = 'logical')
ORDER BY 1, 2

-- What this login may look at: files, the size functions, all rows, everybody's sessions and statements.
SELECT pg_catalog.has_function_privilege('pg_catalog.pg_ls_dir(text)', 'EXECUTE')
        AND pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text, boolean)', 'EXECUTE') AS files,
    pg_catalog.has_function_privilege('pg_catalog.pg_total_relation_size(regclass)', 'EXECUTE') AS size_functions,
    r.rolsuper OR r.rolbypassrls AS sees_all_rows,
    pg_catalog.current_setting('track_counts')::boolean AS counts_rows, pg_catalog.pg_is_in_recovery() AS in_recovery,
    pg_catalog.to_char(s.now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS timestamp,
    pg_catalog.to_char(s.now AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS today,
    pg_catalog.date_part('epoch', s.now) AS unix_time
FROM (SELECT pg_catalog.clock_timestamp() AS now) s
JOIN pg_catalog.pg_roles r ON r.rolname = session_user

-- Who shares the cluster with a benchmark. $1: the comment of scratch databases.
WITH scratch AS MATERIALIZED (
    SELECT d.oid FROM pg_catalog.pg_database d
    WHERE d.datname ~ '^tenantctl_bench_[0-9a-f]{8}$' AND pg_catalog.shobj_description(d.oid, 'pg_database') = $1
), used AS (
    -- Rights on a database are recorded outside of all databases.
    SELECT DISTINCT r.oid, CASE WHEN s.dbid <> 0 THEN s.dbid ELSE s.objid END AS database
    FROM pg_catalog.pg_roles r
    JOIN pg_catalog.pg_shdepend s ON s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid
    WHERE r.rolname ~ '^tenant_[0-9a-f]{12}_user$'
    AND (s.dbid <> 0 OR s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass)
)
SELECT (SELECT pg_catalog.count(DISTINCT u.oid) FROM used u WHERE u.database NOT IN (SELECT oid FROM scratch)) AS tenants,
    (SELECT pg_catalog.count(DISTINCT a.datid) FROM pg_catalog.pg_stat_activity a
        WHERE a.datid IN (SELECT oid FROM scratch) AND a.backend_type = 'client backend') AS runs

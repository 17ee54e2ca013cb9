-- check: connection_limits
-- title: connection limits of tenants that differ from their tier
-- explain: The server's connections are shared. A tenant whose role has no limit, or a higher one than its tier says, can take them all and shut every
-- explain: other tenant out. A lower one costs only the tenant itself.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), wanted AS (
    SELECT t.tenant_id, t.schema_name, r.rolname, r.rolconnlimit AS has,
        CASE WHEN t.limits ->> 'max_connections' ~ '^[0-9]{1,9}$' THEN (t.limits ->> 'max_connections')::int ELSE -1 END AS should
    FROM tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
)
SELECT CASE WHEN w.has = -1 OR (w.should <> -1 AND w.has > w.should) THEN 'high' ELSE 'low' END AS severity,
    w.tenant_id::text, w.schema_name::text, pg_catalog.format('role %I', w.rolname) AS object,
    pg_catalog.format('role %I has %s, the tier says %s; roles are shared by all databases of the cluster', w.rolname,
        CASE w.has WHEN -1 THEN 'no connection limit' ELSE pg_catalog.format('connection limit %s', w.has) END,
        CASE w.should WHEN -1 THEN 'unlimited' ELSE w.should::text END) AS detail,
    pg_catalog.format('ALTER ROLE %I CONNECTION LIMIT %s;', w.rolname, w.should) AS remedy
FROM wanted w WHERE w.has <> w.should
ORDER BY 2, 4

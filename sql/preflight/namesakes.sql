-- Functions in tenants' schemas whose name others of them bear, too: how many, by how many names, and the commonest name.
WITH named AS (
    SELECT p.proname AS name, pg_catalog.count(*) AS n
    FROM tenantctl.tenants t JOIN pg_catalog.pg_namespace s ON s.nspname = t.schema_name::name
    JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
    GROUP BY 1 HAVING pg_catalog.count(*) > 1
)
SELECT pg_catalog.sum(d.n)::bigint AS functions, pg_catalog.count(*) AS names,
       (pg_catalog.array_agg(d.name::text ORDER BY d.n DESC, d.name))[1] AS commonest, pg_catalog.max(d.n) AS of_commonest
FROM named d HAVING pg_catalog.count(*) > 0

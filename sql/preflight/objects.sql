-- What DROP SCHEMA locks of the tenant that has most: each object that goes with its schema, TOAST tables and their indexes
-- among them. Chunks are in another schema and go too: table, indexes, constraints and the rest of it are nine each.
WITH schemas AS MATERIALIZED (
    SELECT n.oid, t.tenant_id FROM tenantctl.tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::name
), classes AS MATERIALIZED (
    SELECT c.oid, c.relnamespace, c.relkind, CASE WHEN c.reltoastrelid <> 0 THEN 2 ELSE 0 END AS toast
    FROM pg_catalog.pg_class c JOIN schemas s ON s.oid = c.relnamespace
), parts AS (
    SELECT c.relnamespace AS at, pg_catalog.sum(1 + c.toast) AS n, pg_catalog.count(*) FILTER (WHERE c.relkind IN ('r', 'p', 'i')) AS cached FROM classes c GROUP BY 1
    UNION ALL SELECT t.typnamespace, pg_catalog.count(*), 0 FROM pg_catalog.pg_type t JOIN schemas s ON s.oid = t.typnamespace GROUP BY 1
    UNION ALL SELECT k.connamespace, pg_catalog.count(*), 0 FROM pg_catalog.pg_constraint k JOIN schemas s ON s.oid = k.connamespace GROUP BY 1
    UNION ALL SELECT p.pronamespace, pg_catalog.count(*), 0 FROM pg_catalog.pg_proc p JOIN schemas s ON s.oid = p.pronamespace GROUP BY 1
    UNION ALL SELECT c.relnamespace, pg_catalog.count(*), 0 FROM pg_catalog.pg_trigger g JOIN classes c ON c.oid = g.tgrelid GROUP BY 1
    UNION ALL SELECT c.relnamespace, pg_catalog.count(*), 0 FROM pg_catalog.pg_policy y JOIN classes c ON c.oid = y.polrelid GROUP BY 1
    UNION ALL SELECT c.relnamespace, pg_catalog.count(*), 0 FROM pg_catalog.pg_attrdef a JOIN classes c ON c.oid = a.adrelid GROUP BY 1
    UNION ALL SELECT c.relnamespace, pg_catalog.count(*), 0 FROM pg_catalog.pg_rewrite w JOIN classes c ON c.oid = w.ev_class GROUP BY 1
), chunks AS (
    SELECT c.relnamespace AS at, pg_catalog.count(*) AS n
    FROM pg_catalog.pg_inherits i JOIN classes c ON c.oid = i.inhparent
    JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid AND k.relnamespace <> c.relnamespace
    GROUP BY 1
), counted AS (
    SELECT s.tenant_id, (1 + COALESCE(p.n, 0))::bigint AS objects, COALESCE(p.cached, 0)::bigint AS cached, COALESCE(k.n, 0)::bigint AS chunks
    FROM schemas s
    LEFT JOIN (SELECT p.at, pg_catalog.sum(p.n) AS n, pg_catalog.sum(p.cached) AS cached FROM parts p GROUP BY p.at) p ON p.at = s.oid
    LEFT JOIN chunks k ON k.at = s.oid
)
SELECT c.tenant_id, c.objects, c.chunks, m.cached AS most_cached, m.all_cached
FROM counted c
CROSS JOIN (SELECT pg_catalog.max(c.cached) AS cached, COALESCE(pg_catalog.sum(c.cached), 0)::bigint AS all_cached FROM counted c) m
ORDER BY c.objects + 9 * c.chunks DESC, c.tenant_id LIMIT 1

-- How many tenants of each tier have each table as a hypertable.
SELECT h.name, t.tier, pg_catalog.count(*) AS tenants
FROM tenantctl.tenants t CROSS JOIN pg_catalog.unnest(t.hypertables) h (name)
GROUP BY h.name, t.tier ORDER BY h.name, t.tier

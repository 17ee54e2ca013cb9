-- How many tenants have each table as a hypertable.
SELECT h.name, pg_catalog.count(*) AS tenants
FROM tenantctl.tenants t CROSS JOIN pg_catalog.unnest(t.hypertables) h (name)
GROUP BY h.name ORDER BY h.name

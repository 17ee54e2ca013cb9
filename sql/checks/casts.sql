-- check: casts
-- title: casts from, to or by something in a tenant's schema
-- explain: A cast belongs to no schema and works whatever the search path is: where a statement of the admin compares or
-- explain: assigns a value of the type, the cast's function runs in the admin's name. A row type of a tenant's table counts as its type.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), custom AS MATERIALIZED (
    SELECT c.* FROM pg_catalog.pg_cast c WHERE c.oid >= 16384
    -- Those between a range and its multirange come from the server.
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i')
)
(SELECT DISTINCT ON (s.tenant_id, c.oid) 'critical' AS severity, s.tenant_id, s.schema_name,
    pg_catalog.format('cast (%s AS %s)', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)) AS object,
    pg_catalog.format('it %s%s', CASE c.castcontext WHEN 'i' THEN 'applies without being asked for' WHEN 'a' THEN 'applies on assignment' ELSE 'applies where it is written' END,
        COALESCE(' and runs ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(f.proname), '')) AS detail,
    pg_catalog.format('DROP CAST (%s AS %s);', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)) AS remedy
FROM custom c
LEFT JOIN pg_catalog.pg_type a ON a.oid = c.castsource
LEFT JOIN pg_catalog.pg_type b ON b.oid = c.casttarget
LEFT JOIN pg_catalog.pg_proc f ON f.oid = c.castfunc
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
JOIN spaces s ON s.namespace IN (a.typnamespace, b.typnamespace, f.pronamespace)
ORDER BY s.tenant_id, c.oid)
UNION ALL
-- Between two of the server's own types it changes what every query means.
SELECT 'high', NULL, NULL, pg_catalog.format('cast (%s AS %s)', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)),
    'it is between two built-in types and not the server''s, so that it works in every query of everybody',
    pg_catalog.format('DROP CAST (%s AS %s);', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL))
FROM custom c
WHERE c.castsource < 16384 AND c.casttarget < 16384
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2, 4

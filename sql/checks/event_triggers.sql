-- check: event_triggers
-- title: event triggers, which run somebody's code at every DDL statement
-- explain: An event trigger runs with the rights of whoever changes structure: at each provisioning, and as the superuser where
-- explain: one mends something. What it calls is code in the admin's name; a function that a tenant may replace, or that lies in a tenant's
-- explain: schema, takes the server over. Those of extensions are left out.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
)
SELECT CASE WHEN s.namespace IS NOT NULL OR NOT COALESCE(r.rolsuper, false) THEN 'critical' ELSE 'medium' END AS severity,
    s.tenant_id, s.schema_name, pg_catalog.format('event trigger %I', e.evtname) AS object,
    pg_catalog.format('at %s it calls %I.%I of %s%s', e.evtevent, n.nspname, f.proname, COALESCE(r.rolname::text, f.proowner::text),
        CASE WHEN e.evtenabled = 'D' THEN ' (it is disabled now)' ELSE '' END) AS detail,
    pg_catalog.format('DROP EVENT TRIGGER %I;', e.evtname) AS remedy
FROM pg_catalog.pg_event_trigger e
JOIN pg_catalog.pg_proc f ON f.oid = e.evtfoid
JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
LEFT JOIN pg_catalog.pg_roles r ON r.oid = f.proowner
LEFT JOIN spaces s ON s.namespace = f.pronamespace
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND d.objid = e.oid AND d.deptype = 'e')
ORDER BY 4

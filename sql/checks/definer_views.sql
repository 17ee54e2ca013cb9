-- check: definer_views
-- title: views in tenant schemas that read with their owner's rights
-- explain: A view without security_invoker reads as its owner, tenantctl_owner, who may read every tenant: row security for
-- explain: the tenant does not apply, and grants on what is below do not either. With another tenant's table in it, it is a window.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
)
SELECT CASE WHEN c.relowner = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_owner') THEN 'high' ELSE 'critical' END AS severity,
    s.tenant_id, s.schema_name, pg_catalog.format('view %I.%I', s.schema_name, c.relname) AS object,
    pg_catalog.format('it is not security_invoker, so that it reads with the rights of %s', pg_catalog.pg_get_userbyid(c.relowner)) AS detail,
    pg_catalog.format('ALTER VIEW %I.%I SET (security_invoker = true);', s.schema_name, c.relname) AS remedy
FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace
WHERE c.relkind = 'v'
AND c.reloptions IS DISTINCT FROM '{security_invoker=true}'
AND NOT EXISTS (SELECT FROM pg_catalog.unnest(c.reloptions) o (option) WHERE o.option IN ('security_invoker=true', 'security_invoker=on', 'security_invoker=yes', 'security_invoker=1'))
ORDER BY 3, 4

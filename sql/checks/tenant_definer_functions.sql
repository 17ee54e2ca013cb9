-- check: tenant_definer_functions
-- title: SECURITY DEFINER functions in tenant schemas that are not tenantctl's
-- explain: Such a function runs with its owner's rights, which in a tenant's schema are those of tenantctl_owner: every tenant's
-- explain: data. A body that reads another schema hands it to whoever may call. Unless its search_path is pinned and ends in pg_temp,
-- explain: the caller's path decides what the names in it mean. A template's own are allowed, pinned, as `init` demands.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), definers AS MATERIALIZED (
    SELECT s.*, f.oid, f.proname, f.proargtypes, f.proconfig, f.proowner, f.proacl,
        EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) x (setting) WHERE x.setting ~ '^search_path=([^"]*,\s*)?"?pg_temp"?$') AS pinned
    FROM pg_catalog.pg_proc f JOIN spaces s ON s.namespace = f.pronamespace
    WHERE f.prosecdef AND NOT (f.pronargs = 0 AND f.proname IN ('audit_changes' || pg_catalog.substr(s.schema_name, 7), 'enforce_limits' || pg_catalog.substr(s.schema_name, 7)))
), named AS (
    SELECT d.*, pg_catalog.quote_ident(d.proname) || '(' || pg_catalog.oidvectortypes(d.proargtypes) || ')' AS signature FROM definers d
)
SELECT CASE WHEN n.pinned THEN 'high' ELSE 'critical' END AS severity, n.tenant_id, n.schema_name,
    pg_catalog.format('function %I.%s', n.schema_name, n.signature) AS object,
    pg_catalog.format('it runs as %s and %s%s', pg_catalog.pg_get_userbyid(n.proowner),
        CASE WHEN n.pinned THEN 'the template has no such function' ELSE 'its search_path is not pinned, so that its caller decides what the names in it mean' END,
        CASE WHEN EXISTS (SELECT FROM pg_catalog.aclexplode(COALESCE(n.proacl, pg_catalog.acldefault('f', n.proowner))) x WHERE x.grantee = 0) THEN '; PUBLIC may execute it' ELSE '' END) AS detail,
    CASE WHEN n.pinned THEN pg_catalog.format('DROP ROUTINE %I.%s;', n.schema_name, n.signature)
        ELSE pg_catalog.format('ALTER ROUTINE %1$I.%2$s SET search_path = %1$I, pg_temp;', n.schema_name, n.signature) END AS remedy
FROM named n
JOIN tenants t ON t.tenant_id = n.tenant_id
WHERE NOT n.pinned OR NOT EXISTS (
    SELECT FROM tenantctl.template_objects o
    JOIN tenantctl.template_modules m ON m.template = o.template AND m.version = o.version AND m.ordinal = o.ordinal
    WHERE o.template = t.template AND m.module = ANY (t.modules) AND o.kind IN ('function', 'procedure')
    AND o.object = '{schema}.' || pg_catalog.replace(n.signature, n.schema_name || '.', '{schema}.') AND o.shape LIKE '% security definer%'
)
ORDER BY 3, 4

-- check: standard_functions
-- title: the functions behind audit and limits that are missing, changed, open to others, or owned by somebody else
-- explain: audit_changes_...() and enforce_limits_...() run with the owner's rights at every write of a tenant. Whoever can replace the
-- explain: body, add a setting, put a schema before the tenant's in the search path or make another role the owner has code
-- explain: that runs as tenantctl_owner, or an audit that forgets. `init` stored what they are to be.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), wanted AS MATERIALIZED (
    SELECT v.template, o.object, o.shape, o.expression
    FROM tenantctl.template_versions v
    JOIN tenantctl.template_objects o ON o.template = v.template AND o.version = v.version AND o.ordinal = 0 AND o.kind = 'function'
    WHERE v.is_current
), owner AS MATERIALIZED (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_owner'
), languages AS MATERIALIZED (
    SELECT l.oid, l.lanname FROM pg_catalog.pg_language l
), found AS MATERIALIZED (
    SELECT s.namespace, f.oid, '{schema}.' || pg_catalog.left(f.proname::text, -13) || '()' AS object, f.proowner, f.proacl, f.prosecdef, f.proconfig,
        f.prorettype, f.prolang, f.provolatile, f.proparallel, f.proleakproof, f.proisstrict, f.prosrc
    FROM pg_catalog.pg_proc f JOIN spaces s ON s.namespace = f.pronamespace
    WHERE f.proname IN ('audit_changes' || pg_catalog.substr(s.schema_name, 7), 'enforce_limits' || pg_catalog.substr(s.schema_name, 7)) AND f.pronargs = 0
), due AS MATERIALIZED (
    SELECT s.*, w.object, w.shape, w.expression FROM spaces s JOIN tenants t ON t.tenant_id = s.tenant_id JOIN wanted w ON w.template = t.template
), looks AS MATERIALIZED (
    SELECT d.*, f.oid, f.proowner, f.proacl, f.prosecdef, f.proconfig, f.prosrc,
        pg_catalog.concat_ws(' ', 'returns', pg_catalog.format_type(f.prorettype, NULL), l.lanname,
            CASE f.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
            CASE f.proparallel WHEN 's' THEN 'parallel safe' WHEN 'r' THEN 'parallel restricted' END,
            CASE WHEN f.proisstrict THEN 'strict' END, CASE WHEN f.proleakproof THEN 'leakproof' END,
            CASE WHEN f.prosecdef THEN 'security definer' END,
            'set ' || pg_catalog.replace(pg_catalog.array_to_string(f.proconfig, ' set '), d.schema_name, '{schema}'),
            'body ' || pg_catalog.md5(f.prosrc)) AS found
    FROM due d
    LEFT JOIN found f ON f.namespace = d.namespace AND f.object = d.object
    LEFT JOIN languages l ON l.oid = f.prolang
)
SELECT p.severity, l.tenant_id, l.schema_name, 'function ' || pg_catalog.replace(pg_catalog.replace(l.object, '()', pg_catalog.substr(l.schema_name, 7) || '()'), '{schema}', l.schema_name) AS object, p.detail,
    'tenantctl secure ' || l.tenant_id AS remedy
FROM looks l
CROSS JOIN LATERAL (
    SELECT 'high' AS severity, 'it is missing' AS detail WHERE l.oid IS NULL
    UNION ALL
    SELECT 'critical', pg_catalog.format('it belongs to %s, not to tenantctl_owner', pg_catalog.pg_get_userbyid(l.proowner))
    WHERE l.oid IS NOT NULL AND l.proowner <> (SELECT o.oid FROM owner o)
    UNION ALL
    SELECT 'critical', CASE
        WHEN NOT l.prosecdef THEN 'it is not SECURITY DEFINER, so that the tenant''s own writes fail or go unseen'
        WHEN pg_catalog.substring(l.found, ' set (.*) body ') IS DISTINCT FROM pg_catalog.substring(l.shape, ' set (.*) body ') THEN
            pg_catalog.format('its settings are %s', COALESCE(pg_catalog.array_to_string(l.proconfig, ', '), 'none'))
        WHEN pg_catalog.substring(l.found, ' body .*') <> pg_catalog.substring(l.shape, ' body .*') THEN 'its body is not the standard''s'
        ELSE pg_catalog.format('it is %s where the standard has %s', l.found, l.shape) END
    WHERE l.oid IS NOT NULL AND l.found <> l.shape
    UNION ALL
    SELECT 'high', pg_catalog.format('%s may execute it', pg_catalog.string_agg(CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END, ', '))
    FROM pg_catalog.aclexplode(COALESCE(l.proacl, pg_catalog.acldefault('f', l.proowner))) x
    WHERE l.oid IS NOT NULL AND x.grantee <> l.proowner
    HAVING pg_catalog.count(*) > 0
) p
UNION ALL
SELECT 'low', NULL, NULL, 'template ' || t.template, pg_catalog.format('init has not stored what the functions are to be, so that those of %s tenants cannot be compared', pg_catalog.count(*)), 'tenantctl init'
FROM tenants t WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.template = t.template)
GROUP BY t.template
ORDER BY 3, 4

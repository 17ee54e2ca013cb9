-- check: foreign_triggers
-- title: triggers on tenant tables that neither the template nor tenantctl made
-- explain: A trigger runs with the rights of whoever writes to the table: the tenant, or the admin who mends something. One
-- explain: whose function lies in another schema or belongs to somebody else is that role's code in this tenant's, or the
-- explain: admin's, name. One in the tenant's own schema that its template does not have was reviewed by nobody.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), tables AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relkind, s.* FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'f')
), owner AS MATERIALIZED (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_owner'
), strangers AS MATERIALIZED (
    SELECT t.*, g.tgname, f.proname, f.pronamespace, f.proowner, f.proowner = (SELECT o.oid FROM owner o) AND f.pronamespace = t.namespace AS own
    FROM pg_catalog.pg_trigger g
    JOIN tables t ON t.oid = g.tgrelid
    JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
    WHERE NOT g.tgisinternal
    -- A name alone makes no trigger tenantctl's; those that are its own are held to the standard elsewhere.
    AND NOT (g.tgname IN ('tenantctl_audit_insert', 'tenantctl_audit_update', 'tenantctl_audit_delete', 'tenantctl_audit_truncate',
            'tenantctl_limit_insert', 'tenantctl_limit_update', 'tenantctl_limit_delete', 'tenantctl_limit_truncate')
        AND t.relkind IN ('r', 'p') AND f.proname IN ('audit_changes' || pg_catalog.substr(t.schema_name, 7), 'enforce_limits' || pg_catalog.substr(t.schema_name, 7)) AND f.pronargs = 0
        AND f.pronamespace = t.namespace AND f.proowner = (SELECT o.oid FROM owner o))
)
SELECT CASE WHEN s.own THEN 'high' ELSE 'critical' END AS severity, s.tenant_id, s.schema_name,
    pg_catalog.format('trigger %I on %I.%I', s.tgname, s.schema_name, s.relname) AS object,
    pg_catalog.format('it calls %I.%I of %s, and the template has no such trigger', n.nspname, s.proname, COALESCE(r.rolname::text, s.proowner::text)) AS detail,
    pg_catalog.format('DROP TRIGGER %I ON %I.%I;', s.tgname, s.schema_name, s.relname) AS remedy
FROM strangers s
JOIN pg_catalog.pg_namespace n ON n.oid = s.pronamespace
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.proowner
JOIN tenants t ON t.tenant_id = s.tenant_id
WHERE NOT EXISTS (
    SELECT FROM tenantctl.template_objects o
    JOIN tenantctl.template_modules m ON m.template = o.template AND m.version = o.version AND m.ordinal = o.ordinal
    WHERE o.template = t.template AND m.module = ANY (t.modules) AND o.kind = 'trigger'
    AND o.object = pg_catalog.quote_ident(s.tgname) || ' on {schema}.' || pg_catalog.quote_ident(s.relname)
    -- The template's, and still calling what it calls there.
    AND o.shape LIKE '% execute ' || CASE WHEN s.pronamespace = s.namespace THEN '{schema}' ELSE pg_catalog.quote_ident(n.nspname) END || '.' || pg_catalog.quote_ident(s.proname) || '%'
)
-- The extension's own, which keeps rows out of a hypertable's root.
AND NOT (s.tgname = 'ts_insert_blocker' AND s.relname = ANY (t.hypertables) AND EXISTS (
    SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'timescaledb'
    JOIN pg_catalog.pg_proc f ON f.oid = d.objid AND f.proname = s.proname AND f.pronamespace = s.pronamespace
    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'))
ORDER BY 3, 4

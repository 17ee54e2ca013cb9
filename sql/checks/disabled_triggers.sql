-- check: disabled_triggers
-- title: the server's own constraint triggers that are disabled, and settings that switch all triggers off
-- explain: Foreign keys are kept by internal triggers. ALTER TABLE ... DISABLE TRIGGER ALL, left behind by a bulk load,
-- explain: switches them off with the audit's, and rows that refer to nothing come in without an error. The setting
-- explain: session_replication_role = replica does the same for whole sessions; kept for a role or a database it does so
-- explain: at every login. Settings of roles hold in all databases of the cluster.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), tables AS MATERIALIZED (
    SELECT c.oid, c.relname, s.* FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
)
SELECT 'high' AS severity, t.tenant_id, t.schema_name,
    CASE WHEN k.oid IS NULL THEN pg_catalog.format('trigger %I on %I.%I', g.tgname, t.schema_name, t.relname)
        ELSE pg_catalog.format('constraint %I on %I.%I', k.conname, t.schema_name, c.relname) END AS object,
    pg_catalog.format('its trigger on %I.%I %s, so that the constraint does not hold', t.schema_name, t.relname,
        CASE g.tgenabled WHEN 'D' THEN 'is disabled' WHEN 'R' THEN 'fires on replicas only' ELSE 'fires always' END) AS detail,
    pg_catalog.format('ALTER TABLE %I.%I ENABLE TRIGGER ALL;', t.schema_name, t.relname) AS remedy
FROM pg_catalog.pg_trigger g
JOIN tables t ON t.oid = g.tgrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.oid = g.tgconstraint
LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
WHERE g.tgisinternal AND g.tgenabled <> 'O'
GROUP BY t.tenant_id, t.schema_name, t.relname, g.tgenabled, k.oid, k.conname, c.relname, CASE WHEN k.oid IS NULL THEN g.tgname END, g.tgname
UNION ALL
SELECT 'critical', NULL, NULL,
    CASE WHEN r.rolname IS NOT NULL THEN 'role ' || pg_catalog.quote_ident(r.rolname) WHEN d.datname IS NOT NULL THEN 'database ' || pg_catalog.quote_ident(d.datname) ELSE 'all roles' END,
    pg_catalog.format('%s is kept for it, so that its sessions fire no trigger and check no foreign key', x.setting),
    pg_catalog.format('ALTER %s RESET session_replication_role;',
        CASE WHEN r.rolname IS NULL AND d.datname IS NOT NULL THEN pg_catalog.format('DATABASE %I', d.datname)
            ELSE pg_catalog.concat(COALESCE(pg_catalog.format('ROLE %I', r.rolname), 'ROLE ALL'), ' IN DATABASE ' || pg_catalog.quote_ident(d.datname)) END)
FROM pg_catalog.pg_db_role_setting s
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) x (setting)
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
WHERE x.setting LIKE 'session\_replication\_role=%' AND x.setting <> 'session_replication_role=origin'
UNION ALL
SELECT 'critical', NULL, NULL, 'setting session_replication_role',
    pg_catalog.format('the server starts every session with %s, so that triggers do not fire and foreign keys are not checked', s.reset_val),
    'ALTER SYSTEM RESET session_replication_role; SELECT pg_catalog.pg_reload_conf();'
FROM pg_catalog.pg_settings s
WHERE s.name = 'session_replication_role' AND s.reset_val <> 'origin' AND s.source IN ('configuration file', 'command line', 'environment variable')
ORDER BY 3, 4

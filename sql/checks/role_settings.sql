-- check: role_settings
-- title: settings kept for tenants' roles and for all roles of the database
-- explain: A setting kept with a role or a database takes effect at the next login, unseen. A tenant's role has its schema as search_path and no other.
-- explain: role, session_authorization and the preload libraries make a login somebody or something else; search_path decides whose objects an unqualified name means;
-- explain: session_replication_role switches triggers off. A setting for all roles of the database concerns admins and tenants alike, and an admin
-- explain: whose search_path holds a tenant's schema meets the objects there by plain names.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), settings AS MATERIALIZED (
    SELECT s.setdatabase, s.setrole, r.rolname::text AS role_name, d.datname::text AS database_name,
        pg_catalog.split_part(c.item, '=', 1) AS name, pg_catalog.substr(c.item, pg_catalog.strpos(c.item, '=') + 1) AS value
    FROM pg_catalog.pg_db_role_setting s
    CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c (item)
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
    LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
), judged AS (
    SELECT s.*, COALESCE(' in database ' || pg_catalog.quote_ident(s.database_name), '') AS place,
        CASE WHEN s.name IN ('role', 'session_authorization', 'session_preload_libraries', 'local_preload_libraries', 'session_replication_role',
                'lo_compat_privileges', 'dynamic_library_path', 'allow_system_table_mods') THEN 'critical'
            WHEN s.name IN ('search_path', 'row_security') THEN 'high' ELSE 'low' END AS severity
    FROM settings s
), own AS (
    SELECT t.tenant_id, t.schema_name, t.role_name, r.oid AS role
    FROM tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
)
SELECT s.severity, o.tenant_id::text, o.schema_name::text, pg_catalog.format('role %I', o.role_name) AS object,
    pg_catalog.format('role %I has %s = %s%s, where only search_path = %I may be set; roles are shared by all databases of the cluster', o.role_name, s.name, COALESCE(NULLIF(s.value, ''), ''''''), s.place, o.schema_name) AS detail,
    CASE WHEN s.name = 'search_path' AND s.setdatabase = 0 THEN pg_catalog.format('ALTER ROLE %I SET search_path = %I;', o.role_name, o.schema_name)
        ELSE pg_catalog.format('ALTER ROLE %I%s RESET %s;', o.role_name, COALESCE(' IN DATABASE ' || pg_catalog.quote_ident(s.database_name), ''), s.name) END AS remedy
FROM own o JOIN judged s ON s.setrole = o.role
WHERE NOT (s.setdatabase = 0 AND s.name = 'search_path' AND s.value = o.schema_name)
UNION ALL
SELECT 'low', o.tenant_id::text, o.schema_name::text, pg_catalog.format('role %I', o.role_name),
    pg_catalog.format('role %I has no search_path of its own, so its plain names do not mean its schema; roles are shared by all databases of the cluster', o.role_name),
    pg_catalog.format('ALTER ROLE %I SET search_path = %I;', o.role_name, o.schema_name)
FROM own o WHERE NOT EXISTS (SELECT FROM settings s WHERE s.setrole = o.role AND s.setdatabase = 0 AND s.name = 'search_path')
UNION ALL
SELECT CASE WHEN s.severity = 'critical' AND s.name NOT LIKE '%preload%' THEN 'critical' ELSE 'medium' END, NULL, NULL,
    CASE WHEN s.setrole <> 0 THEN pg_catalog.format('role %I', s.role_name) WHEN s.setdatabase <> 0 THEN pg_catalog.format('database %I', s.database_name) ELSE 'all roles' END,
    pg_catalog.format('%s = %s is set for %s%s', s.name, s.value, CASE WHEN s.setrole = 0 THEN 'all roles' ELSE pg_catalog.format('role %I', s.role_name) END, s.place),
    CASE WHEN s.setrole = 0 AND s.setdatabase <> 0 THEN pg_catalog.format('ALTER DATABASE %I RESET %s;', s.database_name, s.name)
        ELSE pg_catalog.format('ALTER ROLE %s%s RESET %s;', CASE s.setrole WHEN 0 THEN 'ALL' ELSE pg_catalog.quote_ident(s.role_name) END,
            COALESCE(' IN DATABASE ' || pg_catalog.quote_ident(s.database_name), ''), s.name) END
FROM judged s
WHERE (s.setdatabase = 0 OR s.database_name = pg_catalog.current_database())
AND CASE WHEN s.setrole = 0 OR s.role_name IN ('tenantctl_owner', 'tenantctl_tenants') THEN s.severity <> 'low'
    ELSE s.role_name !~ '^tenant_[0-9a-f]{12}_user$' AND s.name = 'search_path' AND s.value ~ '(^|[ ,"])tenant_[0-9a-f]{12}($|[ ,"])' END
ORDER BY 2, 4, 5

-- check: orphan_roles
-- title: roles of tenants that no registry row of this database knows
-- explain: Roles are shared by all databases of the cluster, so a tenant's role may belong to the registry of another one: if it has rights or
-- explain: objects there, that database's validate tells about it. One that has none anywhere, or that has some here without a
-- explain: row, is a login that belongs to nobody: a tenant dropped by hand, whose password still works.
WITH strangers AS MATERIALIZED (
    SELECT r.oid, r.rolname, r.rolcanlogin, r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication AS strong
    FROM pg_catalog.pg_roles r
    WHERE r.rolname ~ '^tenant_[0-9a-f]{12}_user$'
    AND NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.role_name::pg_catalog.name = r.rolname)
), holdings AS (
    SELECT d.refobjid, pg_catalog.bool_or(d.dbid = b.oid) AS here, pg_catalog.bool_or(d.dbid NOT IN (0, b.oid)) AS elsewhere
    FROM pg_catalog.pg_shdepend d JOIN strangers s ON s.oid = d.refobjid
    CROSS JOIN (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()) b
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
    GROUP BY d.refobjid
)
SELECT CASE WHEN s.strong THEN 'critical' WHEN h.here THEN 'medium' ELSE 'low' END AS severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    pg_catalog.format('role %I', s.rolname) AS object,
    pg_catalog.format('no registry row here has this role, %s; %s', CASE WHEN h.here THEN 'but it has rights or objects in this database' ELSE 'and it has nothing in any database' END,
        CASE WHEN s.rolcanlogin THEN 'it can log in' ELSE 'it cannot log in' END || CASE WHEN s.strong THEN ' and has an attribute that no tenant has' ELSE '' END) AS detail,
    CASE WHEN h.here THEN pg_catalog.format('DROP OWNED BY %I; DROP ROLE %I;', s.rolname, s.rolname)
        ELSE pg_catalog.format('DROP ROLE %I;', s.rolname) END AS remedy
FROM strangers s LEFT JOIN holdings h ON h.refobjid = s.oid
WHERE s.strong OR h.here OR NOT COALESCE(h.elsewhere, false)
ORDER BY 4

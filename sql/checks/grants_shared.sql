-- check: grants_shared
-- title: rights of tenants on databases, tablespaces and server parameters
-- explain: Databases, tablespaces and parameters are shared by the whole cluster. CREATE or TEMPORARY on a database is a place outside the schema,
-- explain: CONNECT to another database is a way past everything proven here, a tablespace is disk for anybody, and SET on a protected parameter such as
-- explain: session_replication_role switches triggers and with them audit and limits off. Tenants hold CONNECT through their group, on this database.
-- explain: Rights of PUBLIC on databases are told by database_public.
WITH RECURSIVE tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
), doors AS (
    SELECT 'database' AS kind, d.oid, d.datname::text AS name, d.datdba AS owner, d.datacl AS acl FROM pg_catalog.pg_database d
    UNION ALL
    SELECT 'tablespace', s.oid, s.spcname::text, s.spcowner, s.spcacl FROM pg_catalog.pg_tablespace s
    UNION ALL
    SELECT 'parameter', p.oid, p.parname, 10, p.paracl FROM pg_catalog.pg_parameter_acl p
), registries AS MATERIALIZED (
    -- Databases with a registry of their own: the group connects there for their tenants.
    SELECT DISTINCT d.dbid FROM pg_catalog.pg_shdepend d
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = pg_catalog.to_regrole('tenantctl_owner')
    AND d.deptype = 'o' AND d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
), held AS (
    SELECT d.kind, d.name, x.grantee, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee_name,
        pg_catalog.string_agg(x.privilege_type || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END, ', ' ORDER BY x.privilege_type) AS rights,
        pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) AS privileges,
        pg_catalog.bool_and(x.privilege_type = 'CONNECT') AS connect_only
    FROM doors d CROSS JOIN LATERAL pg_catalog.aclexplode(d.acl) x
    WHERE x.grantee <> d.owner AND (x.grantee <> 0 OR d.kind <> 'database')
    AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    AND NOT (d.kind = 'database' AND x.grantee = pg_catalog.to_regrole('tenantctl_tenants') AND x.privilege_type = 'CONNECT' AND NOT x.is_grantable
        AND (d.name = pg_catalog.current_database() OR d.oid IN (SELECT r.dbid FROM registries r)))
    GROUP BY 1, 2, 3, 4
)
SELECT CASE WHEN h.kind = 'database' AND h.connect_only THEN 'high' ELSE 'critical' END AS severity,
    t.tenant_id::text, t.schema_name::text, h.kind || ' ' || CASE h.kind WHEN 'parameter' THEN h.name ELSE pg_catalog.quote_ident(h.name) END AS object,
    pg_catalog.format('%s has %s here%s', CASE h.grantee WHEN 0 THEN 'PUBLIC, and so every tenant,' ELSE pg_catalog.format('role %I', h.grantee_name) END, h.rights,
        CASE h.kind WHEN 'parameter' THEN '' ELSE '; roles are shared by all databases of the cluster' END) AS detail,
    pg_catalog.format('REVOKE %s ON %s %s FROM %s CASCADE;', h.privileges, pg_catalog.upper(h.kind),
        -- A parameter's name may have a dot, which is no part of an identifier.
        CASE h.kind WHEN 'parameter' THEN h.name ELSE pg_catalog.quote_ident(h.name) END,
        CASE h.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(h.grantee_name) END) AS remedy
FROM held h LEFT JOIN tenantctl.tenants o ON o.role_name = h.grantee_name AND h.grantee <> 0
LEFT JOIN tenants t ON t.tenant_id = o.tenant_id
WHERE (h.grantee = 0 OR h.grantee_name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$') AND (o.tenant_id IS NULL OR t.tenant_id IS NOT NULL)
-- A role of another database's registry may connect there; what it has here is told.
AND NOT (o.tenant_id IS NULL AND h.grantee <> 0 AND h.grantee_name <> 'tenantctl_tenants' AND h.connect_only AND h.name <> pg_catalog.current_database())
ORDER BY 2, 4, 5

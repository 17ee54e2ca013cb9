-- check: grants_outside
-- title: rights and objects of tenants outside their own schema
-- explain: A tenant's role holds rights in its schema and nowhere else; the group holds CONNECT and nothing else. A right elsewhere is a door into
-- explain: data that is not the tenant's, or a place where tenants meet. Roles are cluster-wide, so rights in other databases count and are told by the
-- explain: database's name; what exactly they are can be read only from inside that database.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), roles AS MATERIALIZED (
    SELECT r.oid, r.rolname::text AS role_name, t.tenant_id, t.schema_name
    FROM tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
    UNION ALL
    SELECT r.oid, r.rolname, NULL, NULL FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_tenants'
), held AS MATERIALIZED (
    SELECT o.*, d.dbid, d.classid, d.objid
    FROM pg_catalog.pg_shdepend d JOIN roles o ON o.oid = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'a' AND d.dbid <> 0
), spaces AS MATERIALIZED (
    -- In a tenant's schema the other checks report it for that tenant; chunks go with their table.
    SELECT n.oid FROM pg_catalog.pg_namespace n
    WHERE n.nspname = '_timescaledb_internal' OR n.nspname IN (SELECT v.schema_name::pg_catalog.name FROM tenantctl.tenants v)
), inside AS MATERIALIZED (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS classid, c.oid AS objid
    FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, f.oid FROM pg_catalog.pg_proc f JOIN spaces s ON s.oid = f.pronamespace
    WHERE f.proacl IS NOT NULL
    UNION ALL
    SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, y.oid FROM pg_catalog.pg_type y JOIN spaces s ON s.oid = y.typnamespace
    WHERE y.typacl IS NOT NULL
    UNION ALL
    SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid, s.oid FROM spaces s
), elsewhere AS MATERIALIZED (
    -- By grouping, as a join would have to guess how many there are.
    SELECT u.classid, u.objid, pg_catalog.array_agg(u.role) AS holders
    FROM (
        SELECT h.classid, h.objid, h.oid AS role FROM held h
        WHERE h.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
        -- These have checks of their own.
        AND h.classid NOT IN ('pg_catalog.pg_largeobject'::pg_catalog.regclass, 'pg_catalog.pg_default_acl'::pg_catalog.regclass,
            'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, 'pg_catalog.pg_foreign_server'::pg_catalog.regclass)
        UNION ALL
        SELECT i.classid, i.objid, NULL FROM inside i
    ) u
    GROUP BY u.classid, u.objid
    HAVING pg_catalog.bool_and(u.role IS NOT NULL)
), outside AS (
    SELECT r.*, h.classid, h.objid, COALESCE(c.relacl, f.proacl, y.typacl, n.nspacl, l.lanacl) AS acl
    FROM elsewhere h CROSS JOIN LATERAL pg_catalog.unnest(h.holders) x (role) JOIN roles r ON r.oid = x.role
    LEFT JOIN pg_catalog.pg_class c ON h.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = h.objid
    LEFT JOIN pg_catalog.pg_proc f ON h.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND f.oid = h.objid
    LEFT JOIN pg_catalog.pg_type y ON h.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND y.oid = h.objid
    LEFT JOIN pg_catalog.pg_namespace n ON h.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND n.oid = h.objid
    LEFT JOIN pg_catalog.pg_language l ON h.classid = 'pg_catalog.pg_language'::pg_catalog.regclass AND l.oid = h.objid
)
SELECT 'high' AS severity, o.tenant_id::text, o.schema_name::text, i.type || ' ' || i.identity AS object,
    pg_catalog.format('role %I has %s%s', o.role_name, COALESCE((
        SELECT pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) FROM pg_catalog.aclexplode(o.acl) x WHERE x.grantee = o.oid
    ), 'rights on some of its columns'), CASE WHEN o.tenant_id IS NULL THEN '; the group of all tenants may have CONNECT on this database and nothing else'
        ELSE ' outside its own schema' END) AS detail,
    CASE WHEN o.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass,
            'pg_catalog.pg_namespace'::pg_catalog.regclass, 'pg_catalog.pg_language'::pg_catalog.regclass)
        THEN pg_catalog.format('REVOKE ALL ON %s %s FROM %I CASCADE;', CASE WHEN i.type = 'sequence' THEN 'SEQUENCE' WHEN o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'TABLE'
            WHEN o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'ROUTINE' WHEN o.classid = 'pg_catalog.pg_type'::pg_catalog.regclass THEN 'TYPE'
            ELSE pg_catalog.upper(i.type) END, i.identity, o.role_name)
        ELSE pg_catalog.format('REVOKE ALL ON %s %s FROM %I CASCADE;', pg_catalog.upper(i.type), i.identity, o.role_name) END AS remedy
FROM outside o CROSS JOIN LATERAL (
    SELECT x.type, COALESCE((
        SELECT pg_catalog.format('%I.%I(%s)', x.schema, f.proname, pg_catalog.oidvectortypes(f.proargtypes))
        FROM pg_catalog.pg_proc f WHERE o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND f.oid = o.objid
    ), x.identity) FROM pg_catalog.pg_identify_object(o.classid, o.objid, 0) x
) i (type, identity)
WHERE i.identity IS NOT NULL
UNION ALL
SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_shdepend o WHERE o.dbid = d.oid AND o.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
            AND o.refobjid = pg_catalog.to_regrole('tenantctl_owner')) THEN 'medium' ELSE 'high' END,
    h.tenant_id::text, h.schema_name::text, pg_catalog.format('database %I', d.datname),
    pg_catalog.format('role %I has rights on %s object%s in database %I; roles are shared by all databases of the cluster', h.role_name, pg_catalog.count(*),
        CASE pg_catalog.count(*) WHEN 1 THEN '' ELSE 's' END, d.datname),
    -- What it is has to be looked at there: it may be a copy of this database, or that one's own.
    pg_catalog.format('psql --dbname=%I --command=%L', d.datname, pg_catalog.format('SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend WHERE refobjid = %L::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())', h.role_name))
FROM held h JOIN pg_catalog.pg_database d ON d.oid = h.dbid
WHERE d.datname <> pg_catalog.current_database()
GROUP BY h.tenant_id, h.schema_name, h.role_name, d.datname, d.oid
ORDER BY 2, 4, 5

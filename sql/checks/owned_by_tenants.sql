-- check: owned_by_tenants
-- title: objects outside tenant schemas that belong to tenants or their group
-- explain: A tenant owns nothing. An object of its own, in another schema, another database or the cluster as a whole, is a place that tenantctl neither
-- explain: limits nor backs up nor drops, and that its owner may open to others; on 15 all tenants can act as the group and share what it owns.
-- explain: A publication, a subscription, a server or an event trigger of a tenant acts on everybody's data.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), roles AS MATERIALIZED (
    SELECT r.oid, r.rolname::text AS role_name, t.tenant_id, t.schema_name
    FROM tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
    UNION ALL
    SELECT r.oid, r.rolname, NULL, NULL FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_tenants'
), owned AS MATERIALIZED (
    SELECT o.*, d.dbid, d.classid, d.objid,
        d.dbid IN (0, (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())) AS is_here
    FROM pg_catalog.pg_shdepend d JOIN roles o ON o.oid = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'o'
    -- These have checks of their own.
    AND d.classid NOT IN ('pg_catalog.pg_largeobject'::pg_catalog.regclass, 'pg_catalog.pg_default_acl'::pg_catalog.regclass)
), named AS (
    SELECT o.*, i.type, CASE WHEN f.oid IS NULL THEN i.identity ELSE pg_catalog.format('%I.%I(%s)', i.schema, f.proname, pg_catalog.oidvectortypes(f.proargtypes)) END AS identity,
        COALESCE(c.relnamespace, f.pronamespace, y.typnamespace, n.oid, e.oid) AS namespace
    FROM owned o CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
    LEFT JOIN pg_catalog.pg_class c ON o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = o.objid
    LEFT JOIN pg_catalog.pg_proc f ON o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND f.oid = o.objid
    LEFT JOIN pg_catalog.pg_type y ON o.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND y.oid = o.objid
    LEFT JOIN pg_catalog.pg_namespace n ON o.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND n.oid = o.objid
    LEFT JOIN pg_catalog.pg_namespace e ON e.nspname = i.schema
    WHERE o.is_here
)
SELECT CASE WHEN n.type IN ('table', 'view', 'materialized view', 'sequence', 'type', 'domain', 'foreign table') THEN 'high' ELSE 'critical' END AS severity,
    n.tenant_id::text, n.schema_name::text, n.type || ' ' || n.identity AS object,
    pg_catalog.format('it belongs to role %I, %s', n.role_name, CASE WHEN n.tenant_id IS NULL THEN 'the group of all tenants' ELSE 'and a tenant owns nothing' END) AS detail,
    CASE WHEN n.type IN ('table', 'view', 'materialized view', 'sequence', 'foreign table', 'type', 'domain', 'schema', 'function', 'procedure', 'server',
            'foreign-data wrapper', 'database', 'tablespace', 'publication', 'subscription', 'event trigger', 'collation', 'operator', 'language', 'aggregate')
        THEN pg_catalog.format('ALTER %s %s OWNER TO tenantctl_owner;', CASE n.type WHEN 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER' ELSE pg_catalog.upper(n.type) END, n.identity)
        ELSE pg_catalog.format('REASSIGN OWNED BY %I TO tenantctl_owner;', n.role_name) END AS remedy
FROM named n LEFT JOIN pg_catalog.pg_namespace p ON p.oid = n.namespace
-- In a tenant's schema ownership reports it, for that tenant.
WHERE n.identity IS NOT NULL AND NOT EXISTS (SELECT FROM tenantctl.tenants v WHERE v.schema_name::pg_catalog.name = p.nspname)
UNION ALL
SELECT 'high', o.tenant_id::text, o.schema_name::text, pg_catalog.format('database %I', d.datname),
    pg_catalog.format('role %I owns %s object%s in database %I; roles are shared by all databases of the cluster', o.role_name, pg_catalog.count(*),
        CASE pg_catalog.count(*) WHEN 1 THEN '' ELSE 's' END, d.datname),
    pg_catalog.format('psql --dbname=%I --command=%L', d.datname, pg_catalog.format('REASSIGN OWNED BY %I TO CURRENT_USER;', o.role_name))
FROM owned o JOIN pg_catalog.pg_database d ON d.oid = o.dbid
WHERE NOT o.is_here
GROUP BY o.tenant_id, o.schema_name, o.role_name, d.datname
ORDER BY 2, 4, 5

-- check: grants_missing
-- title: rights of the standard that a tenant lacks in its own schema
-- explain: Nobody reaches another tenant through a right that is missing, but the tenant's own statements fail, and whoever mends that in a hurry
-- explain: tends to grant too much. tenantctl secure gives back exactly what the standard says; to a tenant whose writes are frozen that is
-- explain: SELECT and DELETE.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), places AS MATERIALIZED (
    SELECT t.tenant_id, t.schema_name, t.role_name, t.writes_frozen_at IS NOT NULL AS frozen, n.oid AS namespace, n.nspowner, n.nspacl,
        COALESCE(r.oid, '4294967295') AS role,
        pg_catalog.to_regrole('tenantctl_owner')::pg_catalog.oid AS owner
    FROM tenants t
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::pg_catalog.name
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
), standard AS MATERIALIZED (
    -- The ACLs of the standard as the server writes them: whatever equals them needs no closer look.
    SELECT p.*, pg_catalog.acldefault('r', p.owner) || i.rows AS table_acl, pg_catalog.acldefault('r', p.owner) || i.reads AS read_acl,
        pg_catalog.acldefault('s', p.owner) || i.numbers AS sequence_acl
    FROM places p CROSS JOIN LATERAL (
        SELECT CASE WHEN pg_catalog.to_regrole(p.role_name) IS NOT NULL THEN (p.role_name || CASE WHEN p.frozen THEN '=rd' ELSE '=arwd' END || '/tenantctl_owner')::pg_catalog.aclitem END,
            CASE WHEN pg_catalog.to_regrole(p.role_name) IS NOT NULL THEN (p.role_name || '=r/tenantctl_owner')::pg_catalog.aclitem END,
            CASE WHEN pg_catalog.to_regrole(p.role_name) IS NOT NULL THEN (p.role_name || '=rU/tenantctl_owner')::pg_catalog.aclitem END
    ) i (rows, reads, numbers)
), relations AS MATERIALIZED (
    SELECT s.tenant_id, s.schema_name, s.role, s.role_name, s.frozen, c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relispartition AS part,
        pg_catalog.format('%I.%I', s.schema_name, c.relname) AS name
    FROM standard s JOIN pg_catalog.pg_class c ON c.relnamespace = s.namespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND c.relacl IS DISTINCT FROM CASE
        -- Partitions are written through their parent.
        WHEN c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT IN ('audit_log', 'tenant_usage') THEN s.table_acl
        WHEN c.relkind IN ('r', 'p', 'v') THEN s.read_acl
        WHEN c.relkind = 'S' AND c.relname !~ '^(audit_log|tenant_usage)_' THEN s.sequence_acl
    END
), judged AS (
    SELECT r.*, CASE
        -- A tenant that has reached its size makes room, and adds nothing.
        WHEN r.relkind IN ('r', 'p') AND NOT r.part AND r.relname NOT IN ('audit_log', 'tenant_usage') AND r.frozen THEN ARRAY['SELECT', 'DELETE']
        WHEN r.relkind IN ('r', 'p') AND NOT r.part AND r.relname NOT IN ('audit_log', 'tenant_usage') THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
        WHEN r.relkind IN ('r', 'p', 'v', 'm') THEN ARRAY['SELECT']
        -- The numbers of tenantctl's own tables are not the tenant's.
        WHEN r.relkind = 'S' AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class k ON k.oid = d.refobjid
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i')
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND k.relname IN ('audit_log', 'tenant_usage')
        ) THEN ARRAY['USAGE', 'SELECT']
        ELSE '{}'::text[]
    END AS allowed,
    CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
        ELSE 'table' END || ' ' || r.name AS object,
    CASE r.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || r.name AS target
    FROM relations r
), wanted AS MATERIALIZED (
    SELECT j.tenant_id, j.schema_name, j.role, j.object, j.allowed,
        COALESCE(j.relacl, pg_catalog.acldefault(CASE j.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", j.relowner)) AS acl
    FROM judged j WHERE j.relkind <> 'm'
    UNION ALL
    SELECT p.tenant_id, p.schema_name, p.role, pg_catalog.format('schema %I', p.schema_name), ARRAY['USAGE'],
        COALESCE(p.nspacl, pg_catalog.acldefault('n', p.nspowner))
    FROM places p
    UNION ALL
    SELECT p.tenant_id, p.schema_name, p.role,
        pg_catalog.format('%s %I.%I(%s)', CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, p.schema_name, f.proname,
            pg_catalog.oidvectortypes(f.proargtypes)),
        ARRAY['EXECUTE'], COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))
    FROM places p JOIN pg_catalog.pg_proc f ON f.pronamespace = p.namespace
    -- A trigger function needs no right of who fires it, and a range's own functions come with it.
    WHERE f.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid AND d.deptype = 'i')
    UNION ALL
    SELECT p.tenant_id, p.schema_name, p.role, pg_catalog.format('type %I.%I', p.schema_name, t.typname),
        ARRAY['USAGE'], COALESCE(t.typacl, pg_catalog.acldefault('T', t.typowner))
    FROM places p JOIN pg_catalog.pg_type t ON t.typnamespace = p.namespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
)
SELECT 'low' AS severity, w.tenant_id::text, w.schema_name::text, w.object,
    pg_catalog.format('the tenant''s role lacks %s', pg_catalog.string_agg(a.privilege, ', ' ORDER BY a.privilege)) AS detail,
    pg_catalog.format('tenantctl secure %s', w.tenant_id) AS remedy
FROM wanted w CROSS JOIN LATERAL pg_catalog.unnest(w.allowed) a (privilege)
-- Without a role there is nobody to lack anything: orphan_rows tells.
WHERE w.role <> '4294967295' AND NOT EXISTS (
    SELECT FROM pg_catalog.aclexplode(w.acl) x WHERE x.grantee = w.role AND x.privilege_type = a.privilege)
GROUP BY w.tenant_id, w.schema_name, w.object
UNION ALL
-- Foreign keys, audit and limits run as the owner.
SELECT 'medium', p.tenant_id::text, p.schema_name::text,
    pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, p.schema_name, c.relname),
    'tenantctl_owner lacks rights on what it owns, so that the tenant''s writes may fail', pg_catalog.format('tenantctl secure %s', p.tenant_id)
FROM places p JOIN pg_catalog.pg_class c ON c.relnamespace = p.namespace AND c.relkind IN ('r', 'p', 'v', 'S')
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner AND o.rolname = 'tenantctl_owner'
WHERE NOT c.relacl OPERATOR(pg_catalog.@>)
    CASE c.relkind WHEN 'S' THEN 'tenantctl_owner=rU/tenantctl_owner' ELSE 'tenantctl_owner=arwd/tenantctl_owner' END::pg_catalog.aclitem
UNION ALL
SELECT 'medium', p.tenant_id::text, p.schema_name::text, pg_catalog.format('schema %I', p.schema_name),
    'tenantctl_owner lacks rights on what it owns, so that the tenant''s writes may fail', pg_catalog.format('tenantctl secure %s', p.tenant_id)
FROM places p JOIN pg_catalog.pg_roles o ON o.oid = p.nspowner AND o.rolname = 'tenantctl_owner'
WHERE NOT p.nspacl OPERATOR(pg_catalog.@>) 'tenantctl_owner=UC/tenantctl_owner'::pg_catalog.aclitem
ORDER BY 2, 4

-- check: grants_relations
-- title: rights on tables, views and sequences of a tenant that go beyond the standard
-- explain: A tenant's relations may be used by the tenant's own role alone, and only for rows: SELECT, INSERT, UPDATE, DELETE.
-- explain: A right of PUBLIC, of another tenant, of the group or of any other role opens the data to it; row security is the only line left then.
-- explain: TRUNCATE and REFERENCES pass row security by, TRIGGER lets the tenant run code as whoever writes next, MAINTAIN locks,
-- explain: writes to audit_log and tenant_usage forge the record, and a grant option lets the tenant share what it has.
-- explain: A tenant whose writes are frozen has SELECT and DELETE only, until metrics --enforce thaws it.
-- explain: Chunks and partitions in other schemas count with the table they belong to.
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
    UNION ALL
    SELECT s.tenant_id, s.schema_name, s.role, s.role_name, s.frozen, c.oid, c.relname, c.relkind, c.relowner, c.relacl, false,
        pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f') AND c.relacl IS NOT NULL
    JOIN pg_catalog.pg_class parent ON parent.oid = i.inhparent
    JOIN standard s ON s.namespace = parent.relnamespace
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.oid <> s.namespace
    WHERE c.relacl IS DISTINCT FROM s.table_acl
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
), items AS MATERIALIZED (
    SELECT j.tenant_id, j.schema_name, j.role, j.role_name, j.frozen, j.relowner AS owner, j.object, j.target, '' AS suffix, j.allowed,
        COALESCE(j.relacl, pg_catalog.acldefault(CASE j.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", j.relowner)) AS acl
    FROM judged j
), wrong AS (
    SELECT i.tenant_id, i.schema_name, i.object, i.target, i.role, i.role_name, i.owner, i.allowed, x.grantor, x.grantee, i.frozen,
        x.grantee = i.role AND x.privilege_type = ANY (i.allowed) AS option_only,
        pg_catalog.string_agg(x.privilege_type || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END, ', '
            ORDER BY x.privilege_type) AS rights,
        pg_catalog.string_agg(x.privilege_type || i.suffix, ', ' ORDER BY x.privilege_type) AS privileges,
        pg_catalog.bool_or(x.is_grantable) AS grantable,
        pg_catalog.bool_or(x.privilege_type IN ('CREATE', 'TRIGGER')) AS code,
        pg_catalog.bool_and(x.privilege_type IN ('INSERT', 'UPDATE')) AS writes
    FROM items i CROSS JOIN LATERAL pg_catalog.aclexplode(i.acl) x
    WHERE x.grantee <> i.owner
    AND (x.grantee <> i.role OR x.is_grantable OR x.privilege_type <> ALL (i.allowed))
    AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
), named AS (
    SELECT w.*, pg_catalog.pg_get_userbyid(w.grantee)::text AS grantee_name FROM wrong w
)
SELECT CASE
        WHEN n.grantee = n.role THEN CASE WHEN n.code THEN 'critical' ELSE 'high' END
        WHEN n.grantee = 0 OR n.grantee_name ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' THEN 'critical'
        ELSE 'high'
    END AS severity,
    n.tenant_id::text, n.schema_name::text, n.object,
    CASE
        WHEN n.option_only THEN pg_catalog.format('the tenant''s role %I may hand on what it has here: %s', n.role_name, n.rights)
        WHEN n.grantee = n.role THEN pg_catalog.format('the tenant''s role %I has %s beyond the standard, which is %s', n.role_name, n.rights,
            COALESCE(NULLIF(pg_catalog.array_to_string(n.allowed, ', '), ''), 'nothing') || CASE WHEN n.frozen THEN ' while its writes are frozen' ELSE '' END)
        WHEN n.grantee = 0 THEN pg_catalog.format('PUBLIC, and so every other tenant, has %s', n.rights)
        ELSE pg_catalog.format('role %I%s has %s, where only the tenant''s own role may have rights', n.grantee_name,
            CASE WHEN n.grantee_name = 'tenantctl_tenants' THEN ', the group of all tenants,'
                ELSE ' of tenant ' || o.tenant_id END, n.rights)
    END || CASE WHEN n.grantor <> n.owner THEN pg_catalog.format(', granted by role %I', pg_catalog.pg_get_userbyid(n.grantor)) ELSE '' END AS detail,
    CASE WHEN n.frozen AND n.writes AND n.grantee = n.role AND n.grantor = n.owner AND n.owner = pg_catalog.to_regrole('tenantctl_owner')
        THEN pg_catalog.format('tenantctl secure %s', n.tenant_id)
    ELSE CASE WHEN n.grantor <> n.owner THEN pg_catalog.format('SET ROLE %I; ', pg_catalog.pg_get_userbyid(n.grantor)) ELSE '' END
    || pg_catalog.format('REVOKE %s%s ON %s FROM %s%s;', CASE WHEN n.option_only THEN 'GRANT OPTION FOR ' ELSE '' END, n.privileges,
        n.target, CASE n.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(n.grantee_name) END,
        CASE WHEN n.grantable THEN ' CASCADE' ELSE '' END)
    || CASE WHEN n.grantor <> n.owner THEN ' RESET ROLE;' ELSE '' END END AS remedy
FROM named n LEFT JOIN tenantctl.tenants o ON o.role_name = n.grantee_name AND n.grantee <> 0
ORDER BY 2, 4, 5

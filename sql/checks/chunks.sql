-- check: chunks
-- title: chunks of hypertables that are reached past their table, or differ from it
-- explain: TimescaleDB keeps the rows of a hypertable in chunks, tables without row security that have their table's owner and grants. Whoever can
-- explain: name a chunk writes to it past the audit, the limits and the policies of its table. So chunks lie in a schema of the owner's,
-- explain: tenantctl_chunks, where nobody else may look; the extension's own schema cannot be shut, as every query of a tenant looks into it.
-- explain: A chunk of another owner, with rights on columns, or with triggers or rules that its table has not, is somebody's door. One
-- explain: that belongs to no table holds rows that no backup, limit or drop knows of.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), places AS MATERIALIZED (
    SELECT t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, n.oid AS namespace, r.oid AS role
    FROM tenants t
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::pg_catalog.name
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name::pg_catalog.name
), spaces AS MATERIALIZED (
    SELECT n.oid, n.nspname::text AS nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
    WHERE n.nspname IN ('tenantctl_chunks', '_timescaledb_internal')
), trusted (oid) AS (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolsuper OR r.rolname = 'tenantctl_owner'
), chunks AS MATERIALIZED (
    SELECT p.tenant_id, p.schema_name, p.role, t.oid AS table_oid, t.relname AS table_name, c.oid, c.relowner, c.relhasrules, c.relhastriggers, s.oid AS space,
        s.nspname, pg_catalog.format('%I.%I', s.nspname, c.relname) AS name
    FROM spaces s
    JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'f')
    JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
    JOIN pg_catalog.pg_class t ON t.oid = i.inhparent
    JOIN places p ON p.namespace = t.relnamespace
), columns AS MATERIALIZED (
    -- Few columns of a database have rights of their own.
    SELECT a.attrelid, a.attname, a.attacl FROM pg_catalog.pg_attribute a
    WHERE a.attacl IS NOT NULL AND a.attnum > 0 AND NOT a.attisdropped
), doors AS MATERIALIZED (
    -- Who may look into a schema of chunks.
    SELECT s.oid AS space, x.grantee, pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) AS rights
    FROM spaces s CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(s.nspacl, pg_catalog.acldefault('n', s.nspowner))) x
    WHERE NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    GROUP BY 1, 2
)
SELECT 'high' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, 'schema ' || s.nspname AS object,
    pg_catalog.format('%s has %s on the schema of all chunks',
        CASE d.grantee WHEN 0 THEN 'PUBLIC, and so every tenant,' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(d.grantee)) END, d.rights) AS detail,
    pg_catalog.format('REVOKE ALL ON SCHEMA tenantctl_chunks FROM %s;',
        CASE d.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.grantee)) END) AS remedy
FROM spaces s JOIN doors d ON d.space = s.oid WHERE s.nspname = 'tenantctl_chunks'
UNION ALL
SELECT 'critical', NULL, NULL, 'schema ' || s.nspname,
    pg_catalog.format('it belongs to role %I, not to tenantctl_owner', pg_catalog.pg_get_userbyid(s.nspowner)),
    'ALTER SCHEMA tenantctl_chunks OWNER TO tenantctl_owner;'
FROM spaces s WHERE s.nspname = 'tenantctl_chunks' AND s.nspowner IS DISTINCT FROM pg_catalog.to_regrole('tenantctl_owner')::pg_catalog.oid
UNION ALL
SELECT 'medium', c.tenant_id, c.schema_name, pg_catalog.format('table %I.%I', c.schema_name, c.table_name),
    pg_catalog.format('%s of its chunks %s in schema %I, which its role may use: by their names it writes past audit and limits',
        pg_catalog.count(*), CASE pg_catalog.count(*) WHEN 1 THEN 'lies' ELSE 'lie' END, c.nspname),
    pg_catalog.format('tenantctl backup %s, then tenantctl restore %s: what is restored keeps its chunks in tenantctl_chunks', c.tenant_id, c.tenant_id)
FROM chunks c
WHERE c.nspname = '_timescaledb_internal' AND EXISTS (SELECT FROM doors d WHERE d.space = c.space AND d.grantee IN (0, c.role))
GROUP BY c.tenant_id, c.schema_name, c.table_name, c.nspname
UNION ALL
SELECT CASE WHEN pg_catalog.pg_get_userbyid(c.relowner) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$' THEN 'critical' ELSE 'high' END,
    c.tenant_id, c.schema_name, 'table ' || c.name,
    pg_catalog.format('this chunk of %I.%I belongs to role %I, not to tenantctl_owner', c.schema_name, c.table_name, pg_catalog.pg_get_userbyid(c.relowner)),
    pg_catalog.format('ALTER TABLE %s OWNER TO tenantctl_owner;', c.name)
FROM chunks c WHERE c.relowner IS DISTINCT FROM pg_catalog.to_regrole('tenantctl_owner')::pg_catalog.oid
UNION ALL
SELECT CASE WHEN x.grantee = c.role THEN 'high' ELSE 'critical' END, c.tenant_id, c.schema_name, pg_catalog.format('column %s.%I', c.name, a.attname),
    pg_catalog.format('%s has %s on this column of a chunk of %I.%I',
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END,
        pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type), c.schema_name, c.table_name),
    pg_catalog.format('REVOKE %s ON %s FROM %s;', pg_catalog.string_agg(pg_catalog.format('%s (%I)', x.privilege_type, a.attname), ', ' ORDER BY x.privilege_type), c.name,
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END)
FROM chunks c JOIN columns a ON a.attrelid = c.oid CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x
WHERE NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
-- What a table has on its columns its chunks have, too; that is told of the table.
AND NOT EXISTS (
    SELECT FROM columns o CROSS JOIN LATERAL pg_catalog.aclexplode(o.attacl) y
    WHERE o.attrelid = c.table_oid AND o.attname = a.attname AND y.grantee = x.grantee AND y.privilege_type = x.privilege_type)
GROUP BY c.tenant_id, c.schema_name, c.table_name, c.name, c.role, a.attname, x.grantee
UNION ALL
SELECT 'high', c.tenant_id, c.schema_name, pg_catalog.format('trigger %I on %s', g.tgname, c.name),
    pg_catalog.format('this chunk of %I.%I has a trigger that its table has not', c.schema_name, c.table_name),
    pg_catalog.format('DROP TRIGGER %I ON %s;', g.tgname, c.name)
FROM chunks c JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal
WHERE c.relhastriggers AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_trigger o WHERE o.tgrelid = c.table_oid AND NOT o.tgisinternal AND o.tgname = g.tgname AND o.tgfoid = g.tgfoid)
UNION ALL
SELECT 'high', c.tenant_id, c.schema_name, pg_catalog.format('rule %I on %s', w.rulename, c.name),
    pg_catalog.format('this chunk of %I.%I has a rule, which rewrites what is done to it', c.schema_name, c.table_name),
    pg_catalog.format('DROP RULE %I ON %s;', w.rulename, c.name)
FROM chunks c JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid WHERE c.relhasrules
UNION ALL
SELECT 'medium', NULL, NULL, pg_catalog.format('table %I.%I', s.nspname, c.relname),
    'it lies among the chunks and belongs to no table: no backup, limit or drop knows of its rows',
    pg_catalog.format('Find out what it was; if it is nothing: DROP TABLE %I.%I;', s.nspname, c.relname)
FROM spaces s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
WHERE s.nspname = 'tenantctl_chunks' AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
UNION ALL
-- Compressed rows: tables of the extension's, beside the chunks, with the rights of the table that they come from.
SELECT 'critical', NULL, NULL, pg_catalog.format('table %I.%I', s.nspname, c.relname),
    pg_catalog.format('these compressed rows of a tenant are open to %s', pg_catalog.string_agg(DISTINCT
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END, ' and ')),
    pg_catalog.format('REVOKE ALL ON %I.%I FROM whoever is not the tenant;', s.nspname, c.relname)
FROM spaces s
JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid AND c.relkind = 'r' AND c.relowner = pg_catalog.to_regrole('tenantctl_owner')::pg_catalog.oid
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) x
WHERE s.nspname = '_timescaledb_internal' AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
GROUP BY s.nspname, c.relname
HAVING pg_catalog.count(DISTINCT x.grantee) > 1 OR pg_catalog.bool_or(x.grantee = 0)
    OR pg_catalog.bool_or(pg_catalog.pg_get_userbyid(x.grantee) !~ '^tenant_[0-9a-f]{12}_user$')
ORDER BY 2, 4, 5

-- check: chunks
-- title: chunks of hypertables that are open to others than their table, or differ from it
-- explain: TimescaleDB keeps the rows of a hypertable in chunks, tables without row security that have their table's owner and grants; a REVOKE
-- explain: on the table reaches them all. One of another owner, with rights on columns, or with triggers or rules that its table has not, is
-- explain: somebody's door past all that guards the table; so is a schema of chunks in which others may create. That schema cannot be shut
-- explain: to tenants, as timescaledb looks chunks up by name with their rights. A tenant can so write to its own chunks by name, past
-- explain: its own audit and limits, though to nobody else's. Rights on whole chunks are what grants_relations looks at.
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
    WHERE n.nspname = '_timescaledb_internal'
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
)
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, 'schema ' || s.nspname AS object,
    'PUBLIC has no USAGE on it: timescaledb looks chunks up by their names with the rights of whoever queries, so that tenants with hypertables can do nothing' AS detail,
    'GRANT USAGE ON SCHEMA _timescaledb_internal TO PUBLIC;' AS remedy
FROM spaces s
WHERE EXISTS (SELECT FROM tenants t WHERE pg_catalog.cardinality(t.hypertables) > 0)
AND NOT EXISTS (
    SELECT FROM pg_catalog.aclexplode(COALESCE(s.nspacl, pg_catalog.acldefault('n', s.nspowner))) x WHERE x.grantee = 0 AND x.privilege_type = 'USAGE')
UNION ALL
SELECT 'critical', NULL, NULL, 'schema ' || s.nspname,
    pg_catalog.format('%s may create in the schema of all chunks', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(x.grantee)) END),
    pg_catalog.format('REVOKE CREATE ON SCHEMA _timescaledb_internal FROM %s;', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END)
FROM spaces s CROSS JOIN LATERAL pg_catalog.aclexplode(s.nspacl) x
WHERE x.privilege_type = 'CREATE' AND x.grantee <> s.nspowner AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
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
-- Compressed rows: tables of the extension's, beside the chunks, with the rights of the table that they come from.
SELECT 'critical', NULL, NULL, pg_catalog.format('table %I.%I', s.nspname, c.relname),
    pg_catalog.format('these compressed rows of a tenant are open to %s', pg_catalog.string_agg(DISTINCT
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END, ' and ')),
    pg_catalog.format('REVOKE ALL ON %I.%I FROM whoever is not the tenant;', s.nspname, c.relname)
FROM spaces s
JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid AND c.relkind = 'r' AND c.relowner = pg_catalog.to_regrole('tenantctl_owner')::pg_catalog.oid
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) x
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
GROUP BY s.nspname, c.relname
HAVING pg_catalog.count(DISTINCT x.grantee) > 1 OR pg_catalog.bool_or(x.grantee = 0)
    OR pg_catalog.bool_or(pg_catalog.pg_get_userbyid(x.grantee) !~ '^tenant_[0-9a-f]{12}_user$')
ORDER BY 2, 4, 5

-- What a template's schema holds ($1), a row an object: kind and name; kind 'violation' is a sentence about
-- something a template must not have, kind 'context' what a module must leave as it found it.
WITH place AS (
    SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
), members AS (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d, place
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = place.oid
), relations AS (
    SELECT c.* FROM members m JOIN pg_catalog.pg_class c ON c.oid = m.objid
    WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
), functions AS (
    -- Types alone: names of arguments may hold anything. The constructors of a range type are the server's own.
    SELECT p.*, p.proname || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')' AS signature
    FROM members m JOIN pg_catalog.pg_proc p ON p.oid = m.objid
    WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i
        WHERE i.classid = m.classid AND i.objid = m.objid AND i.deptype = 'i')
), types AS (
    SELECT t.* FROM members m JOIN pg_catalog.pg_type t ON t.oid = m.objid
    WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
)
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind, relname::text AS name
FROM relations WHERE relkind IN ('r', 'p', 'v', 'S')
UNION ALL
SELECT 'function', signature FROM functions
UNION ALL
SELECT 'type', typname::text FROM types WHERE typtype IN ('d', 'e', 'r', 'c')
UNION ALL
-- As JSON, for a name may hold any separator; in the order of the table and of the key.
SELECT 'columns', pg_catalog.json_build_array(r.relname,
    (SELECT COALESCE(pg_catalog.json_agg(a.attname ORDER BY a.attnum), '[]') FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped))::text
FROM relations r WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT 'key', pg_catalog.json_build_array(r.relname,
    (SELECT pg_catalog.json_agg(a.attname ORDER BY k.place)
    FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY k (attnum, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.attnum))::text
FROM relations r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.contype = 'p'
UNION ALL
SELECT 'violation', pg_catalog.format('view %I is not security_invoker, so it would read with its owner''s rights', relname)
FROM relations WHERE relkind = 'v'
AND NOT COALESCE((SELECT o.option_value::boolean FROM pg_catalog.pg_options_to_table(reloptions) o
    WHERE o.option_name = 'security_invoker'), false)
UNION ALL
SELECT 'violation', pg_catalog.format('%I is a %s, which row security cannot protect', relname,
    CASE relkind WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END)
FROM relations WHERE relkind IN ('m', 'f')
UNION ALL
SELECT 'violation', pg_catalog.format('function %s is SECURITY DEFINER without a search_path that ends in pg_temp', signature)
FROM functions WHERE prosecdef
AND NOT EXISTS (SELECT FROM pg_catalog.unnest(proconfig) setting WHERE setting ~ '^search_path=([^"]*,\s*)?"?pg_temp"?$')
UNION ALL
SELECT 'violation', pg_catalog.format('%I belongs to %s, not to tenantctl_owner', relname, pg_catalog.pg_get_userbyid(relowner))
FROM relations WHERE pg_catalog.pg_get_userbyid(relowner) <> 'tenantctl_owner'
UNION ALL
SELECT 'violation', pg_catalog.format('function %s belongs to %s, not to tenantctl_owner', signature, pg_catalog.pg_get_userbyid(proowner))
FROM functions WHERE pg_catalog.pg_get_userbyid(proowner) <> 'tenantctl_owner'
UNION ALL
SELECT 'violation', pg_catalog.format('foreign key %I of %s refers to another schema', k.conname, r.relname)
FROM relations r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid AND k.contype = 'f'
JOIN pg_catalog.pg_class target ON target.oid = k.confrelid
WHERE target.relnamespace <> r.relnamespace
UNION ALL
SELECT 'violation', pg_catalog.format('%I has the name of something that every tenant has beside its template', name)
FROM (SELECT relname FROM relations UNION ALL SELECT typname FROM types UNION ALL SELECT signature FROM functions) n (name)
WHERE name IN ('audit_log', 'audit_log_at', 'audit_log_pkey', 'audit_log_id_seq', 'tenant_usage', 'tenant_usage_pkey')
OR name ~ '^(audit_changes|enforce_limits)(_[0-9a-f]{12})?\(\)$'
UNION ALL
SELECT 'violation', pg_catalog.format('column executed_at of trades is of type %s: trades of a day are counted by timestamp with time zone',
    pg_catalog.format_type(a.atttypid, NULL))
FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attname = 'executed_at'
WHERE r.relname = 'trades' AND r.relkind IN ('r', 'p') AND a.atttypid <> 'pg_catalog.timestamptz'::pg_catalog.regtype
UNION ALL
SELECT 'violation', pg_catalog.format('%I inherits from another table, whose audit would not show all of its columns', r.relname)
FROM relations r JOIN pg_catalog.pg_inherits i ON i.inhrelid = r.oid WHERE r.relkind = 'r' AND NOT r.relispartition
UNION ALL
-- Written through their parent, whose triggers see every row.
SELECT 'partition', relname::text FROM relations WHERE relispartition AND relkind IN ('r', 'p')
UNION ALL
SELECT 'violation', pg_catalog.format('trigger %I of %I has a name that is kept for tenantctl', t.tgname, r.relname)
FROM relations r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid WHERE t.tgname LIKE 'tenantctl\_%'
UNION ALL
SELECT 'context', 'user ' || current_user
UNION ALL
SELECT 'context', 'search path ' || pg_catalog.current_setting('search_path')
UNION ALL
SELECT 'context', 'transaction ' || pg_catalog.pg_current_xact_id()::text
ORDER BY 1, 2

-- check: registry_integrity
-- title: registry tables with code of somebody's on them, and rows that tenantctl did not write so
-- explain: Every command writes to the registry as tenantctl_owner in an admin's session. A trigger, rule, policy, child table or default there runs with those
-- explain: rights, or hides rows. A tenant's schema follows from its id and salt, a module's checksum from its text, and limits have six figures: a
-- explain: row that says otherwise was changed by hand, and with two schemas swapped one tenant gets the other's password.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), relations AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relrowsecurity FROM pg_catalog.pg_class c
    WHERE c.relnamespace = pg_catalog.to_regnamespace('tenantctl') AND c.relkind IN ('r', 'p')
), calls AS MATERIALIZED (
    -- One look at pg_depend for all of the registry's tables.
    SELECT d.classid, d.objid, d.refobjid FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid >= 16384
    AND d.classid IN ('pg_catalog.pg_attrdef'::pg_catalog.regclass, 'pg_catalog.pg_constraint'::pg_catalog.regclass, 'pg_catalog.pg_class'::pg_catalog.regclass)
)
SELECT 'critical' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('table tenantctl.%I', r.relname) AS object,
    w.what AS detail, w.remedy AS remedy
FROM relations r CROSS JOIN LATERAL (
    SELECT pg_catalog.format('trigger %I runs %s at its changes', g.tgname, g.tgfoid::pg_catalog.regproc), pg_catalog.format('DROP TRIGGER %I ON tenantctl.%I;', g.tgname, r.relname)
    FROM pg_catalog.pg_trigger g WHERE g.tgrelid = r.oid AND NOT g.tgisinternal
    UNION ALL
    SELECT pg_catalog.format('rule %I changes what is done to it', u.rulename), pg_catalog.format('DROP RULE %I ON tenantctl.%I;', u.rulename, r.relname)
    FROM pg_catalog.pg_rewrite u WHERE u.ev_class = r.oid
    UNION ALL
    SELECT pg_catalog.format('policy %I hides rows of it', y.polname), pg_catalog.format('DROP POLICY %I ON tenantctl.%I;', y.polname, r.relname)
    FROM pg_catalog.pg_policy y WHERE y.polrelid = r.oid
    UNION ALL
    SELECT 'row security is on, which hides its rows', pg_catalog.format('ALTER TABLE tenantctl.%I DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;', r.relname)
    WHERE r.relrowsecurity
    UNION ALL
    SELECT pg_catalog.format('%s is its child or its parent', o.oid::pg_catalog.regclass), pg_catalog.format('ALTER TABLE %s NO INHERIT %s;', i.inhrelid::pg_catalog.regclass, i.inhparent::pg_catalog.regclass)
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class o ON o.oid = CASE i.inhparent WHEN r.oid THEN i.inhrelid ELSE i.inhparent END
    WHERE r.oid IN (i.inhparent, i.inhrelid)
    UNION ALL
    SELECT pg_catalog.format('%s calls %s', pg_catalog.pg_describe_object(d.classid, d.objid, 0), d.refobjid::pg_catalog.regprocedure), 'tenantctl validate --explain registry_integrity'
    FROM (
        SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass AS classid, a.oid FROM pg_catalog.pg_attrdef a WHERE a.adrelid = r.oid
        UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = r.oid
        UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, x.indexrelid FROM pg_catalog.pg_index x WHERE x.indrelid = r.oid
    ) e (classid, oid)
    JOIN calls d ON d.classid = e.classid AND d.objid = e.oid
) w (what, remedy)
UNION ALL
SELECT 'critical', NULL, NULL, 'table tenantctl.template_modules',
    pg_catalog.format('the text of module %s of %s version %s is not what init stored: its checksum differs', m.module, m.template, m.version), 'tenantctl init'
FROM tenantctl.template_modules m
WHERE m.sha256 <> pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(m.body, 'UTF8')), 'hex')
UNION ALL
SELECT 'critical', t.tenant_id::text, t.schema_name::text, pg_catalog.format('schema %I', t.schema_name),
    'it is not the schema that the tenant''s id and salt make: the registry''s row was changed, and may name another tenant''s data', 'tenantctl show ' || t.tenant_id
FROM tenants t
WHERE t.schema_name <> 'tenant_' || pg_catalog.substr(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(t.tenant_id || ':' || t.salt, 'UTF8')), 'hex'), 1, 12)
UNION ALL
SELECT 'high', t.tenant_id::text, t.schema_name::text, pg_catalog.format('schema %I', t.schema_name),
    'its limits in the registry are not six figures or nulls, so that none of them can be held', 'tenantctl drop ' || t.tenant_id || ' --dry-run'
FROM tenants t
WHERE pg_catalog.jsonb_typeof(t.limits) <> 'object'
OR NOT COALESCE((
    SELECT pg_catalog.count(*) = 6 AND pg_catalog.bool_and(pg_catalog.jsonb_typeof(e.value) IN ('number', 'null'))
    FROM pg_catalog.jsonb_each(CASE pg_catalog.jsonb_typeof(t.limits) WHEN 'object' THEN t.limits ELSE '{}' END) e
    WHERE e.key IN ('max_portfolios', 'max_positions_per_portfolio', 'max_trades_per_day', 'max_api_calls_per_minute', 'max_schema_size_gb', 'max_connections')), false)
ORDER BY 2, 4, 5

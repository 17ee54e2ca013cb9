-- check: drift_expressions
-- title: defaults, CHECKs, views and other expressions that are not the template's
-- explain: The part of drift that plain catalog columns do not show: what a default, a CHECK, an index, a view, a rule, a
-- explain: WHEN or a function's arguments really say. A CHECK that was made weaker, or a view that shows other columns,
-- explain: keeps its name and its shape.
-- explain: An expression that the tenant's provisioning transaction wrote is the template's and is left alone; only what
-- explain: was written later is printed and compared. Printing waits for a lock that a tenant holds on its table; then
-- explain: this check alone is unknown. Where the server's major version is not the one that printed the template's, nothing
-- explain: can be compared, and the check says so.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
),
-- Expressions are printed as they were stored: with the schemas of all names. The setting ends with the transaction.
pinned AS MATERIALIZED (
    SELECT pg_catalog.set_config('search_path', '', true) AS search_path
), texts AS MATERIALIZED (
    SELECT m.template, m.version, v.is_current, pg_catalog.string_agg(m.module || ' ' || m.sha256, ' ' ORDER BY m.ordinal) AS text,
        EXISTS (SELECT FROM tenantctl.template_objects o WHERE o.template = m.template AND o.version = m.version AND o.ordinal > 0) AS known,
        v.server_major IS NOT DISTINCT FROM pg_catalog.current_setting('server_version_num')::integer / 10000 AS same_server
    FROM tenantctl.template_modules m JOIN tenantctl.template_versions v USING (template, version)
    GROUP BY m.template, m.version, v.is_current, v.server_major
), versions AS MATERIALIZED (
    -- A version from before fingerprints is like a later one with the same text; drift tells where there is none.
    SELECT v.template, v.version, w.version AS like_version, w.same_server AND c.same_server AS same_server, c.version AS current_version
    FROM texts v
    CROSS JOIN LATERAL (
        SELECT w.version, w.same_server FROM texts w WHERE w.template = v.template AND w.text = v.text AND w.known
        ORDER BY w.version <> v.version, w.version DESC LIMIT 1
    ) w
    JOIN texts c ON c.template = v.template AND c.is_current
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id, t.schema_name, t.template, v.like_version, v.current_version, t.modules
    FROM tenants t
    JOIN versions v ON v.template = t.template AND v.version = t.template_version AND v.same_server
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), made AS MATERIALIZED (
    -- Believed where the schema itself is of that transaction: the registry alone could name any.
    SELECT t.structure_xid FROM tenantctl.tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::pg_catalog.name
    WHERE n.xmin = t.structure_xid
),
-- The few rows that no provisioning wrote, from whatever schema, before anything is joined to them.
written AS MATERIALIZED (
    SELECT 'pg_attrdef' AS source, d.oid AS source_oid, d.adrelid AS relid, 0::pg_catalog.oid AS typid, d.adnum AS attnum, NULL::name AS name
    FROM pg_catalog.pg_attrdef d WHERE d.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT 'pg_constraint', k.oid, k.conrelid, k.contypid, NULL, k.conname
    FROM pg_catalog.pg_constraint k
    WHERE (k.contype <> 'n' OR NOT k.convalidated) AND k.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT 'pg_index', i.indexrelid, i.indrelid, 0, NULL, NULL
    FROM pg_catalog.pg_index i WHERE i.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT CASE w.rulename WHEN '_RETURN' THEN 'pg_rewrite' ELSE 'pg_ruledef' END, w.oid, w.ev_class, 0, NULL, w.rulename
    FROM pg_catalog.pg_rewrite w WHERE w.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT 'pg_trigger', g.oid, g.tgrelid, 0, NULL, g.tgname
    FROM pg_catalog.pg_trigger g WHERE NOT g.tgisinternal AND g.xmin NOT IN (SELECT m.structure_xid FROM made m)
), placed AS MATERIALIZED (
    -- OFFSET 0 keeps the planner at index look-ups: the rows are few, the catalogs large.
    SELECT c.relnamespace AS namespace, w.source,
        CASE w.source WHEN 'pg_rewrite' THEN w.relid ELSE w.source_oid END AS source_oid,
        CASE w.source WHEN 'pg_attrdef' THEN 'column' WHEN 'pg_constraint' THEN 'constraint' WHEN 'pg_index' THEN 'index'
            WHEN 'pg_rewrite' THEN CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END
            WHEN 'pg_ruledef' THEN 'rule' ELSE 'trigger' END AS kind,
        CASE w.source WHEN 'pg_attrdef' THEN '{schema}.' || pg_catalog.quote_ident(c.relname) || '.' || n.name
            WHEN 'pg_index' THEN '{schema}.' || n.name
            WHEN 'pg_rewrite' THEN '{schema}.' || pg_catalog.quote_ident(c.relname)
            ELSE n.name || ' on {schema}.' || pg_catalog.quote_ident(c.relname) END AS object,
        n.name, '{schema}.' || pg_catalog.quote_ident(c.relname) AS parent
    FROM written w
    CROSS JOIN LATERAL (SELECT c.relnamespace, c.relkind, c.relname FROM pg_catalog.pg_class c WHERE c.oid = w.relid OFFSET 0) c
    CROSS JOIN LATERAL (
        SELECT pg_catalog.quote_ident(CASE w.source
            WHEN 'pg_attrdef' THEN (SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = w.relid AND a.attnum = w.attnum)
            WHEN 'pg_index' THEN (SELECT i.relname FROM pg_catalog.pg_class i WHERE i.oid = w.source_oid)
            ELSE w.name END) AS name
        OFFSET 0
    ) n
    UNION ALL
    SELECT y.typnamespace, w.source, w.source_oid, 'constraint',
        pg_catalog.quote_ident(w.name) || ' on {schema}.' || pg_catalog.quote_ident(y.typname), pg_catalog.quote_ident(w.name),
        '{schema}.' || pg_catalog.quote_ident(y.typname)
    FROM written w
    CROSS JOIN LATERAL (SELECT y.typnamespace, y.typname FROM pg_catalog.pg_type y WHERE y.oid = w.typid OFFSET 0) y
    WHERE w.typid <> 0
    UNION ALL
    SELECT f.pronamespace, 'pg_proc', f.oid, CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
        '{schema}.' || pg_catalog.quote_ident(f.proname) || '(' || pg_catalog.replace(pg_catalog.oidvectortypes(f.proargtypes), s.schema_name || '.', '{schema}.') || ')',
        NULL, NULL
    FROM pg_catalog.pg_proc f JOIN spaces s ON s.namespace = f.pronamespace
    WHERE (f.prosqlbody IS NOT NULL OR f.proargdefaults IS NOT NULL) AND f.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT x.stxnamespace, 'pg_statistic_ext', x.oid, 'statistics object', '{schema}.' || pg_catalog.quote_ident(x.stxname), NULL, NULL
    FROM pg_catalog.pg_statistic_ext x WHERE x.xmin NOT IN (SELECT m.structure_xid FROM made m)
), ours AS MATERIALIZED (
    SELECT p.*, s.tenant_id, s.schema_name, s.template, s.like_version, s.current_version, s.modules
    FROM placed p JOIN spaces s ON s.namespace = p.namespace
), expected AS MATERIALIZED (
    SELECT DISTINCT ON (p.source, p.source_oid) p.*, o.shape, o.expression, o.expression_reread
    FROM ours p
    JOIN tenantctl.template_objects o ON o.template = p.template AND o.kind = p.kind AND o.object = p.object
        AND o.version = CASE o.ordinal WHEN 0 THEN p.current_version ELSE p.like_version END
    LEFT JOIN tenantctl.template_modules m ON m.template = o.template AND m.version = o.version AND m.ordinal = o.ordinal
    WHERE o.ordinal = 0 OR m.module = ANY (p.modules)
    ORDER BY p.source, p.source_oid, o.ordinal DESC
), printed AS MATERIALIZED (
    SELECT e.*, pg_catalog.replace(pg_catalog.replace(CASE e.source
        WHEN 'pg_rewrite' THEN pg_catalog.pg_get_viewdef(e.source_oid)
        WHEN 'pg_attrdef' THEN (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.oid = e.source_oid)
        WHEN 'pg_constraint' THEN pg_catalog.pg_get_constraintdef(e.source_oid)
        WHEN 'pg_index' THEN pg_catalog.pg_get_indexdef(e.source_oid)
        WHEN 'pg_ruledef' THEN pg_catalog.pg_get_ruledef(e.source_oid)
        WHEN 'pg_trigger' THEN pg_catalog.pg_get_triggerdef(e.source_oid)
        WHEN 'pg_proc' THEN pg_catalog.pg_get_functiondef(e.source_oid)
        WHEN 'pg_statistic_ext' THEN pg_catalog.pg_get_statisticsobjdef(e.source_oid)
    END, e.schema_name || '.', '{schema}.'), pg_catalog.quote_literal(e.schema_name), '''{schema}''') AS found
    FROM expected e CROSS JOIN pinned
    WHERE e.shape IS NOT NULL
), named AS (
    SELECT p.tenant_id, p.schema_name, p.kind, p.name,
        CASE WHEN p.shape ~ '^check( not validated)?$' THEN 'DOMAIN' ELSE 'TABLE' END AS what,
        pg_catalog.replace(p.object, '{schema}', p.schema_name) AS object,
        pg_catalog.replace(p.parent, '{schema}', p.schema_name) AS parent,
        pg_catalog.replace(p.found, '{schema}', p.schema_name) AS found,
        pg_catalog.replace(p.expression, '{schema}', p.schema_name) AS wanted
    FROM printed p
    WHERE p.found IS DISTINCT FROM p.expression
    -- As it is once it was dumped and restored: the same in other words.
    AND (p.expression_reread IS NULL OR p.found IS DISTINCT FROM p.expression_reread)
)
SELECT
    CASE WHEN n.kind IN ('index', 'statistics object') THEN 'low' WHEN n.kind IN ('function', 'procedure', 'trigger', 'rule') THEN 'high' ELSE 'medium' END AS severity,
    n.tenant_id::text AS tenant_id,
    n.schema_name::text AS schema_name,
    n.kind || ' ' || n.object AS object,
    CASE WHEN n.wanted IS NULL THEN 'it has an expression where the template has none'
        WHEN pg_catalog.length(n.found) + pg_catalog.length(n.wanted) > 400 OR n.found LIKE E'%\n%' THEN 'its definition is not the template''s'
        ELSE pg_catalog.format('it is %s where the template has %s', n.found, n.wanted) END AS detail,
    CASE n.kind
        WHEN 'column' THEN pg_catalog.format('ALTER TABLE %s ALTER COLUMN %s %s;', n.parent, n.name, COALESCE('SET DEFAULT ' || n.wanted, 'DROP DEFAULT'))
        WHEN 'constraint' THEN pg_catalog.format('ALTER %4$s %1$s DROP CONSTRAINT %2$s; ALTER %4$s %1$s ADD CONSTRAINT %2$s %3$s;', n.parent, n.name, n.wanted, n.what)
        WHEN 'index' THEN pg_catalog.format('DROP INDEX %s; %s;', n.object, n.wanted)
        WHEN 'view' THEN pg_catalog.format('CREATE OR REPLACE VIEW %s WITH (security_invoker = true) AS %s', n.object, n.wanted)
        WHEN 'rule' THEN pg_catalog.format('DROP RULE %s ON %s; %s', n.name, n.parent, n.wanted)
        WHEN 'trigger' THEN pg_catalog.format('DROP TRIGGER %s ON %s; %s;', n.name, n.parent, n.wanted)
        WHEN 'statistics object' THEN pg_catalog.format('DROP STATISTICS %s; %s;', n.object, n.wanted)
        ELSE n.wanted || ';'
    END AS remedy
FROM named n
UNION ALL
SELECT 'low', NULL, NULL, pg_catalog.format('template %s version %s', v.template, v.version),
    pg_catalog.format('another major version of PostgreSQL printed its expressions, so that those of %s tenants cannot be compared', pg_catalog.count(*)),
    'tenantctl validate --explain drift_expressions'
FROM tenants t JOIN versions v ON v.template = t.template AND v.version = t.template_version AND NOT v.same_server
GROUP BY v.template, v.version
ORDER BY 3, 4

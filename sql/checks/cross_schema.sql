-- check: cross_schema
-- title: objects that depend across the border of a tenant's schema
-- explain: What PostgreSQL records as a dependency is a way in. A view or materialized view elsewhere over a tenant's table
-- explain: shows its rows with its owner's rights. A foreign key from another schema tells which keys exist and locks rows. A
-- explain: child table's rows are read through its parent. A default, type, function or operator of another schema is somebody
-- explain: else's code or structure, changed without asking.
-- explain: A walk over pg_depend and pg_inherits. What one provisioning transaction wrote stays inside its schema, unless an object was
-- explain: moved since; so those rows are left out, and the objects that were moved are looked at again. What the
-- explain: template's own schema refers to, and objects of extensions, may be referred to. Triggers, policies, casts, event
-- explain: triggers and publications have checks of their own.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), every_space AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id FROM tenantctl.tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
),
-- Looked for with NOT IN: that is one hash table, whatever the planner estimates.
made AS MATERIALIZED (
    -- Believed where the schema itself is of that transaction: the registry alone could name any.
    SELECT t.structure_xid FROM tenantctl.tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name::pg_catalog.name
    WHERE n.xmin = t.structure_xid
), written AS MATERIALIZED (
    SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid, d.deptype
    FROM pg_catalog.pg_depend d
    WHERE d.objid >= 16384 AND d.xmin NOT IN (SELECT m.structure_xid FROM made m)
), moved AS MATERIALIZED (
    SELECT w.classid, w.objid FROM written w
    WHERE w.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND w.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)
), parts AS MATERIALIZED (
    SELECT m.classid, m.objid FROM moved m
    UNION ALL
    -- OFFSET 0 keeps the planner at index look-ups, whatever it estimates.
    SELECT x.classid, x.objid FROM moved m
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid AS classid, w.oid AS objid FROM pg_catalog.pg_rewrite w WHERE w.ev_class = m.objid
            UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = m.objid
            UNION ALL SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_attrdef a WHERE a.adrelid = m.objid
        ) y OFFSET 0
    ) x
    WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
), edges AS MATERIALIZED (
    SELECT w.classid, w.objid, w.objsubid, w.refclassid, w.refobjid FROM written w
    WHERE w.deptype = 'n' AND w.refclassid <> 'pg_catalog.pg_namespace'::pg_catalog.regclass AND w.refobjid >= 16384
    UNION
    SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid FROM parts p
    CROSS JOIN LATERAL (
        SELECT d.* FROM pg_catalog.pg_depend d
        WHERE d.classid = p.classid AND d.objid = p.objid AND d.deptype = 'n' AND d.refclassid <> 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid >= 16384
        OFFSET 0
    ) d
    UNION
    SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid FROM moved m
    CROSS JOIN LATERAL (
        SELECT d.* FROM pg_catalog.pg_depend d
        WHERE d.refclassid = m.classid AND d.refobjid = m.objid AND d.deptype = 'n'
        OFFSET 0
    ) d
    UNION
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.inhrelid, 0, 'pg_catalog.pg_class'::pg_catalog.regclass, i.inhparent FROM pg_catalog.pg_inherits i
), placed AS MATERIALIZED (
    SELECT e.*,
        CASE e.classid
            WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = e.objid)
            WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class WHERE w.oid = e.objid)
            WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (SELECT k.connamespace FROM pg_catalog.pg_constraint k WHERE k.oid = e.objid)
            WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_class c ON c.oid = a.adrelid WHERE a.oid = e.objid)
            WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid WHERE g.oid = e.objid)
            WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_policy y JOIN pg_catalog.pg_class c ON c.oid = y.polrelid WHERE y.oid = e.objid)
            WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (SELECT f.pronamespace FROM pg_catalog.pg_proc f WHERE f.oid = e.objid)
            WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN (SELECT t.typnamespace FROM pg_catalog.pg_type t WHERE t.oid = e.objid)
            WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN (SELECT o.oprnamespace FROM pg_catalog.pg_operator o WHERE o.oid = e.objid)
            WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass THEN (SELECT o.opcnamespace FROM pg_catalog.pg_opclass o WHERE o.oid = e.objid)
            WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN (SELECT x.stxnamespace FROM pg_catalog.pg_statistic_ext x WHERE x.oid = e.objid)
            WHEN 'pg_catalog.pg_ts_config'::pg_catalog.regclass THEN (SELECT x.cfgnamespace FROM pg_catalog.pg_ts_config x WHERE x.oid = e.objid)
            WHEN 'pg_catalog.pg_conversion'::pg_catalog.regclass THEN (SELECT x.connamespace FROM pg_catalog.pg_conversion x WHERE x.oid = e.objid)
        END AS place,
        CASE e.refclassid
            WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = e.refobjid)
            WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (SELECT k.connamespace FROM pg_catalog.pg_constraint k WHERE k.oid = e.refobjid)
            WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (SELECT f.pronamespace FROM pg_catalog.pg_proc f WHERE f.oid = e.refobjid)
            WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN (SELECT t.typnamespace FROM pg_catalog.pg_type t WHERE t.oid = e.refobjid)
            WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN (SELECT o.oprnamespace FROM pg_catalog.pg_operator o WHERE o.oid = e.refobjid)
            WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass THEN (SELECT o.opcnamespace FROM pg_catalog.pg_opclass o WHERE o.oid = e.refobjid)
            WHEN 'pg_catalog.pg_collation'::pg_catalog.regclass THEN (SELECT x.collnamespace FROM pg_catalog.pg_collation x WHERE x.oid = e.refobjid)
            WHEN 'pg_catalog.pg_ts_config'::pg_catalog.regclass THEN (SELECT x.cfgnamespace FROM pg_catalog.pg_ts_config x WHERE x.oid = e.refobjid)
            WHEN 'pg_catalog.pg_ts_dict'::pg_catalog.regclass THEN (SELECT x.dictnamespace FROM pg_catalog.pg_ts_dict x WHERE x.oid = e.refobjid)
        END AS ref_place
    FROM edges e
), templates AS MATERIALIZED (
    SELECT n.oid AS namespace FROM tenantctl.template_versions v JOIN pg_catalog.pg_namespace n ON n.nspname = 'template_' || v.template WHERE v.is_current
), allowed AS MATERIALIZED (
    SELECT DISTINCT p.refclassid, p.refobjid FROM placed p JOIN templates t ON t.namespace = p.place WHERE p.ref_place <> p.place
), crossing AS MATERIALIZED (
    SELECT p.*, d.tenant_id AS tenant, r.tenant_id AS ref_tenant, n.nspname, p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.objsubid = 0 AS inherits
    FROM placed p
    LEFT JOIN every_space d ON d.namespace = p.place
    LEFT JOIN every_space r ON r.namespace = p.ref_place
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.place
    WHERE p.place <> p.ref_place AND (d.namespace IS NOT NULL OR r.namespace IS NOT NULL)
    AND n.nspname <> 'pg_toast' AND (n.nspname <> '_timescaledb_internal' OR p.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass)
    AND NOT (r.namespace IS NULL AND (
        EXISTS (SELECT FROM allowed a WHERE a.refclassid = p.refclassid AND a.refobjid = p.refobjid)
        OR EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = p.refclassid AND x.objid = p.refobjid AND x.deptype = 'e')))
    -- The function of a trigger on a tenant's table is looked at by foreign_triggers and standard_triggers.
    AND NOT (p.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.namespace IS NOT NULL)
), described AS (
    SELECT c.*, s.tenant_id AS victim, s.schema_name,
        CASE c.classid
            WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN (
                SELECT CASE WHEN w.rulename <> '_RETURN' THEN pg_catalog.format('rule %I on %I.%I', w.rulename, c.nspname, v.relname)
                    ELSE pg_catalog.format('%s %I.%I', CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.nspname, v.relname) END
                FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class v ON v.oid = w.ev_class WHERE w.oid = c.objid)
            WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (SELECT pg_catalog.format('constraint %I on %I.%I', k.conname, c.nspname, COALESCE(t.relname, y.typname))
                FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class t ON t.oid = k.conrelid LEFT JOIN pg_catalog.pg_type y ON y.oid = k.contypid WHERE k.oid = c.objid)
            WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN (SELECT pg_catalog.format('column %I.%I.%I', c.nspname, t.relname, a.attname)
                FROM pg_catalog.pg_attrdef x JOIN pg_catalog.pg_class t ON t.oid = x.adrelid JOIN pg_catalog.pg_attribute a ON a.attrelid = x.adrelid AND a.attnum = x.adnum WHERE x.oid = c.objid)
            WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN (SELECT CASE WHEN c.objsubid > 0 THEN pg_catalog.format('column %I.%I.%I', c.nspname, t.relname, a.attname)
                    ELSE pg_catalog.format('%s %I.%I', CASE t.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'c' THEN 'type' ELSE 'table' END, c.nspname, t.relname) END
                FROM pg_catalog.pg_class t LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.objsubid AND c.objsubid > 0 WHERE t.oid = c.objid)
            WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN (SELECT pg_catalog.format('trigger %I on %I.%I', g.tgname, c.nspname, t.relname) FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class t ON t.oid = g.tgrelid WHERE g.oid = c.objid)
            WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN (SELECT pg_catalog.format('policy %I on %I.%I', y.polname, c.nspname, t.relname) FROM pg_catalog.pg_policy y JOIN pg_catalog.pg_class t ON t.oid = y.polrelid WHERE y.oid = c.objid)
            WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (SELECT pg_catalog.format('%s %I.%I(%s)', CASE f.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, c.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes))
                FROM pg_catalog.pg_proc f WHERE f.oid = c.objid)
            WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN (SELECT pg_catalog.format('%s %I.%I', CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, c.nspname, t.typname) FROM pg_catalog.pg_type t WHERE t.oid = c.objid)
            ELSE pg_catalog.pg_describe_object(c.classid, c.objid, 0)
        END AS object,
        CASE WHEN c.tenant IS NOT NULL THEN 'tenant ' || c.tenant ELSE 'schema ' || pg_catalog.quote_ident(c.nspname) END AS holder,
        pg_catalog.pg_describe_object(c.refclassid, c.refobjid, 0) AS reference,
        CASE c.classid
            WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN (
                SELECT CASE WHEN v.relkind = 'm' OR w.rulename <> '_RETURN' OR NOT COALESCE(pg_catalog.array_to_string(v.reloptions, ',') ~ 'security_invoker=(true|on|yes|1)', false) THEN 'critical' ELSE 'medium' END
                FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class v ON v.oid = w.ev_class WHERE w.oid = c.objid)
            WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (SELECT CASE WHEN f.prosecdef THEN 'critical' ELSE 'high' END FROM pg_catalog.pg_proc f WHERE f.oid = c.objid)
            WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN CASE WHEN c.inherits THEN 'critical' ELSE 'medium' END
            WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN 'critical'
            ELSE 'high'
        END AS severity
    FROM crossing c
    -- The tenant whose data or objects are reached; a child's rows are read through its parent. Else the one that depends on others.
    JOIN spaces s ON s.tenant_id = CASE WHEN c.inherits THEN COALESCE(c.tenant, c.ref_tenant) ELSE COALESCE(c.ref_tenant, c.tenant) END
)
SELECT DISTINCT ON (d.victim, d.object)
    CASE WHEN d.ref_tenant IS NULL AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND EXISTS (
            SELECT FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_roles o ON o.oid = f.proowner
            WHERE f.oid = d.refobjid AND NOT o.rolsuper AND o.rolname <> 'tenantctl_owner') THEN 'critical'
        WHEN d.ref_tenant IS NULL AND NOT d.inherits THEN 'medium' ELSE d.severity END AS severity,
    d.victim AS tenant_id, d.schema_name, d.object,
    CASE WHEN d.inherits THEN pg_catalog.format('its rows are also those of %s, which is in another schema', d.reference)
        WHEN d.ref_tenant IS NULL THEN pg_catalog.format('it depends on %s, outside of the tenant''s schema', d.reference)
        ELSE pg_catalog.format('it belongs to %s and depends on %s', d.holder, d.reference) END AS detail,
    CASE d.classid
        WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN CASE WHEN d.object LIKE 'rule %' THEN 'DROP RULE ' || pg_catalog.regexp_replace(pg_catalog.substr(d.object, 6), ' on ', ' ON ') ELSE 'DROP ' || CASE WHEN d.object LIKE 'view %' THEN 'VIEW ' || pg_catalog.substr(d.object, 6) ELSE 'MATERIALIZED VIEW ' || pg_catalog.substr(d.object, 19) END END || ';'
        WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (SELECT pg_catalog.format('ALTER TABLE %I.%I DROP CONSTRAINT %I;', d.nspname, t.relname, k.conname)
            FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = k.conrelid WHERE k.oid = d.objid)
        WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN (SELECT pg_catalog.format('ALTER TABLE %I.%I ALTER COLUMN %I DROP DEFAULT;', d.nspname, t.relname, a.attname)
            FROM pg_catalog.pg_attrdef x JOIN pg_catalog.pg_class t ON t.oid = x.adrelid JOIN pg_catalog.pg_attribute a ON a.attrelid = x.adrelid AND a.attnum = x.adnum WHERE x.oid = d.objid)
        WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN 'DROP TRIGGER ' || pg_catalog.regexp_replace(pg_catalog.substr(d.object, 9), ' on ', ' ON ') || ';'
        WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN 'DROP POLICY ' || pg_catalog.regexp_replace(pg_catalog.substr(d.object, 8), ' on ', ' ON ') || ';'
        WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'DROP ROUTINE ' || pg_catalog.regexp_replace(d.object, '^\w+ ', '') || ';'
        WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN CASE WHEN d.inherits THEN (
                SELECT CASE WHEN t.relispartition THEN pg_catalog.format('ALTER TABLE %1$s DETACH PARTITION %2$I.%3$I;', r.name, d.nspname, t.relname)
                    ELSE pg_catalog.format('ALTER TABLE %2$I.%3$I NO INHERIT %1$s;', r.name, d.nspname, t.relname) END
                FROM pg_catalog.pg_class t,
                    (SELECT pg_catalog.format('%I.%I', n.nspname, p.relname) AS name FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace WHERE p.oid = d.refobjid) r
                WHERE t.oid = d.objid)
            WHEN d.objsubid > 0 THEN (SELECT pg_catalog.format('ALTER TABLE %I.%I DROP COLUMN %I;', d.nspname, t.relname, a.attname)
                FROM pg_catalog.pg_class t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.objsubid WHERE t.oid = d.objid)
            ELSE 'tenantctl validate --explain cross_schema' END
        ELSE 'DROP ' || pg_catalog.upper(pg_catalog.split_part(d.object, ' ', 1)) || pg_catalog.substr(d.object, pg_catalog.length(pg_catalog.split_part(d.object, ' ', 1)) + 1) || ';'
    END AS remedy
FROM described d
ORDER BY d.victim, d.object, d.reference

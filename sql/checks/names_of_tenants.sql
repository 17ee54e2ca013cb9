-- check: names_of_tenants
-- title: code and expressions elsewhere that name a tenant's schema as text
-- explain: Dynamic SQL leaves no dependency: a function body, or a view over query_to_xml, that names another tenant's schema in
-- explain: its text reads it with whatever rights it runs with. Searched are bodies of functions, and the text constants in views,
-- explain: defaults, CHECKs, policies and rules, as far as no provisioning transaction wrote them. A name put together at run time is not found.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
),
-- Looked for with NOT IN: that is one hash table, whatever the planner estimates.
made AS MATERIALIZED (
    SELECT t.structure_xid FROM tenantctl.tenants t WHERE t.structure_xid IS NOT NULL
), texts AS MATERIALIZED (
    SELECT f.oid, 'pg_proc' AS source, f.pronamespace AS place, f.prosecdef AS definer, f.prosrc AS body, f.prosqlbody::text AS nodes
    FROM pg_catalog.pg_proc f WHERE f.oid >= 16384 AND f.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT w.oid, 'pg_rewrite', c.relnamespace, c.relkind = 'm' OR c.reloptions IS NULL OR NOT pg_catalog.array_to_string(c.reloptions, ',') ~ 'security_invoker=(true|on|yes|1)',
        NULL, pg_catalog.concat(w.ev_action::text, w.ev_qual::text)
    FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
    WHERE w.ev_class >= 16384 AND w.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT d.oid, 'pg_attrdef', c.relnamespace, false, NULL, d.adbin::text
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid WHERE d.adrelid >= 16384 AND d.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT k.oid, 'pg_constraint', k.connamespace, false, NULL, k.conbin::text
    FROM pg_catalog.pg_constraint k WHERE k.conbin IS NOT NULL AND k.oid >= 16384 AND k.xmin NOT IN (SELECT m.structure_xid FROM made m)
    UNION ALL
    SELECT p.oid, 'pg_policy', c.relnamespace, true, NULL, pg_catalog.concat(p.polqual::text, p.polwithcheck::text)
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid WHERE p.xmin NOT IN (SELECT m.structure_xid FROM made m)
), mentions AS MATERIALIZED (
    SELECT DISTINCT t.oid, t.source, t.place, t.definer, x.found[1] AS name
    FROM texts t CROSS JOIN LATERAL pg_catalog.regexp_matches(t.body, 'tenant_[0-9a-f]{12}', 'g') x (found)
    WHERE t.body LIKE '%tenant\_%'
    UNION
    -- A constant is stored as the decimal codes of its bytes: these are "tenant_" and twelve hex digits.
    SELECT t.oid, t.source, t.place, t.definer,
        'tenant_' || (SELECT pg_catalog.string_agg(pg_catalog.chr(c.code::integer), '' ORDER BY c.place) FROM pg_catalog.string_to_table(x.found[1], ' ') WITH ORDINALITY c (code, place) WHERE c.code <> '')
    FROM texts t CROSS JOIN LATERAL pg_catalog.regexp_matches(t.nodes, '116 101 110 97 110 116 95((?: (?:4[89]|5[0-7]|9[7-9]|10[0-2])){12})', 'g') x (found)
    WHERE t.nodes LIKE '%116 101 110 97 110 116 95 %'
)
SELECT CASE WHEN m.definer THEN 'high' WHEN h.nspname ~ '^tenant_[0-9a-f]{12}$' THEN 'high' ELSE 'medium' END AS severity,
    s.tenant_id, s.schema_name,
    CASE m.source
        WHEN 'pg_proc' THEN (SELECT pg_catalog.format('%s %I.%I(%s)', CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, h.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes))
            FROM pg_catalog.pg_proc f WHERE f.oid = m.oid)
        WHEN 'pg_rewrite' THEN (SELECT CASE WHEN w.rulename <> '_RETURN' THEN pg_catalog.format('rule %I on %I.%I', w.rulename, h.nspname, c.relname)
                ELSE pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, h.nspname, c.relname) END
            FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class WHERE w.oid = m.oid)
        WHEN 'pg_attrdef' THEN (SELECT pg_catalog.format('column %I.%I.%I', h.nspname, c.relname, a.attname)
            FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.oid = m.oid)
        WHEN 'pg_constraint' THEN (SELECT pg_catalog.format('constraint %I on %I.%I', k.conname, h.nspname, COALESCE(c.relname, y.typname))
            FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid LEFT JOIN pg_catalog.pg_type y ON y.oid = k.contypid WHERE k.oid = m.oid)
        ELSE (SELECT pg_catalog.format('policy %I on %I.%I', p.polname, h.nspname, c.relname) FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid WHERE p.oid = m.oid)
    END AS object,
    pg_catalog.format('its text names schema %s, and it lies in schema %s%s', s.schema_name, h.nspname, CASE WHEN m.definer THEN ' with rights that are not its caller''s' ELSE '' END) AS detail,
    'tenantctl validate --explain names_of_tenants' AS remedy
FROM mentions m
JOIN spaces s ON s.schema_name = m.name
JOIN pg_catalog.pg_namespace h ON h.oid = m.place
WHERE m.place <> s.namespace
-- What a restore of the tenant has replaced was in that schema.
AND NOT EXISTS (SELECT FROM tenantctl.restores r WHERE r.tenant_id = s.tenant_id AND h.nspname IN (r.replaced_schema, r.staging_schema))
ORDER BY 3, 4

-- check: standard_triggers
-- title: audit and limit triggers that are missing, disabled, changed, or there without need
-- explain: Each audited table (tenants.audit in the registry) has four statement triggers that write to the tenant's audit_log, and
-- explain: each limited one has those that count what the tier allows. Without one, or with one that is disabled, fires only on
-- explain: replicas, has a WHEN or calls another function, changes go unseen and the limit does not hold, and nobody is told.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.audit, t.limits
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
), tables AS MATERIALIZED (
    SELECT c.oid, c.relname, s.*, s.audit ->> c.relname AS mode,
        CASE c.relname
            WHEN 'portfolios' THEN CASE WHEN s.limits ->> 'max_portfolios' IS NOT NULL THEN 'portfolios' END
            WHEN 'positions' THEN CASE WHEN s.limits ->> 'max_positions_per_portfolio' IS NOT NULL THEN 'positions_per_portfolio' END
            WHEN 'trades' THEN CASE WHEN s.limits ->> 'max_trades_per_day' IS NOT NULL THEN 'trades_per_day' END
        END AS resource
    FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
), due AS MATERIALIZED (
    SELECT t.*,
        CASE t.mode WHEN 'full' THEN '\x66756c6c00'::bytea
            -- Each argument ends in a zero byte; the key's columns follow the mode, in their order.
            WHEN 'keys' THEN pg_catalog.decode('6b65797300' || COALESCE((
                SELECT pg_catalog.string_agg(pg_catalog.encode(pg_catalog.convert_to(a.attname, pg_catalog.getdatabaseencoding()), 'hex') || '00', '' ORDER BY x.place)
                FROM pg_catalog.pg_constraint k
                CROSS JOIN LATERAL pg_catalog.unnest(k.conkey) WITH ORDINALITY x (attnum, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum
                WHERE k.conrelid = t.oid AND k.contype = 'p'), ''), 'hex') END AS audit_arguments,
        CASE t.resource WHEN 'portfolios' THEN '\x706f7274666f6c696f7300'::bytea
            WHEN 'positions_per_portfolio' THEN '\x706f736974696f6e735f7065725f706f7274666f6c696f00'::bytea
            WHEN 'trades_per_day' THEN '\x7472616465735f7065725f64617900'::bytea END AS limit_arguments,
        -- A limit that counts by a column is not enforced where the template lacks it.
        t.resource IS NOT NULL AND (t.resource = 'portfolios' OR EXISTS (
            SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND NOT a.attisdropped
            AND a.attname = CASE t.resource WHEN 'positions_per_portfolio' THEN 'portfolio_id' ELSE 'executed_at' END)) AS limited
    FROM tables t
), found AS MATERIALIZED (
    SELECT g.tgrelid, g.tgname, g.tgargs,
        g.tgname LIKE 'tenantctl\_audit\_%' AS audits,
        CASE g.tgname WHEN 'tenantctl_audit_insert' THEN 1 WHEN 'tenantctl_audit_update' THEN 2 WHEN 'tenantctl_audit_delete' THEN 4 WHEN 'tenantctl_audit_truncate' THEN 8
            WHEN 'tenantctl_limit_insert' THEN 1 WHEN 'tenantctl_limit_update' THEN 2 WHEN 'tenantctl_limit_delete' THEN 4 WHEN 'tenantctl_limit_truncate' THEN 8 END AS event,
        g.tgtype, g.tgenabled, g.tgqual IS NULL AND g.tgattr = '' AND NOT g.tgdeferrable AS unconditional,
        g.tgoldtable IS NOT DISTINCT FROM CASE WHEN g.tgtype & 24 <> 0 THEN 'old_rows' END
            AND g.tgnewtable IS NOT DISTINCT FROM CASE WHEN g.tgtype & 20 <> 0 THEN 'new_rows' END AS sees_rows,
        g.tgfoid
    FROM pg_catalog.pg_trigger g
    WHERE NOT g.tgisinternal AND g.tgname LIKE 'tenantctl\_%'
), own AS MATERIALIZED (
    SELECT p.oid, p.pronamespace, p.proname LIKE 'audit%' AS audits FROM pg_catalog.pg_proc p JOIN spaces s ON s.namespace = p.pronamespace
    WHERE p.proname IN ('audit_changes' || pg_catalog.substr(s.schema_name, 7), 'enforce_limits' || pg_catalog.substr(s.schema_name, 7)) AND p.pronargs = 0
), judged AS MATERIALIZED (
    SELECT f.*, d.namespace,
        f.tgtype = CASE f.event WHEN 1 THEN 4 WHEN 2 THEN 16 WHEN 4 THEN 8 WHEN 8 THEN 32 END
            AND f.tgenabled = 'O' AND f.unconditional AND f.sees_rows
            -- IN with a subquery is one hash table, whatever the planner estimates.
            AND (f.tgfoid, d.namespace, f.audits) IN (SELECT o.oid, o.pronamespace, o.audits FROM own o)
            AND CASE WHEN f.audits THEN f.tgargs = d.audit_arguments
                ELSE f.tgargs = d.limit_arguments AND d.limited AND NOT (f.event = 2 AND d.resource = 'portfolios') END AS good
    FROM found f JOIN due d ON d.oid = f.tgrelid
), sums AS MATERIALIZED (
    SELECT j.tgrelid, pg_catalog.sum(j.event) FILTER (WHERE j.good AND j.audits) AS audit, pg_catalog.sum(j.event) FILTER (WHERE j.good AND NOT j.audits) AS limits,
        pg_catalog.bool_and(COALESCE(j.good, false)) AS all_good
    FROM judged j GROUP BY j.tgrelid
), wrong AS MATERIALIZED (
    SELECT d.* FROM due d LEFT JOIN sums s ON s.tgrelid = d.oid
    WHERE COALESCE(s.audit, 0) <> CASE WHEN d.mode IN ('full', 'keys') THEN 15 ELSE 0 END
    OR COALESCE(s.limits, 0) <> CASE WHEN NOT d.limited THEN 0 WHEN d.resource = 'portfolios' THEN 13 ELSE 15 END
    OR NOT COALESCE(s.all_good, true)
), wanted AS (
    SELECT w.oid, w.tenant_id, w.schema_name, w.relname, 'audit_' || e.name AS suffix, e.event, true AS audits
    FROM wrong w CROSS JOIN (VALUES ('insert', 1), ('update', 2), ('delete', 4), ('truncate', 8)) e (name, event)
    WHERE w.mode IN ('full', 'keys')
    UNION ALL
    SELECT w.oid, w.tenant_id, w.schema_name, w.relname, 'limit_' || e.name, e.event, false
    FROM wrong w CROSS JOIN (VALUES ('insert', 1), ('update', 2), ('delete', 4), ('truncate', 8)) e (name, event)
    WHERE w.limited AND NOT (w.resource = 'portfolios' AND e.event = 2)
)
SELECT 'high' AS severity, w.tenant_id, w.schema_name,
    pg_catalog.format('trigger tenantctl_%s on %I.%I', w.suffix, w.schema_name, w.relname) AS object,
    CASE WHEN j.tgrelid IS NULL THEN 'it is missing'
        WHEN j.tgenabled = 'D' THEN 'it is disabled'
        WHEN j.tgenabled = 'R' THEN 'it fires on replicas only'
        WHEN j.tgenabled = 'A' THEN 'it also fires when a replica applies changes'
        WHEN f.pronamespace <> j.namespace OR f.proname <> CASE WHEN w.audits THEN 'audit_changes' ELSE 'enforce_limits' END || pg_catalog.substr(w.schema_name, 7) THEN
            pg_catalog.format('it calls %s.%I', f.pronamespace::pg_catalog.regnamespace, f.proname)
        WHEN NOT j.unconditional THEN 'it fires only under a condition'
        WHEN j.tgargs IS DISTINCT FROM CASE WHEN w.audits THEN d.audit_arguments ELSE d.limit_arguments END THEN
            pg_catalog.format('it is called with %s where the registry says %s', pg_catalog.quote_literal(pg_catalog.replace(pg_catalog.encode(j.tgargs, 'escape'), '\000', ' ')),
                pg_catalog.quote_literal(pg_catalog.replace(pg_catalog.encode(CASE WHEN w.audits THEN d.audit_arguments ELSE d.limit_arguments END, 'escape'), '\000', ' ')))
        ELSE 'it does not fire on the event, the level or with the rows that its name says' END
    || CASE WHEN w.audits THEN ', so that changes go without a record' ELSE ', so that the tier''s limit does not hold' END AS detail,
    'tenantctl secure ' || w.tenant_id AS remedy
FROM wanted w
JOIN due d ON d.oid = w.oid
LEFT JOIN judged j ON j.tgrelid = w.oid AND j.tgname = 'tenantctl_' || w.suffix
LEFT JOIN pg_catalog.pg_proc f ON f.oid = j.tgfoid
WHERE NOT COALESCE(j.good, false)
UNION ALL
SELECT 'low', d.tenant_id, d.schema_name, pg_catalog.format('trigger %I on %I.%I', j.tgname, d.schema_name, d.relname),
    CASE WHEN j.audits THEN 'the registry does not list the table as audited' ELSE 'the tenant has no such limit, so that it costs time and holds nothing' END,
    'tenantctl secure ' || d.tenant_id
FROM judged j JOIN wrong d ON d.oid = j.tgrelid
WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.oid = j.tgrelid AND 'tenantctl_' || w.suffix = j.tgname)
ORDER BY 3, 4

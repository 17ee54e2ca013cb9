-- check: drift
-- title: objects of a tenant that are not as its template made them
-- explain: A tenant is made by replaying the modules of its template; `init` stored what each object of a module looks
-- explain: like in the catalog. Whatever is missing, added or changed since came from somebody's hands: a column of another
-- explain: type loses digits, a dropped constraint lets in what others rely on, an added function or trigger is code
-- explain: that nobody reviewed. Restores and migrations stop where tenants are not what they are taken for.
-- explain: The check reads plain catalog columns only, so no lock of a tenant can stop it; expressions, bodies of views
-- explain: and defaults are compared by drift_expressions, rights, policies and tenantctl's own triggers and functions by
-- explain: other checks. Comments, storage options of columns, tablespaces and statistics targets are not compared.
-- explain: Mend an object with the remedy, or by replaying its statement from the template's module in the tenant's
-- explain: schema; the modules are in tenantctl.template_modules, and the schema template_<name> shows what it should be.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
),
-- Names are compared as they were stored: with their schema. The setting ends with the transaction.
pinned AS MATERIALIZED (
    SELECT pg_catalog.set_config('search_path', '', true) AS search_path
), texts AS MATERIALIZED (
    SELECT m.template, m.version, pg_catalog.string_agg(m.module || ' ' || m.sha256, ' ' ORDER BY m.ordinal) AS text,
        EXISTS (SELECT FROM tenantctl.template_objects o WHERE o.template = m.template AND o.version = m.version AND o.ordinal > 0) AS known
    FROM tenantctl.template_modules m GROUP BY m.template, m.version
), versions AS MATERIALIZED (
    -- A version from before fingerprints is like a later one with the same text.
    SELECT v.template, v.version, (
        SELECT w.version FROM texts w WHERE w.template = v.template AND w.text = v.text AND w.known
        ORDER BY w.version <> v.version, w.version DESC LIMIT 1) AS like_version
    FROM texts v
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id, t.schema_name, t.template, v.like_version, t.modules
    FROM tenants t
    JOIN versions v ON v.template = t.template AND v.version = t.template_version AND v.like_version IS NOT NULL
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
),
-- One number for all that the shapes below are made of, from the raw columns: tenants with the same number look the
-- same, so that one of them is written out and compared, not all. OIDs of a tenant's own objects are left out or
-- replaced by names; where something else differs without changing a shape, there is a number more, and no harm.
own AS MATERIALIZED (
    SELECT c.oid, c.relnamespace AS namespace, c.relname, c.relkind, pg_catalog.hashnameextended(c.relname, 0) AS seed,
        pg_catalog.hash_record_extended(ROW(c.relname, c.relkind, c.relpersistence, c.relreplident, c.relam, c.reloptions), 1) AS hash
    FROM pg_catalog.pg_class c WHERE c.relnamespace IN (SELECT s.namespace FROM spaces s)
), tables AS MATERIALIZED (
    SELECT o.oid, o.namespace, o.seed FROM own o WHERE o.relkind NOT IN ('i', 'I', 'S')
), domain_constraints AS MATERIALIZED (
    SELECT k.conname, k.contype, k.convalidated, k.contypid FROM pg_catalog.pg_constraint k WHERE k.contypid <> 0
), marks AS (
    SELECT o.namespace, o.hash FROM own o
    UNION ALL
    SELECT t.namespace, pg_catalog.hash_record_extended(ROW(a.attname, a.attnum,
            CASE WHEN a.atttypid < 16384 THEN a.atttypid END,
            CASE WHEN a.atttypid >= 16384 THEN (SELECT y.typname FROM pg_catalog.pg_type y WHERE y.oid = a.atttypid) END,
            a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated,
            CASE WHEN a.attcollation < 16384 THEN a.attcollation END,
            CASE WHEN a.attcollation >= 16384 THEN (SELECT l.collname FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation) END), t.seed)
    FROM pg_catalog.pg_attribute a JOIN tables t ON t.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT t.namespace, pg_catalog.hash_record_extended(ROW(k.conname, k.contype, k.condeferrable, k.condeferred, k.convalidated,
            k.connoinherit, k.conkey, k.confkey, k.confupdtype, k.confdeltype, k.confmatchtype, k.confdelsetcols, f.relname, f.namespace = t.namespace), t.seed)
    FROM pg_catalog.pg_constraint k JOIN tables t ON t.oid = k.conrelid
    LEFT JOIN own f ON f.oid = k.confrelid
    WHERE k.contype <> 'n' OR NOT k.convalidated
    UNION ALL
    SELECT t.namespace, pg_catalog.hash_record_extended(ROW(i.indisunique, i.indisreplident, i.indimmediate, i.indnullsnotdistinct, i.indisvalid,
            i.indisready, i.indislive, i.indpred IS NULL, i.indnkeyatts, i.indkey::smallint[], i.indclass::pg_catalog.oid[],
            i.indcollation::pg_catalog.oid[], i.indoption::smallint[]), t.seed # x.seed)
    FROM pg_catalog.pg_index i JOIN tables t ON t.oid = i.indrelid JOIN own x ON x.oid = i.indexrelid
    UNION ALL
    SELECT o.namespace, pg_catalog.hash_record_extended(ROW(i.inhseqno, p.relname, p.relnamespace = o.namespace), o.seed)
    FROM pg_catalog.pg_inherits i JOIN own o ON o.oid = i.inhrelid JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    UNION ALL
    SELECT t.namespace, pg_catalog.hash_record_extended(ROW(w.rulename, w.ev_type, w.ev_enabled, w.is_instead), t.seed)
    FROM pg_catalog.pg_rewrite w JOIN tables t ON t.oid = w.ev_class
    UNION ALL
    SELECT t.namespace, pg_catalog.hash_record_extended(ROW(g.tgname, g.tgtype, g.tgenabled, g.tgdeferrable, g.tginitdeferred, g.tgargs,
            g.tgattr::smallint[], g.tgoldtable, g.tgnewtable, g.tgqual IS NULL, f.proname, f.pronamespace = t.namespace,
            CASE WHEN f.pronamespace <> t.namespace THEN f.pronamespace END), t.seed)
    FROM pg_catalog.pg_trigger g JOIN tables t ON t.oid = g.tgrelid JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
    WHERE NOT g.tgisinternal
    AND g.tgname NOT IN ('tenantctl_audit_insert', 'tenantctl_audit_update', 'tenantctl_audit_delete', 'tenantctl_audit_truncate',
        'tenantctl_limit_insert', 'tenantctl_limit_update', 'tenantctl_limit_delete', 'tenantctl_limit_truncate', 'ts_insert_blocker')
    UNION ALL
    SELECT t.namespace, pg_catalog.hash_record_extended(ROW(q.seqtypid, q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache, q.seqcycle), t.seed)
    FROM pg_catalog.pg_sequence q JOIN own t ON t.oid = q.seqrelid
    UNION ALL
    -- Types print their schema's name, and settings hold it.
    SELECT s.namespace, pg_catalog.hash_record_extended(ROW(f.proname, f.prokind, f.prosrc, f.probin,
            pg_catalog.replace(pg_catalog.oidvectortypes(f.proargtypes), s.schema_name, ''),
            pg_catalog.replace(pg_catalog.format_type(f.prorettype, NULL), s.schema_name, ''),
            (SELECT pg_catalog.replace(pg_catalog.string_agg(pg_catalog.format_type(x.type, NULL), ',' ORDER BY x.place), s.schema_name, '')
                FROM pg_catalog.unnest(f.proallargtypes) WITH ORDINALITY x (type, place)),
            f.proargnames, f.proargmodes::text, f.pronargdefaults, f.prolang, f.provolatile, f.proparallel, f.proretset, f.proisstrict,
            f.proleakproof, f.prosecdef, pg_catalog.replace(f.proconfig::text, s.schema_name, '')), 2)
    FROM pg_catalog.pg_proc f JOIN spaces s ON s.namespace = f.pronamespace
    WHERE f.pronargs > 0 OR f.proname NOT IN ('audit_changes' || pg_catalog.substr(s.schema_name, 7), 'enforce_limits' || pg_catalog.substr(s.schema_name, 7))
    UNION ALL
    SELECT s.namespace, pg_catalog.hash_record_extended(ROW(y.typname, y.typtype, y.typnotnull, y.typtypmod, y.typcollation, y.typdefault,
            pg_catalog.replace(pg_catalog.format_type(NULLIF(y.typbasetype, 0), NULL), s.schema_name, ''),
            (SELECT pg_catalog.array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = y.oid),
            (SELECT pg_catalog.replace(pg_catalog.format_type(r.rngsubtype, NULL), s.schema_name, '') FROM pg_catalog.pg_range r WHERE r.rngtypid = y.oid)), 3)
    FROM pg_catalog.pg_type y JOIN spaces s ON s.namespace = y.typnamespace
    -- Row types and arrays come with their tables.
    WHERE y.typrelid = 0 AND y.typelem = 0
    UNION ALL
    SELECT s.namespace, pg_catalog.hash_record_extended(ROW(k.conname, k.contype, k.convalidated, y.typname), 4)
    FROM domain_constraints k
    CROSS JOIN LATERAL (SELECT y.typname, y.typnamespace FROM pg_catalog.pg_type y WHERE y.oid = k.contypid OFFSET 0) y
    JOIN spaces s ON s.namespace = y.typnamespace
    UNION ALL
    SELECT s.namespace, pg_catalog.hash_record_extended(ROW(m.kind, m.name), 5)
    FROM (
        SELECT oprnamespace AS namespace, 'operator' AS kind, oprname || ' ' || pg_catalog.format_type(NULLIF(oprleft, 0), NULL) || ' ' || pg_catalog.format_type(NULLIF(oprright, 0), NULL) AS name
        FROM pg_catalog.pg_operator WHERE oid >= 16384
        UNION ALL SELECT opcnamespace, 'opclass', opcname::text FROM pg_catalog.pg_opclass WHERE oid >= 16384
        UNION ALL SELECT opfnamespace, 'opfamily', opfname::text FROM pg_catalog.pg_opfamily WHERE oid >= 16384
        UNION ALL SELECT collnamespace, 'collation', collname::text FROM pg_catalog.pg_collation WHERE oid >= 16384
        UNION ALL SELECT connamespace, 'conversion', conname::text FROM pg_catalog.pg_conversion WHERE oid >= 16384
        UNION ALL SELECT cfgnamespace, 'configuration', cfgname::text FROM pg_catalog.pg_ts_config WHERE oid >= 16384
        UNION ALL SELECT dictnamespace, 'dictionary', dictname::text FROM pg_catalog.pg_ts_dict WHERE oid >= 16384
        UNION ALL SELECT prsnamespace, 'parser', prsname::text FROM pg_catalog.pg_ts_parser WHERE oid >= 16384
        UNION ALL SELECT tmplnamespace, 'template', tmplname::text FROM pg_catalog.pg_ts_template WHERE oid >= 16384
        UNION ALL SELECT stxnamespace, 'statistics', stxname::text FROM pg_catalog.pg_statistic_ext
        UNION ALL SELECT extnamespace, 'extension', extname::text FROM pg_catalog.pg_extension
    ) m JOIN spaces s ON s.namespace = m.namespace
), hashes AS MATERIALIZED (
    SELECT m.namespace, pg_catalog.sum(m.hash) AS hash FROM marks m GROUP BY m.namespace
), likes AS MATERIALIZED (
    SELECT s.namespace, pg_catalog.first_value(s.namespace) OVER (
        PARTITION BY s.template, s.like_version, s.modules, h.hash ORDER BY s.namespace) AS pattern
    FROM spaces s LEFT JOIN hashes h ON h.namespace = s.namespace
), places AS MATERIALIZED (
    SELECT s.namespace, s.schema_name AS nspname, s.template, s.like_version, s.modules
    FROM spaces s JOIN likes l ON l.namespace = s.namespace AND l.pattern = s.namespace
    CROSS JOIN pinned
),
-- fingerprint: begin
-- The schemas are few and the catalogs large: OFFSET 0 keeps the planner at index look-ups, whatever it estimates.
members AS MATERIALIZED (
    SELECT p.namespace, p.nspname, d.classid, d.objid
    FROM places p
    CROSS JOIN LATERAL (
        SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = p.namespace
        AND d.deptype = 'n'
        OFFSET 0
    ) d
), relations AS MATERIALIZED (
    SELECT m.namespace, m.nspname, '{schema}.' || pg_catalog.quote_ident(c.relname) AS object, c.*
    FROM members m
    CROSS JOIN LATERAL (
        SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relam, c.reloptions
        FROM pg_catalog.pg_class c WHERE c.oid = m.objid
        OFFSET 0
    ) c
    WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
), types AS MATERIALIZED (
    SELECT m.namespace, m.nspname, '{schema}.' || pg_catalog.quote_ident(t.typname) AS object, t.*
    FROM members m
    CROSS JOIN LATERAL (
        SELECT t.oid, t.typname, t.typtype, t.typrelid, t.typbasetype, t.typtypmod, t.typnotnull, t.typcollation, t.typdefault
        FROM pg_catalog.pg_type t WHERE t.oid = m.objid AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
        OFFSET 0
    ) t
    WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
), columns_of AS (
    SELECT r.namespace, r.object, a.attrelid, a.attnum, pg_catalog.quote_ident(a.attname) AS name,
        pg_catalog.replace(pg_catalog.format_type(a.atttypid, a.atttypmod), r.nspname || '.', '{schema}.') AS type,
        a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated,
        CASE WHEN a.attcollation NOT IN (0, 100) THEN pg_catalog.replace(
            pg_catalog.format('%s', a.attcollation::pg_catalog.regcollation), r.nspname || '.', '{schema}.') END AS collated
    FROM (
        SELECT namespace, nspname, object, oid AS relid FROM relations WHERE relkind <> 'S'
        UNION ALL
        SELECT namespace, nspname, object, typrelid FROM types WHERE typtype = 'c'
    ) r
    CROSS JOIN LATERAL (
        SELECT a.* FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.relid AND a.attnum > 0 AND NOT a.attisdropped
        OFFSET 0
    ) a
), shapes AS (
    SELECT r.namespace,
        CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
            WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind,
        r.object,
        pg_catalog.concat_ws(', ',
            CASE r.relpersistence WHEN 'p' THEN 'permanent' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END,
            CASE WHEN r.relkind = 'p' THEN 'partitioned' END,
            (SELECT 'child of ' || pg_catalog.string_agg(CASE WHEN c.relnamespace = r.namespace THEN '{schema}' ELSE pg_catalog.format('%s', c.relnamespace::pg_catalog.regnamespace) END
                    || '.' || pg_catalog.quote_ident(c.relname), ', ' ORDER BY i.inhseqno)
                FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent WHERE i.inhrelid = r.oid),
            CASE WHEN r.relam NOT IN (0, 2) THEN 'access method ' || (SELECT a.amname FROM pg_catalog.pg_am a WHERE a.oid = r.relam) END,
            CASE r.relreplident WHEN 'f' THEN 'replica identity full' WHEN 'i' THEN 'replica identity by an index'
                WHEN 'n' THEN CASE WHEN r.relkind IN ('r', 'p') THEN 'no replica identity' END END,
            CASE WHEN r.reloptions IS NOT NULL THEN
                'with (' || (SELECT pg_catalog.string_agg(o.option, ', ' ORDER BY o.option COLLATE "C") FROM pg_catalog.unnest(r.reloptions) o (option)) || ')' END,
            CASE WHEN r.relkind = 'S' THEN (
                SELECT pg_catalog.format('%s start %s increment %s from %s to %s cache %s%s', pg_catalog.format_type(s.seqtypid, NULL),
                    s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' END)
                FROM pg_catalog.pg_sequence s WHERE s.seqrelid = r.oid) END) AS shape,
        CASE WHEN r.relkind IN ('v', 'm') THEN 'pg_rewrite' END AS source,
        CASE WHEN r.relkind IN ('v', 'm') THEN r.oid END AS source_oid
    FROM relations r
    UNION ALL
    SELECT c.namespace, 'column', c.object || '.' || c.name,
        pg_catalog.concat_ws(' ', c.type, 'collate ' || c.collated, CASE WHEN c.attnotnull THEN 'not null' END,
            CASE WHEN c.attidentity = 'a' THEN 'generated always as identity' WHEN c.attidentity = 'd' THEN 'generated by default as identity'
                WHEN c.attgenerated <> '' THEN 'generated (' || c.attgenerated::text || ')' WHEN c.atthasdef THEN 'default' END),
        CASE WHEN c.atthasdef THEN 'pg_attrdef' END,
        CASE WHEN c.atthasdef THEN (SELECT d.oid FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.attrelid AND d.adnum = c.attnum) END
    FROM columns_of c
    UNION ALL
    SELECT r.namespace, 'constraint', pg_catalog.quote_ident(k.conname) || ' on ' || r.object,
        pg_catalog.concat_ws(' ',
            CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check'
                WHEN 'x' THEN 'exclusion' WHEN 't' THEN 'constraint trigger' WHEN 'n' THEN 'not null' ELSE k.contype::text END,
            '(' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY x.place)
                FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY x (attnum, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum) || ')',
            CASE WHEN k.contype = 'f' THEN (
                SELECT pg_catalog.format('references %s (%s)%s on update %s on delete %s%s',
                    CASE WHEN t.relnamespace = r.namespace THEN '{schema}' ELSE pg_catalog.format('%s', t.relnamespace::pg_catalog.regnamespace) END
                        || '.' || pg_catalog.quote_ident(t.relname),
                    (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY x.place)
                        FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY x (attnum, place)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.attnum),
                    CASE k.confmatchtype WHEN 'f' THEN ' match full' WHEN 'p' THEN ' match partial' ELSE '' END,
                    CASE k.confupdtype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set null' ELSE 'set default' END,
                    CASE k.confdeltype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set null' ELSE 'set default' END,
                    (SELECT ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attname) || ')'
                        FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.confdelsetcols)))
                FROM pg_catalog.pg_class t WHERE t.oid = k.confrelid) END,
            CASE WHEN k.condeferred THEN 'initially deferred' WHEN k.condeferrable THEN 'deferrable' END,
            CASE WHEN NOT k.convalidated THEN 'not validated' END,
            CASE WHEN k.connoinherit AND k.contype = 'c' THEN 'no inherit' END),
        'pg_constraint', k.oid
    FROM (
        SELECT namespace, object, oid AS relid, 0 AS typid FROM relations WHERE relkind IN ('r', 'p', 'f')
        UNION ALL
        SELECT namespace, object, 0, oid FROM types WHERE typtype = 'd'
    ) r
    CROSS JOIN LATERAL (
        SELECT k.* FROM pg_catalog.pg_constraint k WHERE k.conrelid = r.relid AND k.contypid = r.typid
        -- From 18 on each NOT NULL is a row here too; columns tell of them already.
        AND (k.contype <> 'n' OR NOT k.convalidated)
        OFFSET 0
    ) k
    UNION ALL
    SELECT r.namespace, 'index', '{schema}.' || pg_catalog.quote_ident(i.relname),
        pg_catalog.concat_ws(' ',
            CASE WHEN i.indisunique THEN 'unique' END,
            (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = i.relam),
            'on ' || r.object,
            '(' || (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ',
                    CASE WHEN x.attnum = 0 THEN '(expression)' ELSE pg_catalog.quote_ident(a.attname) END,
                    CASE WHEN x.collated NOT IN (0, 100) THEN 'collate ' || pg_catalog.replace(pg_catalog.format('%s', x.collated::pg_catalog.regcollation), r.nspname || '.', '{schema}.') END,
                    (SELECT o.opcname::text FROM pg_catalog.pg_opclass o WHERE o.oid = x.opclass),
                    CASE WHEN x.bits & 1 = 1 THEN 'desc' END,
                    CASE WHEN x.bits & 2 = 2 THEN 'nulls first' END,
                    CASE WHEN x.place > i.indnkeyatts THEN 'included' END), ', ' ORDER BY x.place)
                FROM ROWS FROM (pg_catalog.unnest(i.indkey::smallint[]), pg_catalog.unnest(i.indclass::pg_catalog.oid[]),
                    pg_catalog.unnest(i.indcollation::pg_catalog.oid[]), pg_catalog.unnest(i.indoption::smallint[]))
                    WITH ORDINALITY x (attnum, opclass, collated, bits, place)
                LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = x.attnum AND x.attnum <> 0) || ')',
            CASE WHEN i.indnullsnotdistinct THEN 'nulls not distinct' END,
            CASE WHEN NOT i.indimmediate THEN 'deferrable' END,
            CASE WHEN i.indpred IS NOT NULL THEN 'where' END,
            CASE WHEN i.reloptions IS NOT NULL THEN 'with (' || pg_catalog.array_to_string(i.reloptions, ', ') || ')' END,
            CASE WHEN i.indisreplident THEN 'replica identity' END,
            CASE WHEN NOT (i.indisvalid AND i.indisready AND i.indislive) THEN 'invalid' END),
        'pg_index', i.indexrelid
    FROM relations r
    CROSS JOIN LATERAL (
        SELECT i.*, c.relname, c.relam, c.reloptions
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = r.oid
        OFFSET 0
    ) i
    UNION ALL
    SELECT r.namespace, 'rule', pg_catalog.quote_ident(w.rulename) || ' on ' || r.object,
        pg_catalog.concat_ws(' ', 'on',
            CASE w.ev_type WHEN '1' THEN 'select' WHEN '2' THEN 'update' WHEN '3' THEN 'insert' ELSE 'delete' END,
            'do', CASE WHEN w.is_instead THEN 'instead' ELSE 'also' END,
            CASE w.ev_enabled WHEN 'O' THEN NULL WHEN 'D' THEN 'disabled' ELSE 'enabled ' || w.ev_enabled::text END),
        'pg_ruledef', w.oid
    FROM relations r
    CROSS JOIN LATERAL (
        SELECT w.oid, w.rulename, w.ev_type, w.is_instead, w.ev_enabled FROM pg_catalog.pg_rewrite w
        WHERE w.ev_class = r.oid AND (w.rulename <> '_RETURN' OR r.relkind NOT IN ('v', 'm'))
        OFFSET 0
    ) w
    UNION ALL
    SELECT r.namespace, 'trigger', pg_catalog.quote_ident(g.tgname) || ' on ' || r.object,
        pg_catalog.concat_ws(' ',
            CASE WHEN g.tgtype & 64 = 64 THEN 'instead of' WHEN g.tgtype & 2 = 2 THEN 'before' ELSE 'after' END,
            CASE WHEN g.tgtype & 4 = 4 THEN 'insert' END, CASE WHEN g.tgtype & 16 = 16 THEN 'update' END,
            CASE WHEN g.tgtype & 8 = 8 THEN 'delete' END, CASE WHEN g.tgtype & 32 = 32 THEN 'truncate' END,
            'of (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attname)
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.oid AND a.attnum = ANY (g.tgattr::smallint[])) || ')',
            'old table ' || g.tgoldtable, 'new table ' || g.tgnewtable,
            CASE WHEN g.tgtype & 1 = 1 THEN 'for each row' ELSE 'for each statement' END,
            CASE WHEN g.tgdeferrable THEN 'deferrable' END, CASE WHEN g.tginitdeferred THEN 'initially deferred' END,
            CASE WHEN g.tgqual IS NOT NULL THEN 'when' END,
            'execute ' || (SELECT CASE WHEN f.pronamespace = r.namespace THEN '{schema}' ELSE pg_catalog.format('%s', f.pronamespace::pg_catalog.regnamespace) END
                || '.' || pg_catalog.quote_ident(f.proname) FROM pg_catalog.pg_proc f WHERE f.oid = g.tgfoid),
            pg_catalog.quote_literal(pg_catalog.encode(NULLIF(g.tgargs, ''), 'escape')),
            CASE g.tgenabled WHEN 'O' THEN NULL WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled on replicas only' ELSE 'enabled always' END),
        'pg_trigger', g.oid
    FROM relations r
    CROSS JOIN LATERAL (
        -- tenantctl's own follow the registry, and the extension's come with hypertables; other checks look at both.
        SELECT g.* FROM pg_catalog.pg_trigger g
        WHERE g.tgrelid = r.oid AND NOT g.tgisinternal
        AND g.tgname NOT IN ('tenantctl_audit_insert', 'tenantctl_audit_update', 'tenantctl_audit_delete', 'tenantctl_audit_truncate',
            'tenantctl_limit_insert', 'tenantctl_limit_update', 'tenantctl_limit_delete', 'tenantctl_limit_truncate', 'ts_insert_blocker')
        OFFSET 0
    ) g
    UNION ALL
    SELECT m.namespace, CASE f.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
        '{schema}.' || pg_catalog.quote_ident(f.proname) || '(' || pg_catalog.replace(pg_catalog.oidvectortypes(f.proargtypes), m.nspname || '.', '{schema}.') || ')',
        pg_catalog.replace(pg_catalog.concat_ws(' ',
            'returns', CASE WHEN f.proretset THEN 'setof' END, pg_catalog.format_type(f.prorettype, NULL),
            'arguments ' || f.proargnames::text, 'modes ' || f.proargmodes::text,
            (SELECT 'all (' || pg_catalog.string_agg(pg_catalog.format_type(x.type, NULL), ', ' ORDER BY x.place) || ')'
                FROM pg_catalog.unnest(f.proallargtypes) WITH ORDINALITY x (type, place)),
            CASE WHEN f.pronargdefaults > 0 THEN 'defaults ' || f.pronargdefaults END,
            (SELECT l.lanname::text FROM pg_catalog.pg_language l WHERE l.oid = f.prolang),
            CASE f.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
            CASE f.proparallel WHEN 's' THEN 'parallel safe' WHEN 'r' THEN 'parallel restricted' END,
            CASE WHEN f.proisstrict THEN 'strict' END, CASE WHEN f.proleakproof THEN 'leakproof' END,
            CASE WHEN f.prosecdef THEN 'security definer' END,
            -- A pinned search path is the schema's name alone, without the dot that is looked for elsewhere.
            'set ' || pg_catalog.replace(pg_catalog.array_to_string(f.proconfig, ' set '), m.nspname, '{schema}'),
            'body ' || pg_catalog.md5(f.prosrc), 'library ' || f.probin), m.nspname || '.', '{schema}.'),
        CASE WHEN f.prokind <> 'a' THEN 'pg_proc' END, f.oid
    FROM members m
    CROSS JOIN LATERAL (SELECT f.* FROM pg_catalog.pg_proc f WHERE f.oid = m.objid OFFSET 0) f
    WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    UNION ALL
    SELECT t.namespace, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, t.object,
        pg_catalog.replace(pg_catalog.concat_ws(' ',
            CASE t.typtype
                WHEN 'e' THEN 'enum (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                    FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) || ')'
                WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod)
                WHEN 'r' THEN 'range of ' || (SELECT pg_catalog.format_type(r.rngsubtype, NULL) FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
                WHEN 'c' THEN 'composite' ELSE 'base' END,
            CASE WHEN t.typtype = 'd' AND t.typcollation NOT IN (0, 100) THEN 'collate ' || pg_catalog.format('%s', t.typcollation::pg_catalog.regcollation) END,
            CASE WHEN t.typnotnull THEN 'not null' END, 'default ' || t.typdefault), t.nspname || '.', '{schema}.'),
        NULL, NULL
    FROM types t
    UNION ALL
    SELECT m.namespace, i.type, pg_catalog.replace(i.identity, m.nspname || '.', '{schema}.'), '',
        CASE m.classid WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN 'pg_statistic_ext' END,
        CASE m.classid WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN m.objid END
    FROM members m
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(m.classid, m.objid, 0) i
    WHERE m.classid NOT IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass,
        'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_default_acl'::pg_catalog.regclass)
)
-- fingerprint: end
, expected AS (
    SELECT w.namespace, w.kind, w.object, w.shape, w.expression FROM (
        SELECT DISTINCT ON (p.namespace, o.kind, o.object) p.namespace, o.kind, o.object, o.shape, o.expression
        FROM places p
        JOIN tenantctl.template_modules m
            ON m.template = p.template AND m.version = p.like_version AND m.module = ANY (p.modules)
        JOIN tenantctl.template_objects o
            ON o.template = m.template AND o.version = m.version AND o.ordinal = m.ordinal
        ORDER BY p.namespace, o.kind, o.object, o.ordinal DESC
    ) w
    WHERE w.shape IS NOT NULL
    UNION ALL
    SELECT p.namespace, o.kind, o.object, o.shape, o.expression
    FROM places p
    JOIN tenantctl.template_versions v ON v.template = p.template AND v.is_current
    JOIN tenantctl.template_objects o ON o.template = v.template AND o.version = v.version AND o.ordinal = 0
), differences AS MATERIALIZED (
    SELECT COALESCE(a.namespace, e.namespace) AS namespace, COALESCE(a.kind, e.kind) AS kind, COALESCE(a.object, e.object) AS object,
        a.shape AS found, e.shape AS wanted, e.expression,
        CASE COALESCE(a.kind, e.kind)
            WHEN 'column' THEN pg_catalog.regexp_replace(COALESCE(a.object, e.object), '\.[^.]*$', '')
            WHEN 'index' THEN pg_catalog.substring(COALESCE(a.shape, e.shape), ' on (\{schema\}\..*?) \(')
            ELSE pg_catalog.split_part(COALESCE(a.object, e.object), ' on ', 2) END AS parent
    FROM shapes a
    FULL JOIN expected e ON e.namespace = a.namespace AND e.kind = a.kind AND e.object = a.object
    WHERE a.shape IS DISTINCT FROM e.shape
    -- These have checks of their own: standard_functions, foreign_triggers, object_kinds, extension_objects.
    AND COALESCE(e.object, '') NOT IN ('{schema}.audit_changes()', '{schema}.enforce_limits()')
    AND NOT EXISTS (SELECT FROM spaces s WHERE s.namespace = a.namespace AND a.object IN (
        '{schema}.audit_changes' || pg_catalog.substr(s.schema_name, 7) || '()', '{schema}.enforce_limits' || pg_catalog.substr(s.schema_name, 7) || '()'))
    AND NOT (e.shape IS NULL AND a.kind IN ('trigger', 'rule', 'materialized view', 'foreign table', 'extension'))
), told AS (
    -- What goes or comes with its table, or an index with its constraint, is not told again.
    SELECT d.*, d.namespace AS pattern FROM differences d
    WHERE NOT EXISTS (
        SELECT FROM differences p
        WHERE p.namespace = d.namespace AND p.object = d.parent AND (p.found IS NULL OR p.wanted IS NULL)
    )
    AND NOT (d.kind = 'index' AND EXISTS (
        SELECT FROM differences k
        WHERE k.namespace = d.namespace AND k.kind = 'constraint' AND (k.found IS NULL) = (d.found IS NULL) AND (k.wanted IS NULL) = (d.wanted IS NULL)
        AND k.object = pg_catalog.substring(d.object, '^\{schema\}\.(.*)$') || ' on ' || d.parent
    ))
), named AS (
    SELECT s.tenant_id, s.schema_name, t.kind, t.found, t.wanted,
        pg_catalog.replace(t.object, '{schema}', s.schema_name) AS object,
        pg_catalog.replace(t.parent, '{schema}', s.schema_name) AS parent,
        pg_catalog.replace(t.expression, '{schema}', s.schema_name) AS expression,
        -- The name without its schema or table.
        CASE WHEN t.kind = 'column' THEN pg_catalog.substring(t.object, '[^.]*$')
            ELSE pg_catalog.split_part(t.object, ' on ', 1) END AS name
    FROM told t
    JOIN likes l ON l.pattern = t.pattern
    JOIN spaces s ON s.namespace = l.namespace
)
SELECT
    CASE WHEN n.kind IN ('function', 'procedure', 'aggregate', 'trigger', 'rule', 'extension', 'operator') THEN 'high'
        WHEN n.kind IN ('index', 'sequence', 'statistics object') THEN 'low'
        ELSE 'medium' END AS severity,
    n.tenant_id::text AS tenant_id,
    n.schema_name::text AS schema_name,
    n.kind || ' ' || n.object AS object,
    CASE
        WHEN n.found IS NULL THEN pg_catalog.concat_ws(': ', 'it is missing; the template has it', NULLIF(pg_catalog.replace(n.wanted, '{schema}', n.schema_name), ''))
        WHEN n.wanted IS NULL THEN pg_catalog.concat_ws(': ', 'it is not in the template', NULLIF(pg_catalog.replace(n.found, '{schema}', n.schema_name), ''))
        ELSE pg_catalog.replace(pg_catalog.format('it is %s where the template has %s', n.found, n.wanted), '{schema}', n.schema_name)
    END AS detail,
    CASE
        WHEN n.kind = 'column' AND n.wanted IS NULL THEN pg_catalog.format('ALTER TABLE %s DROP COLUMN %s;', n.parent, n.name)
        WHEN n.kind = 'column' AND n.found IS NULL AND n.wanted NOT LIKE '%generated%' THEN pg_catalog.format('ALTER TABLE %s ADD COLUMN %s %s;', n.parent, n.name,
            pg_catalog.regexp_replace(n.wanted, 'default$', 'default ' || COALESCE(pg_catalog.replace(n.expression, '\', '\\'), '')))
        WHEN n.kind = 'column' AND n.wanted NOT LIKE '%generated%' AND n.found NOT LIKE '%generated%' THEN pg_catalog.format(
            'ALTER TABLE %1$s ALTER COLUMN %2$s TYPE %3$s, ALTER COLUMN %2$s %4$s NOT NULL, ALTER COLUMN %2$s %5$s;', n.parent, n.name,
            pg_catalog.regexp_replace(n.wanted, '( not null)?( default)?$', ''), CASE WHEN n.wanted LIKE '% not null%' THEN 'SET' ELSE 'DROP' END,
            CASE WHEN n.wanted LIKE '% default' THEN 'SET DEFAULT ' || n.expression ELSE 'DROP DEFAULT' END)
        WHEN n.kind = 'constraint' THEN
            pg_catalog.concat_ws(' ',
                CASE WHEN n.found IS NOT NULL THEN pg_catalog.format('ALTER %s %s DROP CONSTRAINT %s;', d.what, n.parent, n.name) END,
                CASE WHEN n.wanted IS NOT NULL THEN pg_catalog.format('ALTER %s %s ADD CONSTRAINT %s %s;', d.what, n.parent, n.name, n.expression) END)
        WHEN n.kind = 'index' THEN
            pg_catalog.concat_ws(' ', CASE WHEN n.found IS NOT NULL THEN pg_catalog.format('DROP INDEX %s;', n.object) END, n.expression || ';')
        WHEN n.kind IN ('trigger', 'rule') THEN
            pg_catalog.concat_ws(' ',
                CASE WHEN n.found IS NOT NULL THEN pg_catalog.format('DROP %s %s ON %s;', pg_catalog.upper(n.kind), n.name, n.parent) END, pg_catalog.rtrim(n.expression, ';') || ';')
        WHEN n.kind = 'sequence' AND n.wanted LIKE '% start %' THEN pg_catalog.format('ALTER SEQUENCE %s AS %s;', n.object,
            pg_catalog.regexp_replace(n.wanted, '^.*, (\w+) start (\S+) increment (\S+) from (\S+) to (\S+) cache (\S+)( cycle)?$',
                '\1 START \2 INCREMENT \3 MINVALUE \4 MAXVALUE \5 CACHE \6') || CASE WHEN n.wanted LIKE '% cycle' THEN ' CYCLE' ELSE ' NO CYCLE' END)
        WHEN n.kind = 'view' AND n.wanted IS NOT NULL THEN pg_catalog.format('CREATE OR REPLACE VIEW %s WITH (security_invoker = true) AS %s', n.object, n.expression)
        WHEN n.kind IN ('function', 'procedure') AND n.wanted IS NOT NULL THEN n.expression || ';'
        WHEN n.kind = 'table' AND n.wanted LIKE 'permanent%' AND n.found LIKE 'unlogged%' THEN pg_catalog.format('ALTER TABLE %s SET LOGGED;', n.object)
        WHEN n.wanted IS NULL AND n.kind <> 'statistics object' THEN pg_catalog.format('DROP %s %s;', pg_catalog.upper(n.kind), n.object)
        WHEN n.wanted IS NULL THEN pg_catalog.format('DROP STATISTICS %s;', n.object)
        ELSE 'tenantctl validate --explain drift'
    END AS remedy
FROM named n
-- A domain's CHECK has no columns.
CROSS JOIN LATERAL (SELECT CASE WHEN COALESCE(n.wanted, n.found) ~ '^check( not validated)?$' THEN 'DOMAIN' ELSE 'TABLE' END AS what) d
UNION ALL
SELECT 'low', NULL, NULL, pg_catalog.format('template %s version %s', v.template, v.version),
    pg_catalog.format('it has no fingerprint, so that %s tenants cannot be compared with it', pg_catalog.count(*)),
    'tenantctl init'
FROM tenants t JOIN versions v ON v.template = t.template AND v.version = t.template_version AND v.like_version IS NULL
GROUP BY v.template, v.version
ORDER BY 3, 4

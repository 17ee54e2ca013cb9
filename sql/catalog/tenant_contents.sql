-- What is in one schema ($1), as a JSON document; none when there is no such schema. For backups: what has rows and how
-- they are written, which keys there are, and what neither the fingerprint nor the template's modules tell of.
-- Run it with an empty search path. Everything hangs on the schema by pg_depend and by index look-ups (OFFSET 0 keeps the
-- planner at them), so that it costs the same among 10 tenants and among 10,000.
WITH RECURSIVE place AS MATERIALIZED (
    SELECT n.oid AS namespace, n.nspname::text AS nspname, n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
), owner AS MATERIALIZED (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantctl_owner'
), members AS MATERIALIZED (
    SELECT p.namespace, p.nspname, d.classid, d.objid
    FROM place p
    CROSS JOIN LATERAL (
        SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = p.namespace AND d.deptype = 'n'
        OFFSET 0
    ) d
    -- Rights that future objects will get, and publications: neither is in the schema.
    WHERE d.classid NOT IN ('pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_publication_namespace'::pg_catalog.regclass)
), relations AS MATERIALIZED (
    SELECT m.namespace, m.nspname, '{schema}.' || pg_catalog.quote_ident(c.relname) AS object, c.*
    FROM members m
    CROSS JOIN LATERAL (
        SELECT c.oid, c.relname, c.relkind, c.relowner, c.reltablespace, c.reltoastrelid, c.reloftype, c.relpartbound,
            c.relispartition, c.relispopulated
        FROM pg_catalog.pg_class c WHERE c.oid = m.objid
        OFFSET 0
    ) c
    WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
), attributes AS MATERIALIZED (
    SELECT r.oid, r.relkind, r.object || '.' || pg_catalog.quote_ident(a.attname) AS object, a.*
    FROM relations r
    CROSS JOIN LATERAL (
        SELECT a.attnum, a.attname, a.atttypid, a.attgenerated, a.attstorage, a.attcompression,
            -- The minor releases of November 2026 keep a mark of their own there, which no dump has.
            CASE WHEN a.attoptions IS NOT NULL THEN (
                SELECT pg_catalog.array_agg(o.option ORDER BY o.place)
                FROM pg_catalog.unnest(a.attoptions) WITH ORDINALITY o (option, place)
                WHERE o.option NOT LIKE 'pg\_attver=%') END AS attoptions,
            -- Minus one before 17, NULL from then on.
            NULLIF(a.attstattarget::integer, -1) AS target,
            a.attstorage <> (SELECT t.typstorage FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid) AS stored_otherwise
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        OFFSET 0
    ) a
    WHERE r.relkind <> 'S'
),
-- Every type that rows are made of, down to what has a form of its own: base of a domain, element of an array, fields of
-- a composite, subtype of a range. "foreign_oids": its binary form names types by number, and not all are the server's.
walked (root, oid) AS (
    SELECT DISTINCT a.atttypid, a.atttypid FROM attributes a WHERE a.relkind = 'r'
    UNION
    SELECT w.root, n.oid
    FROM walked w
    CROSS JOIN LATERAL (SELECT t.* FROM pg_catalog.pg_type t WHERE t.oid = w.oid OFFSET 0) t
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typelem <> 0 AND t.typlen = -1
        UNION ALL
        SELECT a.atttypid FROM pg_catalog.pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.typtype = 'r' AND r.rngtypid = t.oid
        UNION ALL
        SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE t.typtype = 'm' AND r.rngmultitypid = t.oid
    ) n
),
ancestors (oid, ancestor) AS (
    SELECT r.oid, i.inhparent
    FROM relations r
    CROSS JOIN LATERAL (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid OFFSET 0) i
    WHERE r.relispartition
    UNION
    SELECT a.oid, i.inhparent
    FROM ancestors a
    CROSS JOIN LATERAL (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = a.ancestor OFFSET 0) i
),
-- Partitions whose rows were placed by the number of a type or an object, which is another after a restore: an enum is
-- hashed by it. Whatever an expression comes to may be such a number.
misplaced AS MATERIALIZED (
    SELECT DISTINCT a.oid, root.oid AS root
    FROM ancestors a
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.ancestor AND p.partstrat = 'h'
    JOIN ancestors up ON up.oid = a.oid
    JOIN relations root ON root.oid = up.ancestor AND NOT root.relispartition
    WHERE 0 = ANY (p.partattrs::smallint[])
    OR EXISTS (
        SELECT FROM attributes k
        JOIN walked w ON w.root = k.atttypid
        CROSS JOIN LATERAL (SELECT t.oid, t.typtype FROM pg_catalog.pg_type t WHERE t.oid = w.oid OFFSET 0) t
        WHERE k.oid = a.ancestor AND k.attnum = ANY (p.partattrs::smallint[])
        AND (t.typtype = 'e' OR t.oid IN (24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191)))
), as_text AS MATERIALIZED (
    SELECT DISTINCT w.root
    FROM walked w
    CROSS JOIN LATERAL (
        SELECT t.oid, t.typtype, t.typlen, t.typelem, t.typrelid, t.typsend, t.typreceive FROM pg_catalog.pg_type t WHERE t.oid = w.oid
        OFFSET 0
    ) t
    WHERE t.typsend = 0 OR t.typreceive = 0
    -- An empty int2vector, oidvector or tsquery is written in binary as what is not read.
    OR t.oid IN (22, 30, 3615)
    -- regclass and its like: a number that means something else in another database, or after a restore in this one.
    OR t.oid IN (24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191)
    OR (t.typtype = 'b' AND t.typlen = -1 AND t.typelem >= 16384)
    OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384))
), indexes AS MATERIALIZED (
    SELECT r.nspname, r.object AS on_object, '{schema}.' || pg_catalog.quote_ident(i.relname) AS object, i.*
    FROM relations r
    CROSS JOIN LATERAL (
        SELECT i.indexrelid, c.relname, i.indisclustered, i.indisreplident, c.reltablespace, c.reloptions
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = r.oid
        OFFSET 0
    ) i
), types AS MATERIALIZED (
    SELECT m.namespace, m.nspname, '{schema}.' || pg_catalog.quote_ident(t.typname) AS object, t.*
    FROM members m
    CROSS JOIN LATERAL (SELECT t.oid, t.typname, t.typtype, t.typowner FROM pg_catalog.pg_type t WHERE t.oid = m.objid OFFSET 0) t
    WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
), constraints AS MATERIALIZED (
    SELECT r.relkind, r.relname, r.relispartition, r.on_object, pg_catalog.quote_ident(k.conname) || ' on ' || r.on_object AS object, k.*
    FROM (
        SELECT oid AS relid, 0::pg_catalog.oid AS typid, relkind, relname, relispartition, object AS on_object
        FROM relations WHERE relkind IN ('r', 'p', 'f')
        UNION ALL
        SELECT 0, oid, NULL, NULL, false, object FROM types WHERE typtype = 'd'
    ) r
    CROSS JOIN LATERAL (
        SELECT k.oid, k.conname, k.contype, k.conrelid, k.confrelid, k.conindid, k.conislocal, k.coninhcount, k.conparentid
        FROM pg_catalog.pg_constraint k WHERE k.conrelid = r.relid AND k.contypid = r.typid
        OFFSET 0
    ) k
), functions AS MATERIALIZED (
    SELECT m.nspname, '{schema}.' || pg_catalog.quote_ident(f.proname) || '('
            || pg_catalog.replace(pg_catalog.oidvectortypes(f.proargtypes), m.nspname || '.', '{schema}.') || ')' AS object, f.*
    FROM members m
    CROSS JOIN LATERAL (SELECT f.oid, f.proname, f.prokind, f.proowner, f.proargtypes FROM pg_catalog.pg_proc f WHERE f.oid = m.objid OFFSET 0) f
    WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    -- The constructors of a range type are the server's own and come with it.
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = m.classid AND i.objid = m.objid AND i.deptype = 'i')
),
-- Objects of kinds that the fingerprint knows by name alone.
others AS MATERIALIZED (
    SELECT m.nspname, m.classid, m.objid, pg_catalog.replace(i.identity, m.nspname || '.', '{schema}.') AS object, i.type,
        CASE m.classid
            WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN (SELECT x.stxowner FROM pg_catalog.pg_statistic_ext x WHERE x.oid = m.objid)
            WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN (SELECT x.oprowner FROM pg_catalog.pg_operator x WHERE x.oid = m.objid)
            WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass THEN (SELECT x.opcowner FROM pg_catalog.pg_opclass x WHERE x.oid = m.objid)
            WHEN 'pg_catalog.pg_opfamily'::pg_catalog.regclass THEN (SELECT x.opfowner FROM pg_catalog.pg_opfamily x WHERE x.oid = m.objid)
            WHEN 'pg_catalog.pg_collation'::pg_catalog.regclass THEN (SELECT x.collowner FROM pg_catalog.pg_collation x WHERE x.oid = m.objid)
            WHEN 'pg_catalog.pg_conversion'::pg_catalog.regclass THEN (SELECT x.conowner FROM pg_catalog.pg_conversion x WHERE x.oid = m.objid)
            WHEN 'pg_catalog.pg_ts_config'::pg_catalog.regclass THEN (SELECT x.cfgowner FROM pg_catalog.pg_ts_config x WHERE x.oid = m.objid)
            WHEN 'pg_catalog.pg_ts_dict'::pg_catalog.regclass THEN (SELECT x.dictowner FROM pg_catalog.pg_ts_dict x WHERE x.oid = m.objid)
        END AS owner
    FROM members m
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(m.classid, m.objid, 0) i
    WHERE m.classid NOT IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass,
        'pg_catalog.pg_proc'::pg_catalog.regclass)
),
-- Whatever can have a comment or a label. Policies are the standard's, and so are its triggers.
described AS MATERIALIZED (
    SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass AS classid, p.namespace AS objid, '{schema}' AS object FROM place p
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, r.oid, r.object FROM relations r
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, i.object FROM indexes i
    UNION ALL
    SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.object FROM types t
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, f.object FROM functions f
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, k.object FROM constraints k
    UNION ALL
    SELECT o.classid, o.objid, o.object FROM others o
    UNION ALL
    SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid, pg_catalog.quote_ident(g.tgname) || ' on ' || r.object
    FROM relations r
    CROSS JOIN LATERAL (
        SELECT g.oid, g.tgname FROM pg_catalog.pg_trigger g WHERE g.tgrelid = r.oid AND NOT g.tgisinternal
        AND g.tgname NOT IN ('tenantctl_audit_insert', 'tenantctl_audit_update', 'tenantctl_audit_delete', 'tenantctl_audit_truncate',
            'tenantctl_limit_insert', 'tenantctl_limit_update', 'tenantctl_limit_delete', 'tenantctl_limit_truncate', 'ts_insert_blocker')
        OFFSET 0
    ) g
    UNION ALL
    SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, w.oid, pg_catalog.quote_ident(w.rulename) || ' on ' || r.object
    FROM relations r
    CROSS JOIN LATERAL (SELECT w.oid, w.rulename FROM pg_catalog.pg_rewrite w WHERE w.ev_class = r.oid OFFSET 0) w
), extras (object, what) AS (
    SELECT d.object || COALESCE('.' || pg_catalog.quote_ident(a.attname), ''), 'comment ' || pg_catalog.quote_literal(x.description)
    FROM described d
    CROSS JOIN LATERAL (
        SELECT x.objsubid, x.description FROM pg_catalog.pg_description x WHERE x.classoid = d.classid AND x.objoid = d.objid
        OFFSET 0
    ) x
    LEFT JOIN pg_catalog.pg_attribute a ON x.objsubid > 0 AND a.attrelid = d.objid AND a.attnum = x.objsubid
    UNION ALL
    SELECT d.object || COALESCE('.' || pg_catalog.quote_ident(a.attname), ''), pg_catalog.format('security label %L for %s', x.label, x.provider)
    FROM described d
    CROSS JOIN LATERAL (
        SELECT x.objsubid, x.provider, x.label FROM pg_catalog.pg_seclabel x WHERE x.classoid = d.classid AND x.objoid = d.objid
        OFFSET 0
    ) x
    LEFT JOIN pg_catalog.pg_attribute a ON x.objsubid > 0 AND a.attrelid = d.objid AND a.attnum = x.objsubid
    UNION ALL
    SELECT a.object, pg_catalog.concat_ws(', ',
        CASE WHEN a.stored_otherwise THEN 'storage ' || a.attstorage::text END,
        'compression ' || NULLIF(a.attcompression::text, ''),
        'statistics ' || a.target,
        'options ' || a.attoptions::text)
    FROM attributes a
    WHERE a.relkind IN ('r', 'p', 'm', 'f')
    AND (a.stored_otherwise OR a.attcompression <> '' OR a.target IS NOT NULL OR a.attoptions IS NOT NULL)
    UNION ALL
    SELECT i.object, pg_catalog.format('statistics %s of column %s', a.target, a.attnum)
    FROM indexes i
    CROSS JOIN LATERAL (
        SELECT a.attnum, NULLIF(a.attstattarget::integer, -1) AS target FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = i.indexrelid AND a.attnum > 0
        OFFSET 0
    ) a
    WHERE a.target IS NOT NULL
    UNION ALL
    SELECT i.object, 'clustered' FROM indexes i WHERE i.indisclustered
    UNION ALL
    SELECT i.object, 'tablespace ' || pg_catalog.quote_ident(s.spcname)
    FROM (
        SELECT object, reltablespace FROM relations WHERE reltablespace <> 0
        UNION ALL
        SELECT object, reltablespace FROM indexes WHERE reltablespace <> 0
    ) i JOIN pg_catalog.pg_tablespace s ON s.oid = i.reltablespace
    UNION ALL
    SELECT r.object, 'toast with (' || pg_catalog.array_to_string(t.reloptions, ', ') || ')'
    FROM relations r
    CROSS JOIN LATERAL (SELECT t.reloptions FROM pg_catalog.pg_class t WHERE t.oid = r.reltoastrelid OFFSET 0) t
    WHERE t.reloptions IS NOT NULL
    UNION ALL
    SELECT r.object, pg_catalog.replace(pg_catalog.concat_ws(', ',
        'of ' || pg_catalog.format_type(NULLIF(r.reloftype, 0), NULL),
        'partition ' || pg_catalog.pg_get_expr(r.relpartbound, r.oid),
        CASE WHEN r.relkind = 'p' THEN 'partitioned by ' || pg_catalog.pg_get_partkeydef(r.oid) END), r.nspname || '.', '{schema}.')
    FROM relations r WHERE r.reloftype <> 0 OR r.relispartition OR r.relkind = 'p'
    UNION ALL
    SELECT r.object, pg_catalog.format('foreign, server %I %s', s.srvname, f.ftoptions::text)
    FROM relations r JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = r.oid JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
    WHERE r.relkind = 'f'
    UNION ALL
    -- A serial column's: it goes with the column. Identity is in the fingerprint.
    SELECT r.object, 'owned by ' || o.object
    FROM relations r
    CROSS JOIN LATERAL (
        SELECT d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = r.oid AND d.deptype = 'a'
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        OFFSET 0
    ) d
    JOIN attributes o ON o.oid = d.refobjid AND o.attnum = d.refobjsubid
    WHERE r.relkind = 'S'
    UNION ALL
    SELECT t.object, pg_catalog.replace(pg_catalog.concat_ws(' ', 'multirange', pg_catalog.format_type(r.rngmultitypid, NULL),
        'opclass', (SELECT o.opcname::text FROM pg_catalog.pg_opclass o WHERE o.oid = r.rngsubopc),
        'collation ' || NULLIF(r.rngcollation, 0)::pg_catalog.regcollation::text,
        'canonical ' || NULLIF(r.rngcanonical, 0)::pg_catalog.regprocedure::text,
        'difference ' || NULLIF(r.rngsubdiff, 0)::pg_catalog.regprocedure::text), t.nspname || '.', '{schema}.')
    FROM types t CROSS JOIN LATERAL (SELECT r.* FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid OFFSET 0) r
    WHERE t.typtype = 'r'
    UNION ALL
    SELECT t.object, 'base type' FROM types t WHERE t.typtype IN ('b', 'p')
    UNION ALL
    SELECT f.object, pg_catalog.replace(pg_catalog.concat_ws(' ', 'kind', a.aggkind, 'direct', a.aggnumdirectargs,
        'state', a.aggtransfn::pg_catalog.regprocedure, pg_catalog.format_type(a.aggtranstype, NULL), a.aggtransspace,
        'final', a.aggfinalfn::pg_catalog.regproc, a.aggfinalextra, a.aggfinalmodify, 'initial ' || pg_catalog.quote_literal(a.agginitval),
        'combine', a.aggcombinefn::pg_catalog.regproc, 'serial', a.aggserialfn::pg_catalog.regproc, a.aggdeserialfn::pg_catalog.regproc,
        'moving', a.aggmtransfn::pg_catalog.regproc, a.aggminvtransfn::pg_catalog.regproc, pg_catalog.format_type(NULLIF(a.aggmtranstype, 0), NULL),
        a.aggmtransspace, a.aggmfinalfn::pg_catalog.regproc, a.aggmfinalextra, a.aggmfinalmodify, pg_catalog.quote_literal(a.aggminitval),
        'sort', a.aggsortop::pg_catalog.regoper), f.nspname || '.', '{schema}.')
    FROM functions f CROSS JOIN LATERAL (SELECT a.* FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = f.oid OFFSET 0) a
    WHERE f.prokind = 'a'
    UNION ALL
    SELECT o.object, pg_catalog.concat_ws(' ', o.type, CASE o.classid
        WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN (
            SELECT 'statistics ' || COALESCE(NULLIF(x.stxstattarget::integer, -1), -1) FROM pg_catalog.pg_statistic_ext x WHERE x.oid = o.objid) END)
    FROM others o
    WHERE o.classid <> 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
    OR (SELECT NULLIF(x.stxstattarget::integer, -1) IS NOT NULL FROM pg_catalog.pg_statistic_ext x WHERE x.oid = o.objid)
),
-- Which views and materialized views read which, to refresh a materialized view after those that it reads.
reads (reader, read) AS (
    SELECT r.oid, d.refobjid
    FROM relations r
    CROSS JOIN LATERAL (SELECT w.oid FROM pg_catalog.pg_rewrite w WHERE w.ev_class = r.oid OFFSET 0) w
    CROSS JOIN LATERAL (
        SELECT DISTINCT d.refobjid FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.oid
        OFFSET 0
    ) d
    WHERE r.relkind IN ('v', 'm') AND EXISTS (SELECT FROM relations m WHERE m.relkind = 'm')
), below (reader, read) AS (
    SELECT reader, read FROM reads
    UNION
    SELECT b.reader, r.read FROM below b JOIN reads r ON r.reader = b.read
)
SELECT pg_catalog.json_build_object(
    'tables', (
        SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', r.relname, 'kind', r.relkind,
            'columns', (SELECT COALESCE(pg_catalog.json_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.attgenerated = ''), '[]') FROM attributes a
                WHERE a.oid = COALESCE((SELECT m.root FROM misplaced m WHERE m.oid = r.oid), r.oid)),
            'through', (SELECT root.relname FROM misplaced m JOIN relations root ON root.oid = m.root WHERE m.oid = r.oid AND r.relkind = 'r'),
            'layout', (SELECT COALESCE(pg_catalog.json_agg(a.attname ORDER BY a.attnum), '[]') FROM attributes a WHERE a.oid = r.oid),
            'format', CASE WHEN EXISTS (SELECT FROM attributes a JOIN as_text t ON t.root = a.atttypid WHERE a.oid = r.oid AND a.attgenerated = '')
                THEN 'text' ELSE 'binary' END,
            'pages', CASE r.relkind WHEN 'r' THEN COALESCE(pg_catalog.pg_relation_size(r.oid), 0) / pg_catalog.current_setting('block_size')::bigint ELSE 0 END,
            'bytes', CASE r.relkind WHEN 'r' THEN COALESCE(pg_catalog.pg_table_size(r.oid), 0) ELSE 0 END,
            -- Chunks come and go with the rows of a hypertable.
            'related', EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid)
                OR EXISTS (
                    SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhparent = r.oid AND c.relnamespace IS DISTINCT FROM pg_catalog.to_regnamespace('_timescaledb_internal'))) ORDER BY r.relname), '[]')
        FROM relations r WHERE r.relkind IN ('r', 'p')),
    'sequences', (SELECT COALESCE(pg_catalog.json_agg(r.relname ORDER BY r.relname), '[]') FROM relations r WHERE r.relkind = 'S'),
    'keys', (
        SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'table', k.relname, 'name', k.conname, 'kind', k.contype,
            'definition', pg_catalog.pg_get_constraintdef(k.oid),
            'references', (SELECT r.relname FROM relations r WHERE k.contype = 'f' AND r.oid = k.confrelid),
            'index', (SELECT i.relname FROM indexes i WHERE i.indexrelid = k.conindid),
            -- A view that groups by a primary key, or a rule that names a constraint. Foreign keys depend on its index.
            'depended_on', k.contype <> 'f' AND (EXISTS (
                    SELECT FROM pg_catalog.pg_depend d
                    WHERE d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refobjid = k.oid AND d.deptype = 'n')
                OR EXISTS (
                    SELECT FROM pg_catalog.pg_depend d
                    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = k.conindid AND d.deptype = 'n'
                    AND d.classid <> 'pg_catalog.pg_constraint'::pg_catalog.regclass)),
            'commented', EXISTS (SELECT FROM pg_catalog.pg_description x
                WHERE (x.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND x.objoid = k.oid)
                OR (k.contype <> 'f' AND x.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objoid = k.conindid)),
            'special', k.contype <> 'f' AND EXISTS (
                SELECT FROM indexes i WHERE i.indexrelid = k.conindid
                AND (i.indisclustered OR i.indisreplident OR i.reltablespace <> 0 OR i.reloptions IS NOT NULL)))
            ORDER BY k.relname, k.contype, k.conname), '[]')
        FROM constraints k WHERE k.contype IN ('p', 'u', 'x', 'f') AND k.coninhcount = 0 AND k.conparentid = 0),
    'materialized_views', (
        SELECT COALESCE(pg_catalog.json_agg(m.relname ORDER BY m.depth, m.oid), '[]')
        FROM (
            SELECT r.relname, r.oid, (SELECT pg_catalog.count(*) FROM below b JOIN relations o ON o.oid = b.read AND o.relkind = 'm' WHERE b.reader = r.oid) AS depth
            FROM relations r WHERE r.relkind = 'm' AND r.relispopulated
        ) m),
    'extras', (
        SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_array(e.object, e.what) ORDER BY e.object COLLATE "C", e.what COLLATE "C"), '[]')
        FROM extras e),
    'strangers', (
        SELECT COALESCE(pg_catalog.json_agg(s.what ORDER BY s.what COLLATE "C"), '[]')
        FROM (
            SELECT pg_catalog.format('schema %I belongs to %I', p.nspname, pg_catalog.pg_get_userbyid(p.nspowner)) AS what
            FROM place p WHERE p.nspowner NOT IN (SELECT o.oid FROM owner o)
            UNION ALL
            SELECT pg_catalog.format('%s %s %s', i.type, i.identity,
                CASE WHEN x.owner IS NULL THEN 'has no owner' ELSE pg_catalog.format('belongs to %I', pg_catalog.pg_get_userbyid(x.owner)) END)
            FROM (
                SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, r.oid AS objid, r.relowner AS owner FROM relations r
                UNION ALL
                SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typowner FROM types t
                UNION ALL
                SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, f.proowner FROM functions f
                UNION ALL
                SELECT o.classid, o.objid, o.owner FROM others o WHERE o.classid <> 'pg_catalog.pg_extension'::pg_catalog.regclass
            ) x
            CROSS JOIN LATERAL pg_catalog.pg_identify_object(x.classid, x.objid, 0) i
            WHERE x.owner IS NULL OR x.owner NOT IN (SELECT o.oid FROM owner o)
            UNION ALL
            -- pg_dump leaves out what extensions are made of, whoever owns them.
            SELECT pg_catalog.format('extension %s is installed in it', o.object)
            FROM others o WHERE o.classid = 'pg_catalog.pg_extension'::pg_catalog.regclass
        ) s)
    )::text AS contents
FROM place

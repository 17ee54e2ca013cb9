-- What DROP SCHEMA ... CASCADE of these schemas ($1) would take with it outside of them, a row a dependant: relations,
-- rules, constraints, functions and so on in other schemas, and event triggers, casts and publications.
WITH RECURSIVE doomed AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1)
), reached AS (
    SELECT doomed.oid AS namespace, doomed.nspname, d.classid, d.objid
    FROM doomed JOIN pg_catalog.pg_depend d
        ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = doomed.oid
    UNION
    SELECT r.namespace, r.nspname, d.classid, d.objid
    FROM reached r JOIN pg_catalog.pg_depend d ON d.refclassid = r.classid AND d.refobjid = r.objid
), placed AS (
    SELECT x.*,
        CASE x.classid
            WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_class c
                WHERE c.oid = x.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))
            WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
                WHERE r.oid = x.objid)
            WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN
                (SELECT k.connamespace FROM pg_catalog.pg_constraint k WHERE k.oid = x.objid)
            WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN
                (SELECT f.pronamespace FROM pg_catalog.pg_proc f WHERE f.oid = x.objid)
            -- Row types and arrays go with what they are of.
            WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN
                (SELECT t.typnamespace FROM pg_catalog.pg_type t
                WHERE t.oid = x.objid AND t.typrelid = 0 AND t.typelem = 0)
            WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN
                (SELECT o.oprnamespace FROM pg_catalog.pg_operator o WHERE o.oid = x.objid)
            WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN
                (SELECT s.stxnamespace FROM pg_catalog.pg_statistic_ext s WHERE s.oid = x.objid)
            WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_class c ON c.oid = a.adrelid
                WHERE a.oid = x.objid)
            WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
                WHERE t.oid = x.objid)
            WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_policy y JOIN pg_catalog.pg_class c ON c.oid = y.polrelid
                WHERE y.oid = x.objid)
        END AS place,
        x.classid IN ('pg_catalog.pg_event_trigger'::pg_catalog.regclass,
            'pg_catalog.pg_publication_rel'::pg_catalog.regclass,
            'pg_catalog.pg_publication_namespace'::pg_catalog.regclass)
        -- The cast from a range type to its multirange is part of the type.
        OR (x.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend i
            WHERE i.classid = x.classid AND i.objid = x.objid AND i.deptype = 'i')) AS nowhere
    FROM reached x
), columns_of_tables AS (
    -- A column of a tenant's type hangs on the type as part of its table.
    SELECT DISTINCT r.nspname, d.objid, c.relnamespace, r.namespace
    FROM reached r JOIN pg_catalog.pg_depend d ON d.refclassid = r.classid AND d.refobjid = r.objid
    JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid
    WHERE r.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objsubid > 0 AND c.relnamespace <> r.namespace
)
SELECT x.nspname::text AS schema, pg_catalog.pg_describe_object(x.classid, x.objid, 0) AS object
FROM placed x LEFT JOIN pg_catalog.pg_namespace n ON n.oid = x.place
WHERE x.nowhere OR (x.place <> x.namespace AND n.nspname <> 'pg_toast'
    -- Chunks go with their hypertable; the views of a continuous aggregate there are somebody's.
    AND (n.nspname <> '_timescaledb_internal' OR x.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass))
UNION
SELECT t.nspname::text, pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, t.objid, 0)
FROM columns_of_tables t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname NOT IN ('pg_toast', '_timescaledb_internal')
ORDER BY 1, 2

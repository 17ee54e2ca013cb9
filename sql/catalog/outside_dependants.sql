-- What DROP SCHEMA ... CASCADE of these schemas ($1) would take with it outside of them, a row a dependant.
-- Chunks are TimescaleDB's own, and go with their hypertable.
WITH doomed AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1)
), members AS (
    SELECT doomed.oid AS namespace, doomed.nspname, d.classid, d.objid
    FROM doomed JOIN pg_catalog.pg_depend d
        ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = doomed.oid
), parts AS (
    -- Row types, constraints and indexes hang on their table, not on the schema.
    SELECT * FROM members
    UNION
    SELECT m.namespace, m.nspname, d.classid, d.objid
    FROM members m JOIN pg_catalog.pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
    WHERE d.deptype IN ('i', 'a')
), dependants AS (
    SELECT DISTINCT p.namespace, p.nspname, d.classid, d.objid
    FROM parts p JOIN pg_catalog.pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid
    WHERE d.deptype = 'n'
), placed AS (
    SELECT x.nspname, x.namespace, x.classid, x.objid,
        CASE x.classid
            WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = x.objid)
            WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
                WHERE r.oid = x.objid)
            WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN
                (SELECT k.connamespace FROM pg_catalog.pg_constraint k WHERE k.oid = x.objid)
            WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN
                (SELECT f.pronamespace FROM pg_catalog.pg_proc f WHERE f.oid = x.objid)
            WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN
                (SELECT t.typnamespace FROM pg_catalog.pg_type t WHERE t.oid = x.objid)
            WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_class c ON c.oid = a.adrelid
                WHERE a.oid = x.objid)
            WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
                WHERE t.oid = x.objid)
            WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN
                (SELECT c.relnamespace FROM pg_catalog.pg_policy y JOIN pg_catalog.pg_class c ON c.oid = y.polrelid
                WHERE y.oid = x.objid)
        END AS place
    FROM dependants x
)
SELECT DISTINCT x.nspname::text AS schema, pg_catalog.pg_describe_object(x.classid, x.objid, 0) AS object
FROM placed x JOIN pg_catalog.pg_namespace n ON n.oid = x.place
WHERE x.place <> x.namespace AND n.nspname <> '_timescaledb_internal'
ORDER BY 1, 2

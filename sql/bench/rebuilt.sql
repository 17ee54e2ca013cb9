-- Of the tables of schema $1, what is quicker made at the end than kept while rows come: keys and indexes. What takes each
-- away, and what makes it again; to be made in the order of the rows, to be taken away in the other.
SELECT i.taken, i.made
FROM (
    SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::pg_catalog.regclass, k.conname) AS taken,
        pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::pg_catalog.regclass, k.conname,
            pg_catalog.pg_get_constraintdef(k.oid)) AS made,
        CASE k.contype WHEN 'f' THEN 3 ELSE 1 END AS place, k.oid
    FROM pg_catalog.pg_constraint k
    WHERE k.contype IN ('p', 'u', 'x', 'f')
    AND k.conrelid IN (SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = $1::pg_catalog.regnamespace)
    UNION ALL
    SELECT pg_catalog.format('DROP INDEX %s', x.indexrelid::pg_catalog.regclass), pg_catalog.pg_get_indexdef(x.indexrelid), 2, x.indexrelid
    FROM pg_catalog.pg_index x
    WHERE x.indrelid IN (SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = $1::pg_catalog.regnamespace)
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x'))
) i
WHERE NOT EXISTS (
    -- A view that groups by a key needs it.
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refobjid = i.oid
    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
)
ORDER BY i.place, i.oid

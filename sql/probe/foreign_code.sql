-- Relations that are not the owner's, an admin's or a superuser's, or whose views, policies, triggers, types or
-- expressions lead to something that is not: to use one may run somebody else's code, so the probe only asks for
-- rights there. No row where nobody else owns anything.
WITH RECURSIVE grouped AS (
    -- Tenants, whatever else they have been made.
    SELECT t.member FROM pg_catalog.pg_auth_members t JOIN pg_catalog.pg_roles g ON g.oid = t.roleid
    WHERE g.rolname = 'tenantctl_tenants'
), members (oid) AS (
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolname = 'tenantctl_owner' OR r.rolsuper) AND r.oid NOT IN (SELECT member FROM grouped)
    UNION
    SELECT m.member FROM pg_catalog.pg_auth_members m JOIN members o ON o.oid = m.roleid
    WHERE m.member NOT IN (SELECT member FROM grouped)
), seeds AS MATERIALIZED (
    SELECT s.classid, s.objid
    FROM pg_catalog.pg_shdepend s
    WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    AND s.deptype = 'o' AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
    AND s.refobjid NOT IN (SELECT oid FROM members)
), edges AS MATERIALIZED (
    -- From what is used to what uses it.
    SELECT d.refclassid AS from_class, d.refobjid AS from_object, d.classid AS to_class, d.objid AS to_object
    FROM pg_catalog.pg_depend d
    WHERE EXISTS (SELECT FROM seeds)
    UNION ALL
    -- From a relation's rule, policy, trigger, default or constraint to the relation.
    SELECT d.classid, d.objid, d.refclassid, d.refobjid
    FROM pg_catalog.pg_depend d
    WHERE EXISTS (SELECT FROM seeds) AND d.deptype IN ('a', 'i')
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.classid IN ('pg_catalog.pg_rewrite'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,
        'pg_catalog.pg_trigger'::pg_catalog.regclass, 'pg_catalog.pg_attrdef'::pg_catalog.regclass,
        'pg_catalog.pg_constraint'::pg_catalog.regclass, 'pg_catalog.pg_class'::pg_catalog.regclass)
), tainted (class, object) AS (
    SELECT classid, objid FROM seeds
    UNION
    SELECT e.to_class, e.to_object FROM tainted t JOIN edges e ON e.from_class = t.class AND e.from_object = t.object
)
SELECT t.object AS oid FROM tainted t WHERE t.class = 'pg_catalog.pg_class'::pg_catalog.regclass

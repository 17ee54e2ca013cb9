-- check: replication
-- title: publications that send tenant tables away, and subscriptions that write into them
-- explain: A publication hands every change of its tables to whoever may open a replication connection, past grants and row
-- explain: security; FOR ALL TABLES and TABLES IN SCHEMA also take in what is made later. A subscription writes rows into a
-- explain: tenant's table from elsewhere, by default with its owner's rights, and fires only replica triggers: the audit sees nothing.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name
    FROM tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
)
SELECT r.severity, r.tenant_id, r.schema_name, r.object, r.detail, r.remedy FROM (
    SELECT 'high' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('publication %I', p.pubname) AS object,
        'it is FOR ALL TABLES, so that it sends the rows of every tenant' AS detail, pg_catalog.format('DROP PUBLICATION %I;', p.pubname) AS remedy
    FROM pg_catalog.pg_publication p WHERE p.puballtables
    UNION ALL
    SELECT 'high', s.tenant_id, s.schema_name, pg_catalog.format('publication %I', p.pubname),
        pg_catalog.format('it sends all tables of schema %s', s.schema_name), pg_catalog.format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA %I;', p.pubname, s.schema_name)
    FROM pg_catalog.pg_publication_namespace x JOIN pg_catalog.pg_publication p ON p.oid = x.pnpubid JOIN spaces s ON s.namespace = x.pnnspid
    UNION ALL
    SELECT 'high', s.tenant_id, s.schema_name, pg_catalog.format('publication %I', p.pubname),
        pg_catalog.format('it sends table %I.%I', s.schema_name, c.relname), pg_catalog.format('ALTER PUBLICATION %I DROP TABLE %I.%I;', p.pubname, s.schema_name, c.relname)
    FROM pg_catalog.pg_publication_rel x JOIN pg_catalog.pg_publication p ON p.oid = x.prpubid
    JOIN pg_catalog.pg_class c ON c.oid = x.prrelid JOIN spaces s ON s.namespace = c.relnamespace
    UNION ALL
    SELECT 'high', s.tenant_id, s.schema_name, pg_catalog.format('subscription %I', u.subname),
        pg_catalog.format('it writes to table %I.%I', s.schema_name, c.relname), pg_catalog.format('DROP SUBSCRIPTION %I;', u.subname)
    FROM pg_catalog.pg_subscription_rel x JOIN pg_catalog.pg_subscription u ON u.oid = x.srsubid
    JOIN pg_catalog.pg_class c ON c.oid = x.srrelid JOIN spaces s ON s.namespace = c.relnamespace
    UNION ALL
    SELECT 'low', NULL, NULL, pg_catalog.format('subscription %I', u.subname),
        'it brings rows from another server into this database, into whatever tables its publisher names and this database has', pg_catalog.format('DROP SUBSCRIPTION %I;', u.subname)
    FROM pg_catalog.pg_subscription u
    WHERE u.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
) r
ORDER BY 3, 4

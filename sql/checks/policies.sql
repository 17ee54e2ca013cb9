-- check: policies
-- title: row security policies that are not exactly the two of the standard
-- explain: A table has two policies, both PERMISSIVE FOR ALL USING (true) WITH CHECK (true): <table>_tenant_isolation for the
-- explain: tenant's role, and <table>_admin_bypass for tenantctl_owner. Permissive policies add up, so one for PUBLIC or for another
-- explain: role opens the table to whoever gets a grant; one on current_setting() opens it to whoever sets the setting. A restrictive
-- explain: one, or one that is missing, hides rows: without the owner's, foreign keys and backups silently see none. Bulk-load
-- explain: tables have no policy. Proven from the roles and the stored expression: the constant true, and nothing else.
WITH tenants AS MATERIALIZED (
    SELECT t.* FROM tenantctl.tenants t
    WHERE COALESCE(t.tenant_id = ANY (NULLIF(pg_catalog.current_setting('tenantctl.scope', true), '')::text[]), true)
), spaces AS MATERIALIZED (
    SELECT n.oid AS namespace, t.tenant_id::text AS tenant_id, t.schema_name::text AS schema_name, t.role_name::text AS role_name, r.oid AS role, o.oid AS owner, v.bulk_load
    FROM tenants t
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.role_name
    LEFT JOIN pg_catalog.pg_roles o ON o.rolname = 'tenantctl_owner'
    LEFT JOIN tenantctl.template_versions v ON v.template = t.template AND v.version = t.template_version
), tables AS MATERIALIZED (
    SELECT c.oid, c.relname, s.*, pg_catalog.format('%I.%I', s.schema_name, c.relname) AS name, COALESCE(c.relname = ANY (s.bulk_load), false) AS bulk
    FROM pg_catalog.pg_class c JOIN spaces s ON s.namespace = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
), judged AS MATERIALIZED (
    SELECT t.oid AS relid, p.polname, p.polroles, p.polpermissive, p.polcmd, p.polqual, p.polwithcheck,
        p.polcmd = '*' AS all_commands,
        -- A constant is one node, so that nothing can hide between its braces.
        COALESCE(p.polqual::text LIKE '{CONST :consttype 16 %:constisnull false %:constvalue 1 [ 1 %]}', false) AS plain_using,
        COALESCE(p.polwithcheck::text LIKE '{CONST :consttype 16 %:constisnull false %:constvalue 1 [ 1 %]}', false) AS plain_check,
        NOT t.bulk AND p.polpermissive AND p.polname = t.relname || '_tenant_isolation' AND p.polroles = ARRAY[t.role] AS for_tenant,
        NOT t.bulk AND p.polpermissive AND p.polname = t.relname || '_admin_bypass' AND p.polroles = ARRAY[t.owner] AS for_owner
    FROM pg_catalog.pg_policy p JOIN tables t ON t.oid = p.polrelid
), fitting AS MATERIALIZED (
    SELECT j.relid, pg_catalog.count(*) AS number,
        pg_catalog.bool_or(j.for_tenant AND j.all_commands AND j.plain_using AND j.plain_check) AS tenant,
        pg_catalog.bool_or(j.for_owner AND j.all_commands AND j.plain_using AND j.plain_check) AS owner
    FROM judged j GROUP BY j.relid
), wrong AS MATERIALIZED (
    SELECT t.*, COALESCE(f.tenant, false) AS has_tenant, COALESCE(f.owner, false) AS has_owner
    FROM tables t LEFT JOIN fitting f ON f.relid = t.oid
    WHERE CASE WHEN t.bulk THEN f.relid IS NOT NULL ELSE NOT COALESCE(f.number = 2 AND f.tenant AND f.owner, false) END
), surplus AS (
    SELECT w.*, j.polname, j.for_tenant, j.for_owner, j.all_commands, j.plain_using, j.plain_check, j.polpermissive, 0 = ANY (j.polroles) AS to_public,
        j.polcmd, pg_catalog.concat(j.polqual::text, j.polwithcheck::text) ~ ':funcid (2077|3294) ' AS by_setting,
        (SELECT pg_catalog.string_agg(CASE x.oid WHEN 0 THEN 'PUBLIC' ELSE COALESCE(r.rolname::text, x.oid::text) END, ', ' ORDER BY r.rolname)
            FROM pg_catalog.unnest(j.polroles) x (oid) LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.oid) AS roles,
        EXISTS (SELECT FROM pg_catalog.unnest(j.polroles) x (oid) WHERE x.oid NOT IN (COALESCE(w.role, 0), COALESCE(w.owner, 0))) AS to_others
    FROM wrong w JOIN judged j ON j.relid = w.oid
    WHERE NOT ((j.for_tenant OR j.for_owner) AND j.all_commands AND j.plain_using AND j.plain_check)
)
SELECT CASE WHEN s.polpermissive AND (s.to_others OR s.by_setting) THEN 'critical' WHEN s.bulk THEN 'medium' ELSE 'high' END AS severity,
    s.tenant_id, s.schema_name, pg_catalog.format('policy %I on %s', s.polname, s.name) AS object,
    pg_catalog.concat(
        CASE WHEN s.polpermissive THEN 'it is permissive' ELSE 'it is restrictive' END,
        ' for ', s.roles,
        CASE s.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT' WHEN 'w' THEN ' FOR UPDATE' WHEN 'd' THEN ' FOR DELETE' ELSE '' END,
        CASE WHEN s.by_setting THEN ', and rests on a setting that its user can change' WHEN NOT s.plain_using OR NOT s.plain_check THEN ', and its expressions are not the constant true' END,
        CASE WHEN s.bulk THEN '; the tenant loads the table with COPY, and it is to have none' ELSE '; the standard has no such policy' END) AS detail,
    CASE WHEN s.for_tenant OR s.for_owner OR s.polname IN (s.relname || '_tenant_isolation', s.relname || '_admin_bypass') THEN 'tenantctl secure ' || s.tenant_id
        ELSE pg_catalog.format('DROP POLICY %I ON %s;', s.polname, s.name) END AS remedy
FROM surplus s
UNION ALL
SELECT 'high', w.tenant_id, w.schema_name, pg_catalog.format('policy %I on %s', w.relname || m.suffix, w.name),
    pg_catalog.format('it is missing or not as the standard has it, so that %s', m.effect),
    'tenantctl secure ' || w.tenant_id
FROM wrong w
CROSS JOIN (VALUES
    (true, '_tenant_isolation', 'the tenant sees none of its rows'),
    (false, '_admin_bypass', 'tenantctl_owner, and with it foreign keys and backups, sees no row')) m (tenant, suffix, effect)
WHERE NOT w.bulk AND NOT CASE WHEN m.tenant THEN w.has_tenant ELSE w.has_owner END
-- A policy of that name that is wrong is told above.
AND NOT EXISTS (SELECT FROM surplus s WHERE s.oid = w.oid AND s.polname = w.relname || m.suffix)
ORDER BY 3, 4

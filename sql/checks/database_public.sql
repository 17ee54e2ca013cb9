-- check: database_public
-- title: CONNECT, TEMPORARY or CREATE for PUBLIC on a database of the cluster
-- explain: Tenants' logins are valid for every database of the cluster. Where PUBLIC may connect, a tenant gets in, postgres and template1 included, past
-- explain: everything that is proven here; TEMPORARY lets it fill the disk and put tables before all others in the search path; CREATE gives it schemas of
-- explain: its own. Hardening line database_public.
SELECT 'high' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('database %I', d.datname) AS object,
    pg_catalog.format('PUBLIC, and so every tenant of the cluster, has %s (hardening.database_public)', pg_catalog.string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)) AS detail,
    pg_catalog.format('REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC;', d.datname) AS remedy
FROM pg_catalog.pg_database d
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
WHERE d.datallowconn AND x.grantee = 0
GROUP BY d.datname
ORDER BY 4

-- check: public_schema_create
-- title: CREATE for PUBLIC on schema public
-- explain: Whoever may create in public may put a function or a table there that an unqualified name of somebody else finds, an admin's included, and
-- explain: has a place to meet other tenants. Hardening line public_schema_create.
SELECT 'high' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, 'schema public' AS object,
    'PUBLIC, and so every tenant, may create objects in it (hardening.public_schema_create)' AS detail,
    'REVOKE CREATE ON SCHEMA public FROM PUBLIC;' AS remedy
FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) x
WHERE n.nspname = 'public' AND x.grantee = 0 AND x.privilege_type = 'CREATE'

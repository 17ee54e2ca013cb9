-- check: language_public
-- title: USAGE for PUBLIC on procedural languages
-- explain: With USAGE on a language a tenant runs code of its own in DO blocks, loops that hold locks and eat processors included, though it may
-- explain: create no function. Hardening line language_public.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('language %I', l.lanname) AS object,
    'PUBLIC, and so every tenant, may run code in this language (hardening.language_public)' AS detail,
    pg_catalog.format('REVOKE USAGE ON LANGUAGE %I FROM PUBLIC;', l.lanname) AS remedy
FROM pg_catalog.pg_language l
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(l.lanacl, pg_catalog.acldefault('l', l.lanowner))) x
-- A language that is not trusted is the superusers', whatever its ACL says.
WHERE l.lanpltrusted AND x.grantee = 0
ORDER BY 4

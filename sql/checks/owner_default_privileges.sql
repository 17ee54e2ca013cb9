-- check: owner_default_privileges
-- title: the owner's new functions and types without rights for PUBLIC
-- explain: The server gives PUBLIC EXECUTE on every new function and USAGE on every new type, unless the role that creates them has said otherwise for
-- explain: itself, globally: the form with IN SCHEMA cannot take away what is given globally. Without it the next function in a tenant's schema is everybody's.
-- explain: Hardening line owner_default_privileges.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    'default privileges of role tenantctl_owner on ' || k.kind AS object,
    pg_catalog.format('PUBLIC will have %s on whatever role tenantctl_owner creates (hardening.owner_default_privileges)', k.privilege) AS detail,
    pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE tenantctl_owner REVOKE %s ON %s FROM PUBLIC;', k.privilege, pg_catalog.upper(k.kind)) AS remedy
FROM (VALUES ('functions', 'f', 'EXECUTE'), ('types', 'T', 'USAGE')) k (kind, objtype, privilege)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_default_acl a
    WHERE a.defaclrole = pg_catalog.to_regrole('tenantctl_owner') AND a.defaclnamespace = 0 AND a.defaclobjtype = k.objtype::"char"
    AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(a.defaclacl) x WHERE x.grantee = 0))
ORDER BY 4

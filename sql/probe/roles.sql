-- Roles that no tenant may become, the most powerful first. A superuser may become any of them.
SELECT r.rolname::text AS name
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^tenant_[0-9a-f]{12}_user$' AND r.rolname !~ '^tenantctl_probe_[0-9a-f]{12}$'
AND r.rolname <> 'tenantctl_tenants'
ORDER BY r.rolsuper DESC, r.rolname = 'tenantctl_owner' DESC, r.rolname LIKE 'pg\_%' DESC, r.rolcreaterole DESC, r.rolname
LIMIT 60

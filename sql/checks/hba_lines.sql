-- check: hba_lines
-- title: lines of pg_hba.conf that let clients in without proving who they are
-- explain: trust lets anybody be anybody, the superuser included; ident believes what the client's own machine says; password sends it in clear text where TLS
-- explain: is not required. One such line that matches tenants' connections, or the superuser's from the network, and roles and grants protect nothing. A local line for
-- explain: superusers alone is fine. Shown is the file as it is now; the server may not have loaded it yet.
-- needs: superuser, or EXECUTE on pg_hba_file_rules()
WITH RECURSIVE trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
), lines AS (
    SELECT h.line_number, h.type, h.database, h.user_name, h.address, h.netmask, h.auth_method, h.error,
        COALESCE(pg_catalog.to_jsonb(h) ->> 'file_name', 'pg_hba.conf') AS file,
        h.type = 'local' OR h.address IN ('127.0.0.1', '::1', 'samehost', 'localhost') OR h.address LIKE '127.%' AS nearby,
        -- 'all', groups and patterns count as everybody.
        EXISTS (SELECT FROM pg_catalog.unnest(h.user_name) u (name)
            WHERE u.name = 'all' OR u.name ~ '^[+/@]' OR u.name ~ '^tenant_[0-9a-f]{12}_user$') AS everybody,
        NOT EXISTS (SELECT FROM pg_catalog.unnest(h.user_name) u (name) LEFT JOIN pg_catalog.pg_roles r ON r.rolname = u.name::pg_catalog.name
            WHERE NOT COALESCE(r.rolsuper, false)) AS superusers_only
    FROM pg_catalog.pg_hba_file_rules h
), judged AS (
    SELECT l.*, CASE
            WHEN l.error IS NOT NULL THEN 'low'
            WHEN l.auth_method = 'trust' AND NOT l.nearby THEN 'critical'
            WHEN l.auth_method = 'trust' AND l.everybody THEN 'high'
            WHEN l.auth_method = 'trust' AND NOT (l.superusers_only AND l.type = 'local') THEN 'medium'
            WHEN l.auth_method = 'ident' AND l.type <> 'local' THEN 'high'
            WHEN l.auth_method = 'password' AND l.type IN ('host', 'hostnossl', 'hostnogssenc') AND NOT l.nearby THEN 'medium'
        END AS severity
    FROM lines l
)
SELECT j.severity, NULL::text AS tenant_id, NULL::text AS schema_name,
    pg_catalog.format('line of %s: %s %s %s%s%s %s', pg_catalog.regexp_replace(j.file, '^.*/', ''), j.type, pg_catalog.array_to_string(j.database, ','),
        pg_catalog.array_to_string(j.user_name, ','), COALESCE(' ' || j.address, ''), COALESCE(' ' || j.netmask, ''), j.auth_method) AS object,
    CASE WHEN j.error IS NOT NULL THEN pg_catalog.format('line %s cannot be read: %s', j.line_number, j.error)
        ELSE pg_catalog.format('line %s lets %s in %s', j.line_number, CASE WHEN j.everybody THEN 'tenants' WHEN j.superusers_only THEN 'superusers' ELSE 'these roles' END,
            CASE j.auth_method WHEN 'trust' THEN 'with no proof at all (trust)' WHEN 'ident' THEN 'on the word of their own machine (ident)'
                ELSE 'with a password in clear text (password)' END) END AS detail,
    CASE WHEN j.error IS NOT NULL THEN 'mend the line in pg_hba.conf, then SELECT pg_catalog.pg_reload_conf();'
        WHEN j.type = 'local' THEN 'use peer or scram-sha-256 in this line of pg_hba.conf, then SELECT pg_catalog.pg_reload_conf();'
        ELSE 'use hostssl and scram-sha-256 in this line of pg_hba.conf, then SELECT pg_catalog.pg_reload_conf();' END AS remedy
FROM judged j
WHERE j.severity IS NOT NULL
ORDER BY 4

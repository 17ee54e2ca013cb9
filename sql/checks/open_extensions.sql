-- check: open_extensions
-- title: functions of extensions that let tenants out of the database
-- explain: Some extensions reach the file system, the network, other databases or other sessions, and most give PUBLIC EXECUTE when they are
-- explain: installed. dblink connects wherever the server can, back to itself included, with whatever pg_hba.conf trusts; file functions read the server's files.
-- explain: Reported are functions that tenants can execute, in schemas they can use; an extension that is merely installed is none.
WITH RECURSIVE trusted (oid) AS (
    -- Who may hold anything: superusers, the owner, its admins. A tenant is never one of them.
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname = 'tenantctl_owner') AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
    UNION
    SELECT m.member FROM trusted q JOIN pg_catalog.pg_auth_members m ON m.roleid = q.oid
    JOIN pg_catalog.pg_roles r ON r.oid = m.member AND NOT r.rolname ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'
), dangerous (name, severity, why) AS (VALUES
    ('dblink', 'high', 'connects to any server, this one included'),
    ('adminpack', 'critical', 'reads and writes the server''s files'),
    ('file_fdw', 'high', 'reads the server''s files and runs programs'),
    ('postgres_fdw', 'medium', 'tells about and closes connections to other servers'),
    ('lo', 'low', 'handles large objects, which all tenants share'),
    ('pageinspect', 'critical', 'reads the pages of any table'),
    ('pg_surgery', 'critical', 'rewrites the rows of any table'),
    ('pg_walinspect', 'critical', 'reads everybody''s changes in the log'),
    ('pgrowlocks', 'medium', 'shows who locks which rows'),
    ('pgstattuple', 'medium', 'measures any table'),
    ('pg_buffercache', 'medium', 'shows which tables are in use'),
    ('pg_visibility', 'medium', 'shows the pages of any table'),
    ('pg_freespacemap', 'medium', 'shows the pages of any table'),
    ('old_snapshot', 'low', 'shows the activity of the server'),
    ('xml2', 'medium', 'runs any text as a query'),
    ('tablefunc', 'low', 'runs any text as a query'),
    ('http', 'high', 'calls any URL from the server'),
    ('pg_net', 'high', 'calls any URL from the server'),
    ('pg_cron', 'high', 'runs jobs later, for whoever schedules them'),
    ('pg_background', 'high', 'runs statements in other sessions'),
    ('plproxy', 'high', 'connects to any server'),
    ('plsh', 'critical', 'runs programs on the server'),
    ('aws_s3', 'high', 'copies data out of the database'),
    ('aws_lambda', 'high', 'calls programs outside the database'),
    ('oracle_fdw', 'medium', 'tells about connections to other servers'),
    ('mysql_fdw', 'medium', 'tells about connections to other servers')
), open AS (
    SELECT e.extname, d.severity, d.why, n.nspname, f.proname, f.proargtypes,
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee_name, x.grantee
    FROM dangerous d
    JOIN pg_catalog.pg_extension e ON e.extname = d.name
    JOIN pg_catalog.pg_depend k ON k.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND k.refobjid = e.oid
        AND k.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND k.deptype = 'e'
    JOIN pg_catalog.pg_proc f ON f.oid = k.objid
    JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) x
    -- Handlers and validators cannot be called from SQL, triggers not without a table.
    WHERE f.prorettype NOT IN ('pg_catalog.fdw_handler'::pg_catalog.regtype, 'pg_catalog.trigger'::pg_catalog.regtype,
        'pg_catalog.language_handler'::pg_catalog.regtype) AND f.proname !~ '_fdw_validator$'
    AND x.grantee <> f.proowner AND NOT EXISTS (SELECT FROM trusted q WHERE q.oid = x.grantee)
    AND (x.grantee = 0 OR pg_catalog.pg_get_userbyid(x.grantee) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$')
    AND EXISTS (
        SELECT FROM pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) s
        WHERE s.privilege_type = 'USAGE' AND (s.grantee IN (0, x.grantee) OR pg_catalog.pg_get_userbyid(s.grantee) ~ '^(tenant_[0-9a-f]{12}_user|tenantctl_tenants)$'))
)
SELECT o.severity, NULL::text AS tenant_id, NULL::text AS schema_name, pg_catalog.format('extension %I', o.extname) AS object,
    pg_catalog.format('%s may execute %s of its functions, such as %I.%I; it %s', CASE o.grantee WHEN 0 THEN 'PUBLIC, and so every tenant,' ELSE pg_catalog.format('role %I', o.grantee_name) END,
        pg_catalog.count(*), o.nspname, pg_catalog.min(o.proname::text), o.why) AS detail,
    pg_catalog.string_agg(pg_catalog.format('REVOKE EXECUTE ON FUNCTION %I.%I(%s) FROM %s;', o.nspname, o.proname, pg_catalog.oidvectortypes(o.proargtypes),
        CASE o.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(o.grantee_name) END), ' ' ORDER BY o.proname, o.proargtypes::text) AS remedy
FROM open o
GROUP BY o.extname, o.severity, o.why, o.nspname, o.grantee, o.grantee_name
ORDER BY 4, 5

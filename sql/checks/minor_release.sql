-- check: minor_release
-- title: a minor release of the server with known holes
-- explain: Every minor release mends holes that any login can use, some of which end in code run as the server's operating system user. The releases named here are
-- explain: those of August 2026, which among others close CVE-2026-16239 (arbitrary code by a cursor that is closed and declared anew); newer ones may
-- explain: exist. A minor release changes no data: install it and restart.
SELECT 'medium' AS severity, NULL::text AS tenant_id, NULL::text AS schema_name, 'server ' || pg_catalog.split_part(v.text, ' ', 1) AS object,
    pg_catalog.format('%s is older than %s.%s, which closes holes that any login can use; newer releases may exist', pg_catalog.split_part(v.text, ' ', 1), k.major, k.minor) AS detail,
    pg_catalog.format('install PostgreSQL %s.%s or later and restart the server', k.major, k.minor) AS remedy
FROM (VALUES (15, 19), (16, 15), (17, 11), (18, 6)) k (major, minor)
JOIN (SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.current_setting('server_version')) v (number, text)
    ON v.number / 10000 = k.major AND v.number % 10000 < k.minor

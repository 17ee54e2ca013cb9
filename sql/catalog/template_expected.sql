-- What a tenant of a template ($1), a version ($2) and modules ($3) is to look like, if that is known in the words of a
-- server of this major version ($4) and by the standard of this tenantctl ($5, a checksum): a row an object, as in
-- template_fingerprint.sql; no row when it is not. The choice of versions is that of sql/checks/drift.sql: one from before
-- fingerprints is like a later one with the same text, and what tenantctl adds is as the current version has it.
WITH texts AS MATERIALIZED (
    SELECT m.version, v.is_current, v.server_major, v.standard_sha256,
        pg_catalog.string_agg(m.module || ' ' || m.sha256, ' ' ORDER BY m.ordinal) AS text,
        EXISTS (SELECT FROM tenantctl.template_objects o WHERE o.template = m.template AND o.version = m.version AND o.ordinal > 0) AS known
    FROM tenantctl.template_modules m JOIN tenantctl.template_versions v USING (template, version)
    WHERE m.template = $1
    GROUP BY m.template, m.version, v.is_current, v.server_major, v.standard_sha256
), chosen AS MATERIALIZED (
    SELECT w.version, c.version AS current_version, w.text = c.text AS is_like_current
    FROM texts v
    CROSS JOIN LATERAL (
        SELECT w.version, w.text FROM texts w WHERE w.text = v.text AND w.known AND w.server_major = $4
        ORDER BY w.version <> v.version, w.version DESC LIMIT 1
    ) w
    JOIN texts c ON c.is_current AND c.server_major = $4 AND c.standard_sha256 = $5
    WHERE v.version = $2
)
SELECT w.kind, w.object, w.shape, w.expression, w.is_like_current
FROM (
    SELECT DISTINCT ON (o.kind, o.object) o.kind, o.object, o.shape, o.expression, c.is_like_current
    FROM chosen c
    JOIN tenantctl.template_modules m ON m.template = $1 AND m.version = c.version AND m.module = ANY ($3)
    JOIN tenantctl.template_objects o ON o.template = $1 AND o.version = m.version AND o.ordinal = m.ordinal
    ORDER BY o.kind, o.object, o.ordinal DESC
) w
WHERE w.shape IS NOT NULL
UNION ALL
SELECT o.kind, o.object, o.shape, o.expression, c.is_like_current
FROM chosen c
JOIN tenantctl.template_objects o ON o.template = $1 AND o.version = c.current_version AND o.ordinal = 0
WHERE o.shape IS NOT NULL

DECLARE
    -- One time for all rows of a statement.
    moment timestamptz := pg_catalog.clock_timestamp();
BEGIN
    -- What comes most often is asked for first.
    IF TG_OP = 'INSERT' AND TG_ARGV[0] = 'full' THEN
        INSERT INTO audit_log (at, operation, table_name, new_row)
        SELECT moment, TG_OP, TG_TABLE_NAME, pg_catalog.to_jsonb(n) FROM new_rows n;
    ELSIF TG_OP = 'UPDATE' AND TG_ARGV[0] = 'full' THEN
        -- Both transition tables hold the rows in the order in which they were updated.
        INSERT INTO audit_log (at, operation, table_name, old_row, new_row)
        SELECT moment, TG_OP, TG_TABLE_NAME, o.old_row, n.new_row
        FROM (SELECT pg_catalog.row_number() OVER () AS place, pg_catalog.to_jsonb(t) AS old_row FROM old_rows t) o
        FULL JOIN (SELECT pg_catalog.row_number() OVER () AS place, pg_catalog.to_jsonb(t) AS new_row FROM new_rows t) n
            USING (place);
    ELSIF TG_OP = 'DELETE' AND TG_ARGV[0] = 'full' THEN
        INSERT INTO audit_log (at, operation, table_name, old_row)
        SELECT moment, TG_OP, TG_TABLE_NAME, pg_catalog.to_jsonb(o) FROM old_rows o;
    ELSIF TG_OP = 'TRUNCATE' THEN
        INSERT INTO audit_log (at, operation, table_name) VALUES (moment, TG_OP, TG_TABLE_NAME);
    -- From here on the columns of the primary key, which follow in the arguments.
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO audit_log (at, operation, table_name, new_row)
        SELECT moment, TG_OP, TG_TABLE_NAME,
            (SELECT pg_catalog.jsonb_object_agg(k, pg_catalog.to_jsonb(n) -> k) FROM pg_catalog.unnest(TG_ARGV[1:]) k)
        FROM new_rows n;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO audit_log (at, operation, table_name, old_row)
        SELECT moment, TG_OP, TG_TABLE_NAME,
            (SELECT pg_catalog.jsonb_object_agg(k, pg_catalog.to_jsonb(o) -> k) FROM pg_catalog.unnest(TG_ARGV[1:]) k)
        FROM old_rows o;
    ELSE
        INSERT INTO audit_log (at, operation, table_name, old_row, new_row)
        SELECT moment, TG_OP, TG_TABLE_NAME,
            (SELECT pg_catalog.jsonb_object_agg(k, o.old_row -> k) FROM pg_catalog.unnest(TG_ARGV[1:]) k),
            (SELECT pg_catalog.jsonb_object_agg(k, n.new_row -> k) FROM pg_catalog.unnest(TG_ARGV[1:]) k)
        FROM (SELECT pg_catalog.row_number() OVER () AS place, pg_catalog.to_jsonb(t) AS old_row FROM old_rows t) o
        FULL JOIN (SELECT pg_catalog.row_number() OVER () AS place, pg_catalog.to_jsonb(t) AS new_row FROM new_rows t) n
            USING (place);
    END IF;
    RETURN NULL;
END

DECLARE
    scopes text[];
    changes bigint[];
    reached text;
    total bigint;
    maximum bigint;
BEGIN
    <<counting>>
    BEGIN
        -- The rows of nearly every statement belong to one count. One query counts them then, and reads the limit as
        -- well; it does nothing where there are several counts, or no row. An upsert looks for its row by the key,
        -- whatever statistics there are, and reads no other's: serializable transactions stay apart.
        IF TG_OP = 'INSERT' THEN
            IF TG_ARGV[0] = 'trades_per_day' THEN
                -- Neither the tenant's DateStyle nor what its TimeZone makes of the abbreviation UTC decides which day it is.
                INSERT INTO tenant_usage AS u (resource, scope, used)
                SELECT 'trades_per_day',
                    COALESCE(pg_catalog.to_char(pg_catalog.timezone(INTERVAL '0', pg_catalog.min(executed_at)), 'YYYY-MM-DD'), 'infinity'),
                    pg_catalog.count(*)
                FROM new_rows
                HAVING pg_catalog.timezone(INTERVAL '0', pg_catalog.min(executed_at))::date
                    = pg_catalog.timezone(INTERVAL '0', pg_catalog.max(executed_at))::date
                AND pg_catalog.count(executed_at) = pg_catalog.count(*)
                ON CONFLICT (resource, scope) DO UPDATE SET used = u.used + EXCLUDED.used
                RETURNING u.scope, u.used, (
                    SELECT (t.limits ->> 'max_trades_per_day')::bigint FROM tenantctl.tenants t WHERE t.schema_name = TG_TABLE_SCHEMA
                ) INTO reached, total, maximum;
            ELSIF TG_ARGV[0] = 'positions_per_portfolio' THEN
                INSERT INTO tenant_usage AS u (resource, scope, used)
                SELECT 'positions_per_portfolio', pg_catalog.min(portfolio_id::text), pg_catalog.count(*)
                FROM new_rows
                HAVING pg_catalog.min(portfolio_id::text) = pg_catalog.max(portfolio_id::text)
                AND pg_catalog.count(portfolio_id) = pg_catalog.count(*)
                ON CONFLICT (resource, scope) DO UPDATE SET used = u.used + EXCLUDED.used
                RETURNING u.scope, u.used, (
                    SELECT (t.limits ->> 'max_positions_per_portfolio')::bigint FROM tenantctl.tenants t WHERE t.schema_name = TG_TABLE_SCHEMA
                ) INTO reached, total, maximum;
            ELSE
                INSERT INTO tenant_usage AS u (resource, scope, used)
                SELECT 'portfolios', '', pg_catalog.count(*) FROM new_rows HAVING pg_catalog.count(*) > 0
                ON CONFLICT (resource, scope) DO UPDATE SET used = u.used + EXCLUDED.used
                RETURNING u.scope, u.used, (
                    SELECT (t.limits ->> 'max_portfolios')::bigint FROM tenantctl.tenants t WHERE t.schema_name = TG_TABLE_SCHEMA
                ) INTO reached, total, maximum;
            END IF;
            IF total <= maximum THEN
                RETURN NULL;
            END IF;
            EXIT counting WHEN FOUND;
        ELSIF TG_OP = 'TRUNCATE' THEN
            DELETE FROM tenant_usage WHERE resource = TG_ARGV[0];
            RETURN NULL;
        END IF;
        IF TG_ARGV[0] = 'portfolios' THEN
            IF TG_OP = 'DELETE' THEN
                SELECT ARRAY[''], ARRAY[- pg_catalog.count(*)] INTO scopes, changes FROM old_rows HAVING pg_catalog.count(*) > 0;
            END IF;
        ELSIF TG_ARGV[0] = 'positions_per_portfolio' THEN
            IF TG_OP = 'INSERT' THEN
                SELECT pg_catalog.array_agg(scope ORDER BY scope), pg_catalog.array_agg(n ORDER BY scope) INTO scopes, changes
                FROM (SELECT COALESCE(portfolio_id::text, '') AS scope, pg_catalog.count(*) AS n FROM new_rows GROUP BY portfolio_id) c;
            ELSIF TG_OP = 'DELETE' THEN
                SELECT pg_catalog.array_agg(scope ORDER BY scope), pg_catalog.array_agg(- n ORDER BY scope) INTO scopes, changes
                FROM (SELECT COALESCE(portfolio_id::text, '') AS scope, pg_catalog.count(*) AS n FROM old_rows GROUP BY portfolio_id) c;
            ELSE
                SELECT pg_catalog.array_agg(scope ORDER BY scope), pg_catalog.array_agg(n ORDER BY scope) INTO scopes, changes
                FROM (
                    SELECT COALESCE(portfolio_id::text, '') AS scope, pg_catalog.sum(one)::bigint AS n
                    FROM (SELECT portfolio_id, 1 AS one FROM new_rows UNION ALL SELECT portfolio_id, -1 FROM old_rows) b
                    GROUP BY portfolio_id HAVING pg_catalog.sum(one) <> 0
                ) c;
            END IF;
        ELSE
            IF TG_OP = 'INSERT' THEN
                SELECT pg_catalog.array_agg(scope ORDER BY scope), pg_catalog.array_agg(n ORDER BY scope) INTO scopes, changes
                FROM (
                    SELECT COALESCE(pg_catalog.to_char(pg_catalog.timezone(INTERVAL '0', executed_at), 'YYYY-MM-DD'), 'infinity') AS scope, pg_catalog.count(*) AS n
                    FROM new_rows GROUP BY 1
                ) c;
            ELSIF TG_OP = 'DELETE' THEN
                SELECT pg_catalog.array_agg(scope ORDER BY scope), pg_catalog.array_agg(- n ORDER BY scope) INTO scopes, changes
                FROM (
                    SELECT COALESCE(pg_catalog.to_char(pg_catalog.timezone(INTERVAL '0', executed_at), 'YYYY-MM-DD'), 'infinity') AS scope, pg_catalog.count(*) AS n
                    FROM old_rows GROUP BY 1
                ) c;
            ELSE
                SELECT pg_catalog.array_agg(scope ORDER BY scope), pg_catalog.array_agg(n ORDER BY scope) INTO scopes, changes
                FROM (
                    SELECT COALESCE(pg_catalog.to_char(pg_catalog.timezone(INTERVAL '0', executed_at), 'YYYY-MM-DD'), 'infinity') AS scope, pg_catalog.sum(one)::bigint AS n
                    FROM (SELECT executed_at, 1 AS one FROM new_rows UNION ALL SELECT executed_at, -1 FROM old_rows) b
                    GROUP BY 1 HAVING pg_catalog.sum(one) <> 0
                ) c;
            END IF;
        END IF;
        IF scopes IS NULL THEN
            RETURN NULL;
        END IF;
        -- The registry is asked at every statement, so that another tier holds from the next one on.
        SELECT (t.limits ->> ('max_' || TG_ARGV[0]))::bigint INTO maximum
        FROM tenantctl.tenants t WHERE t.schema_name = TG_TABLE_SCHEMA;
        -- The counter's row lock lasts until the transaction ends: whoever wants the last place as well waits here, and
        -- sees in the end whether it was taken.
        FOR i IN 1 .. pg_catalog.cardinality(scopes) LOOP
            IF changes[i] < 0 THEN
                UPDATE tenant_usage SET used = GREATEST(used + changes[i], 0)
                WHERE resource = TG_ARGV[0] AND scope = scopes[i] RETURNING used INTO total;
                IF NOT FOUND AND pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
                    -- Counted after this transaction's snapshot was taken.
                    RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'could not serialize access: limits were changed concurrently';
                END IF;
                IF total = 0 AND TG_ARGV[0] = 'positions_per_portfolio' THEN
                    -- Or the counts of portfolios that are gone would pile up.
                    DELETE FROM tenant_usage WHERE resource = TG_ARGV[0] AND scope = scopes[i] AND used = 0;
                END IF;
                CONTINUE;
            END IF;
            INSERT INTO tenant_usage AS u (resource, scope, used) VALUES (TG_ARGV[0], scopes[i], changes[i])
            ON CONFLICT (resource, scope) DO UPDATE SET used = u.used + EXCLUDED.used
            RETURNING u.scope, u.used INTO reached, total;
            EXIT counting WHEN total > maximum;
        END LOOP;
        RETURN NULL;
    END counting;
    IF total > maximum THEN
        RAISE EXCEPTION USING
            ERRCODE = '53400',
            CONSTRAINT = 'max_' || TG_ARGV[0],
            SCHEMA = TG_TABLE_SCHEMA,
            TABLE = TG_TABLE_NAME,
            MESSAGE = CASE TG_ARGV[0]
                WHEN 'portfolios' THEN pg_catalog.format('limit of %s portfolios reached', maximum)
                WHEN 'positions_per_portfolio' THEN
                    pg_catalog.format('limit of %s positions reached in portfolio %s', maximum, reached)
                ELSE pg_catalog.format('limit of %s trades a day reached for %s (UTC)', maximum, reached)
            END,
            DETAIL = pg_catalog.format('With this statement there would be %s.', total),
            HINT = 'Delete what is no longer needed, or ask for a larger tier.';
    END IF;
    RETURN NULL;
END

-- risk_management: limits, exposure against them, breaches, value at risk (needs all base modules)

-- A symbol narrows a limit to one instrument; without one it holds for the largest.
-- Amounts are in the base currency; concentration is a share of the gross exposure.
CREATE TABLE risk_limits (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    portfolio_id UUID NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    metric VARCHAR(20) NOT NULL CHECK (metric IN (
        'gross_exposure', 'net_exposure', 'position_value', 'concentration', 'daily_loss', 'value_at_risk'
    )),
    symbol VARCHAR(20),
    threshold NUMERIC(38, 8) NOT NULL CHECK (threshold > 0 AND threshold < 'NaN'),
    warn_ratio NUMERIC(4, 3) NOT NULL DEFAULT 0.8 CHECK (warn_ratio > 0 AND warn_ratio <= 1),
    is_active BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (portfolio_id, metric, symbol),
    CONSTRAINT risk_limits_symbol_check
        CHECK (symbol IS NULL OR metric IN ('position_value', 'concentration'))
);

-- One open breach per limit at most, so that recording can be repeated: INSERT INTO risk_breaches SELECT
-- limit_id, current_value, threshold FROM risk_limit_status WHERE state = 'breached' ON CONFLICT DO NOTHING
CREATE TABLE risk_breaches (
    limit_id UUID NOT NULL REFERENCES risk_limits (id) ON DELETE CASCADE,
    observed_value NUMERIC(38, 8) NOT NULL,
    threshold NUMERIC(38, 8) NOT NULL,
    detected_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    resolved_at TIMESTAMPTZ,
    note VARCHAR(400),
    PRIMARY KEY (limit_id, detected_at),
    CONSTRAINT risk_breaches_order_check CHECK (resolved_at >= detected_at)
);

CREATE UNIQUE INDEX idx_risk_breaches_open ON risk_breaches (limit_id) WHERE resolved_at IS NULL;

-- Positions and what was traded since midnight UTC: a position closed and removed today still counts.
-- day_pnl needs yesterday's close: without bars it is NULL, not wrong.
CREATE VIEW risk_position_exposure WITH (security_invoker = true) AS
WITH moved AS (
    SELECT
        p.portfolio_id,
        p.symbol,
        p.quantity,
        p.quantity * coalesce(p.current_price, bar.close, p.avg_price) AS value,
        0::NUMERIC AS traded_quantity,
        0::NUMERIC AS traded_cost
    FROM positions AS p
    LEFT JOIN LATERAL (
        SELECT m.close
        FROM market_data AS m
        WHERE m.symbol = p.symbol AND p.current_price IS NULL
        ORDER BY m.timestamp DESC
        LIMIT 1
    ) AS bar ON true
    UNION ALL
    -- Joined to portfolios only to reach the index on (portfolio_id, executed_at).
    SELECT
        t.portfolio_id,
        t.symbol,
        0,
        0,
        CASE t.side WHEN 'BUY' THEN t.quantity ELSE -t.quantity END,
        CASE t.side WHEN 'BUY' THEN t.quantity ELSE -t.quantity END * t.price + t.commission
    FROM portfolios AS f
    JOIN trades AS t ON t.portfolio_id = f.id
    WHERE t.executed_at >= (now() AT TIME ZONE 'UTC')::DATE::TIMESTAMP AT TIME ZONE 'UTC'
),
summed AS (
    SELECT
        portfolio_id,
        symbol,
        sum(quantity) AS quantity,
        sum(value) AS value,
        sum(quantity - traded_quantity) AS opening_quantity,
        sum(traded_cost) AS traded_cost
    FROM moved
    GROUP BY portfolio_id, symbol
)
SELECT
    s.portfolio_id,
    s.symbol,
    s.quantity,
    round(s.value, 8) AS value,
    round(abs(s.value) / NULLIF(sum(abs(s.value)) OVER (PARTITION BY s.portfolio_id), 0), 8) AS gross_share,
    round(
        s.value - s.traded_cost
            - CASE s.opening_quantity WHEN 0 THEN 0 ELSE s.opening_quantity * yesterday.close END,
        8
    ) AS day_pnl
FROM summed AS s
LEFT JOIN LATERAL (
    SELECT m.close
    FROM market_data AS m
    WHERE m.symbol = s.symbol
        AND m.timestamp < (now() AT TIME ZONE 'UTC')::DATE::TIMESTAMP AT TIME ZONE 'UTC'
    ORDER BY m.timestamp DESC
    LIMIT 1
) AS yesterday ON true;

-- One-day historical simulation: today's values under the daily returns of the last year (whole UTC days).
-- unmodelled_value is the gross value without price history, which the figures therefore leave out.
CREATE VIEW risk_value_at_risk WITH (security_invoker = true) AS
WITH simulated AS (
    SELECT
        e.portfolio_id,
        history.day,
        sum(e.value * history.return) AS pnl,
        sum(abs(e.value)) AS gross_value
    FROM risk_position_exposure AS e
    LEFT JOIN LATERAL (
        SELECT day, return
        FROM (
            SELECT d.day, bar.close / NULLIF(lag(bar.close) OVER (ORDER BY d.day), 0) - 1 AS return
            FROM (
                SELECT (m.timestamp AT TIME ZONE 'UTC')::DATE AS first_day
                FROM market_data AS m
                WHERE m.symbol = e.symbol
                ORDER BY m.timestamp
                LIMIT 1
            ) AS oldest
            CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE 'UTC')::DATE AS today) AS clock
            -- In an array it is taken for 10 rows, bare for 1,000, and then JIT costs more than the query.
            CROSS JOIN LATERAL unnest(ARRAY(SELECT generate_series(1, least(366, today - first_day)))) AS n
            CROSS JOIN LATERAL (SELECT today - n AS day) AS d
            CROSS JOIN LATERAL (
                SELECT m.close
                FROM market_data AS m
                WHERE m.symbol = e.symbol
                    AND m.timestamp >= d.day::TIMESTAMP AT TIME ZONE 'UTC'
                    AND m.timestamp < (d.day + 1)::TIMESTAMP AT TIME ZONE 'UTC'
                ORDER BY m.timestamp DESC
                LIMIT 1
            ) AS bar
        ) AS daily
        WHERE return IS NOT NULL
    ) AS history ON true
    WHERE e.value <> 0
    GROUP BY e.portfolio_id, history.day
)
SELECT
    portfolio_id,
    count(day) AS days,
    round(-percentile_disc(0.05) WITHIN GROUP (ORDER BY least(pnl, 0)) FILTER (WHERE day IS NOT NULL), 8)
        AS value_at_risk_95,
    round(-percentile_disc(0.01) WITHIN GROUP (ORDER BY least(pnl, 0)) FILTER (WHERE day IS NOT NULL), 8)
        AS value_at_risk_99,
    round(min(pnl), 8) AS worst_day,
    coalesce(sum(gross_value) FILTER (WHERE day IS NULL), 0) AS unmodelled_value
FROM simulated
GROUP BY portfolio_id;

-- The state is 'unknown', never 'ok', where the value cannot be told in full. The 95 % value at risk is
-- worked out only for limits on it: it costs far more than the rest.
CREATE VIEW risk_limit_status WITH (security_invoker = true) AS
WITH totals AS (
    SELECT
        portfolio_id,
        sum(abs(value)) AS gross,
        abs(sum(value)) AS net,
        max(abs(value)) AS largest,
        max(gross_share) AS concentration,
        CASE WHEN bool_and(day_pnl IS NOT NULL) THEN greatest(-sum(day_pnl), 0) END AS daily_loss
    FROM risk_position_exposure
    GROUP BY portfolio_id
),
measured AS (
    SELECT
        l.id,
        l.portfolio_id,
        l.metric,
        l.symbol,
        l.threshold,
        l.warn_ratio,
        CASE
            -- Nothing held and nothing traded: nothing at risk.
            WHEN t.portfolio_id IS NULL THEN 0
            WHEN l.metric = 'value_at_risk' AND t.gross = 0 THEN 0
            WHEN l.metric = 'gross_exposure' THEN t.gross
            WHEN l.metric = 'net_exposure' THEN t.net
            WHEN l.metric = 'position_value' AND l.symbol IS NULL THEN t.largest
            WHEN l.metric = 'position_value' THEN coalesce(abs(e.value), 0)
            WHEN l.metric = 'concentration' AND l.symbol IS NULL THEN coalesce(t.concentration, 0)
            WHEN l.metric = 'concentration' THEN coalesce(e.gross_share, 0)
            WHEN l.metric = 'daily_loss' THEN t.daily_loss
            WHEN l.metric = 'value_at_risk' THEN v.value_at_risk
        END AS current_value
    FROM risk_limits AS l
    LEFT JOIN totals AS t ON t.portfolio_id = l.portfolio_id
    LEFT JOIN risk_position_exposure AS e ON e.portfolio_id = l.portfolio_id AND e.symbol = l.symbol
    LEFT JOIN LATERAL (
        SELECT CASE r.unmodelled_value WHEN 0 THEN r.value_at_risk_95 END AS value_at_risk
        FROM risk_value_at_risk AS r
        WHERE r.portfolio_id = l.portfolio_id AND l.metric = 'value_at_risk'
    ) AS v ON true
    WHERE l.is_active
)
SELECT
    id AS limit_id,
    portfolio_id,
    metric,
    symbol,
    current_value,
    threshold,
    round(current_value / threshold, 4) AS utilisation,
    CASE
        WHEN current_value > threshold THEN 'breached'
        WHEN current_value >= threshold * warn_ratio THEN 'warning'
        WHEN current_value IS NOT NULL THEN 'ok'
        ELSE 'unknown'
    END AS state
FROM measured;

-- basic_analytics: what every portfolio is worth now and earned each day (needs all base modules)

-- The weight is a share of the gross value, so that it adds up to 1 with short positions too.
CREATE VIEW position_valuation WITH (security_invoker = true) AS
SELECT
    p.id AS position_id,
    p.portfolio_id,
    p.symbol,
    p.quantity,
    p.avg_price,
    mark.price AS mark_price,
    mark.source AS mark_source,
    round(p.quantity * p.avg_price, 8) AS cost_basis,
    round(p.quantity * mark.price, 8) AS market_value,
    round(p.quantity * (mark.price - p.avg_price), 8) AS unrealized_pnl,
    p.realized_pnl,
    round(
        abs(p.quantity * mark.price)
            / NULLIF(sum(abs(p.quantity * mark.price)) OVER (PARTITION BY p.portfolio_id), 0),
        8
    ) AS weight
FROM positions AS p
LEFT JOIN LATERAL (
    SELECT m.close
    FROM market_data AS m
    WHERE m.symbol = p.symbol AND p.current_price IS NULL
    ORDER BY m.timestamp DESC
    LIMIT 1
) AS bar ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(p.current_price, bar.close, p.avg_price) AS price,
        CASE
            WHEN p.current_price IS NOT NULL THEN 'current_price'
            WHEN bar.close IS NOT NULL THEN 'market_data'
            ELSE 'avg_price'
        END AS source
) AS mark;

-- Grouped by every column instead of the key alone: a view must not depend on a constraint,
-- or it could not be restored before the constraints are.
CREATE VIEW portfolio_valuation WITH (security_invoker = true) AS
SELECT
    f.id AS portfolio_id,
    f.name,
    f.base_currency,
    f.is_active,
    count(*) FILTER (WHERE v.quantity <> 0) AS open_positions,
    coalesce(sum(v.cost_basis), 0) AS cost_basis,
    coalesce(sum(v.market_value), 0) AS market_value,
    coalesce(sum(abs(v.market_value)), 0) AS gross_value,
    coalesce(sum(v.unrealized_pnl), 0) AS unrealized_pnl,
    coalesce(sum(v.realized_pnl), 0) AS realized_pnl,
    coalesce(sum(v.unrealized_pnl + v.realized_pnl), 0) AS total_pnl,
    round(sum(v.unrealized_pnl) / NULLIF(sum(abs(v.cost_basis)), 0), 8) AS unrealized_return
FROM portfolios AS f
LEFT JOIN position_valuation AS v ON v.portfolio_id = f.id
GROUP BY f.id, f.name, f.base_currency, f.is_active;

-- Marked to market from trades alone, by UTC day up to today: change of value - net purchases - commission.
-- A day is valued at the last close known by its end, before the first bar at what was last paid on average.
CREATE VIEW portfolio_daily_pnl WITH (security_invoker = true) AS
WITH traded AS (
    SELECT
        portfolio_id,
        symbol,
        (executed_at AT TIME ZONE 'UTC')::DATE AS day,
        count(*) AS trades,
        sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) AS net_quantity,
        sum(quantity * price) / sum(quantity) AS avg_price,
        sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END * price) AS net_cost,
        sum(commission) AS commission
    FROM trades
    GROUP BY 1, 2, 3
),
-- One row for each day with trades; the quantity it leaves is held until the day before the next.
held AS (
    SELECT
        *,
        sum(net_quantity) OVER by_day AS quantity,
        coalesce(lead(day) OVER by_day - 1, greatest(day, (now() AT TIME ZONE 'UTC')::DATE)) AS last_day
    FROM traded
    WINDOW by_day AS (PARTITION BY portfolio_id, symbol ORDER BY day)
),
valued AS (
    SELECT
        h.portfolio_id,
        h.symbol,
        h.day + n AS day,
        CASE n WHEN 0 THEN h.trades ELSE 0 END AS trades,
        CASE n WHEN 0 THEN h.net_cost ELSE 0 END AS net_cost,
        CASE n WHEN 0 THEN h.commission ELSE 0 END AS commission,
        h.quantity * coalesce(bar.close, h.avg_price) AS value
    FROM held AS h
    -- In an array it is taken for 10 rows, bare for 1,000, and then JIT costs more than the query.
    CROSS JOIN LATERAL unnest(
        ARRAY(SELECT generate_series(0, CASE h.quantity WHEN 0 THEN 0 ELSE h.last_day - h.day END))
    ) AS n
    LEFT JOIN LATERAL (
        SELECT m.close
        FROM market_data AS m
        WHERE m.symbol = h.symbol AND m.timestamp < (h.day + n + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        ORDER BY m.timestamp DESC
        LIMIT 1
    ) AS bar ON true
),
gained AS (
    SELECT
        *,
        value - lag(value, 1, 0::NUMERIC) OVER (PARTITION BY portfolio_id, symbol ORDER BY day)
            - net_cost - commission AS pnl
    FROM valued
)
SELECT
    portfolio_id,
    day,
    sum(trades)::BIGINT AS trades,
    round(sum(value), 8) AS market_value,
    round(sum(net_cost), 8) AS net_purchases,
    sum(commission) AS commission,
    round(sum(pnl), 8) AS pnl,
    round(sum(sum(pnl)) OVER (PARTITION BY portfolio_id ORDER BY day), 8) AS cumulative_pnl
FROM gained
GROUP BY portfolio_id, day;

-- advanced_analytics: daily snapshots, returns, drawdown, Sharpe, exposure, VWAP (needs all base modules)

-- The durable record of each day's value; prices that are corrected later do not rewrite it.
-- net_flow is money put in (+) or taken out (-) that day, so that a deposit is no gain.
CREATE TABLE portfolio_snapshots (
    portfolio_id UUID NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    snapshot_date DATE NOT NULL,
    long_value NUMERIC(38, 8) NOT NULL CHECK (long_value >= 0 AND long_value < 'NaN'),
    short_value NUMERIC(38, 8) NOT NULL DEFAULT 0 CHECK (short_value <= 0),
    cash NUMERIC(38, 8) NOT NULL DEFAULT 0 CHECK (cash < 'NaN'),
    net_flow NUMERIC(38, 8) NOT NULL DEFAULT 0 CHECK (net_flow < 'NaN'),
    taken_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (portfolio_id, snapshot_date)
);

-- Snapshots from trades and bars: INSERT INTO portfolio_snapshots SELECT * FROM portfolio_daily_values ...
-- Without cash accounts in the model, cash is 0 and what is bought, with its commission, counts as put in.
CREATE VIEW portfolio_daily_values WITH (security_invoker = true) AS
WITH traded AS (
    SELECT
        portfolio_id,
        symbol,
        (executed_at AT TIME ZONE 'UTC')::DATE AS day,
        sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) AS net_quantity,
        sum(quantity * price) / sum(quantity) AS avg_price,
        sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END * price + commission) AS net_flow
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
        h.day + n AS day,
        CASE n WHEN 0 THEN h.net_flow ELSE 0 END AS net_flow,
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
)
SELECT
    portfolio_id,
    day AS snapshot_date,
    round(sum(greatest(value, 0)), 8) AS long_value,
    round(sum(least(value, 0)), 8) AS short_value,
    0::NUMERIC AS cash,
    round(sum(net_flow), 8) AS net_flow
FROM valued
GROUP BY portfolio_id, day;

-- Time-weighted: money put in works from the start of its day, money taken out until the end of its day.
-- Once a portfolio has lost everything its index stays at 0.
CREATE VIEW portfolio_returns WITH (security_invoker = true) AS
WITH valued AS (
    SELECT
        portfolio_id,
        snapshot_date,
        long_value + short_value + cash AS net_asset_value,
        net_flow,
        lag(long_value + short_value + cash) OVER by_day AS previous
    FROM portfolio_snapshots
    WINDOW by_day AS (PARTITION BY portfolio_id ORDER BY snapshot_date)
),
grown AS (
    SELECT
        *,
        net_asset_value - previous - net_flow AS pnl,
        CASE
            WHEN previous + greatest(net_flow, 0) > 0
                THEN (net_asset_value - least(net_flow, 0)) / (previous + greatest(net_flow, 0))
        END::DOUBLE PRECISION AS growth
    FROM valued
),
indexed AS (
    SELECT
        *,
        CASE
            WHEN bool_or(growth <= 0) OVER by_day THEN 0
            ELSE exp(coalesce(sum(ln(CASE WHEN growth > 0 THEN growth END)) OVER by_day, 0))
        END AS growth_index
    FROM grown
    WINDOW by_day AS (PARTITION BY portfolio_id ORDER BY snapshot_date)
)
SELECT
    portfolio_id,
    snapshot_date,
    net_asset_value,
    net_flow,
    pnl,
    growth - 1 AS daily_return,
    growth_index - 1 AS cumulative_return,
    growth_index / max(growth_index) OVER by_day - 1 AS drawdown
FROM indexed
WINDOW by_day AS (PARTITION BY portfolio_id ORDER BY snapshot_date);

-- Annualised by the number of returns a year that the snapshots really hold, so that books with weekends
-- and without compare; the risk-free rate is taken as 0.
CREATE VIEW portfolio_performance WITH (security_invoker = true) AS
WITH summed AS (
    SELECT
        portfolio_id,
        min(snapshot_date) AS first_date,
        max(snapshot_date) AS last_date,
        count(daily_return) AS returns,
        count(daily_return) * 365.25 / NULLIF(max(snapshot_date) - min(snapshot_date), 0) AS yearly,
        sum(pnl) AS pnl,
        (array_agg(cumulative_return ORDER BY snapshot_date DESC))[1] AS cumulative_return,
        min(drawdown) AS max_drawdown,
        min(daily_return) AS worst_return,
        max(daily_return) AS best_return,
        avg(daily_return) AS mean_return,
        stddev_samp(daily_return) AS deviation,
        sqrt(avg(least(daily_return, 0) ^ 2) FILTER (WHERE daily_return IS NOT NULL)) AS downside_deviation
    FROM portfolio_returns
    GROUP BY portfolio_id
)
SELECT
    portfolio_id,
    first_date,
    last_date,
    returns,
    pnl,
    cumulative_return,
    max_drawdown,
    worst_return,
    best_return,
    deviation * sqrt(yearly) AS volatility,
    mean_return / NULLIF(deviation, 0) * sqrt(yearly) AS sharpe_ratio,
    mean_return / NULLIF(downside_deviation, 0) * sqrt(yearly) AS sortino_ratio
FROM summed;

-- concentration is the sum of squared weights: 1 for a single position, 1/n for n equal ones.
CREATE VIEW portfolio_exposure WITH (security_invoker = true) AS
WITH valued AS (
    SELECT
        p.portfolio_id,
        p.symbol,
        sum(p.quantity * coalesce(p.current_price, bar.close, p.avg_price)) AS value
    FROM positions AS p
    LEFT JOIN LATERAL (
        SELECT m.close
        FROM market_data AS m
        WHERE m.symbol = p.symbol AND p.current_price IS NULL
        ORDER BY m.timestamp DESC
        LIMIT 1
    ) AS bar ON true
    GROUP BY p.portfolio_id, p.symbol
)
SELECT
    portfolio_id,
    count(*) FILTER (WHERE value <> 0) AS symbols,
    round(sum(greatest(value, 0)), 8) AS long_value,
    round(sum(least(value, 0)), 8) AS short_value,
    round(sum(abs(value)), 8) AS gross_value,
    round(sum(value), 8) AS net_value,
    round(max(abs(value)) / NULLIF(sum(abs(value)), 0), 8) AS largest_weight,
    round(sum(value * value) / NULLIF(sum(abs(value)) ^ 2, 0), 8) AS concentration
FROM valued
GROUP BY portfolio_id;

-- Execution quality by UTC day: average fills against the volume-weighted typical price of the bars.
-- Slippage is in basis points, positive where the fill was worse than the market.
CREATE VIEW trade_vwap WITH (security_invoker = true) AS
WITH filled AS (
    SELECT
        portfolio_id,
        symbol,
        (executed_at AT TIME ZONE 'UTC')::DATE AS trade_date,
        count(*) AS trades,
        sum(quantity) FILTER (WHERE side = 'BUY') AS bought,
        sum(quantity) FILTER (WHERE side = 'SELL') AS sold,
        sum(quantity * price) FILTER (WHERE side = 'BUY') AS paid,
        sum(quantity * price) FILTER (WHERE side = 'SELL') AS received
    FROM trades
    GROUP BY 1, 2, 3
)
SELECT
    f.portfolio_id,
    f.symbol,
    f.trade_date,
    f.trades,
    coalesce(f.bought, 0) AS bought_quantity,
    round(f.paid / f.bought, 8) AS buy_vwap,
    coalesce(f.sold, 0) AS sold_quantity,
    round(f.received / f.sold, 8) AS sell_vwap,
    round(bars.vwap, 8) AS market_vwap,
    round((f.paid / f.bought / NULLIF(bars.vwap, 0) - 1) * 10000, 2) AS buy_slippage_bps,
    round((1 - f.received / f.sold / NULLIF(bars.vwap, 0)) * 10000, 2) AS sell_slippage_bps
FROM filled AS f
CROSS JOIN LATERAL (
    SELECT sum((m.high + m.low + m.close) / 3 * m.volume) / NULLIF(sum(m.volume), 0) AS vwap
    FROM market_data AS m
    WHERE m.symbol = f.symbol
        AND m.timestamp >= f.trade_date::TIMESTAMP AT TIME ZONE 'UTC'
        AND m.timestamp < (f.trade_date + 1)::TIMESTAMP AT TIME ZONE 'UTC'
) AS bars;

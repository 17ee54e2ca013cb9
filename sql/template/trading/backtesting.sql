-- backtesting: runs of a strategy on history, what they traded and how they ended (needs market_data)

-- Results belong to a finished run, so they are written once; deleting the run deletes them.
CREATE TABLE backtest_runs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name VARCHAR(255) NOT NULL,
    parameters JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(parameters) = 'object'),
    period_start DATE NOT NULL,
    period_end DATE NOT NULL,
    initial_capital NUMERIC(38, 8) NOT NULL CHECK (initial_capital > 0 AND initial_capital < 'NaN'),
    status VARCHAR(9) NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    error TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    CONSTRAINT backtest_runs_period_check CHECK (period_end >= period_start),
    CONSTRAINT backtest_runs_time_check CHECK (finished_at >= started_at)
);

-- Numbered by the simulator: simulated fills may share a time, and their order decides the result.
CREATE TABLE backtest_trades (
    run_id UUID NOT NULL REFERENCES backtest_runs (id) ON DELETE CASCADE,
    trade_no INTEGER NOT NULL CHECK (trade_no > 0),
    symbol VARCHAR(20) NOT NULL,
    side VARCHAR(4) NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity NUMERIC(20, 8) NOT NULL CHECK (quantity > 0 AND quantity < 'NaN'),
    price NUMERIC(20, 8) NOT NULL CHECK (price >= 0 AND price < 'NaN'),
    commission NUMERIC(20, 8) NOT NULL DEFAULT 0 CHECK (commission < 'NaN'),
    executed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, trade_no)
);

-- Total worth of the run at a time, cash included; any spacing of the points will do.
CREATE TABLE backtest_equity (
    run_id UUID NOT NULL REFERENCES backtest_runs (id) ON DELETE CASCADE,
    as_of TIMESTAMPTZ NOT NULL,
    equity NUMERIC(38, 8) NOT NULL CHECK (equity < 'NaN'),
    PRIMARY KEY (run_id, as_of)
);

-- The initial capital is the point before the first and counts as the first peak.
CREATE VIEW backtest_equity_curve WITH (security_invoker = true) AS
WITH curve AS (
    SELECT
        e.run_id,
        e.as_of,
        e.equity,
        r.initial_capital,
        lag(e.equity, 1, r.initial_capital) OVER by_time AS previous,
        greatest(r.initial_capital, max(e.equity) OVER by_time) AS peak
    FROM backtest_equity AS e
    JOIN backtest_runs AS r ON r.id = e.run_id
    WINDOW by_time AS (PARTITION BY e.run_id ORDER BY e.as_of)
)
SELECT
    run_id,
    as_of,
    equity,
    CASE WHEN previous > 0 THEN (equity / previous - 1)::DOUBLE PRECISION END AS point_return,
    (equity / initial_capital - 1)::DOUBLE PRECISION AS total_return,
    (equity / peak - 1)::DOUBLE PRECISION AS drawdown
FROM curve;

-- Annualised by the spacing of the run's own points, risk-free rate 0; the annual return is left out below
-- 30 days, where it would say nothing.
CREATE VIEW backtest_summary WITH (security_invoker = true) AS
WITH curve AS (
    SELECT
        run_id,
        (array_agg(equity ORDER BY as_of DESC))[1] AS final_equity,
        (array_agg(total_return ORDER BY as_of DESC))[1] AS total_return,
        min(drawdown) AS max_drawdown,
        avg(point_return) AS mean_return,
        stddev_samp(point_return) AS deviation,
        (count(*) - 1) * 31557600 / NULLIF(extract(EPOCH FROM max(as_of) - min(as_of)), 0) AS yearly
    FROM backtest_equity_curve
    GROUP BY run_id
),
traded AS (
    SELECT run_id, count(*) AS trades, sum(quantity * price) AS turnover, sum(commission) AS commission
    FROM backtest_trades
    GROUP BY run_id
)
SELECT
    r.id AS run_id,
    r.name,
    r.status,
    r.period_start,
    r.period_end,
    r.initial_capital,
    c.final_equity,
    c.total_return,
    CASE
        WHEN c.total_return > -1 AND r.period_end - r.period_start >= 30
            THEN exp(least(ln(1 + c.total_return) * 365.25 / (r.period_end - r.period_start + 1), 700)) - 1
    END AS annual_return,
    c.max_drawdown,
    c.deviation * sqrt(c.yearly) AS volatility,
    c.mean_return / NULLIF(c.deviation, 0) * sqrt(c.yearly) AS sharpe_ratio,
    coalesce(t.trades, 0) AS trades,
    round(coalesce(t.turnover, 0), 8) AS turnover,
    coalesce(t.commission, 0) AS commission,
    r.finished_at - r.started_at AS run_time
FROM backtest_runs AS r
LEFT JOIN curve AS c ON c.run_id = r.id
LEFT JOIN traded AS t ON t.run_id = r.id;

-- What each symbol added to a run, beside its buy-and-hold return over the period. Open quantities are
-- valued at the last close of the period, else at the run's own last price.
CREATE VIEW backtest_symbol_results WITH (security_invoker = true) AS
WITH traded AS (
    SELECT
        run_id,
        symbol,
        count(*) AS trades,
        sum(quantity * price) AS turnover,
        sum(commission) AS commission,
        sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) AS open_quantity,
        sum(CASE side WHEN 'BUY' THEN -quantity ELSE quantity END * price) AS cash,
        (array_agg(price ORDER BY trade_no DESC))[1] AS last_price
    FROM backtest_trades
    GROUP BY run_id, symbol
)
SELECT
    t.run_id,
    t.symbol,
    t.trades,
    round(t.turnover, 8) AS turnover,
    t.commission,
    t.open_quantity,
    round(t.cash + t.open_quantity * coalesce(last_bar.close, t.last_price) - t.commission, 8) AS pnl,
    round(last_bar.close / NULLIF(first_bar.open, 0) - 1, 8) AS buy_and_hold_return
FROM traded AS t
JOIN backtest_runs AS r ON r.id = t.run_id
LEFT JOIN LATERAL (
    SELECT m.open
    FROM market_data AS m
    WHERE m.symbol = t.symbol
        AND m.timestamp >= r.period_start::TIMESTAMP AT TIME ZONE 'UTC'
        AND m.timestamp < (r.period_end + 1)::TIMESTAMP AT TIME ZONE 'UTC'
    ORDER BY m.timestamp
    LIMIT 1
) AS first_bar ON true
LEFT JOIN LATERAL (
    SELECT m.close
    FROM market_data AS m
    WHERE m.symbol = t.symbol
        AND m.timestamp >= r.period_start::TIMESTAMP AT TIME ZONE 'UTC'
        AND m.timestamp < (r.period_end + 1)::TIMESTAMP AT TIME ZONE 'UTC'
    ORDER BY m.timestamp DESC
    LIMIT 1
) AS last_bar ON true;

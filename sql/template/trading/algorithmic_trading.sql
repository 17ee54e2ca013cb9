-- algorithmic_trading: strategies, signals, orders and how they did (needs portfolios, trades, market_data)

-- A strategy trades for one portfolio; retire it rather than delete it, for its history goes with it.
CREATE TABLE strategies (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    portfolio_id UUID NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL,
    status VARCHAR(10) NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'paused', 'retired')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (portfolio_id, name)
);

-- Parameters are never changed in place: each signal names the version that produced it.
CREATE TABLE strategy_versions (
    strategy_id UUID NOT NULL REFERENCES strategies (id) ON DELETE CASCADE,
    version INTEGER NOT NULL CHECK (version > 0),
    parameters JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(parameters) = 'object'),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (strategy_id, version)
);

-- reference_price is the market when the signal was given: fills and outcomes are measured against it.
CREATE TABLE signals (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    strategy_id UUID NOT NULL,
    version INTEGER NOT NULL,
    symbol VARCHAR(20) NOT NULL,
    side VARCHAR(4) NOT NULL CHECK (side IN ('BUY', 'SELL')),
    strength NUMERIC(5, 4) NOT NULL DEFAULT 1 CHECK (strength BETWEEN 0 AND 1),
    reference_price NUMERIC(20, 8) NOT NULL CHECK (reference_price > 0 AND reference_price < 'NaN'),
    generated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    FOREIGN KEY (strategy_id, version) REFERENCES strategy_versions (strategy_id, version) ON DELETE CASCADE
);

CREATE INDEX idx_signals_strategy_generated ON signals (strategy_id, version, generated_at DESC);

-- Symbol and side are the signal's. The id has the type of trades.order_id, through which fills are found:
-- no foreign key, as a hypertable's rows come and go on their own.
CREATE TABLE orders (
    id VARCHAR(100) PRIMARY KEY DEFAULT gen_random_uuid()::TEXT,
    signal_id UUID NOT NULL REFERENCES signals (id) ON DELETE CASCADE,
    order_type VARCHAR(6) NOT NULL DEFAULT 'MARKET' CHECK (order_type IN ('MARKET', 'LIMIT')),
    quantity NUMERIC(20, 8) NOT NULL CHECK (quantity > 0 AND quantity < 'NaN'),
    limit_price NUMERIC(20, 8) CHECK (limit_price >= 0 AND limit_price < 'NaN'),
    status VARCHAR(9) NOT NULL DEFAULT 'new'
        CHECK (status IN ('new', 'working', 'filled', 'cancelled', 'rejected')),
    submitted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT orders_limit_price_given CHECK ((order_type = 'LIMIT') = (limit_price IS NOT NULL))
);

CREATE INDEX idx_orders_signal_id ON orders (signal_id);

-- What each order got. Slippage is in basis points, positive where the fill was worse than the reference.
CREATE VIEW order_fills WITH (security_invoker = true) AS
WITH filled AS (
    SELECT
        o.id AS order_id,
        o.status,
        o.quantity,
        o.submitted_at,
        g.strategy_id,
        g.version,
        s.portfolio_id,
        g.symbol,
        g.side,
        g.reference_price,
        count(t.id) AS fills,
        coalesce(sum(t.quantity), 0) AS filled_quantity,
        sum(t.quantity * t.price) / sum(t.quantity) AS fill_price,
        coalesce(sum(t.commission), 0) AS commission,
        max(t.executed_at) AS last_fill_at
    FROM orders AS o
    JOIN signals AS g ON g.id = o.signal_id
    JOIN strategies AS s ON s.id = g.strategy_id
    LEFT JOIN trades AS t
        ON t.order_id = o.id AND t.portfolio_id = s.portfolio_id AND t.symbol = g.symbol AND t.side = g.side
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
)
SELECT
    order_id,
    strategy_id,
    version,
    portfolio_id,
    symbol,
    side,
    status,
    submitted_at,
    quantity,
    fills,
    filled_quantity,
    round(filled_quantity / quantity, 8) AS fill_ratio,
    round(fill_price, 8) AS fill_price,
    commission,
    last_fill_at,
    round(
        (fill_price / reference_price - 1) * CASE side WHEN 'BUY' THEN 10000 ELSE -10000 END, 2
    ) AS slippage_bps
FROM filled;

-- Result of each strategy's own fills; what is still open is valued at the last close, else the last fill.
CREATE VIEW strategy_performance WITH (security_invoker = true) AS
WITH by_symbol AS (
    SELECT
        strategy_id,
        symbol,
        count(*) AS orders,
        sum(fills) AS fills,
        sum(filled_quantity * fill_price) AS turnover,
        sum(CASE side WHEN 'BUY' THEN filled_quantity ELSE -filled_quantity END) AS open_quantity,
        sum(CASE side WHEN 'BUY' THEN -filled_quantity ELSE filled_quantity END * fill_price) AS cash,
        sum(commission) AS commission,
        (array_agg(fill_price ORDER BY last_fill_at DESC NULLS LAST, order_id))[1] AS last_price
    FROM order_fills
    GROUP BY strategy_id, symbol
)
SELECT
    s.id AS strategy_id,
    s.portfolio_id,
    s.name,
    s.status,
    coalesce(sum(b.orders), 0)::BIGINT AS orders,
    coalesce(sum(b.fills), 0)::BIGINT AS fills,
    round(coalesce(sum(b.turnover), 0), 8) AS turnover,
    coalesce(sum(b.commission), 0) AS commission,
    round(coalesce(sum(b.open_quantity * coalesce(bar.close, b.last_price)), 0), 8) AS open_value,
    -- Symbols without a fill have no cash and add nothing.
    round(
        coalesce(sum(b.cash + b.open_quantity * coalesce(bar.close, b.last_price) - b.commission), 0), 8
    ) AS pnl
FROM strategies AS s
LEFT JOIN by_symbol AS b ON b.strategy_id = s.id
LEFT JOIN LATERAL (
    SELECT m.close FROM market_data AS m WHERE m.symbol = b.symbol ORDER BY m.timestamp DESC LIMIT 1
) AS bar ON true
GROUP BY 1, 2, 3, 4;

-- Whether signals were right: the market one day later (first bar from then on) against the reference price.
-- Signals younger than that are counted but not judged.
CREATE VIEW signal_quality WITH (security_invoker = true) AS
SELECT
    g.strategy_id,
    g.version,
    g.symbol,
    count(*) AS signals,
    count(*) FILTER (WHERE EXISTS (SELECT FROM orders AS o WHERE o.signal_id = g.id)) AS ordered,
    count(outcome.return) AS judged,
    round(avg(CASE WHEN outcome.return > 0 THEN 1.0 WHEN outcome.return <= 0 THEN 0.0 END), 8) AS hit_rate,
    round(avg(outcome.return), 8) AS mean_return
FROM signals AS g
LEFT JOIN LATERAL (
    SELECT (m.open / g.reference_price - 1) * CASE g.side WHEN 'BUY' THEN 1 ELSE -1 END AS return
    FROM market_data AS m
    WHERE m.symbol = g.symbol AND m.timestamp >= g.generated_at + INTERVAL '24 hours'
    ORDER BY m.timestamp
    LIMIT 1
) AS outcome ON true
GROUP BY 1, 2, 3;

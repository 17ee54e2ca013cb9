-- trades: executions, append-only by nature (needs portfolios)

-- The time is part of the key so that the table can become a hypertable on executed_at.
-- The side carries the sign of the quantity; a negative commission is a maker rebate.
CREATE TABLE trades (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    portfolio_id UUID NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    symbol VARCHAR(20) NOT NULL,
    side VARCHAR(4) NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity NUMERIC(20, 8) NOT NULL CHECK (quantity > 0 AND quantity < 'NaN'),
    price NUMERIC(20, 8) NOT NULL CHECK (price >= 0 AND price < 'NaN'),
    commission NUMERIC(20, 8) NOT NULL DEFAULT 0 CHECK (commission < 'NaN'),
    executed_at TIMESTAMPTZ NOT NULL,
    order_id VARCHAR(100),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (id, executed_at)
);

CREATE INDEX idx_trades_portfolio_id_executed ON trades (portfolio_id, executed_at DESC);
CREATE INDEX idx_trades_symbol_executed ON trades (symbol, executed_at DESC);

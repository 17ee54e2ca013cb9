-- positions: what each portfolio holds now (needs portfolios)

-- A negative quantity is a short position, zero a closed one that keeps its realised result.
-- NaN sorts above every number in PostgreSQL, hence the upper bounds.
CREATE TABLE positions (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    portfolio_id UUID NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    symbol VARCHAR(20) NOT NULL,
    quantity NUMERIC(20, 8) NOT NULL CHECK (quantity < 'NaN'),
    avg_price NUMERIC(20, 8) NOT NULL CHECK (avg_price >= 0 AND avg_price < 'NaN'),
    current_price NUMERIC(20, 8) CHECK (current_price >= 0 AND current_price < 'NaN'),
    realized_pnl NUMERIC(20, 8) NOT NULL DEFAULT 0 CHECK (realized_pnl < 'NaN'),
    unrealized_pnl NUMERIC(20, 8) NOT NULL DEFAULT 0 CHECK (unrealized_pnl < 'NaN'),
    opened_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX idx_positions_portfolio_id ON positions (portfolio_id);
CREATE INDEX idx_positions_symbol ON positions (symbol);

-- market_data: price bars per symbol, bulk-loaded

-- One row per bar; timestamp is the start of the bar, in whatever bar length the tenant loads.
CREATE TABLE market_data (
    symbol VARCHAR(20) NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    open NUMERIC(20, 8) NOT NULL,
    high NUMERIC(20, 8) NOT NULL,
    low NUMERIC(20, 8) NOT NULL,
    close NUMERIC(20, 8) NOT NULL,
    volume BIGINT NOT NULL DEFAULT 0 CHECK (volume >= 0),
    PRIMARY KEY (symbol, timestamp),
    CONSTRAINT market_data_prices_check
        CHECK (low >= 0 AND open BETWEEN low AND high AND close BETWEEN low AND high AND high < 'NaN')
);

-- Trading data of a chosen size for `bench`: run with the search path on a tenant's schema, and with bench.seed,
-- bench.portfolios, bench.trades and bench.minutes set. About 134 bytes of heap a trade and 85 a bar; 12 bars a minute.
-- Every number is a hash of a label: the same settings give the same data. Ids and order ids do not compress, prices
-- and times do about as much as real ones.

INSERT INTO portfolios (id, user_id, name, description, created_at, updated_at)
SELECT
    md5(concat(current_setting('bench.seed'), ' portfolio ', no))::UUID,
    md5(concat(current_setting('bench.seed'), ' user ', no / 3))::UUID,
    'Book ' || no,
    (ARRAY['Large caps and the index, long only', 'Concentrated technology holdings', 'Spot crypto, around the clock'])[1 + no % 3],
    '2024-01-01 00:00:00+00',
    '2024-01-01 00:00:00+00'
FROM generate_series(0, current_setting('bench.portfolios')::INTEGER - 1) AS no;

-- Slow waves and some noise, in cents, so that a close is near the next open.
INSERT INTO market_data (symbol, timestamp, open, high, low, close, volume)
SELECT
    symbol,
    '2024-01-01 00:00:00+00'::TIMESTAMPTZ + minute * INTERVAL '1 minute',
    first * 0.01,
    (greatest(first, last) + (bits >> 8) % 40) * 0.01,
    (least(first, last) - (bits >> 16) % 40) * 0.01,
    last * 0.01,
    (bits >> 24) % 1000000
FROM generate_series(0, current_setting('bench.minutes')::INTEGER - 1) AS minute,
    unnest(ARRAY['AAPL', 'AMZN', 'GOOGL', 'JPM', 'META', 'MSFT', 'NVDA', 'SPY', 'TSLA', 'XOM', 'BTC-USD', 'ETH-USD'])
        WITH ORDINALITY AS s (symbol, no),
    LATERAL (SELECT hashint8extended(minute * 16 + no, 7) & 9223372036854775807 AS bits) AS drawn,
    LATERAL (SELECT (8000 * no + 2500 + 2000 * sin(minute / 700.0 + no))::BIGINT + bits % 60 AS first) AS opened,
    LATERAL (SELECT first + (bits >> 32) % 61 - 30 AS last) AS closed;

INSERT INTO trades (id, portfolio_id, symbol, side, quantity, price, commission, executed_at, order_id, created_at)
SELECT
    hash::UUID,
    md5(concat(
        current_setting('bench.seed'), ' portfolio ', (bits >> 40) % current_setting('bench.portfolios')::INTEGER
    ))::UUID,
    symbols[1 + bits % 12],
    CASE (bits >> 8) % 2 WHEN 0 THEN 'BUY' ELSE 'SELL' END,
    1 + (bits >> 16) % 900,
    (8000 * (1 + bits % 12) + 500 + (bits >> 24) % 4000) * 0.01,
    greatest(100, (1 + (bits >> 16) % 900) / 2) * 0.01,
    executed_at,
    'ORD-' || upper(left(hash, 12)),
    executed_at + (bits >> 32) % 2000 * INTERVAL '1 millisecond'
FROM generate_series(0, current_setting('bench.trades')::INTEGER - 1) AS no,
    (SELECT ARRAY['AAPL', 'AMZN', 'GOOGL', 'JPM', 'META', 'MSFT', 'NVDA', 'SPY', 'TSLA', 'XOM', 'BTC-USD', 'ETH-USD'] AS symbols) AS s,
    LATERAL (
        SELECT
            md5(concat(current_setting('bench.seed'), ' trade ', no)) AS hash,
            hashint8extended(no, 3) & 9223372036854775807 AS bits,
            '2024-01-01 00:00:00+00'::TIMESTAMPTZ + no * INTERVAL '7130 milliseconds' AS executed_at
    ) AS drawn;

INSERT INTO positions (id, portfolio_id, symbol, quantity, avg_price, current_price, opened_at, updated_at)
SELECT
    md5(concat(t.portfolio_id, t.symbol))::UUID,
    t.portfolio_id,
    t.symbol,
    sum(CASE t.side WHEN 'BUY' THEN t.quantity ELSE -t.quantity END),
    round(avg(t.price), 8),
    max(t.price),
    min(t.executed_at),
    max(t.executed_at)
FROM trades AS t
WHERE t.portfolio_id IN (SELECT p.id FROM portfolios AS p)
GROUP BY t.portfolio_id, t.symbol;

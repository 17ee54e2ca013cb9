-- A tenant's trading history for `bench queries` and `bench resources`: run with the search path on its schema, and with
-- bench.seed, bench.portfolios, bench.symbols and bench.trades set. Three years of weekdays from 13:30 to 20:00 UTC, in the
-- order of time; a few symbols and portfolios have most of the trades, a portfolio trades about forty symbols. Every number is
-- a hash of a label: the same settings give the same data. Positions have no price of their own, so that valuing them takes
-- the last bar.

INSERT INTO portfolios (id, user_id, name, description, created_at, updated_at)
SELECT
    md5(concat(current_setting('bench.seed'), ' portfolio ', no))::UUID,
    md5(concat(current_setting('bench.seed'), ' user ', no / 3))::UUID,
    'Book ' || no,
    (ARRAY['Large caps and the index, long only', 'Concentrated technology holdings', 'Spot crypto, around the clock'])[1 + no % 3],
    '2022-01-01 00:00:00+00',
    '2022-01-01 00:00:00+00'
FROM generate_series(0, current_setting('bench.portfolios')::INTEGER - 1) AS no;

-- One bar a day; prices in cents on a slow wave of each symbol's own. OFFSET 0: worked out once a row.
INSERT INTO market_data (symbol, timestamp, open, high, low, close, volume)
SELECT
    symbol,
    start,
    first * 0.01,
    (greatest(first, last) + (bits >> 8) % 40) * 0.01,
    (least(first, last) - (bits >> 16) % 40) * 0.01,
    last * 0.01,
    (bits >> 24) % 10000000
FROM (
    SELECT
        'S' || lpad(no::TEXT, 4, '0') AS symbol,
        '2022-01-03 00:00:00+00'::TIMESTAMPTZ + (day / 5 * 7 + day % 5) * INTERVAL '1 day' AS start,
        bits,
        ((1500 + no * 7919 % 40000) * (1 + 0.3 * sin(day / 90.0 + no)))::BIGINT + bits % 60 AS first,
        ((1500 + no * 7919 % 40000) * (1 + 0.3 * sin(day / 90.0 + no)))::BIGINT + bits % 60 + (bits >> 32) % 61 - 30 AS last
    FROM generate_series(0, 779) AS day,
        generate_series(0, current_setting('bench.symbols')::INTEGER - 1) AS no,
        LATERAL (SELECT hashint8extended(day * 4096 + no, 7) & 9223372036854775807 AS bits OFFSET 0) AS drawn
    OFFSET 0
) AS bars;

-- A square of an even random number lies near zero more often than not: that is the skew.
INSERT INTO trades (id, portfolio_id, symbol, side, quantity, price, commission, executed_at, order_id, created_at)
SELECT
    hash::UUID,
    md5(seed || ' portfolio ' || book)::UUID,
    'S' || lpad(stock::TEXT, 4, '0'),
    CASE (bits >> 8) % 2 WHEN 0 THEN 'BUY' ELSE 'SELL' END,
    quantity,
    (((1500 + stock * 7919 % 40000) * (1 + 0.3 * sin(day / 90.0 + stock)))::BIGINT + (bits >> 24) % 60) * 0.01,
    greatest(100, quantity / 2) * 0.01,
    executed_at,
    'ORD-' || upper(left(hash, 12)),
    executed_at + (bits >> 32) % 2000 * INTERVAL '1 millisecond'
FROM (
    SELECT
        seed,
        day,
        book,
        bits,
        md5(seed || ' trade ' || no) AS hash,
        1 + (bits >> 16) % 900 AS quantity,
        (symbols * ((low * low) >> 16)) >> 16 AS stock,
        '2022-01-03 13:30:00+00'::TIMESTAMPTZ + (day / 5 * 7 + day % 5) * INTERVAL '1 day'
            + (no * 780 % trades) * 23400 / trades * INTERVAL '1 second' AS executed_at
    FROM (
        SELECT
            wanted.*,
            no,
            bits,
            no * 780 / trades AS day,
            (portfolios * (((bits & 65535) * (bits & 65535)) >> 16)) >> 16 AS book,
            hashint8extended((portfolios * (((bits & 65535) * (bits & 65535)) >> 16) >> 16) * 64 + (bits >> 40) % 40, 11) & 65535 AS low
        FROM (
            SELECT
                current_setting('bench.seed') AS seed,
                current_setting('bench.portfolios')::BIGINT AS portfolios,
                current_setting('bench.symbols')::BIGINT AS symbols,
                current_setting('bench.trades')::BIGINT AS trades
            OFFSET 0
        ) AS wanted,
            generate_series(0, current_setting('bench.trades')::BIGINT - 1) AS no,
            LATERAL (SELECT hashint8extended(no, 3) & 9223372036854775807 AS bits OFFSET 0) AS drawn
        OFFSET 0
    ) AS placed
    OFFSET 0
) AS executed;

INSERT INTO positions (id, portfolio_id, symbol, quantity, avg_price, opened_at, updated_at)
SELECT
    md5(concat(t.portfolio_id, t.symbol))::UUID,
    t.portfolio_id,
    t.symbol,
    sum(CASE t.side WHEN 'BUY' THEN t.quantity ELSE -t.quantity END),
    round(avg(t.price), 8),
    min(t.executed_at),
    max(t.executed_at)
FROM trades AS t
GROUP BY t.portfolio_id, t.symbol;

-- Sample data for one tenant, run as the tenant: 4 portfolios, 12 symbols, 25 positions, about 10,000 trades
-- and 17,000 hourly bars over the last 60 UTC days.
-- Every number is a hash of current_user and a label: the same tenant gets the same data on the same day,
-- another tenant other data. Run twice, it fails on the key of portfolios and changes nothing.

INSERT INTO portfolios (id, user_id, name, description, created_at, updated_at)
SELECT
    md5(current_user || ' portfolio ' || no)::UUID,
    md5(current_user || ' user ' || (no + 1) / 2)::UUID,
    name,
    description,
    now() - INTERVAL '90 days',
    now()
FROM (VALUES
    (1, 'Core US Equity', 'Large caps and the index, long only'),
    (2, 'Growth Technology', 'Concentrated technology holdings'),
    (3, 'Digital Assets', 'Spot crypto, traded around the clock'),
    (4, 'Long/Short Overlay', 'Hedged: shorts against single-name longs')
) AS p (no, name, description);

-- A random walk per symbol: each bar opens where the last one closed. Prices are whole cents until the end,
-- as double precision to NUMERIC is slow.
WITH symbols (symbol, start_price, hourly_volatility, hourly_volume) AS (
    VALUES
        ('AAPL', 228.50, 0.0027, 2100000),
        ('AMZN', 205.20, 0.0033, 1600000),
        ('GOOGL', 178.40, 0.0031, 1100000),
        ('JPM', 245.10, 0.0024, 420000),
        ('META', 585.70, 0.0035, 610000),
        ('MSFT', 425.30, 0.0025, 900000),
        ('NVDA', 136.80, 0.0046, 9800000),
        ('SPY', 590.60, 0.0015, 2400000),
        ('TSLA', 338.90, 0.0055, 3900000),
        ('XOM', 112.40, 0.0024, 690000),
        ('BTC-USD', 96400.00, 0.0040, 900),
        ('ETH-USD', 3380.00, 0.0048, 12000)
),
hours AS (
    SELECT n, day_zero + n * INTERVAL '1 hour' AS hour
    FROM (SELECT ((now() AT TIME ZONE 'UTC')::DATE - 59)::TIMESTAMP AT TIME ZONE 'UTC' AS day_zero) AS d,
        generate_series(0, 60 * 24 - 1) AS n
    WHERE day_zero + n * INTERVAL '1 hour' <= now()
),
-- Three independent numbers in [0, 1), 20 bits each, of one hash.
drawn AS (
    SELECT
        n,
        hour,
        symbol,
        start_price * 100::DOUBLE PRECISION AS start_cents,
        hourly_volatility::DOUBLE PRECISION AS volatility,
        hourly_volume,
        (bits & 1048575) / 1048576.0::DOUBLE PRECISION AS a,
        ((bits >> 20) & 1048575) / 1048576.0::DOUBLE PRECISION AS b,
        ((bits >> 40) & 1048575) / 1048576.0::DOUBLE PRECISION AS c
    FROM symbols, hours, hashtextextended(current_user || symbol || n, 1) AS bits
),
-- The sum of three uniform numbers, less its mean and doubled, has variance 1.
walked AS (
    SELECT *, start_cents * exp(volatility * sum((a + b + c - 1.5) * 2) OVER by_hour) AS last
    FROM drawn
    WINDOW by_hour AS (PARTITION BY symbol ORDER BY n)
),
bars AS (
    SELECT *, lag(last, 1, start_cents) OVER (PARTITION BY symbol ORDER BY n) AS first
    FROM walked
)
INSERT INTO market_data (symbol, timestamp, open, high, low, close, volume)
SELECT
    symbol,
    hour,
    first::BIGINT * 0.01,
    (greatest(first, last) * (1 + volatility * a * 0.8))::BIGINT * 0.01,
    (least(first, last) * (1 - volatility * c * 0.8))::BIGINT * 0.01,
    last::BIGINT * 0.01,
    (hourly_volume * (0.4 + 1.2 * b))::BIGINT
FROM bars;

-- Each position opens with ten lots, then trades in pairs of one increase and one smaller decrease, in
-- either order, so that it never changes sign. Equities trade in US hours on weekdays, crypto always;
-- the price lies inside its hour's bar.
WITH holdings (no, portfolio_no, symbol, entry_side, lot_value) AS (
    VALUES
        (1, 1, 'AAPL', 'BUY', 9000), (2, 1, 'MSFT', 'BUY', 11000), (3, 1, 'AMZN', 'BUY', 7000),
        (4, 1, 'GOOGL', 'BUY', 7000), (5, 1, 'META', 'BUY', 6000), (6, 1, 'JPM', 'BUY', 8000),
        (7, 1, 'XOM', 'BUY', 5000), (8, 1, 'SPY', 'BUY', 15000),
        (9, 2, 'AAPL', 'BUY', 6000), (10, 2, 'MSFT', 'BUY', 6000), (11, 2, 'NVDA', 'BUY', 12000),
        (12, 2, 'AMZN', 'BUY', 6000), (13, 2, 'GOOGL', 'BUY', 4000), (14, 2, 'META', 'BUY', 7000),
        (15, 2, 'TSLA', 'BUY', 5000),
        (16, 4, 'NVDA', 'BUY', 8000), (17, 4, 'AAPL', 'BUY', 7000), (18, 4, 'META', 'BUY', 5000),
        (19, 4, 'XOM', 'BUY', 4000), (20, 4, 'TSLA', 'SELL', 4000), (21, 4, 'SPY', 'SELL', 9000),
        (22, 4, 'JPM', 'SELL', 3000),
        (23, 3, 'BTC-USD', 'BUY', 14000), (24, 3, 'ETH-USD', 'BUY', 8000), (25, 4, 'BTC-USD', 'BUY', 3000)
),
-- A lot in the smallest quantity traded: one share, 0.0001 coins.
sized AS MATERIALIZED (
    SELECT
        h.no,
        h.symbol,
        h.entry_side,
        h.no > 22 AS crypto,
        md5(current_user || ' portfolio ' || h.portfolio_no)::UUID AS portfolio_id,
        (h.lot_value / m.open)::DOUBLE PRECISION * CASE WHEN h.no > 22 THEN 10000 ELSE 1 END AS lot
    FROM holdings AS h
    JOIN market_data AS m
        ON m.symbol = h.symbol
        AND m.timestamp = ((now() AT TIME ZONE 'UTC')::DATE - 59)::TIMESTAMP AT TIME ZONE 'UTC'
),
days AS (
    SELECT
        n AS day_no,
        day,
        extract(ISODOW FROM day) >= 6 AS weekend,
        abs(hashtextextended(current_user || ' day ' || n, 2) % 80)::INTEGER AS extra
    FROM generate_series(0, 59) AS n,
        LATERAL (SELECT ((now() AT TIME ZONE 'UTC')::DATE - 59 + n)::TIMESTAMP AS day) AS d
),
planned AS (
    SELECT
        label,
        bits,
        day,
        CASE WHEN weekend THEN 23 + (bits & 65535) % 3 ELSE 1 + (bits & 65535) % 25 END AS no,
        ((bits >> 16) & 16777215) / 16777216.0::DOUBLE PRECISION AS time_fraction
    FROM days,
        generate_series(1, CASE WHEN weekend THEN 30 + extra / 2 ELSE 180 + extra END) AS i,
        concat(current_user, ' trade ', day_no, ' ', i) AS label,
        hashtextextended(label, 3) AS bits
),
timed AS (
    SELECT
        s.*,
        p.label,
        ((p.bits >> 40) & 65535) / 65536.0 AS price_fraction,
        CASE
            WHEN s.crypto THEN p.day + p.time_fraction * INTERVAL '24 hours'
            ELSE p.day + INTERVAL '14 hours 30 minutes' + p.time_fraction * INTERVAL '6 hours 30 minutes'
        END AT TIME ZONE 'UTC' AS executed_at
    FROM planned AS p
    JOIN sized AS s ON s.no = p.no
),
-- k = 1 opens; 2 and 3 are the first pair, 4 and 5 the second: both halves draw the same size and order.
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY no ORDER BY executed_at, label) AS k
    FROM timed
    WHERE executed_at <= now()
),
paired AS (
    SELECT
        numbered.*,
        k = 1 OR (k + (pair_bits >> 20)) % 2 = 0 AS increase,
        CASE k WHEN 1 THEN 10 ELSE 0.5 + (pair_bits & 65535) / 65536.0::DOUBLE PRECISION END AS lots
    FROM numbered,
        hashtextextended(concat(current_user, ' pair ', no, ' ', k / 2), 4) AS pair_bits
),
-- Materialized so that quantity and price are worked out once a row, not at each mention.
filled AS MATERIALIZED (
    SELECT
        md5(t.label) AS hash,
        t.portfolio_id,
        t.symbol,
        t.crypto,
        CASE WHEN t.increase = (t.entry_side = 'BUY') THEN 'BUY' ELSE 'SELL' END AS side,
        greatest(1, t.lot * t.lots * CASE WHEN t.increase THEN 1 ELSE 0.8 + t.price_fraction / 5 END)::BIGINT
            * CASE WHEN t.crypto THEN 0.0001 ELSE 1 END AS quantity,
        bar.low + trunc((bar.high - bar.low) * t.price_fraction, 2) AS price,
        t.executed_at,
        t.executed_at + t.price_fraction::DOUBLE PRECISION * INTERVAL '2 seconds' AS recorded_at
    FROM paired AS t
    JOIN market_data AS bar
        ON bar.symbol = t.symbol
        AND bar.timestamp = date_bin('1 hour', t.executed_at, TIMESTAMPTZ '2000-01-01 00:00:00+00')
)
INSERT INTO trades (
    id, portfolio_id, symbol, side, quantity, price, commission, executed_at, order_id, created_at
)
SELECT
    hash::UUID,
    portfolio_id,
    symbol,
    side,
    quantity,
    price,
    round(CASE WHEN crypto THEN quantity * price * 0.001 ELSE greatest(1, quantity * 0.005) END, 2),
    executed_at,
    'ORD-' || upper(left(hash, 12)),
    least(recorded_at, now())
FROM filled;

-- Positions are what the trades left, at the average price of the side that opened them.
INSERT INTO positions (
    id, portfolio_id, symbol, quantity, avg_price, current_price, realized_pnl, unrealized_pnl,
    opened_at, updated_at
)
SELECT
    md5(current_user || ' position ' || t.portfolio_id || ' ' || t.symbol)::UUID,
    t.portfolio_id,
    t.symbol,
    net.quantity,
    net.avg_price,
    bar.close,
    coalesce(least(t.bought, t.sold) * (t.received / t.sold - t.paid / t.bought), 0),
    net.quantity * (bar.close - net.avg_price),
    t.opened_at,
    t.updated_at
FROM (
    SELECT
        portfolio_id,
        symbol,
        sum(quantity) FILTER (WHERE side = 'BUY') AS bought,
        sum(quantity) FILTER (WHERE side = 'SELL') AS sold,
        sum(quantity * price) FILTER (WHERE side = 'BUY') AS paid,
        sum(quantity * price) FILTER (WHERE side = 'SELL') AS received,
        min(executed_at) AS opened_at,
        max(executed_at) AS updated_at
    FROM trades
    WHERE portfolio_id IN (
        SELECT md5(current_user || ' portfolio ' || no)::UUID FROM generate_series(1, 4) AS no
    )
    GROUP BY portfolio_id, symbol
) AS t
CROSS JOIN LATERAL (
    SELECT
        coalesce(t.bought, 0) - coalesce(t.sold, 0) AS quantity,
        CASE
            WHEN t.bought > coalesce(t.sold, 0) THEN t.paid / t.bought
            ELSE t.received / t.sold
        END AS avg_price
) AS net
CROSS JOIN LATERAL (
    SELECT m.close FROM market_data AS m WHERE m.symbol = t.symbol ORDER BY m.timestamp DESC LIMIT 1
) AS bar;

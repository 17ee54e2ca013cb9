-- A few rows for a tenant of `bench metrics`, so that every counter counts and every table has a file with something in it: run
-- with the search path on its schema.
WITH books AS (
    INSERT INTO portfolios (user_id, name)
    SELECT gen_random_uuid(), 'Book ' || no FROM generate_series(1, 2) AS no
    RETURNING id
), held AS (
    INSERT INTO positions (portfolio_id, symbol, quantity, avg_price)
    SELECT id, 'S' || no, 1, 1 FROM books, generate_series(1, 3) AS no
)
INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
SELECT id, 'S1', 'BUY', 1, 1, now() - no * INTERVAL '8 hours' FROM books, generate_series(0, 4) AS no

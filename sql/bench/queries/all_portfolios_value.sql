-- Complex join: every portfolio at the last prices, beside what it traded since a time. A price is looked up once for each symbol.
WITH held AS (
    SELECT DISTINCT p.symbol
    FROM positions AS p
),
prices AS MATERIALIZED (
    SELECT h.symbol, bar.close
    FROM held AS h
    CROSS JOIN LATERAL (
        SELECT m.close
        FROM market_data AS m
        WHERE m.symbol = h.symbol
        ORDER BY m.timestamp DESC
        LIMIT 1
    ) AS bar
),
recent AS (
    SELECT t.portfolio_id, count(*) AS trades, sum(t.quantity * t.price) AS turnover
    FROM portfolios AS b
    JOIN trades AS t ON t.portfolio_id = b.id
    WHERE t.executed_at >= $1::TIMESTAMPTZ
    GROUP BY t.portfolio_id
)
SELECT
    f.id,
    f.name,
    count(*) AS positions,
    sum(p.quantity * c.close) AS market_value,
    sum(p.quantity * (c.close - p.avg_price)) AS unrealized_pnl,
    max(r.trades) AS trades,
    max(r.turnover) AS turnover
FROM portfolios AS f
JOIN positions AS p ON p.portfolio_id = f.id
JOIN prices AS c ON c.symbol = p.symbol
LEFT JOIN recent AS r ON r.portfolio_id = f.id
GROUP BY f.id, f.name
ORDER BY market_value DESC

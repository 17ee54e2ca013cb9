-- Complex join: every portfolio at the last prices, beside what it traded since a time.
SELECT
    f.id,
    f.name,
    count(*) AS positions,
    sum(p.quantity * bar.close) AS market_value,
    sum(p.quantity * (bar.close - p.avg_price)) AS unrealized_pnl,
    max(recent.trades) AS trades,
    max(recent.turnover) AS turnover
FROM portfolios AS f
JOIN positions AS p ON p.portfolio_id = f.id
CROSS JOIN LATERAL (
    SELECT m.close
    FROM market_data AS m
    WHERE m.symbol = p.symbol
    ORDER BY m.timestamp DESC
    LIMIT 1
) AS bar
LEFT JOIN (
    SELECT t.portfolio_id, count(*) AS trades, sum(t.quantity * t.price) AS turnover
    FROM portfolios AS b
    JOIN trades AS t ON t.portfolio_id = b.id
    WHERE t.executed_at >= $1::TIMESTAMPTZ
    GROUP BY t.portfolio_id
) AS recent ON recent.portfolio_id = f.id
GROUP BY f.id, f.name
ORDER BY market_value DESC

-- Complex join: what a portfolio holds, at the last price, beside what it traded of each since a time.
SELECT
    f.name,
    p.symbol,
    p.quantity,
    bar.close,
    p.quantity * bar.close AS market_value,
    p.quantity * (bar.close - p.avg_price) AS unrealized_pnl,
    recent.trades,
    recent.turnover
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
    SELECT t.symbol, count(*) AS trades, sum(t.quantity * t.price) AS turnover
    FROM trades AS t
    WHERE t.portfolio_id = $1 AND t.executed_at >= $2::TIMESTAMPTZ
    GROUP BY t.symbol
) AS recent ON recent.symbol = p.symbol
WHERE f.id = $1
ORDER BY abs(p.quantity * bar.close) DESC

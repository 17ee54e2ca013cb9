-- Aggregation: turnover, costs and profit of each symbol in the year from a time on, what is left valued at the year's end.
SELECT
    traded.symbol,
    traded.trades,
    traded.turnover,
    traded.commission,
    traded.net_quantity * bar.close - traded.net_cost - traded.commission AS pnl
FROM (
    SELECT
        t.symbol,
        count(*) AS trades,
        sum(t.quantity * t.price) AS turnover,
        sum(t.commission) AS commission,
        sum(CASE t.side WHEN 'BUY' THEN t.quantity ELSE -t.quantity END) AS net_quantity,
        sum(CASE t.side WHEN 'BUY' THEN t.quantity ELSE -t.quantity END * t.price) AS net_cost
    FROM trades AS t
    WHERE t.executed_at >= $1::TIMESTAMPTZ AND t.executed_at < $1::TIMESTAMPTZ + INTERVAL '1 year'
    GROUP BY t.symbol
) AS traded
LEFT JOIN LATERAL (
    SELECT m.close
    FROM market_data AS m
    WHERE m.symbol = traded.symbol AND m.timestamp < $1::TIMESTAMPTZ + INTERVAL '1 year'
    ORDER BY m.timestamp DESC
    LIMIT 1
) AS bar ON true
ORDER BY pnl DESC

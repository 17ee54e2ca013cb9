-- Simple select: what a portfolio has traded last.
SELECT t.id, t.symbol, t.side, t.quantity, t.price, t.executed_at
FROM trades AS t
WHERE t.portfolio_id = $1
ORDER BY t.executed_at DESC
LIMIT 50

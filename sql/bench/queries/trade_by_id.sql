-- Simple select: one trade by the first column of its key.
SELECT t.id, t.portfolio_id, t.symbol, t.side, t.quantity, t.price, t.commission, t.executed_at, t.order_id
FROM trades AS t
WHERE t.id = $1

-- Bulk insert: rows that a client sends in one statement.
INSERT INTO trades (portfolio_id, symbol, side, quantity, price, commission, executed_at, order_id)
SELECT r.portfolio_id, r.symbol, r.side, r.quantity, r.price, 1, r.executed_at::TIMESTAMPTZ, r.order_id
FROM unnest($1::UUID[], $2::TEXT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::TEXT[], $7::TEXT[])
    AS r (portfolio_id, symbol, side, quantity, price, executed_at, order_id)

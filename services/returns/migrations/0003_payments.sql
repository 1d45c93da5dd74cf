-- Payments for edits: each adds once to what its order paid.
CREATE TABLE payments (
    payment_id   uuid        PRIMARY KEY,
    order_id     uuid        NOT NULL REFERENCES orders,
    amount_cents bigint      NOT NULL CHECK (amount_cents > 0),
    collected_at timestamptz NOT NULL
);
CREATE INDEX payments_of_order ON payments (order_id);

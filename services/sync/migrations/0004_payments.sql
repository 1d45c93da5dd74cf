-- Payments that edits ask channels for. What is collected adds to what the order paid, so that it can go back.
CREATE TABLE payments (
    payment_id         uuid        PRIMARY KEY,
    order_id           uuid        NOT NULL REFERENCES channel_orders (order_id),
    change_id          uuid        NOT NULL,
    amount_cents       bigint      NOT NULL CHECK (amount_cents > 0),
    currency           text        NOT NULL,
    due_at             timestamptz NOT NULL,
    state              text        NOT NULL CHECK (state IN ('requested', 'voided', 'refused', 'collected')),
    provider_reference text,
    requested_at       timestamptz NOT NULL,
    settled_at         timestamptz,
    CHECK ((state = 'requested') = (settled_at IS NULL)),
    CHECK ((state = 'collected') = (provider_reference IS NOT NULL))
);
CREATE INDEX payments_of_order ON payments (order_id);

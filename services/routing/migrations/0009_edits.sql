-- Edits that cost more: what was asked for, and whether it is there (docs/decisions/0023-collecting-money.md).
ALTER TABLE changes
    ADD COLUMN payment_id    uuid UNIQUE,
    ADD COLUMN payment_cents bigint CHECK (payment_cents > 0),
    ADD COLUMN payment       text CHECK (payment IN ('asked', 'collected', 'paid_back')),
    ADD CONSTRAINT payment_is_whole CHECK (
        (payment_id IS NULL) = (payment_cents IS NULL) AND (payment_id IS NULL) = (payment IS NULL));

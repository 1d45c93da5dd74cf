-- Edits may change what the customer pays for shipping (orders.shipping_paid_cents); what of it they gave back is counted, so that every edit can
-- say what was captured for shipping in all, in whatever order edits and refunds are heard.
ALTER TABLE orders ADD COLUMN shipping_refunded_cents bigint NOT NULL DEFAULT 0 CHECK (shipping_refunded_cents >= 0);

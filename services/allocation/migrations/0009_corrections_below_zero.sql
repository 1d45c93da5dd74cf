-- A 3PL's correction may take more units than the books have: they were moved by a message that is still on its way, or the correction is
-- wrong. It is booked all the same, because the order in which messages arrive must not matter; how far below zero it left the shelf is
-- kept, so that shelves which stay there can be shown with their reason.
ALTER TABLE adjustments ADD COLUMN below_zero_units integer NOT NULL DEFAULT 0 CHECK (below_zero_units >= 0);
CREATE INDEX adjustments_below_zero ON adjustments (location, sku, adjusted_at) WHERE below_zero_units > 0;

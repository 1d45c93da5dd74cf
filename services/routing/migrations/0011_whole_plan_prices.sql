-- How the prices of scarce stock were worked out: of how many SKUs together with those they are ordered with, by whole plans; the others
-- have the price of each by itself. fallback: why that were not more; null when it were all.
ALTER TABLE stock_price_refresh
    ADD COLUMN skus_together integer NOT NULL DEFAULT 0 CHECK (skus_together >= 0),
    ADD COLUMN fallback      text;

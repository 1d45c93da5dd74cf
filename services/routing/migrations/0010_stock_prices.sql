-- What a unit of scarce stock is worth where it lies (feature C8): worked out in the background, used by plans that look ahead.

-- When the prices are worked out next, and what came of the last time; at most one row (none: never yet, and due). due_at is the lease,
-- too: whoever moves it forward does the work.
CREATE TABLE stock_price_refresh (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    due_at      timestamptz NOT NULL,
    -- counts what was ever worked out; 0: nothing yet
    version     bigint      NOT NULL CHECK (version >= 0),
    computed_at timestamptz,
    skus        integer     NOT NULL DEFAULT 0 CHECK (skus >= 0),
    -- why the last time brought no prices; null when it did
    problem     text,
    CONSTRAINT a_version_has_its_time CHECK ((version = 0) = (computed_at IS NULL))
);

-- The newest version, whole; what is not here costs nothing to take.
CREATE TABLE stock_prices (
    sku      text   NOT NULL,
    location text   NOT NULL,
    cents    bigint NOT NULL CHECK (cents > 0),
    PRIMARY KEY (sku, location)
);

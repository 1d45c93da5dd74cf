-- What it saved so far to plan the orders of a window together before release (feature C8); at most one row (none: nothing yet). Each
-- saving stands in the decision record of its order.
CREATE TABLE replanning (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- whose plans changed
    orders        bigint  NOT NULL CHECK (orders > 0),
    parcels_saved bigint  NOT NULL,
    -- below zero where fewer parcels were worth more (ORDERMESH_SPLIT_CENTS)
    cents_saved   bigint  NOT NULL
);

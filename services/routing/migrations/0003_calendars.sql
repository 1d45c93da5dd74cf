-- Working days and holidays of locations: parcels leave, and goods become ready, only on days on which the place works.
ALTER TABLE locations
    -- ISO weekdays, Monday is 1
    ADD COLUMN working_days       smallint[] NOT NULL DEFAULT '{1,2,3,4,5}' CHECK (cardinality(working_days) > 0),
    ADD COLUMN holidays           date[]     NOT NULL DEFAULT '{}',
    -- working days between the day goods arrive and the day they can be picked
    ADD COLUMN dock_to_stock_days integer    NOT NULL DEFAULT 0 CHECK (dock_to_stock_days >= 0);

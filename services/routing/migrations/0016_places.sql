-- Where each version of each location lies, as it was found on the map when it was registered: neither plans nor replay depend on a file of
-- postal areas that may be gone or another one at the next start. A version without a row is from before; it gets one at the first start
-- that finds its postal code.
-- append-only: location_places
CREATE TABLE location_places (
    location text   NOT NULL,
    version  bigint NOT NULL,
    -- the fields of decide.geography.Place up to its country; null: its postal code was on no map
    place    jsonb,
    PRIMARY KEY (location, version)
);

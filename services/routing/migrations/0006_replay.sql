-- What decisions stand on, kept so that every one of them can be made again (feature C10): each version of each location, and the rate
-- cards themselves.
ALTER TABLE network ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- append-only: location_versions
CREATE TABLE location_versions (
    location text   NOT NULL,
    -- of the network, from which on the location was so
    version  bigint NOT NULL,
    document jsonb  NOT NULL,
    PRIMARY KEY (location, version)
);
INSERT INTO location_versions (location, version, document) SELECT location, 1, to_jsonb(locations) FROM locations;

-- append-only: rate_cards
CREATE TABLE rate_cards (
    version text        PRIMARY KEY,
    -- file name -> what is in it
    files   jsonb       NOT NULL,
    kept_at timestamptz NOT NULL
);

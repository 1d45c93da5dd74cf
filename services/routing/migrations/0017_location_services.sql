-- The services that pick up at a location (feature C1), at least one. Locations from before offered all.
ALTER TABLE locations
    ADD COLUMN services text[] NOT NULL DEFAULT '{ground,two_day,next_day}'
        CHECK (cardinality(services) > 0 AND services <@ '{ground,two_day,next_day}');

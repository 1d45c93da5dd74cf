-- The carriers that pick up at a location (feature C1); none named: all of them. Locations from before had one, or all.
ALTER TABLE locations ADD COLUMN carriers text[] NOT NULL DEFAULT '{}';

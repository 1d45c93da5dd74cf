-- How many fulfillment orders a location takes on a working day and in an hour (feature C7); null: as many as come.
ALTER TABLE locations
    ADD COLUMN fulfillments_per_day  integer CHECK (fulfillments_per_day > 0),
    ADD COLUMN fulfillments_per_hour integer CHECK (fulfillments_per_hour > 0),
    -- local time; the hours before it have no slots
    ADD COLUMN work_starts           text    NOT NULL DEFAULT '08:00';

-- The slots that are taken. Locked in the order of the key, always. Only locations that limit their work have rows.
CREATE TABLE capacity_slots (
    location text     NOT NULL,
    -- by the location's own clock
    day      date     NOT NULL,
    -- -1: the whole day
    hour     smallint NOT NULL CHECK (hour BETWEEN -1 AND 23),
    taken    integer  NOT NULL CHECK (taken >= 0),
    -- as it was registered when a slot was last asked for, but never less than is taken: lowering it takes nothing from anybody
    capacity integer,
    PRIMARY KEY (location, day, hour),
    -- the last line of defence: nobody takes a slot that is not there
    CONSTRAINT never_beyond_capacity CHECK (taken <= capacity)
) WITH (fillfactor = 50);

-- The slot of a fulfillment order: null where the location did not limit its work when it was planned, or not by the hour.
ALTER TABLE fulfillments
    ADD COLUMN slot_day  date,
    ADD COLUMN slot_hour smallint,
    ADD CONSTRAINT hours_belong_to_days CHECK (slot_day IS NOT NULL OR slot_hour IS NULL);

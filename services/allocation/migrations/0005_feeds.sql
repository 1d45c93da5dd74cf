-- Feeds of 3PLs and distributors: what has come, what is missing, what was decided about it, and counts that a person uploads.
--
-- Locks: a row of `feeds` comes after the pools, always.

-- `counted_short` are assigned units that the newest count did not find, `missed` are units that pickers have not found since that count. What
-- pickers miss is written off beyond what the count had missed already: written off = missed - counted_short, never below zero.
ALTER TABLE stock_locations
    ADD COLUMN counted_short integer NOT NULL DEFAULT 0,
    ADD COLUMN missed        integer NOT NULL DEFAULT 0 CHECK (missed >= 0);

ALTER TABLE feed_sequences ADD COLUMN arrived_at timestamptz NOT NULL DEFAULT now();

-- Units that a picker did not find, one row per report, so that a count taken before it can be netted whenever it arrives.
-- append-only: missed_units
CREATE TABLE missed_units (
    missed_id      uuid        NOT NULL PRIMARY KEY,
    location       text COLLATE "C" NOT NULL,
    sku            text COLLATE "C" NOT NULL,
    fulfillment_id uuid        NOT NULL,
    quantity       integer     NOT NULL CHECK (quantity > 0),
    happened_at    timestamptz NOT NULL
);
CREATE INDEX missed_units_of_shelf ON missed_units (location, sku, happened_at);

INSERT INTO missed_units (missed_id, location, sku, fulfillment_id, quantity, happened_at)
SELECT movement_id, location, sku, cause_id, -quantity, happened_at FROM movements WHERE kind = 'written_off' AND quantity < 0;
UPDATE stock_locations shelf SET missed = told.missed
FROM (SELECT location, sku, sum(quantity) AS missed
      FROM missed_units JOIN stock_locations USING (location, sku)
      WHERE counted_as_of IS NULL OR happened_at > counted_as_of GROUP BY location, sku) told
WHERE shelf.location = told.location AND shelf.sku = told.sku;

-- What is known of the feed of one location. A location without a row has never been heard.
CREATE TABLE feeds (
    location            text COLLATE "C" PRIMARY KEY REFERENCES locations,
    -- an operator's settings; null is the default
    stale_after_seconds integer     CHECK (stale_after_seconds BETWEEN 60 AND 31536000),
    patience_seconds    integer     CHECK (patience_seconds BETWEEN 0 AND 604800),
    -- since when counts are expected although none has come
    expected_since      timestamptz,
    -- the last message of the feed, whatever it said
    last_heard_at       timestamptz,
    -- the newest count that was applied: when it came, when it was taken, and what it shows
    counted_at          timestamptz,
    counted_as_of       timestamptz,
    counted_watermark   bigint      NOT NULL DEFAULT 0,
    counted_lines       integer     NOT NULL DEFAULT 0
);

INSERT INTO feeds (location, last_heard_at, counted_at, counted_as_of, counted_watermark)
SELECT DISTINCT ON (location) location, counted_as_of, counted_as_of, counted_as_of, counted_watermark
FROM stock_locations WHERE counted_as_of IS NOT NULL ORDER BY location, counted_watermark DESC, counted_as_of DESC;

-- Counts that wait for messages which they show: up to which sequence, and since when.
CREATE TABLE awaited_watermarks (
    location  text COLLATE "C" NOT NULL REFERENCES locations,
    watermark bigint      NOT NULL,
    since     timestamptz NOT NULL,
    PRIMARY KEY (location, watermark)
);

-- What was decided about a feed, by whom and why.
-- append-only: feed_decisions
CREATE TABLE feed_decisions (
    decision_id    uuid        PRIMARY KEY,
    location       text COLLATE "C" NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('gap_closed', 'settings_changed')),
    first_sequence bigint,
    last_sequence  bigint,
    missing        bigint,
    reason         text        NOT NULL,
    -- an operator's name, or `allocation` when the patience was over
    author         text        NOT NULL,
    decided_at     timestamptz NOT NULL
);
CREATE INDEX feed_decisions_of_location ON feed_decisions (location, decision_id);

-- The newest count of SKUs that are not registered here, per location: reported, and applied when the product is registered.
CREATE TABLE unregistered_counts (
    location        text COLLATE "C" NOT NULL REFERENCES locations,
    sku             text COLLATE "C" NOT NULL,
    on_hand         integer     NOT NULL,
    damaged         integer     NOT NULL,
    quality_control integer     NOT NULL,
    set_aside       integer     NOT NULL,
    as_of           timestamptz NOT NULL,
    watermark       bigint      NOT NULL,
    event_id        uuid        NOT NULL,
    first_seen_at   timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    PRIMARY KEY (location, sku)
);
CREATE INDEX unregistered_counts_by_sku ON unregistered_counts (sku);
CREATE INDEX unregistered_counts_by_age ON unregistered_counts (last_seen_at);

-- Files of counts that an operator uploaded. Nothing of a file is applied unless asked.
CREATE TABLE count_uploads (
    upload_id   uuid        PRIMARY KEY,
    file_name   text        NOT NULL,
    operator    text        NOT NULL,
    -- `reading` while the file comes in, `ready` to be applied, `refused` when it cannot be read, `applying`, `applied`
    status      text        NOT NULL CHECK (status IN ('reading', 'ready', 'refused', 'applying', 'applied')),
    -- why the file as a whole cannot be applied
    problem     text,
    remedy      text,
    encoding    text,
    delimiter   text,
    reason      text,
    all_or_nothing boolean,
    created_at  timestamptz NOT NULL,
    -- when an untouched upload is forgotten
    expires_at  timestamptz NOT NULL,
    applied_at  timestamptz
);
CREATE INDEX count_uploads_applying ON count_uploads (created_at) WHERE status = 'applying';
CREATE INDEX count_uploads_by_deadline ON count_uploads (expires_at);

CREATE TABLE count_upload_rows (
    upload_id           uuid    NOT NULL REFERENCES count_uploads ON DELETE CASCADE,
    -- the line of the file on which the row begins; the first is 1
    row_number          integer NOT NULL,
    sku                 text COLLATE "C",
    location            text COLLATE "C",
    on_hand             integer,
    damaged             integer,
    quality_control     integer,
    -- what the shelf held when the file was previewed
    old_on_hand         integer,
    old_damaged         integer,
    old_quality_control integer,
    -- `invalid` rows are never applied; `same` ones need not be; `changed` ones can be; `applied`; `moved`: the shelf changed meanwhile
    status              text    NOT NULL CHECK (status IN ('invalid', 'same', 'changed', 'applied', 'moved')),
    column_name         text,
    problem             text,
    remedy              text,
    PRIMARY KEY (upload_id, row_number)
);
CREATE INDEX count_upload_rows_by_shelf ON count_upload_rows (upload_id, sku, location, row_number);
CREATE INDEX count_upload_rows_to_apply ON count_upload_rows (upload_id, row_number) WHERE status = 'changed';

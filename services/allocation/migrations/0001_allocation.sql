-- Allocation: who has which units, what waits, what is on its way (blueprint sections 5 and 6).
--
-- Locks, always in this order: locations and supplies (by id), orders (by id), stock_pools (by sku). Whoever changes anything of a SKU
-- (shelves, demand, assignments, ledger) holds its pool row; so the rows below the pool need no lock of their own.

CREATE TABLE products (
    sku           text COLLATE "C"        PRIMARY KEY,
    hazmat        boolean     NOT NULL,
    registered_at timestamptz NOT NULL
);

CREATE TABLE locations (
    location         text COLLATE "C"        PRIMARY KEY,
    name             text        NOT NULL,
    partner          text        NOT NULL,
    hazmat_certified boolean     NOT NULL,
    active           boolean     NOT NULL,
    registered_at    timestamptz NOT NULL,
    -- every message of the location's feed up to this sequence has arrived
    sequence_floor   bigint      NOT NULL DEFAULT 0 CHECK (sequence_floor >= 0)
);

-- Sequences of a location's feed that have arrived above its floor.
CREATE TABLE feed_sequences (
    location text COLLATE "C"   NOT NULL REFERENCES locations,
    sequence bigint NOT NULL,
    PRIMARY KEY (location, sequence)
);

-- One row per SKU and pool: the counters that an order is decided on, all O(1). `sellable` sums the shelves that may be sold from;
-- `pending_shortage` are assigned units that a count no longer finds. reserved <= sellable is the last line of defence against overselling.
CREATE TABLE stock_pools (
    sku              text COLLATE "C"    NOT NULL REFERENCES products,
    pool             text    NOT NULL DEFAULT 'default',
    sellable         integer NOT NULL DEFAULT 0,
    pending_shortage integer NOT NULL DEFAULT 0,
    reserved         integer NOT NULL DEFAULT 0,
    queued           integer NOT NULL DEFAULT 0,
    safety           integer NOT NULL DEFAULT 0,
    available        integer NOT NULL GENERATED ALWAYS AS (sellable - pending_shortage - reserved - safety) STORED,
    version          bigint  NOT NULL DEFAULT 1,
    -- what a plan may still tie to each location, a copy of the shelves kept here so that an order reads one row per SKU
    locations        text[]    NOT NULL DEFAULT '{}',
    assignable       integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (sku, pool),
    CONSTRAINT reserved_units_exist CHECK (reserved >= 0 AND reserved <= sellable),
    CONSTRAINT counters_make_sense CHECK (pending_shortage >= 0 AND pending_shortage <= sellable AND queued >= 0 AND safety >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- One row per SKU and location. `on_shelf` counts sellable units as far as the messages that have arrived tell; it falls below zero while
-- the message that brought the units is still on its way. Assigned units that the shelf no longer shows are the pending shortage.
CREATE TABLE stock_locations (
    sku               text COLLATE "C"        NOT NULL REFERENCES products,
    location          text COLLATE "C"        NOT NULL REFERENCES locations,
    on_shelf          integer     NOT NULL DEFAULT 0,
    assigned          integer     NOT NULL DEFAULT 0 CHECK (assigned >= 0),
    pending_shortage  integer     NOT NULL DEFAULT 0 CHECK (pending_shortage >= 0),
    damaged           integer     NOT NULL DEFAULT 0 CHECK (damaged >= 0),
    quality_control   integer     NOT NULL DEFAULT 0 CHECK (quality_control >= 0),
    -- whether the pool counts this shelf: the location is active and certified for the product if that is hazardous
    counts            boolean     NOT NULL,
    -- the newest count of this shelf: when it was taken and the last sequence it shows
    counted_as_of     timestamptz,
    counted_watermark bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (sku, location),
    CONSTRAINT assigned_units_exist CHECK (assigned <= GREATEST(on_shelf, 0) + pending_shortage),
    CONSTRAINT shortage_is_assigned CHECK (pending_shortage = 0 OR assigned = GREATEST(on_shelf, 0) + pending_shortage)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX stock_locations_of_location ON stock_locations (location, sku);

CREATE TABLE orders (
    order_id          uuid        PRIMARY KEY,
    order_version     integer     NOT NULL CHECK (order_version >= 1),
    split_policy      text        NOT NULL CHECK (split_policy IN ('ship_available', 'hold_all')),
    placed_at         timestamptz NOT NULL,
    -- the order version under which it was cancelled, null while it lives
    cancelled_version integer
);

-- What an order line wants, one row per arrival: the line as placed, and one more row for each later increase. Every unit is in exactly
-- one state. demand_id is a UUIDv7 and the place in the queue: first come, first served, kept through shortages.
CREATE TABLE demand (
    order_id         uuid    NOT NULL,
    line_id          text COLLATE "C"    NOT NULL,
    demand_id        uuid    NOT NULL,
    sku              text COLLATE "C"    NOT NULL,
    units            integer NOT NULL,
    queued           integer NOT NULL,
    reserved         integer NOT NULL,
    assigned         integer NOT NULL DEFAULT 0,
    shipped          integer NOT NULL DEFAULT 0,
    cancelled        integer NOT NULL DEFAULT 0,
    promised_ship_at timestamptz,
    PRIMARY KEY (order_id, line_id, demand_id),
    CONSTRAINT every_unit_has_one_state CHECK (
        units = queued + reserved + shipped + cancelled
        AND queued >= 0 AND reserved >= 0 AND shipped >= 0 AND cancelled >= 0 AND assigned >= 0 AND assigned <= reserved
    )
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX demand_queued ON demand (sku, demand_id) WHERE queued > 0;
-- By age alone, not by SKU: new orders then write at its right edge, and a shortage, which is rare, reads backwards from the newest.
CREATE INDEX demand_unassigned ON demand (demand_id) WHERE reserved > assigned;

-- What was decided about each plan of routing.
CREATE TABLE plans (
    plan_id    uuid        PRIMARY KEY,
    order_id   uuid        NOT NULL,
    outcome    text        NOT NULL CHECK (outcome IN ('assigned', 'stock_moved', 'not_reserved', 'superseded')),
    decided_at timestamptz NOT NULL
);

CREATE TABLE fulfillments (
    fulfillment_id uuid    PRIMARY KEY,
    plan_id        uuid    NOT NULL,
    order_id       uuid    NOT NULL,
    location       text COLLATE "C"    NOT NULL,
    assigned       boolean NOT NULL,
    shipped_at     timestamptz
);

-- Units of one order line tied to one location. units = open + shipped + what was taken back. `recalled` units were taken back by a change of
-- the order itself; when the call-off of the fulfillment follows, it speaks of these first.
CREATE TABLE assignments (
    fulfillment_id uuid    NOT NULL,
    line_id        text COLLATE "C"    NOT NULL,
    order_id       uuid    NOT NULL,
    sku            text COLLATE "C"    NOT NULL,
    location       text COLLATE "C"    NOT NULL,
    units          integer NOT NULL,
    open           integer NOT NULL,
    shipped        integer NOT NULL DEFAULT 0,
    recalled       integer NOT NULL DEFAULT 0,
    PRIMARY KEY (fulfillment_id, line_id),
    CONSTRAINT never_more_than_assigned CHECK (open >= 0 AND shipped >= 0 AND recalled >= 0 AND open + shipped + recalled <= units)
);
CREATE INDEX assignments_open ON assignments (order_id) WHERE open > 0 OR recalled > 0;

-- One row per call-off, so that the same one told twice takes back once.
CREATE TABLE fulfillment_cancellations (
    fulfillment_id uuid        NOT NULL,
    cause          text        NOT NULL,
    cancelled_at   timestamptz NOT NULL,
    PRIMARY KEY (fulfillment_id, cause, cancelled_at)
);

CREATE TABLE supplies (
    supply_id      uuid        PRIMARY KEY,
    location       text COLLATE "C"        NOT NULL REFERENCES locations,
    expected_at    timestamptz NOT NULL,
    cancelled      boolean     NOT NULL DEFAULT false,
    -- when the newest change of the date was said; an older one that arrives later is ignored
    rescheduled_at timestamptz
);

CREATE TABLE supply_lines (
    supply_id uuid    NOT NULL REFERENCES supplies,
    sku       text COLLATE "C"    NOT NULL REFERENCES products,
    quantity  integer NOT NULL CHECK (quantity > 0),
    received  integer NOT NULL DEFAULT 0 CHECK (received >= 0),
    -- still expected; a cancelled supply is expected no more
    open      boolean NOT NULL DEFAULT true,
    PRIMARY KEY (supply_id, sku)
);
CREATE INDEX supply_lines_open ON supply_lines (sku) WHERE open;

-- Things that happen once, however often they are told.
CREATE TABLE supply_changes (
    change_id  uuid        PRIMARY KEY,
    supply_id  uuid        NOT NULL,
    changed_at timestamptz NOT NULL
);

CREATE TABLE receipts (
    receipt_id  uuid        PRIMARY KEY,
    supply_id   uuid,
    location    text COLLATE "C"        NOT NULL,
    received_at timestamptz NOT NULL
);

CREATE TABLE adjustments (
    adjustment_id uuid        PRIMARY KEY,
    sku           text COLLATE "C"        NOT NULL,
    location      text COLLATE "C"        NOT NULL,
    old_on_hand   integer     NOT NULL,
    new_on_hand   integer     NOT NULL,
    reason        text        NOT NULL,
    -- who says so: an operator's name, or 3pl:<code>
    author        text        NOT NULL,
    adjusted_at   timestamptz NOT NULL
);

CREATE TABLE inspections (
    scan_id      uuid        PRIMARY KEY,
    return_id    uuid        NOT NULL,
    order_id     uuid        NOT NULL,
    location     text COLLATE "C"        NOT NULL,
    inspected_at timestamptz NOT NULL
);

CREATE TABLE inspected_units (
    scan_id     uuid    NOT NULL REFERENCES inspections,
    line_id     text COLLATE "C"    NOT NULL,
    disposition text    NOT NULL,
    sku         text COLLATE "C"    NOT NULL,
    quantity    integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (scan_id, line_id, disposition)
);

-- The ledger: every change of every balance, signed. Balances are sums of it:
--   on_shelf        = received + adjusted + returned + written_off + shipped      per shelf
--   assigned        = assigned + unassigned + shipped                             per shelf
--   damaged         = damaged, quality_control = quarantined                      per shelf
--   reserved        = reserved + released + requeued + shipped                    per SKU
CREATE TYPE movement_kind AS ENUM (
    'received', 'adjusted', 'returned', 'written_off', 'shipped', 'assigned', 'unassigned', 'reserved', 'released', 'requeued',
    'damaged', 'quarantined'
);

-- Partitioned by month over the UUIDv7 key (which starts with its creation time), so that old months rest and can be archived.
-- append-only: movements
CREATE TABLE movements (
    movement_id    uuid          NOT NULL PRIMARY KEY,
    kind           movement_kind NOT NULL,
    quantity       integer       NOT NULL,
    sku            text COLLATE "C"          NOT NULL,
    location       text,
    order_id       uuid,
    line_id        text,
    fulfillment_id uuid,
    -- the receipt, adjustment, scan, change or plan
    cause_id       uuid,
    -- the message that told us
    event_id       uuid,
    -- when units moved on the shelf and the feed's sequence, for netting counts; null where the id tells the time well enough
    happened_at    timestamptz,
    sequence       bigint
) PARTITION BY RANGE (movement_id);
CREATE INDEX movements_on_shelf ON movements (location, sku, movement_id)
    WHERE location IS NOT NULL AND kind IN ('received', 'adjusted', 'returned', 'written_off', 'shipped', 'damaged', 'quarantined');

-- append-only: movements_default
CREATE TABLE movements_default PARTITION OF movements DEFAULT;

-- The smallest UUIDv7 of an instant.
CREATE FUNCTION movement_floor(instant timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex((extract(epoch FROM instant) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- Makes the ledger's partitions of this month and the coming ones. Runs with the owner's rights, because the service has none to change
-- tables; nobody but the owner gets rights on a partition itself, so that the ledger is append-only there too.
CREATE FUNCTION prepare_ledger_months(today date, months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
    month date;
    partition_name text;
    grantee text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('prepare_ledger_months'), hashtext(current_schema()));
    FOR month IN SELECT generate_series(date_trunc('month', today::timestamp), today + make_interval(months => months_ahead), '1 month')::date LOOP
        partition_name := 'movements_' || to_char(month, 'YYYYMM');
        CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE movements INCLUDING ALL)', partition_name);
        EXECUTE format(
            'WITH moved AS (DELETE FROM movements_default WHERE movement_id >= %1$L AND movement_id < %2$L RETURNING *) INSERT INTO %3$I SELECT * FROM moved',
            movement_floor(month::timestamptz), movement_floor((month + interval '1 month')::timestamptz), partition_name);
        EXECUTE format('ALTER TABLE movements ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, movement_floor(month::timestamptz), movement_floor((month + interval '1 month')::timestamptz));
        FOR grantee IN
            SELECT DISTINCT acl.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) acl
            WHERE c.oid = to_regclass(partition_name) AND acl.grantee NOT IN (0, c.relowner)
        LOOP
            EXECUTE format('REVOKE ALL ON %I FROM %s', partition_name, grantee);
        END LOOP;
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

SELECT prepare_ledger_months(current_date, 2);

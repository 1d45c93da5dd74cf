-- Supply in full: purchase orders that change, working days of locations, preorders, and promises that are told in chunks.

-- When a location works. Without a time zone nothing is known of it, and goods ship the moment they are expected.
ALTER TABLE locations
    ADD COLUMN time_zone          text,
    ADD COLUMN order_cutoff       time       NOT NULL DEFAULT '15:00',
    -- ISO weekdays, Monday is 1
    ADD COLUMN working_days       smallint[] NOT NULL DEFAULT '{1,2,3,4,5}' CHECK (cardinality(working_days) > 0),
    ADD COLUMN holidays           date[]     NOT NULL DEFAULT '{}',
    ADD COLUMN dock_to_stock_days integer    NOT NULL DEFAULT 0 CHECK (dock_to_stock_days >= 0);

ALTER TABLE supplies
    -- the number people know it by
    ADD COLUMN purchase_order text,
    -- when orders that wait for it leave by the location's calendar; null where no calendar is known
    ADD COLUMN leaves_at      timestamptz,
    -- the date has passed, the goods have not come, and nobody has said a new date
    ADD COLUMN overdue        boolean NOT NULL DEFAULT false,
    -- what was scheduled first, to tell the same said twice from something else said under the same id; null for older supplies
    ADD COLUMN scheduled      jsonb;
-- The date that customers are promised; null: none.
ALTER TABLE supplies
    ADD COLUMN ships_at timestamptz GENERATED ALWAYS AS (CASE WHEN NOT overdue THEN COALESCE(leaves_at, expected_at) END) STORED;
CREATE INDEX supplies_by_location ON supplies (location) WHERE NOT cancelled;
CREATE INDEX supplies_by_date ON supplies (ships_at) WHERE NOT cancelled;
CREATE INDEX supplies_by_purchase_order ON supplies (purchase_order) WHERE purchase_order IS NOT NULL;

-- A line may be changed to nothing, and goods may come that were not on the supply at all: everything beyond what it should bring is
-- over-received.
ALTER TABLE supply_lines
    DROP CONSTRAINT supply_lines_quantity_check,
    ADD CONSTRAINT supply_lines_quantity_check CHECK (quantity >= 0),
    -- units that will not come, because the supply was cancelled or closed before they had
    ADD COLUMN called_off integer NOT NULL DEFAULT 0 CHECK (called_off >= 0),
    -- when the newest change of the quantity was said; an older one that arrives later is ignored
    ADD COLUMN changed_at timestamptz;
UPDATE supply_lines line SET called_off = line.quantity - line.received
FROM supplies WHERE supplies.supply_id = line.supply_id AND supplies.cancelled AND line.received < line.quantity;
ALTER TABLE supply_lines
    ADD COLUMN over_received integer NOT NULL GENERATED ALWAYS AS (GREATEST(received - (quantity - called_off), 0)) STORED;
CREATE INDEX supply_lines_over_received ON supply_lines (supply_id) WHERE over_received > 0;

-- A SKU in preorder has a release date. Its orders wait until goods are there and the date has come, or goods are there and may go early.
ALTER TABLE stock_pools
    ADD COLUMN release_at        timestamptz,
    ADD COLUMN early_release     boolean NOT NULL DEFAULT false,
    -- when the newest word about the preorder was said; an older one that arrives later is ignored
    ADD COLUMN preorder_said_at  timestamptz;
CREATE INDEX stock_pools_to_release ON stock_pools (release_at) WHERE release_at IS NOT NULL;

-- One row per cause that moved promised dates, until every order has been told.
CREATE TABLE promise_rounds (
    round_id    uuid        PRIMARY KEY,
    cause       text        NOT NULL,
    cause_id    uuid        NOT NULL,
    -- the message that was the cause, whose trace the telling carries on; null when time or the queue was
    event_id    uuid,
    traceparent text,
    changed_at  timestamptz NOT NULL,
    -- orders up to this id have been told
    told_to     uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);

-- SKUs whose queue is being dated anew, some thousand places at a time. Stands still under the SKU's pool lock, so a SKU has one round at most.
CREATE TABLE promise_dating (
    sku      text COLLATE "C" PRIMARY KEY REFERENCES products,
    round_id uuid NOT NULL,
    due_at   timestamptz NOT NULL
);
CREATE INDEX promise_dating_of_round ON promise_dating (round_id);

-- Dates that have moved and that their orders have not been told of yet; the row goes when the message is in the outbox.
CREATE TABLE promise_changes (
    round_id    uuid    NOT NULL,
    order_id    uuid    NOT NULL,
    line_id     text COLLATE "C" NOT NULL,
    demand_id   uuid    NOT NULL,
    sku         text COLLATE "C" NOT NULL,
    quantity    integer NOT NULL CHECK (quantity > 0),
    old_ship_at timestamptz,
    new_ship_at timestamptz,
    PRIMARY KEY (round_id, order_id, line_id, demand_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- Dates that were told before may not be right to the unit: all queues are dated once.
WITH told AS (
    INSERT INTO promise_rounds (round_id, cause, cause_id, changed_at)
    SELECT id, 'queue_moved', id, now() FROM gen_random_uuid() AS id
    WHERE EXISTS (SELECT FROM stock_pools WHERE queued > 0)
    RETURNING round_id
)
INSERT INTO promise_dating (sku, round_id, due_at)
SELECT sku, round_id, now() FROM stock_pools, told WHERE queued > 0 AND pool = 'default';

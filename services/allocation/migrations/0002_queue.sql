-- Queues by priority class, orders that hold all, and what is left to do in long queues.

-- The class in the queue (1 is served first), and who bought, which a shortage policy may look at. Of orders that came before nobody knows
-- the segment; they count as shoppers' and so keep their units longest.
ALTER TABLE orders
    ADD COLUMN priority smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 9),
    ADD COLUMN segment  text     NOT NULL DEFAULT 'dtc' CHECK (segment IN ('dtc', 'wholesale', 'retail'));

-- Copies of the order's, so that the indexes below can say whose turn it is and who must give.
ALTER TABLE demand
    ADD COLUMN priority smallint NOT NULL DEFAULT 5,
    ADD COLUMN hold_all boolean  NOT NULL DEFAULT false;
UPDATE demand SET hold_all = true FROM orders WHERE orders.order_id = demand.order_id AND orders.split_policy = 'hold_all';

-- The place in the queue is (priority, demand_id).
DROP INDEX demand_queued;
CREATE INDEX demand_queued ON demand (sku, priority, demand_id) WHERE queued > 0;
-- An order's rank is (priority, order_id): its class, then its age, because order ids are UUIDv7. Who waits, the highest rank first ...
CREATE INDEX demand_wanted ON demand (sku, priority, order_id) WHERE queued > 0;
-- ... and who holds units without being about to ship them, read from the lowest rank.
CREATE INDEX demand_held ON demand (sku, priority, order_id) WHERE hold_all AND reserved > assigned;

-- SKUs whose queue somebody must look at soon: units are left to share out, or an incomplete order may hold what one of higher rank waits for.
-- A row is added and never changed, so that nobody who adds one waits for who works; it is deleted by the transaction that does the work.
CREATE TABLE queue_work (
    work_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku         text COLLATE "C" NOT NULL,
    -- the message that led to it: its trace goes on
    event_id    uuid NOT NULL,
    traceparent text
);
CREATE INDEX queue_work_of_sku ON queue_work (sku);

-- Whose units queue again first when shelves hold less than is reserved; the newest row is in force.
-- append-only: shortage_policies
CREATE TABLE shortage_policies (
    change_id uuid        PRIMARY KEY,
    policy    text        NOT NULL CHECK (policy IN ('newest_first', 'lowest_priority_first', 'wholesale_first')),
    operator  text        NOT NULL,
    set_at    timestamptz NOT NULL
);

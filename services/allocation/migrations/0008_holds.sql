-- Checkout holds, safety stock and channel pools.
--
-- Locks, in front of stock_pools: holds (by id). Whoever changes a hold's state has locked its row; whoever changes what it holds of a SKU
-- has locked that SKU's pool. A shortage takes units from holds under the pool's lock alone.

ALTER TYPE movement_kind ADD VALUE 'held';
ALTER TYPE movement_kind ADD VALUE 'unheld';

-- held: units that open holds keep from everybody else. sku_safety: what an operator keeps back of the SKU wherever it lies; safety is that
-- and what locations keep back. fenced: units that only channels with a fence may take. ruled: some channel has a rule; the others cost nothing.
ALTER TABLE stock_pools
    DROP COLUMN available,
    DROP CONSTRAINT reserved_units_exist,
    ADD COLUMN held       integer NOT NULL DEFAULT 0,
    ADD COLUMN sku_safety integer NOT NULL DEFAULT 0 CHECK (sku_safety >= 0),
    ADD COLUMN fenced     integer NOT NULL DEFAULT 0 CHECK (fenced >= 0),
    ADD COLUMN ruled      boolean NOT NULL DEFAULT false;
UPDATE stock_pools SET sku_safety = safety WHERE safety > 0;
ALTER TABLE stock_pools
    ADD COLUMN available integer NOT NULL GENERATED ALWAYS AS (sellable - pending_shortage - reserved - held - safety - fenced) STORED,
    ADD CONSTRAINT reserved_units_exist CHECK (reserved >= 0 AND held >= 0 AND reserved + held <= sellable);

-- What an operator keeps back of a SKU at one location, at most what lies there.
ALTER TABLE stock_locations ADD COLUMN safety integer NOT NULL DEFAULT 0 CHECK (safety >= 0);

-- The channel that sold the order; empty for orders placed before it was noted.
ALTER TABLE demand ADD COLUMN channel text COLLATE "C" NOT NULL DEFAULT '';

-- Units kept for a shopper before payment. The channel chooses the id.
CREATE TABLE holds (
    hold_id    uuid        PRIMARY KEY,
    channel    text COLLATE "C"        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('held', 'confirmed', 'released', 'expired')),
    policy     text        NOT NULL CHECK (policy IN ('partial', 'all_or_nothing')),
    opened_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    closed_at  timestamptz,
    -- the order that the units became
    order_id   uuid,
    CONSTRAINT closed_when_not_held CHECK ((state = 'held') = (closed_at IS NULL)),
    CONSTRAINT confirmed_by_an_order CHECK ((state = 'confirmed') = (order_id IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX holds_due ON holds (expires_at) WHERE state = 'held';
CREATE INDEX holds_closed ON holds (closed_at) WHERE closed_at IS NOT NULL;

-- granted: what the shopper was told. held: what is left of it, less after a shortage, none once the hold is closed.
-- used: what became the order's.
CREATE TABLE hold_lines (
    hold_id uuid    NOT NULL REFERENCES holds ON DELETE CASCADE,
    sku     text COLLATE "C"    NOT NULL REFERENCES products,
    asked   integer NOT NULL CHECK (asked > 0),
    granted integer NOT NULL,
    held    integer NOT NULL,
    used    integer NOT NULL DEFAULT 0,
    PRIMARY KEY (hold_id, sku),
    CONSTRAINT never_more_than_granted CHECK (granted <= asked AND held >= 0 AND used >= 0 AND held + used <= granted)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX hold_lines_held ON hold_lines (sku) WHERE held > 0;

-- What one channel may take of one SKU. open: its reserved and held units that have not left yet. fence: units set aside for it, its open
-- units among them; units that leave the building leave the fence. cap: the most it may have open. share_percent: of the units free for
-- all, those it has open outside its fence included.
CREATE TABLE channel_pools (
    sku           text COLLATE "C"    NOT NULL REFERENCES products,
    channel       text COLLATE "C"    NOT NULL,
    fence         integer NOT NULL DEFAULT 0 CHECK (fence >= 0),
    cap           integer CHECK (cap >= 0),
    share_percent integer CHECK (share_percent BETWEEN 0 AND 100),
    open          integer NOT NULL DEFAULT 0 CHECK (open >= 0),
    -- units of its orders that wait: what comes is shared out by the rules, so dates and what may be sold ahead follow from it
    queued        integer NOT NULL DEFAULT 0 CHECK (queued >= 0),
    -- UUIDv7 of the rule's first day: when there is not enough for all fences, the older one is filled first
    seniority     uuid    NOT NULL,
    -- the pool's version with which an operator last changed the rule
    rule_version  bigint  NOT NULL,
    PRIMARY KEY (sku, channel)
);

-- Who changed a rule, when and why; and what a change told twice is answered.
-- append-only: rule_changes
CREATE TABLE rule_changes (
    change_id         uuid        PRIMARY KEY,
    kind              text        NOT NULL CHECK (kind IN ('safety', 'channel_pool')),
    sku               text COLLATE "C"        NOT NULL,
    location          text COLLATE "C",
    channel           text COLLATE "C",
    old_safety        integer,
    new_safety        integer,
    old_fence         integer,
    new_fence         integer,
    old_cap           integer,
    new_cap           integer,
    old_share_percent integer,
    new_share_percent integer,
    rule_version      bigint,
    reason            text        NOT NULL,
    author            text        NOT NULL,
    changed_at        timestamptz NOT NULL
);
CREATE INDEX rule_changes_by_time ON rule_changes (changed_at, change_id);

CREATE INDEX adjustments_by_time ON adjustments (adjusted_at, adjustment_id);

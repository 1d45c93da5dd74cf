-- The continuous auditor: looks at some of the books every few seconds, names the entry that broke a balance, proposes what mends it.

-- What an entry tells the auditor beside the units it moves. `written_in` is the transaction: with the snapshot of its last look the auditor
-- tells exactly which entries it has not seen, whatever the clocks of the processes say. `pool_version` is the pool's version after that
-- transaction: the order of a SKU's entries. The balances after the transaction make a chain: between two entries no balance of a shelf may
-- move by itself. The first reservation of a line and checkout holds have neither version nor balances: these are the ways on which every
-- order waits, and their entries are told from strays by the demand and the hold whose ids they carry. Nor have entries of before this
-- migration, nor compensations that move no balance.
ALTER TABLE movements
    ADD COLUMN written_in xid8,
    ADD COLUMN pool_version bigint,
    ADD COLUMN on_shelf_after integer,
    ADD COLUMN assigned_after integer,
    ADD COLUMN set_aside_after integer,
    -- the finding that this entry mends; it repeats what it mends (kind, cause, line) with the missing or the opposite quantity
    ADD COLUMN compensates uuid;
ALTER TABLE movements ALTER COLUMN written_in SET DEFAULT pg_current_xact_id();

-- None of these is written when an order is placed: its entries have no time of their own, carry the id of their demand and are found by it.
CREATE INDEX movements_of_order ON movements (order_id) WHERE order_id IS NOT NULL AND happened_at IS NOT NULL;
CREATE INDEX movements_of_cause ON movements (cause_id) WHERE kind IN ('received', 'returned');
CREATE INDEX assignments_of_order ON assignments (order_id);
CREATE INDEX receipts_of_supply ON receipts (supply_id) WHERE supply_id IS NOT NULL;

-- The auditor's duties, each claimed by one process at a time (FOR UPDATE SKIP LOCKED). Made by its first look.
--   ledger   adds up what was written since its last look, and examines the SKUs, orders and causes spoken of
--   stock    examines SKU after SKU
--   rules    counts again what channels with rules have open, SKU after SKU
--   orders   examines order after order
--   supplies examines supply after supply
--   receipts, scans   examine each against the entries that it led to
--   recount  adds the whole ledger up anew, page by page; its sums replace the old ones when it is through
CREATE TABLE audit_duties (
    duty           text        PRIMARY KEY CHECK (duty IN ('ledger', 'stock', 'rules', 'orders', 'supplies', 'receipts', 'scans', 'recount')),
    looked_at      timestamptz NOT NULL,
    -- who looked last: duties take turns, whatever the clocks say
    turn           bigint      NOT NULL DEFAULT 0,
    -- where the next look begins: a SKU, or an id
    position       text        COLLATE "C" NOT NULL DEFAULT '',
    -- how often the duty has come round
    cycles         bigint      NOT NULL DEFAULT 0,
    skus_examined  bigint      NOT NULL DEFAULT 0,
    -- stock: of the SKUs of the last look, when the one was examined before that had waited longest
    oldest_look_at timestamptz,
    -- ledger, recount: which sums; in them is every entry that `seen` sees, and of those that `target` sees the ones up to `position`
    round          integer     NOT NULL DEFAULT 1,
    seen           pg_snapshot,
    seen_at        timestamptz,
    target         pg_snapshot,
    target_at      timestamptz,
    CHECK ((seen IS NULL) = (seen_at IS NULL) AND (target IS NULL) = (target_at IS NULL))
) WITH (fillfactor = 50);

-- Sums of the ledger: one row per shelf, and one per SKU without a location for what is reserved and held.
CREATE TABLE audit_sums (
    round           integer NOT NULL,
    sku             text    COLLATE "C" NOT NULL,
    location        text    COLLATE "C" NOT NULL DEFAULT '',
    on_shelf        bigint  NOT NULL DEFAULT 0,
    assigned        bigint  NOT NULL DEFAULT 0,
    damaged         bigint  NOT NULL DEFAULT 0,
    quality_control bigint  NOT NULL DEFAULT 0,
    reserved        bigint  NOT NULL DEFAULT 0,
    held            bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (round, sku, location)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- When a SKU was last looked at, and when its books were last found right: whatever broke them, broke them after that version.
CREATE TABLE audit_checkpoints (
    sku             text        COLLATE "C" PRIMARY KEY,
    examined_at     timestamptz NOT NULL,
    verified_at     timestamptz,
    verified_in     pg_snapshot,
    pool_version    bigint,
    CHECK ((verified_at IS NULL) = (verified_in IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- What is wrong with the books. `key` names the defect, so that it is found once however often it is looked at.
CREATE TABLE audit_findings (
    finding_id       uuid        PRIMARY KEY,
    key              text        NOT NULL,
    status           text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'applied', 'dismissed', 'vanished')),
    sku              text        COLLATE "C" NOT NULL,
    location         text        COLLATE "C",
    order_id         uuid,
    line_id          text        COLLATE "C",
    fulfillment_id   uuid,
    -- the checkout hold, supply, receipt or scan
    cause_id         uuid,
    -- the balance that shows it first, what it says and what the evidence says; `balances` lists all that it breaks
    balance          text        NOT NULL,
    found            bigint      NOT NULL,
    expected         bigint      NOT NULL,
    balances         jsonb       NOT NULL,
    culprit          text        NOT NULL,
    -- the entry and the event that broke it, where they are known
    entry_id         uuid,
    event_id         uuid,
    event_type       text,
    -- else it was broken after this entry (or this look) and before that one (or now)
    after_entry_id   uuid,
    after_at         timestamptz,
    before_entry_id  uuid,
    before_at        timestamptz,
    explanation      text        NOT NULL,
    -- what the compensation changes: the ledger (an entry is wrong), the balance (a row was changed), or both (units moved that should not)
    mends            text        NOT NULL CHECK (mends IN ('ledger', 'balance', 'both')),
    compensation     jsonb       NOT NULL,
    found_at         timestamptz NOT NULL,
    confirmed_at     timestamptz NOT NULL,
    closed_at        timestamptz,
    CHECK ((closed_at IS NULL) = (status = 'open'))
);
CREATE UNIQUE INDEX audit_findings_open ON audit_findings (key) WHERE status = 'open';
CREATE INDEX audit_findings_of_sku ON audit_findings (sku, key);
CREATE INDEX audit_findings_by_status ON audit_findings (status, finding_id);

-- Who decided what about a finding, and why.
-- append-only: audit_decisions
CREATE TABLE audit_decisions (
    decision_id      uuid        PRIMARY KEY,
    finding_id       uuid        NOT NULL UNIQUE REFERENCES audit_findings,
    decision         text        NOT NULL CHECK (decision IN ('applied', 'dismissed')),
    operator         text        NOT NULL,
    reason           text        NOT NULL,
    found            bigint      NOT NULL,
    decided_at       timestamptz NOT NULL
);

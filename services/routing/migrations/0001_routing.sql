-- Routing: the journey of every order (blueprint sections 4 and 5). Everything about an order is written under the lock of its row in
-- orders; several orders are locked in the order of their ids.

-- One row that changes with every registration, so that a running process sees at a glance whether it knows the locations.
CREATE TABLE network (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision uuid    NOT NULL
);

CREATE TABLE locations (
    location         text        PRIMARY KEY,
    name             text        NOT NULL,
    partner          text        NOT NULL,
    postal_code      text        NOT NULL,
    country          text        NOT NULL,
    time_zone        text        NOT NULL,
    order_cutoff     text        NOT NULL,
    hazmat_certified boolean     NOT NULL,
    active           boolean     NOT NULL,
    registered_at    timestamptz NOT NULL
);

CREATE TABLE orders (
    order_id            uuid        PRIMARY KEY,
    order_version       integer     NOT NULL CHECK (order_version >= 1),
    channel             text        NOT NULL,
    external_id         text        NOT NULL,
    placed_at           timestamptz NOT NULL,
    currency            text        NOT NULL,
    segment             text        NOT NULL,
    service_level       text        NOT NULL CHECK (service_level IN ('standard', 'two_day', 'next_day')),
    deliver_by          timestamptz,
    shipping_paid_cents bigint      NOT NULL CHECK (shipping_paid_cents >= 0),
    split_policy        text        NOT NULL CHECK (split_policy IN ('ship_available', 'hold_all')),
    ship_to             jsonb       NOT NULL,
    promise_from        timestamptz NOT NULL,
    status              text        NOT NULL CHECK (status IN (
        'placed', 'partially_allocated', 'fully_allocated', 'released', 'in_fulfillment', 'shipped', 'delivered', 'closed', 'cancelled')),
    stock_waiting_for   text        NOT NULL CHECK (stock_waiting_for IN ('allocation', 'stock')),
    stock_until         timestamptz NOT NULL,
    -- allocation's last numbers, while units are free to plan
    assignable          jsonb,
    excluded_locations  text[]      NOT NULL,
    rejections          integer     NOT NULL CHECK (rejections >= 0),
    refused_plans       integer     NOT NULL CHECK (refused_plans >= 0),
    plan_due_at         timestamptz,
    coming_back_until   timestamptz,
    change_id           uuid,
    attention_reason    text,
    attention_detail    text,
    attention_due_at    timestamptz,
    -- the named reason and the deadline of invariant I6; both null exactly when nothing more will happen
    waiting_for         text,
    waiting_until       timestamptz,
    -- when the next of all deadlines of this order is due
    due_at              timestamptz,
    CONSTRAINT waits_with_reason_and_deadline CHECK (
        (status IN ('delivered', 'closed', 'cancelled')) = (waiting_for IS NULL)
        AND (waiting_for IS NULL) = (waiting_until IS NULL) AND (waiting_for IS NULL) = (due_at IS NULL)),
    CONSTRAINT attention_is_whole CHECK (
        (attention_reason IS NULL) = (attention_detail IS NULL) AND (attention_reason IS NULL) = (attention_due_at IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX orders_due ON orders (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX orders_attention ON orders (attention_due_at) WHERE attention_reason IS NOT NULL;
CREATE INDEX orders_by_status ON orders (status, order_id);

CREATE TABLE order_lines (
    order_id          uuid     NOT NULL,
    line_id           text     NOT NULL,
    position          integer  NOT NULL,
    sku               text     NOT NULL,
    title             text     NOT NULL,
    -- 0 once an edit has removed the line
    quantity          integer  NOT NULL CHECK (quantity >= 0),
    unit_price_cents  bigint   NOT NULL CHECK (unit_price_cents >= 0),
    tax_cents         bigint   NOT NULL CHECK (tax_cents >= 0),
    unit_weight_grams integer  NOT NULL CHECK (unit_weight_grams > 0),
    hazmat            boolean  NOT NULL,
    -- reserved and free to plan; below zero while a plan holds units that a shortage has taken
    unplanned         integer  NOT NULL,
    -- called off at a 3PL, allocation's word about them pending; below zero while a reservation that a shortage has eaten into is on its way
    coming_back       integer  NOT NULL,
    shipped           integer  NOT NULL CHECK (shipped >= 0),
    cancelled         integer  NOT NULL CHECK (cancelled >= 0),
    PRIMARY KEY (order_id, line_id),
    -- the last line of defence: no unit is both shipped and cancelled
    CONSTRAINT every_unit_at_most_once CHECK (shipped + cancelled <= quantity)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE fulfillments (
    fulfillment_id      uuid        PRIMARY KEY,
    order_id            uuid        NOT NULL,
    plan_id             uuid        NOT NULL,
    order_version       integer     NOT NULL,
    location            text        NOT NULL,
    partner             text        NOT NULL,
    state               text        NOT NULL CHECK (state IN (
        'planned', 'submitted', 'accepted', 'cancelling', 'cancel_refused', 'incomplete', 'shipped', 'delivered',
        'called_off', 'rejected', 'emptied', 'withdrawn')),
    -- the words of blueprint section 5
    status              text        NOT NULL GENERATED ALWAYS AS (CASE
        WHEN state IN ('planned', 'submitted', 'cancelling') THEN 'open'
        WHEN state IN ('accepted', 'cancel_refused') THEN 'in_progress'
        WHEN state = 'incomplete' THEN 'incomplete'
        WHEN state IN ('shipped', 'delivered') THEN 'closed'
        ELSE 'cancelled' END) STORED,
    request_status      text        NOT NULL GENERATED ALWAYS AS (CASE
        WHEN state IN ('planned', 'withdrawn') THEN 'unsubmitted'
        WHEN state = 'cancelling' THEN 'cancellation_requested'
        WHEN state = 'called_off' THEN 'cancellation_accepted'
        WHEN state = 'cancel_refused' THEN 'cancellation_rejected'
        WHEN state IN ('submitted', 'accepted', 'rejected') THEN state
        ELSE 'closed' END) STORED,
    carrier             text        NOT NULL,
    service             text        NOT NULL,
    zone                integer     NOT NULL,
    shipping_cost_cents bigint      NOT NULL CHECK (shipping_cost_cents >= 0),
    ship_by             timestamptz NOT NULL,
    arrives_on          date        NOT NULL,
    planned_at          timestamptz NOT NULL,
    assigned            boolean     NOT NULL,
    attempts            integer     NOT NULL CHECK (attempts >= 0),
    due_at              timestamptz,
    requested_at        timestamptz,
    accepted_at         timestamptz,
    tracking_number     text,
    shipped_at          timestamptz,
    delivered_at        timestamptz,
    ended_because       text,
    short_picks         jsonb
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX fulfillments_of_order ON fulfillments (order_id);

CREATE TABLE fulfillment_lines (
    fulfillment_id uuid    NOT NULL,
    line_id        text    NOT NULL,
    position       integer NOT NULL,
    sku            text    NOT NULL,
    planned        integer NOT NULL CHECK (planned > 0),
    -- units that will not ship from there although the rest may
    called_off     integer NOT NULL DEFAULT 0 CHECK (called_off >= 0),
    shipped        integer NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    PRIMARY KEY (fulfillment_id, line_id),
    CONSTRAINT never_more_than_planned CHECK (called_off + shipped <= planned)
);

-- Every change ever asked for and how it was answered, so that a repeated request gets the same answer.
CREATE TABLE changes (
    change_id     uuid        PRIMARY KEY,
    order_id      uuid        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('cancel', 'edit')),
    request       jsonb       NOT NULL,
    awaiting      uuid[]      NOT NULL,
    answer_due_at timestamptz,
    answer_type   text        NOT NULL,
    answer        jsonb       NOT NULL,
    requested_at  timestamptz NOT NULL,
    -- null while it waits for 3PLs
    answered_at   timestamptz
);
CREATE UNIQUE INDEX changes_one_open_per_order ON changes (order_id) WHERE answered_at IS NULL;
CREATE INDEX changes_of_order ON changes (order_id);

-- append-only: refunds
CREATE TABLE refunds (
    refund_id      uuid        PRIMARY KEY,
    order_id       uuid        NOT NULL,
    cause          text        NOT NULL CHECK (cause IN ('cancelled', 'edited')),
    cause_id       uuid        NOT NULL,
    lines          jsonb       NOT NULL,
    shipping_cents bigint      NOT NULL CHECK (shipping_cents >= 0),
    amount_cents   bigint      NOT NULL CHECK (amount_cents > 0),
    currency       text        NOT NULL,
    requested_at   timestamptz NOT NULL
);
CREATE INDEX refunds_of_order ON refunds (order_id);

-- Why every plan is as it is: chosen parcels, candidates with cost or reason, rate cards (feature C10).
-- append-only: decisions
CREATE TABLE decisions (
    decision_id   uuid        PRIMARY KEY,
    order_id      uuid        NOT NULL,
    order_version integer     NOT NULL,
    decided_at    timestamptz NOT NULL,
    record        jsonb       NOT NULL
);
CREATE INDEX decisions_of_order ON decisions (order_id);

-- Reservations that overtook their order; taken up with it.
CREATE TABLE early_reservations (
    event_id    uuid        PRIMARY KEY,
    order_id    uuid        NOT NULL,
    message     jsonb       NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX early_reservations_of_order ON early_reservations (order_id);

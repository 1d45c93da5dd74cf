-- What sync owns: channels, products, listings, orders as the channels sent them, and everything that still has to be told to a channel.
-- Work that waits for the network is rows with due_at; a NULL due_at means that there is nothing to do.

-- Channels of the partners file. Health and circuit breaker live here, so that every process and every kind of call shares them.
CREATE TABLE channels (
    code                 text        PRIMARY KEY,
    registered_at        timestamptz NOT NULL,
    consecutive_failures integer     NOT NULL DEFAULT 0 CHECK (consecutive_failures >= 0),
    -- How often in a row the circuit opened; 0 means closed. While it is above 0 one call at a time probes the channel.
    trips                integer     NOT NULL DEFAULT 0 CHECK (trips >= 0),
    -- Nobody calls the channel before this time: it asked for patience (429) or its circuit is open.
    paused_until         timestamptz,
    last_accepted_at     timestamptz,
    last_failure_at      timestamptz,
    last_failure         text
);

CREATE TABLE products (
    sku               text        PRIMARY KEY,
    title             text        NOT NULL,
    unit_price_cents  bigint      NOT NULL CHECK (unit_price_cents >= 0),
    unit_weight_grams integer     NOT NULL CHECK (unit_weight_grams > 0),
    hazmat            boolean     NOT NULL,
    -- When the registration was asked for: a newer one replaces an older one, whichever arrives first.
    registered_at     timestamptz NOT NULL
);

CREATE TABLE listings (
    channel             text        NOT NULL REFERENCES channels (code),
    sku                 text        NOT NULL REFERENCES products (sku),
    external_listing_id text        NOT NULL,
    pool                text        NOT NULL DEFAULT 'default',
    registered_at       timestamptz NOT NULL,
    PRIMARY KEY (channel, sku),
    -- Two SKUs under one name would overwrite each other's number. Deferred, so that one registration may swap two names.
    UNIQUE (channel, external_listing_id) DEFERRABLE INITIALLY DEFERRED
);

CREATE INDEX listings_by_sku ON listings (sku);

-- The newest number of every SKU, listed anywhere or not: a listing registered later is told at once.
CREATE TABLE stock_numbers (
    sku           text        NOT NULL,
    pool          text        NOT NULL,
    available     integer     NOT NULL CHECK (available >= 0),
    mode          text        NOT NULL CHECK (mode IN ('in_stock', 'backorder', 'preorder', 'sold_out')),
    next_ship_at  timestamptz,
    stock_version bigint      NOT NULL,
    changed_at    timestamptz NOT NULL,
    PRIMARY KEY (sku, pool)
);

-- Per listing: the number the channel shall show (wanted) and the number it last took (accepted).
-- stale_since: time of the first change that no call has carried yet. sending_since: time of the first change carried by a call whose
-- outcome is not known to be a yes; while it is set, what the channel shows is in doubt.
CREATE TABLE listing_stock (
    channel               text        NOT NULL,
    sku                   text        NOT NULL,
    wanted_available      integer     NOT NULL,
    wanted_mode           text        NOT NULL,
    wanted_next_ship_at   timestamptz,
    wanted_version        bigint      NOT NULL,
    wanted_at             timestamptz NOT NULL,
    stale_since           timestamptz,
    sending_since         timestamptz,
    due_at                timestamptz,
    claims                integer     NOT NULL DEFAULT 0,
    failures              integer     NOT NULL DEFAULT 0,
    last_failure          text,
    accepted_available    integer,
    accepted_mode         text,
    accepted_next_ship_at timestamptz,
    accepted_version      bigint,
    accepted_at           timestamptz,
    accepted_latency_ms   integer,
    PRIMARY KEY (channel, sku),
    FOREIGN KEY (channel, sku) REFERENCES listings (channel, sku)
) WITH (fillfactor = 80);

-- In the order in which pushes are claimed: what is sold out first.
CREATE INDEX listing_stock_due ON listing_stock (channel, (wanted_available > 0), due_at) WHERE due_at IS NOT NULL;

-- How long channels took to show a change, counted in buckets 5% apart, per minute: constant size, exact enough for p50 and p99.
CREATE TABLE push_latencies (
    channel text        NOT NULL,
    minute  timestamptz NOT NULL,
    bucket  smallint    NOT NULL,
    pushes  bigint      NOT NULL CHECK (pushes > 0),
    PRIMARY KEY (channel, minute, bucket)
);

CREATE INDEX push_latencies_by_minute ON push_latencies (minute);

-- One row per order that was taken. (channel, external_id) identifies it for ever. Holds no personal data.
CREATE TABLE channel_orders (
    order_id       uuid        PRIMARY KEY,
    channel        text        NOT NULL,
    external_id    text        NOT NULL,
    -- SHA-256 over the content in a canonical form: tells a repetition from a contradiction.
    content_digest bytea       NOT NULL,
    placed_at      timestamptz NOT NULL,
    received_at    timestamptz NOT NULL,
    currency       text        NOT NULL,
    captured_cents bigint      NOT NULL CHECK (captured_cents >= 0),
    order_version  integer     NOT NULL DEFAULT 1,
    -- [{"line_id", "sku", "quantity"}] under order_version
    lines          jsonb       NOT NULL,
    cancelled_at   timestamptz,
    cancel_reason  text,
    UNIQUE (channel, external_id)
);

-- Money to give back at the channel. sent and unknown mean that money may have moved: the next step is to look the key up.
CREATE TABLE refunds (
    refund_id          uuid        PRIMARY KEY,
    order_id           uuid        NOT NULL REFERENCES channel_orders (order_id),
    channel            text        NOT NULL,
    external_id        text        NOT NULL,
    amount_cents       bigint      NOT NULL CHECK (amount_cents > 0),
    currency           text        NOT NULL,
    idempotency_key    text        NOT NULL,
    state              text        NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'sent', 'unknown', 'succeeded', 'failed')),
    due_at             timestamptz,
    attempts           integer     NOT NULL DEFAULT 0,
    last_failure       text,
    provider_reference text,
    requested_at       timestamptz NOT NULL,
    settled_at         timestamptz,
    cause_event_id     uuid        NOT NULL,
    cause_traceparent  text,
    UNIQUE (channel, idempotency_key),
    CHECK ((state IN ('succeeded', 'failed')) = (settled_at IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'failed')) = (due_at IS NULL))
);

CREATE INDEX refunds_due ON refunds (channel, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refunds_by_order ON refunds (order_id);

-- Parcels that the channel has to be told about.
CREATE TABLE shipment_notices (
    fulfillment_id    uuid        PRIMARY KEY,
    order_id          uuid        NOT NULL REFERENCES channel_orders (order_id),
    channel           text        NOT NULL,
    external_id       text        NOT NULL,
    carrier           text        NOT NULL,
    tracking_number   text        NOT NULL,
    lines             jsonb       NOT NULL,
    shipped_at        timestamptz NOT NULL,
    state             text        NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'accepted', 'refused')),
    due_at            timestamptz,
    attempts          integer     NOT NULL DEFAULT 0,
    last_failure      text,
    settled_at        timestamptz,
    cause_event_id    uuid        NOT NULL,
    cause_traceparent text,
    CHECK ((state = 'due') = (due_at IS NOT NULL))
);

CREATE INDEX shipment_notices_due ON shipment_notices (channel, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX shipment_notices_by_order ON shipment_notices (order_id);

-- Returns: what of each order was paid, what has shipped, what may come back, what came back, and all money that goes back.
-- No personal data is kept here: the order copy has no name, address or e-mail.

-- What a segment's customers may send back and for how long, where an operator has set it (PUT /policies/{segment}); otherwise the
-- defaults of decide/books.py hold. Data, not configuration, so that every process decides alike while it changes.
CREATE TABLE return_policies (
    segment        text    PRIMARY KEY CHECK (segment IN ('dtc', 'wholesale', 'retail')),
    window_days    integer NOT NULL CHECK (window_days BETWEEN 0 AND 3650),
    label_days     integer NOT NULL CHECK (label_days BETWEEN 1 AND 365),
    label_carrier  text    NOT NULL CHECK (label_carrier <> ''),
    return_address text    NOT NULL CHECK (return_address <> '')
);

-- The copy of an order. The row is the lock: whatever decides about units or money of an order locks it first.
CREATE TABLE orders (
    order_id                uuid        PRIMARY KEY,
    channel                 text        NOT NULL,
    external_id             text        NOT NULL,
    currency                text        NOT NULL,
    segment                 text        NOT NULL CHECK (segment IN ('dtc', 'wholesale', 'retail')),
    placed_at               timestamptz NOT NULL,
    lines_version           integer     NOT NULL CHECK (lines_version >= 1),
    captured_cents          bigint      NOT NULL CHECK (captured_cents >= 0),
    shipping_captured_cents bigint      NOT NULL CHECK (shipping_captured_cents >= 0),
    shipping_refunded_cents bigint      NOT NULL DEFAULT 0 CHECK (shipping_refunded_cents >= 0),
    -- Paid, but no line needs it any more after an edit: what the refund of that edit is taken from.
    unapportioned_cents     bigint      NOT NULL DEFAULT 0 CHECK (unapportioned_cents >= 0),
    cancelled_at            timestamptz,
    CHECK (shipping_refunded_cents <= shipping_captured_cents)
);

-- Captured money per line, and who has a claim on it. The last check is the last line of defence of invariant I4.
CREATE TABLE order_lines (
    order_id         uuid    NOT NULL REFERENCES orders,
    line_id          text    NOT NULL,
    sku              text    NOT NULL,
    title            text    NOT NULL,
    quantity         integer NOT NULL CHECK (quantity >= 0),
    unit_price_cents bigint  NOT NULL CHECK (unit_price_cents >= 0),
    tax_cents        bigint  NOT NULL CHECK (tax_cents >= 0),
    captured_cents   bigint  NOT NULL CHECK (captured_cents >= 0),
    held_cents       bigint  NOT NULL DEFAULT 0 CHECK (held_cents >= 0),
    returned_cents   bigint  NOT NULL DEFAULT 0 CHECK (returned_cents >= 0),
    cancelled_cents  bigint  NOT NULL DEFAULT 0 CHECK (cancelled_cents >= 0),
    edited_cents     bigint  NOT NULL DEFAULT 0 CHECK (edited_cents >= 0),
    open_units       integer NOT NULL DEFAULT 0 CHECK (open_units >= 0),
    received_units   integer NOT NULL DEFAULT 0 CHECK (received_units >= 0),
    PRIMARY KEY (order_id, line_id),
    CHECK (held_cents + returned_cents + cancelled_cents + edited_cents <= captured_cents)
);

-- Edits and cancellations this service has heard of; tells a refund that came too early from one that is too high.
CREATE TABLE order_changes (
    order_id      uuid    NOT NULL REFERENCES orders,
    change_id     uuid    NOT NULL,
    kind          text    NOT NULL CHECK (kind IN ('edited', 'cancelled')),
    order_version integer NOT NULL,
    PRIMARY KEY (order_id, change_id)
);

CREATE TABLE cancelled_units (
    order_id uuid    NOT NULL REFERENCES orders,
    line_id  text    NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, line_id)
);

-- Parcels. A shipment or a delivery may arrive before the order and before each other, so nothing here refers to orders.
CREATE TABLE shipments (
    fulfillment_id uuid PRIMARY KEY,
    order_id       uuid NOT NULL,
    shipped_at     timestamptz,
    delivered_at   timestamptz,
    CHECK (shipped_at IS NOT NULL OR delivered_at IS NOT NULL)
);
CREATE INDEX shipments_of_order ON shipments (order_id);

CREATE TABLE shipped_units (
    fulfillment_id uuid    NOT NULL REFERENCES shipments,
    line_id        text    NOT NULL,
    order_id       uuid    NOT NULL,
    sku            text    NOT NULL,
    quantity       integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (fulfillment_id, line_id)
);
CREATE INDEX shipped_units_of_order ON shipped_units (order_id);

-- Return authorisations. A declined request may name an order that does not exist.
CREATE TABLE returns (
    return_id             uuid        PRIMARY KEY,
    return_number         text        NOT NULL UNIQUE,
    order_id              uuid        NOT NULL,
    status                text        NOT NULL CHECK (status IN ('approved', 'declined', 'received', 'inspected', 'closed', 'cancelled')),
    requested_by          text        NOT NULL,
    requested_lines       jsonb       NOT NULL,
    requested_at          timestamptz NOT NULL,
    decline_reason        text,
    decline_detail        text,
    currency              text,
    refund_quote_cents    bigint CHECK (refund_quote_cents >= 0),
    label_carrier         text,
    label_tracking_number text,
    return_address        text,
    expires_at            timestamptz,
    inspected_at          timestamptz,
    closed_at             timestamptz,
    CHECK ((status = 'declined') = (decline_reason IS NOT NULL)),
    CHECK (status = 'declined' OR (refund_quote_cents IS NOT NULL AND label_tracking_number IS NOT NULL AND expires_at IS NOT NULL)),
    CHECK ((status IN ('closed', 'cancelled')) = (closed_at IS NOT NULL))
);
CREATE INDEX returns_of_order ON returns (order_id);
CREATE INDEX returns_by_tracking_number ON returns (label_tracking_number);
CREATE INDEX returns_waiting ON returns (expires_at) WHERE status IN ('approved', 'received');

CREATE TABLE return_lines (
    return_id       uuid    NOT NULL REFERENCES returns,
    line_id         text    NOT NULL,
    sku             text    NOT NULL,
    approved_units  integer NOT NULL CHECK (approved_units > 0),
    quote_cents     bigint  NOT NULL CHECK (quote_cents >= 0),
    restocked_units integer NOT NULL DEFAULT 0 CHECK (restocked_units >= 0),
    damaged_units   integer NOT NULL DEFAULT 0 CHECK (damaged_units >= 0),
    missing_units   integer NOT NULL DEFAULT 0 CHECK (missing_units >= 0),
    refunded_cents  bigint  NOT NULL DEFAULT 0 CHECK (refunded_cents >= 0),
    PRIMARY KEY (return_id, line_id),
    CHECK (restocked_units + damaged_units + missing_units <= approved_units),
    CHECK (refunded_cents <= quote_cents)
);

-- append-only: return_scans
CREATE TABLE return_scans (
    scan_id    uuid        PRIMARY KEY,
    return_id  uuid        NOT NULL REFERENCES returns,
    location   text        NOT NULL,
    operator   text        NOT NULL,
    units      jsonb       NOT NULL,
    closes     boolean     NOT NULL,
    scanned_at timestamptz NOT NULL
);
CREATE INDEX return_scans_of_return ON return_scans (return_id);

-- One disposition per unit, for ever.
-- append-only: dispositions
CREATE TABLE dispositions (
    scan_id     uuid    NOT NULL REFERENCES return_scans,
    line_id     text    NOT NULL,
    disposition text    NOT NULL CHECK (disposition IN ('restocked', 'damaged', 'missing')),
    return_id   uuid    NOT NULL REFERENCES returns,
    sku         text    NOT NULL,
    quantity    integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (scan_id, line_id, disposition)
);
CREATE INDEX dispositions_of_return ON dispositions (return_id);

-- Refunds: where each stands now. What happened to it is in refund_ledger, what it pays for in refund_lines.
CREATE TABLE refunds (
    refund_id          uuid        PRIMARY KEY,
    order_id           uuid        NOT NULL REFERENCES orders,
    cause              text        NOT NULL CHECK (cause IN ('cancelled', 'edited', 'returned')),
    cause_id           uuid        NOT NULL,
    return_id          uuid        REFERENCES returns,
    amount_cents       bigint      NOT NULL CHECK (amount_cents >= 0),
    shipping_cents     bigint      NOT NULL CHECK (shipping_cents >= 0),
    currency           text        NOT NULL,
    state              text        NOT NULL CHECK (state IN ('sent', 'succeeded', 'failed')),
    requested_at       timestamptz NOT NULL,
    settled_at         timestamptz,
    provider_reference text,
    failure_reason     text,
    CHECK ((cause = 'returned') = (return_id IS NOT NULL)),
    CHECK (cause <> 'returned' OR shipping_cents = 0),
    CHECK ((state = 'failed') = (failure_reason IS NOT NULL))
);
CREATE INDEX refunds_of_order ON refunds (order_id);
CREATE INDEX refunds_of_return ON refunds (return_id);
CREATE INDEX refunds_failed ON refunds (requested_at) WHERE state = 'failed';

-- append-only: refund_lines
CREATE TABLE refund_lines (
    refund_id    uuid    NOT NULL REFERENCES refunds,
    line_id      text    NOT NULL,
    quantity     integer NOT NULL CHECK (quantity >= 0),
    amount_cents bigint  NOT NULL CHECK (amount_cents >= 0),
    PRIMARY KEY (refund_id, line_id)
);

-- append-only: refund_ledger
CREATE TABLE refund_ledger (
    entry_id     uuid        PRIMARY KEY,
    refund_id    uuid        NOT NULL REFERENCES refunds,
    kind         text        NOT NULL CHECK (kind IN ('requested', 'succeeded', 'failed', 'retried')),
    amount_cents bigint      NOT NULL CHECK (amount_cents >= 0),
    detail       text        NOT NULL,
    recorded_at  timestamptz NOT NULL
);
CREATE INDEX refund_ledger_of_refund ON refund_ledger (refund_id);
CREATE UNIQUE INDEX refund_requested_once ON refund_ledger (refund_id) WHERE kind = 'requested';
CREATE UNIQUE INDEX refund_succeeded_once ON refund_ledger (refund_id) WHERE kind = 'succeeded';

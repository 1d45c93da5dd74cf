-- The read model of orders, and what customers are told. Nothing here decides about an order, and everything can be rebuilt from events.
--
-- Events arrive in any order. The timeline is a set of facts, so the order in which it fills does not matter; what an order looks like is
-- folded from it when somebody looks (services/portal/decide/view.py). No counter is kept that could drift from it.

-- Who bought what where: written once by order.placed. Holds personal data.
CREATE TABLE orders (
    order_id            uuid        NOT NULL PRIMARY KEY,
    channel             text        NOT NULL,
    external_id         text        NOT NULL,
    placed_at           timestamptz NOT NULL,
    currency            text        NOT NULL,
    shipping_paid_cents bigint      NOT NULL,
    service_level       text        NOT NULL,
    deliver_by          timestamptz,
    customer_email      text        NOT NULL,
    customer_name       text,
    locale              text        NOT NULL
);

CREATE INDEX orders_by_external_id ON orders (external_id);
CREATE INDEX orders_by_customer ON orders (lower(customer_email));
CREATE INDEX orders_by_placed_at ON orders (placed_at);

-- The order as it stood under each version: written once by order.placed or order.edited. ship_to is personal data.
CREATE TABLE order_versions (
    order_id      uuid    NOT NULL,
    order_version integer NOT NULL,
    lines         jsonb   NOT NULL,
    ship_to       jsonb   NOT NULL,
    PRIMARY KEY (order_id, order_version)
);

-- What happened to an order. fact_id names the business fact (a fulfillment, a change, a refund), so that a fact told twice under two event
-- ids stands here once; where the event itself is the fact it is the event id. Holds no personal data.
CREATE TABLE timeline (
    order_id uuid        NOT NULL,
    type     text        NOT NULL,
    fact_id  uuid        NOT NULL,
    event_id uuid        NOT NULL,
    source   text        NOT NULL,
    at       timestamptz NOT NULL,
    trace_id uuid        NOT NULL,
    data     jsonb       NOT NULL,
    PRIMARY KEY (order_id, type, fact_id)
);
-- append-only: timeline

CREATE INDEX timeline_by_tracking_number ON timeline ((data ->> 'tracking_number')) WHERE type = 'fulfillment.shipped.v1';
CREATE INDEX timeline_by_return ON timeline (fact_id) WHERE type = 'return.approved.v1';

-- One row per thing a customer is told, written in the transaction of the fact that causes it. The errand sends it once the customer's
-- address is known.
CREATE TABLE notifications (
    order_id   uuid        NOT NULL,
    kind       text        NOT NULL,
    cause_id   uuid        NOT NULL,
    type       text        NOT NULL,
    created_at timestamptz NOT NULL,
    status     text        NOT NULL DEFAULT 'due' CHECK (status IN ('due', 'sent', 'failed')),
    attempts   integer     NOT NULL DEFAULT 0,
    due_at     timestamptz NOT NULL,
    sent_at    timestamptz,
    reason     text,
    PRIMARY KEY (order_id, kind, cause_id),
    CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CHECK (status <> 'failed' OR reason IS NOT NULL)
);

CREATE INDEX notifications_due ON notifications (due_at) WHERE status = 'due';
CREATE INDEX notifications_failed ON notifications (created_at) WHERE status = 'failed';

-- Operators signed in to the console. Only a hash of the cookie is kept, so that who reads the database cannot sign in with it.
CREATE TABLE console_sessions (
    session_hash bytea       NOT NULL PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);

-- Cancellations that channels asked for: passed on to routing once their order is here, and told to the channel once they are decided.
CREATE TABLE cancellations (
    channel           text        NOT NULL,
    external_id       text        NOT NULL,
    -- what the channel calls it: the same again is the same cancellation
    cancellation_id   text        NOT NULL,
    -- [{"external_line_id", "quantity"}]; empty means the whole order
    lines             jsonb       NOT NULL,
    reason            text        NOT NULL,
    cause_event_id    uuid        NOT NULL,
    cause_traceparent text,
    requested_at      timestamptz NOT NULL,
    -- until when it waits for its order
    waits_until       timestamptz NOT NULL,
    -- the change that routing was asked for; null while the order has not arrived, or another change of it is open
    change_id         uuid        UNIQUE,
    attempts          integer     NOT NULL DEFAULT 0,
    due_at            timestamptz NOT NULL,
    outcome           text        CHECK (outcome IN ('cancelled', 'cancelled_in_part', 'refused')),
    decided_at        timestamptz,
    PRIMARY KEY (channel, external_id, cancellation_id),
    CHECK ((outcome IS NULL) = (decided_at IS NULL))
);
CREATE INDEX cancellations_waiting ON cancellations (due_at) WHERE change_id IS NULL AND decided_at IS NULL;

-- The inbox and the outbox of one service (blueprint section 3). Both are partitioned by day over the event id: a UUIDv7 starts with its
-- creation time in milliseconds, so uniqueness over the whole history and partitions by day need no further column. Ids that are no
-- UUIDv7 (a partner's own) fall into the default partition.

CREATE TABLE inbox (
    event_id    uuid        NOT NULL,
    source      text        NOT NULL,
    type        text        NOT NULL,
    subject     text,
    status      text        NOT NULL CHECK (status IN ('done', 'retry', 'parked')),
    attempts    integer     NOT NULL DEFAULT 0,
    due_at      timestamptz,
    reason      text,
    routing_key text,
    body        bytea,
    traceparent text, -- only of what came from outside: for our own events the outbox has it
    received_at timestamptz NOT NULL,
    handled_at  timestamptz,
    PRIMARY KEY (event_id, source),
    CHECK (status = 'done' OR (body IS NOT NULL AND reason IS NOT NULL)),
    CHECK (status <> 'retry' OR due_at IS NOT NULL)
) PARTITION BY RANGE (event_id);

CREATE INDEX inbox_waiting ON inbox (due_at) WHERE status = 'retry';
CREATE INDEX inbox_parked ON inbox (received_at) WHERE status = 'parked';
CREATE TABLE inbox_default PARTITION OF inbox DEFAULT;

CREATE TABLE outbox (
    event_id    uuid        NOT NULL PRIMARY KEY,
    type        text        NOT NULL,
    subject     text,
    exchange    text        NOT NULL,
    routing_key text        NOT NULL,
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    sent_at     timestamptz
) PARTITION BY RANGE (event_id);

CREATE INDEX outbox_unsent ON outbox (event_id) WHERE sent_at IS NULL;
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;

-- The smallest UUIDv7 of an instant.
CREATE FUNCTION uuid_floor(instant timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex((extract(epoch FROM instant) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- Makes the partitions of today and the coming days and drops those whose retention is over. A partition that still holds something
-- that waits (retry, parked, unsent) is kept. Runs with the owner's rights because services have no rights to change tables.
CREATE FUNCTION maintain_partitions(today date, days_ahead integer, retention_days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET timezone = 'UTC' AS $$
DECLARE
    parent text;
    day date;
    child text;
    low uuid;
    high uuid;
    waiting boolean;
    changed integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('maintain_partitions'), hashtext(current_schema()));
    FOREACH parent IN ARRAY ARRAY['inbox', 'outbox'] LOOP
        FOR day IN SELECT generate_series(today - 1, today + days_ahead, interval '1 day')::date LOOP
            child := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
            IF to_regclass(child) IS NULL THEN
                low := uuid_floor(day::timestamptz);
                high := uuid_floor((day + 1)::timestamptz);
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
                EXECUTE format('WITH moved AS (DELETE FROM %I WHERE event_id >= %L AND event_id < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
                               parent || '_default', low, high, child);
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, low, high);
                changed := changed + 1;
            END IF;
        END LOOP;
        FOR child IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = parent::regclass AND c.relname ~ ('^' || parent || '_\d{8}$')
              AND to_date(right(c.relname, 8), 'YYYYMMDD') < today - retention_days
        LOOP
            IF parent = 'inbox' THEN
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE status <> ''done'')', child) INTO waiting;
            ELSE
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE sent_at IS NULL)', child) INTO waiting;
            END IF;
            IF NOT waiting THEN
                EXECUTE format('DROP TABLE %I', child);
                changed := changed + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN changed;
END $$;

-- A parked message that nobody will handle is dismissed by a person, who says why. It is no longer open; who dismissed what stays for ever.

ALTER TABLE inbox DROP CONSTRAINT inbox_status_check;
ALTER TABLE inbox ADD CONSTRAINT inbox_status_check CHECK (status IN ('done', 'retry', 'parked', 'dismissed'));

-- The message as it was parked is copied, because the inbox forgets it with its day's partition. A message that is re-driven and parked
-- again may be dismissed again.
-- append-only: dismissals
CREATE TABLE dismissals (
    event_id      uuid        NOT NULL,
    source        text        NOT NULL,
    type          text        NOT NULL,
    subject       text,
    attempts      integer     NOT NULL,
    parked_reason text        NOT NULL,
    body          bytea       NOT NULL,
    received_at   timestamptz NOT NULL,
    reason        text        NOT NULL CHECK (reason <> ''),
    operator      text        NOT NULL CHECK (operator <> ''),
    dismissed_at  timestamptz NOT NULL,
    PRIMARY KEY (event_id, source, dismissed_at)
);

CREATE INDEX dismissals_newest ON dismissals (dismissed_at);

-- Makes the partitions of today and the coming days and drops those whose retention is over. A partition that still holds something
-- that waits (retry, parked, unsent) is kept. Runs with the owner's rights because services have no rights to change tables.
CREATE OR REPLACE FUNCTION maintain_partitions(today date, days_ahead integer, retention_days integer) RETURNS integer
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
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE status IN (''retry'', ''parked''))', child) INTO waiting;
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

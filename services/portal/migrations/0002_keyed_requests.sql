-- What was asked for under each Idempotency-Key. A key that comes again with other content is refused: whoever sends it would believe that
-- both were done.
CREATE TABLE keyed_requests (
    request  bytea       NOT NULL PRIMARY KEY, -- digest of the operation, what its address names, and the key
    content  bytea       NOT NULL,             -- digest of the body
    attempt  integer     NOT NULL DEFAULT 0,   -- what was refused was not done: the next request under the key is asked under fresh ids
    refused  boolean     NOT NULL DEFAULT false,
    asked_at timestamptz NOT NULL
);

-- Routing rules (features C2 to C5): sets of rules as versions that never change, and which of them is in force.
-- append-only: rule_sets
CREATE TABLE rule_sets (
    version    bigint      PRIMARY KEY CHECK (version >= 1),
    request_id uuid        NOT NULL UNIQUE,
    rules      jsonb       NOT NULL,
    reason     text        NOT NULL,
    author     text        NOT NULL,
    saved_at   timestamptz NOT NULL
);

-- Who put which version in force, when and why; an earlier version is a rollback. Version 0 is the example set that ships.
-- append-only: rule_publications
CREATE TABLE rule_publications (
    request_id       uuid        PRIMARY KEY,
    position         bigint      NOT NULL UNIQUE CHECK (position >= 1),
    version          bigint      NOT NULL CHECK (version >= 0),
    replaced_version bigint      NOT NULL CHECK (replaced_version >= 0),
    change           text        NOT NULL CHECK (change IN ('published', 'rolled_back')),
    reason           text        NOT NULL,
    author           text        NOT NULL,
    published_at     timestamptz NOT NULL
);

-- One row, so that whoever saves or publishes waits for whoever does, and a running process sees at a glance whether it knows the rules.
CREATE TABLE rules_in_force (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint  NOT NULL CHECK (version >= 0)
);
INSERT INTO rules_in_force (version) VALUES (0);

ALTER TABLE locations ADD COLUMN capabilities text[] NOT NULL DEFAULT '{}';
-- An operator has let the order go on: no rule holds it again.
ALTER TABLE orders ADD COLUMN holds_lifted boolean NOT NULL DEFAULT false;
-- What rules told whoever packs it; null for nothing.
ALTER TABLE fulfillments ADD COLUMN packing jsonb;

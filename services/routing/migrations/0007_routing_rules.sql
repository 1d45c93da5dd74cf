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

-- The example to start from, a draft like any other: nothing is routed by it until somebody publishes it.
INSERT INTO rule_sets (version, request_id, rules, reason, author, saved_at) VALUES (
    1, '00000000-0000-0000-0000-000000000001', $rules$
    {"rules": [
        {"name": "hazmat-certified",
         "why": "Hazardous goods ship only from certified facilities",
         "action": "require", "items": "item.hazmat", "locations": "location.hazmat_certified"},
        {"name": "wholesale-bulk",
         "why": "Wholesale over 500 units ships from the bulk centre while it has the goods",
         "action": "pin", "segments": ["wholesale"], "when": "order.units > 500", "locations": "'bulk' in location.capabilities"},
        {"name": "two-day-ground-zone",
         "why": "Consumers get their parcel within two days by ground where a location that near has the goods, else the next best",
         "action": "prefer", "segments": ["dtc"], "locations": "location.ground_days <= 2"},
        {"name": "wholesale-cost",
         "why": "Wholesale ships at the least cost that keeps the promise",
         "action": "objective", "segments": ["wholesale"], "objective": "cheapest"},
        {"name": "retail-replenishment",
         "why": "Stores unpack straight onto the shelf",
         "action": "pack", "segments": ["retail"],
         "instructions": ["retail replenishment: one SKU per inner carton", "carton label on two sides with SKU and quantity"]}
    ]}
    $rules$, 'the example that ships with Ordermesh: a decision tree to start from', 'ordermesh', now()
);

-- Who put which version in force, when and why; an earlier version is a rollback. Version 0 is no rules.
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

-- At most one row (none: version 0), so that whoever saves or publishes waits for whoever does, and a running process sees at a glance whether it knows the rules.
CREATE TABLE rules_in_force (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint  NOT NULL CHECK (version >= 0)
);

ALTER TABLE locations ADD COLUMN capabilities text[] NOT NULL DEFAULT '{}';
-- An operator has let the order go on: no rule holds it again.
ALTER TABLE orders ADD COLUMN holds_lifted boolean NOT NULL DEFAULT false;
-- What rules told whoever packs it; null for nothing.
ALTER TABLE fulfillments ADD COLUMN packing jsonb;

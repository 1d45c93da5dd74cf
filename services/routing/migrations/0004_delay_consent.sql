-- Delay consent (feature B8): what a customer was told and has agreed to, and the questions about longer waiting.
ALTER TABLE orders
    -- per waiting line: [ship date or null, when allocation said so]; null while no line was told to wait
    ADD COLUMN promised         jsonb,
    ADD COLUMN original_ship_at timestamptz,
    ADD COLUMN agreed_ship_at   timestamptz,
    -- the customer has agreed to wait without a date
    ADD COLUMN open_ended       boolean NOT NULL DEFAULT false,
    -- the newest delay about which the customer may say something
    ADD COLUMN consent_id       uuid;

CREATE TABLE delay_consents (
    consent_id  uuid        PRIMARY KEY,
    order_id    uuid        NOT NULL,
    cause       text        NOT NULL,
    cause_id    uuid        NOT NULL,
    consent     text        NOT NULL CHECK (consent IN ('silence', 'required')),
    old_ship_at timestamptz,
    new_ship_at timestamptz,
    told_at     timestamptz NOT NULL,
    answer_by   timestamptz,
    outcome     text        CHECK (outcome IN ('consented', 'refused', 'lapsed', 'not_needed', 'replaced')),
    settled_at  timestamptz,
    CONSTRAINT a_question_has_a_deadline CHECK ((consent = 'required') = (answer_by IS NOT NULL)),
    CONSTRAINT settled_with_a_time CHECK ((outcome IS NULL) = (settled_at IS NULL)),
    -- whoever says nothing to a short first delay agrees to it
    CONSTRAINT silence_needs_a_date CHECK (consent = 'required' OR new_ship_at IS NOT NULL)
);
CREATE INDEX delay_consents_of_order ON delay_consents (order_id);
CREATE UNIQUE INDEX delay_consents_one_open_per_order ON delay_consents (order_id) WHERE consent = 'required' AND outcome IS NULL;
CREATE INDEX delay_consents_open ON delay_consents (answer_by, consent_id) WHERE consent = 'required' AND outcome IS NULL;

-- Edits that channels asked for: passed on to routing, and told to the channel once they are decided.
CREATE TABLE channel_edits (
    channel      text        NOT NULL,
    external_id  text        NOT NULL,
    -- what the channel calls it: the same again is the same edit
    edit_id      text        NOT NULL,
    -- a digest of what was asked for, so that another edit under the same name is noticed; no personal data
    content      bytea       NOT NULL,
    change_id    uuid        NOT NULL UNIQUE,
    requested_at timestamptz NOT NULL,
    outcome      text        CHECK (outcome IN ('made', 'refused')),
    decided_at   timestamptz,
    PRIMARY KEY (channel, external_id, edit_id),
    CHECK ((outcome IS NULL) = (decided_at IS NULL))
);

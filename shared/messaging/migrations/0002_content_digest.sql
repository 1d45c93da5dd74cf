-- What a partner's message said, as a SHA-256: an id that comes again with the same digest is a repetition, with another one it is a
-- different message that must not vanish. Only of partners' messages; an empty digest (also of rows that are older than this column) is
-- taken for a repetition.
ALTER TABLE inbox ADD COLUMN content_digest bytea;

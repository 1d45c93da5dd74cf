-- What a line is of the kit that it was bought in; all null for a line that was bought by itself. The number of kits is
-- quantity / kit_units, the same for every line of a kit.
ALTER TABLE order_lines
    ADD COLUMN kit_line_id text,
    ADD COLUMN kit_sku     text,
    ADD COLUMN kit_title   text,
    ADD COLUMN kit_units   integer,
    ADD CONSTRAINT kit_is_told_in_full CHECK (
        (kit_line_id IS NULL) = (kit_sku IS NULL) AND (kit_line_id IS NULL) = (kit_title IS NULL) AND (kit_line_id IS NULL) = (kit_units IS NULL)
        AND (kit_units IS NULL OR (kit_units > 0 AND quantity % kit_units = 0)));

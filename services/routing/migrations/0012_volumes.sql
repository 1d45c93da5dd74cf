-- How large one unit is, for carriers that bill volume; 0: not known, and its weight alone counts.
ALTER TABLE order_lines ADD COLUMN unit_volume_cubic_centimetres integer NOT NULL DEFAULT 0 CHECK (unit_volume_cubic_centimetres >= 0);

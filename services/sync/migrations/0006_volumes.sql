-- How large one unit is as it is packed, for carriers that bill volume; 0: not known.
ALTER TABLE products ADD COLUMN unit_volume_cubic_centimetres integer NOT NULL DEFAULT 0 CHECK (unit_volume_cubic_centimetres >= 0);

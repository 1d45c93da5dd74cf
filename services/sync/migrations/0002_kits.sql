-- Kits: products that are made of other products. A kit has no stock of its own; orders for it become orders for its components.

-- Settled by the first registration of a SKU: what once had stock never becomes a kit, and the other way round.
ALTER TABLE products ADD COLUMN is_kit boolean NOT NULL DEFAULT false;

-- The newest composition of each kit. Orders keep the one they were placed with in their lines.
CREATE TABLE kit_components (
    kit_sku  text    NOT NULL REFERENCES products (sku),
    sku      text    NOT NULL REFERENCES products (sku),
    quantity integer NOT NULL CHECK (quantity > 0),
    -- the component's place in the registration
    position integer NOT NULL,
    PRIMARY KEY (kit_sku, sku),
    CHECK (kit_sku <> sku)
);

CREATE INDEX kit_components_by_sku ON kit_components (sku);

-- Units of kits in this parcel by line of the order: {"line_id": units}; null when it carries none. The channel is told of a kit with the
-- parcel that completes it, which follows from all parcels of the order together.
ALTER TABLE shipment_notices ADD COLUMN component_units jsonb;

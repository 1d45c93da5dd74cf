-- Kits: SKUs that are sold but never stocked. What may be sold of a kit follows from the pools of its components.
--
-- Locks: a kit's row comes after all pools. Whoever has changed the pool of a component locks its kits, and only then reads the other
-- components: so of two who change two components of one kit at once, the second sees what the first has committed.

CREATE TABLE kits (
    kit_sku       text COLLATE "C" PRIMARY KEY,
    registered_at timestamptz NOT NULL,
    -- what channels were told last
    available     integer     NOT NULL DEFAULT 0 CHECK (available >= 0),
    mode          text        NOT NULL DEFAULT 'backorder' CHECK (mode IN ('in_stock', 'backorder', 'preorder', 'sold_out')),
    next_ship_at  timestamptz,
    version       bigint      NOT NULL DEFAULT 1
) WITH (fillfactor = 70);

CREATE TABLE kit_components (
    kit_sku  text COLLATE "C" NOT NULL REFERENCES kits,
    sku      text COLLATE "C" NOT NULL REFERENCES products,
    quantity integer          NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (kit_sku, sku)
);
CREATE INDEX kit_components_by_sku ON kit_components (sku);

-- Whether some kit is made of this SKU: known with the row that every order reads anyway, so that ordinary SKUs pay nothing for kits.
ALTER TABLE stock_pools ADD COLUMN in_kits boolean NOT NULL DEFAULT false;

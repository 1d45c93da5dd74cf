"""Products and listings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from asyncpg import Record

from services.sync.decide.catalogue import KnownProduct
from shared.contracts.channels import Product
from shared.contracts.orders import ComponentProduct
from shared.messaging.message import Connection

STOCK_AND_LISTINGS_LOCK = 7_305_991_201
"""Advisory lock: whoever records stock numbers shares it, whoever registers listings holds it alone, so that neither misses the other."""


async def share_stock_and_listings(connection: Connection) -> None:
    """Lets nobody register a listing until this transaction ends. A statement of its own: the next one must see what was committed."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", STOCK_AND_LISTINGS_LOCK)


async def hold_stock_and_listings(connection: Connection) -> None:
    """Lets nobody record a stock number or register a listing until this transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", STOCK_AND_LISTINGS_LOCK)


CATALOGUE_LOCK = 7_305_991_202
"""Advisory lock: whoever registers products holds it alone, because what a SKU may become depends on what others are."""


async def hold_catalogue(connection: Connection) -> None:
    """Lets nobody register a product until this transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", CATALOGUE_LOCK)


async def read_known_products(connection: Connection, skus: Collection[str]) -> dict[str, KnownProduct]:
    """What kits need to know of those of the SKUs that are registered."""
    rows = await connection.fetch(
        "SELECT sku, is_kit, unit_weight_grams, hazmat, unit_volume_cubic_centimetres FROM products WHERE sku = ANY($1::text[])",
        sorted(skus),
    )
    return {
        row["sku"]: KnownProduct(row["is_kit"], row["unit_weight_grams"], row["hazmat"], row["unit_volume_cubic_centimetres"])
        for row in rows
    }


async def replace_components(connection: Connection, kits: Sequence[Product]) -> None:
    """The newest composition of kits in place of the one before, in one statement for readers' sake."""
    components = [(kit.sku, component, position) for kit in kits for position, component in enumerate(kit.components)]
    await connection.execute(
        """
        WITH wanted AS (
            SELECT kit_sku, sku, quantity, position
            FROM unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS wanted (kit_sku, sku, quantity, position)
        ), gone AS (
            DELETE FROM kit_components old WHERE old.kit_sku = ANY($1::text[])
              AND NOT EXISTS (SELECT FROM wanted WHERE wanted.kit_sku = old.kit_sku AND wanted.sku = old.sku)
        )
        INSERT INTO kit_components (kit_sku, sku, quantity, position) SELECT kit_sku, sku, quantity, position FROM wanted
        ON CONFLICT (kit_sku, sku) DO UPDATE SET quantity = excluded.quantity, position = excluded.position
        """,
        [kit_sku for kit_sku, _, _ in components],
        [component.sku for _, component, _ in components],
        [component.quantity for _, component, _ in components],
        [position for _, _, position in components],
    )


async def read_kits(connection: Connection, kit_skus: Collection[str]) -> dict[str, list[ComponentProduct]]:
    """What kits are made of now, with what the product master knows of each component."""
    rows = await connection.fetch(
        """
        SELECT kit_sku, sku, title, quantity, unit_price_cents, unit_weight_grams, unit_volume_cubic_centimetres, hazmat
        FROM kit_components JOIN products USING (sku)
        WHERE kit_sku = ANY($1::text[]) ORDER BY kit_sku, position
        """,
        sorted(kit_skus),
    )
    kits: dict[str, list[ComponentProduct]] = {}
    for row in rows:
        kits.setdefault(row["kit_sku"], []).append(ComponentProduct.model_validate(dict(row)))
    return kits


async def save_products(connection: Connection, products: Sequence[tuple[Product, datetime]]) -> set[str]:
    """Registers products as of the time at which it was asked for and returns the SKUs for which that is the newest word."""
    sorted_products = sorted(products, key=lambda item: item[0].sku)
    rows = await connection.fetch(
        """
        INSERT INTO products (sku, title, unit_price_cents, unit_weight_grams, hazmat, registered_at, is_kit, unit_volume_cubic_centimetres)
        SELECT sku, title, unit_price_cents, unit_weight_grams, hazmat, registered_at, is_kit, unit_volume_cubic_centimetres
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::boolean[], $6::timestamptz[], $7::boolean[], $8::int[])
             AS new (sku, title, unit_price_cents, unit_weight_grams, hazmat, registered_at, is_kit, unit_volume_cubic_centimetres)
        ON CONFLICT (sku) DO UPDATE
        SET title = excluded.title, unit_price_cents = excluded.unit_price_cents, unit_weight_grams = excluded.unit_weight_grams,
            unit_volume_cubic_centimetres = excluded.unit_volume_cubic_centimetres, hazmat = excluded.hazmat,
            registered_at = excluded.registered_at
        WHERE products.registered_at <= excluded.registered_at
        RETURNING sku
        """,
        [product.sku for product, _ in sorted_products],
        [product.title for product, _ in sorted_products],
        [product.unit_price_cents for product, _ in sorted_products],
        [product.unit_weight_grams for product, _ in sorted_products],
        [product.hazmat for product, _ in sorted_products],
        [asked_at for _, asked_at in sorted_products],
        [bool(product.components) for product, _ in sorted_products],
        [product.unit_volume_cubic_centimetres for product, _ in sorted_products],
    )
    return {row["sku"] for row in rows}


async def read_channel_codes(connection: Connection) -> set[str]:
    """Codes of the channels there are."""
    return {row["code"] for row in await connection.fetch("SELECT code FROM channels")}


async def read_registered_skus(connection: Connection, skus: Collection[str]) -> set[str]:
    """Those of the SKUs that are registered products."""
    rows = await connection.fetch("SELECT sku FROM products WHERE sku = ANY($1::text[])", sorted(skus))
    return {row["sku"] for row in rows}


async def read_listing_names(
    connection: Connection, skus: Collection[tuple[str, str]], names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """External listing ids by (channel, SKU), of listings with one of the (channel, SKU) or one of the (channel, external id)."""
    rows = await connection.fetch(
        """
        SELECT channel, sku, external_listing_id
        FROM unnest($1::text[], $2::text[]) AS asked (channel, sku) JOIN listings USING (channel, sku)
        UNION
        SELECT channel, sku, external_listing_id
        FROM unnest($3::text[], $4::text[]) AS asked (channel, external_listing_id) JOIN listings USING (channel, external_listing_id)
        """,
        [channel for channel, _ in skus],
        [sku for _, sku in skus],
        [channel for channel, _ in names],
        [name for _, name in names],
    )
    return {(row["channel"], row["sku"]): row["external_listing_id"] for row in rows}


async def save_listings(connection: Connection, listings: Sequence[tuple[str, str, str]], now: datetime) -> None:
    """Registers listings (channel, SKU, external id) and schedules the number of every new or renamed one, where it is known.

    A renamed listing has been told nothing yet under its new name. Time runs from now: before, there was nothing to tell.
    """
    sorted_listings = sorted(listings)
    await connection.execute(
        """
        WITH given AS (
            SELECT channel, sku, external_listing_id
            FROM unnest($1::text[], $2::text[], $3::text[]) AS given (channel, sku, external_listing_id)
        ), changed AS (
            SELECT given.channel, given.sku FROM given LEFT JOIN listings AS old USING (channel, sku)
            WHERE old.external_listing_id IS DISTINCT FROM given.external_listing_id
        ), saved AS (
            INSERT INTO listings (channel, sku, external_listing_id, registered_at)
            SELECT channel, sku, external_listing_id, $4 FROM given
            ON CONFLICT (channel, sku) DO UPDATE
            SET external_listing_id = excluded.external_listing_id, registered_at = excluded.registered_at
            WHERE listings.external_listing_id <> excluded.external_listing_id
            RETURNING channel, sku, pool
        )
        INSERT INTO listing_stock (channel, sku, wanted_available, wanted_mode, wanted_next_ship_at, wanted_version, wanted_at,
                                   stale_since, due_at)
        SELECT channel, sku, available, mode, next_ship_at, stock_version, changed_at, $4, $4
        FROM changed JOIN saved USING (channel, sku)
        CROSS JOIN LATERAL (
            SELECT available, mode, next_ship_at, stock_version, changed_at FROM stock_numbers
            WHERE stock_numbers.sku = saved.sku AND stock_numbers.pool IN (saved.pool, saved.channel)
            ORDER BY stock_version DESC, stock_numbers.pool = saved.channel DESC LIMIT 1
        ) AS newest
        ORDER BY channel, sku
        ON CONFLICT (channel, sku) DO UPDATE
        SET stale_since = $4, sending_since = NULL, due_at = $4, failures = 0, last_failure = NULL, accepted_available = NULL,
            accepted_mode = NULL, accepted_next_ship_at = NULL, accepted_version = NULL, accepted_at = NULL, accepted_latency_ms = NULL
        """,
        [channel for channel, _, _ in sorted_listings],
        [sku for _, sku, _ in sorted_listings],
        [name for _, _, name in sorted_listings],
        now,
    )


async def read_product(connection: Connection, sku: str) -> Record | None:
    """One product; weight, volume and hazard of a kit are those that its components have now."""
    return await connection.fetchrow(
        """
        SELECT sku, title, unit_price_cents, COALESCE(derived.grams, unit_weight_grams) AS unit_weight_grams,
               COALESCE(derived.volume, unit_volume_cubic_centimetres) AS unit_volume_cubic_centimetres,
               COALESCE(derived.hazmat, products.hazmat) AS hazmat, registered_at, is_kit
        FROM products CROSS JOIN LATERAL (
            SELECT sum(part.quantity * component.unit_weight_grams) AS grams, bool_or(component.hazmat) AS hazmat,
                   sum(part.quantity * component.unit_volume_cubic_centimetres) AS volume
            FROM kit_components part JOIN products component USING (sku) WHERE part.kit_sku = products.sku
        ) derived
        WHERE sku = $1
        """,
        sku,
    )


async def read_listings(connection: Connection, channel: str, after_sku: str, limit: int) -> list[Record]:
    """One channel's listings behind a SKU, with today's price, the number each shall show and the number it last took."""
    return await connection.fetch(
        """
        SELECT listings.sku, title, unit_price_cents, external_listing_id, listings.registered_at, wanted_available, wanted_mode,
               wanted_next_ship_at, wanted_version, wanted_at, accepted_available, accepted_mode, accepted_next_ship_at, accepted_version,
               accepted_at, accepted_latency_ms, due_at, failures, last_failure
        FROM listings JOIN products USING (sku) LEFT JOIN listing_stock USING (channel, sku)
        WHERE channel = $1 AND listings.sku > $2
        ORDER BY listings.sku LIMIT $3
        """,
        channel,
        after_sku,
        limit,
    )


async def find_listings(connection: Connection, channel: str, search: str, limit: int) -> list[Record]:
    """One channel's listings whose title or SKU holds every word, whatever its case: the SKU that was named first, then by title."""
    return await connection.fetch(
        """
        SELECT listings.sku, title, unit_price_cents, external_listing_id, listings.registered_at, wanted_available, wanted_mode,
               wanted_next_ship_at, wanted_version, wanted_at, accepted_available, accepted_mode, accepted_next_ship_at, accepted_version,
               accepted_at, accepted_latency_ms, due_at, failures, last_failure
        FROM listings JOIN products USING (sku) LEFT JOIN listing_stock USING (channel, sku)
        WHERE channel = $1
          AND NOT EXISTS (
              SELECT FROM unnest($2::text[]) AS word WHERE position(lower(word) IN lower(title || ' ' || listings.sku)) = 0
          )
        ORDER BY listings.sku = $3 DESC, lower(listings.sku) = lower($3) DESC, title, listings.sku LIMIT $4
        """,
        channel,
        search.split(),
        search.strip(),
        limit,
    )

"""Orders, their lines, parcels and policies."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from services.returns.decide.books import LineBooks, OrderBooks, Policy
from shared.contracts.orders import PaymentCollected
from shared.messaging.message import Connection


async def lock_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Orders with their segment's policy, locked in one global order until the transaction ends."""
    return await connection.fetch(
        """
        SELECT order_id, channel, external_id, currency, placed_at, lines_version, captured_cents, shipping_captured_cents,
               shipping_refunded_cents, unapportioned_cents, cancelled_at,
               segment, window_days, label_days, label_carrier, return_address
        FROM orders LEFT JOIN return_policies USING (segment)
        WHERE order_id = ANY($1::uuid[])
        ORDER BY order_id
        FOR NO KEY UPDATE OF orders
        """,
        list(order_ids),
    )


async def read_order(connection: Connection, order_id: UUID) -> list[Record]:
    """One order with its segment's policy, not locked: for pages."""
    return await connection.fetch(
        """
        SELECT order_id, channel, external_id, currency, placed_at, lines_version, captured_cents, shipping_captured_cents,
               shipping_refunded_cents, unapportioned_cents, cancelled_at,
               segment, window_days, label_days, label_carrier, return_address
        FROM orders LEFT JOIN return_policies USING (segment)
        WHERE order_id = $1
        """,
        order_id,
    )


async def read_lines(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """All lines of these orders."""
    return await connection.fetch(
        """
        SELECT order_id, line_id, sku, title, quantity, unit_price_cents, tax_cents, captured_cents, held_cents, returned_cents,
               cancelled_cents, edited_cents, open_units, received_units
        FROM order_lines WHERE order_id = ANY($1::uuid[])
        ORDER BY order_id, line_id
        """,
        list(order_ids),
    )


async def read_shipped_units(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """What left for the customer, by parcel and line."""
    return await connection.fetch(
        """
        SELECT units.order_id, units.line_id, units.quantity, shipped_at, delivered_at
        FROM shipped_units units JOIN shipments USING (fulfillment_id)
        WHERE units.order_id = ANY($1::uuid[])
        ORDER BY units.order_id, units.line_id, shipped_at, fulfillment_id
        """,
        list(order_ids),
    )


async def read_changes(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Edits and cancellations of these orders that were heard of."""
    return await connection.fetch("SELECT order_id, change_id FROM order_changes WHERE order_id = ANY($1::uuid[])", list(order_ids))


async def read_policies(connection: Connection) -> list[Record]:
    """The policies that an operator has set."""
    return await connection.fetch(
        "SELECT segment, window_days, label_days, label_carrier, return_address FROM return_policies ORDER BY segment"
    )


async def replace_policy(connection: Connection, policy: Policy) -> None:
    """Sets the policy of a segment for requests from now on; returns that were approved keep what they were promised."""
    await connection.execute(
        """
        INSERT INTO return_policies (segment, window_days, label_days, label_carrier, return_address)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (segment) DO UPDATE
        SET window_days = excluded.window_days, label_days = excluded.label_days, label_carrier = excluded.label_carrier,
            return_address = excluded.return_address
        """,
        policy.segment,
        policy.window_days,
        policy.label_days,
        policy.label_carrier,
        policy.return_address,
    )


async def insert_orders(connection: Connection, orders: Sequence[OrderBooks]) -> set[UUID]:
    """Adds orders and returns those that were new; an order that is known already stays as it is."""
    rows = await connection.fetch(
        """
        INSERT INTO orders (order_id, channel, external_id, currency, segment, placed_at, lines_version, captured_cents,
                            shipping_captured_cents)
        SELECT order_id, channel, external_id, currency, segment, placed_at, lines_version, captured_cents, shipping_captured_cents
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::int[], $8::bigint[],
                    $9::bigint[])
             AS new (order_id, channel, external_id, currency, segment, placed_at, lines_version, captured_cents,
                     shipping_captured_cents)
        ORDER BY order_id
        ON CONFLICT (order_id) DO NOTHING
        RETURNING order_id
        """,
        [order.order_id for order in orders],
        [order.channel for order in orders],
        [order.external_id for order in orders],
        [order.currency for order in orders],
        [order.policy.segment for order in orders],
        [order.placed_at for order in orders],
        [order.lines_version for order in orders],
        [order.captured_cents for order in orders],
        [order.shipping_captured_cents for order in orders],
    )
    return {row["order_id"] for row in rows}


async def update_orders(connection: Connection, orders: Sequence[OrderBooks]) -> None:
    """Writes what can change of an order."""
    await connection.execute(
        """
        UPDATE orders
        SET lines_version = new.lines_version, shipping_refunded_cents = new.shipping_refunded_cents,
            unapportioned_cents = new.unapportioned_cents, cancelled_at = new.cancelled_at, captured_cents = new.captured_cents,
            shipping_captured_cents = new.shipping_captured_cents
        FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::bigint[], $7::bigint[])
             AS new (order_id, lines_version, shipping_refunded_cents, unapportioned_cents, cancelled_at, captured_cents,
                     shipping_captured_cents)
        WHERE orders.order_id = new.order_id
        """,
        [order.order_id for order in orders],
        [order.lines_version for order in orders],
        [order.shipping_refunded_cents for order in orders],
        [order.unapportioned_cents for order in orders],
        [order.cancelled_at for order in orders],
        [order.captured_cents for order in orders],
        [order.shipping_captured_cents for order in orders],
    )


async def insert_payments(connection: Connection, payments: Sequence[PaymentCollected]) -> set[UUID]:
    """Payments for edits; returns those that were not known. Their orders are locked."""
    rows = await connection.fetch(
        """
        INSERT INTO payments (payment_id, order_id, amount_cents, collected_at)
        SELECT payment_id, order_id, amount_cents, collected_at
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[]) AS new (payment_id, order_id, amount_cents, collected_at)
        ON CONFLICT (payment_id) DO NOTHING
        RETURNING payment_id
        """,
        [payment.payment_id for payment in payments],
        [payment.order_id for payment in payments],
        [payment.amount_cents for payment in payments],
        [payment.collected_at for payment in payments],
    )
    return {row["payment_id"] for row in rows}


async def upsert_lines(connection: Connection, lines: Sequence[tuple[UUID, LineBooks]]) -> None:
    """Writes lines as they are now; their order is locked."""
    await connection.execute(
        """
        INSERT INTO order_lines (order_id, line_id, sku, title, quantity, unit_price_cents, tax_cents, captured_cents, held_cents,
                                 returned_cents, cancelled_cents, edited_cents, open_units, received_units)
        SELECT order_id, line_id, sku, title, quantity, unit_price_cents, tax_cents, captured_cents, held_cents,
               returned_cents, cancelled_cents, edited_cents, open_units, received_units
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[],
                    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::int[], $14::int[])
             AS new (order_id, line_id, sku, title, quantity, unit_price_cents, tax_cents, captured_cents, held_cents,
                     returned_cents, cancelled_cents, edited_cents, open_units, received_units)
        ON CONFLICT (order_id, line_id) DO UPDATE
        SET sku = excluded.sku, title = excluded.title, quantity = excluded.quantity,
            unit_price_cents = excluded.unit_price_cents, tax_cents = excluded.tax_cents,
            captured_cents = excluded.captured_cents, held_cents = excluded.held_cents,
            returned_cents = excluded.returned_cents, cancelled_cents = excluded.cancelled_cents,
            edited_cents = excluded.edited_cents, open_units = excluded.open_units, received_units = excluded.received_units
        """,
        [order_id for order_id, _ in lines],
        [line.line_id for _, line in lines],
        [line.sku for _, line in lines],
        [line.title for _, line in lines],
        [line.quantity for _, line in lines],
        [line.unit_price_cents for _, line in lines],
        [line.tax_cents for _, line in lines],
        [line.captured_cents for _, line in lines],
        [line.held_cents for _, line in lines],
        [line.returned_cents for _, line in lines],
        [line.cancelled_cents for _, line in lines],
        [line.edited_cents for _, line in lines],
        [line.open_units for _, line in lines],
        [line.received_units for _, line in lines],
    )


async def insert_changes(connection: Connection, changes: Sequence[tuple[UUID, UUID, str, int]]) -> None:
    """Remembers edits and cancellations: (order, change, kind, order version)."""
    await connection.execute(
        """
        INSERT INTO order_changes (order_id, change_id, kind, order_version)
        SELECT order_id, change_id, kind, order_version
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[]) AS new (order_id, change_id, kind, order_version)
        ON CONFLICT (order_id, change_id) DO NOTHING
        """,
        [change[0] for change in changes],
        [change[1] for change in changes],
        [change[2] for change in changes],
        [change[3] for change in changes],
    )


async def insert_cancelled_units(connection: Connection, units: Sequence[tuple[UUID, str, int]]) -> None:
    """Remembers units that will not ship: (order, line, units). An order is cancelled once."""
    await connection.execute(
        """
        INSERT INTO cancelled_units (order_id, line_id, quantity)
        SELECT order_id, line_id, sum(quantity)
        FROM unnest($1::uuid[], $2::text[], $3::int[]) AS new (order_id, line_id, quantity)
        GROUP BY order_id, line_id
        ON CONFLICT (order_id, line_id) DO NOTHING
        """,
        [unit[0] for unit in units],
        [unit[1] for unit in units],
        [unit[2] for unit in units],
    )


async def record_shipped(connection: Connection, parcels: Sequence[tuple[UUID, UUID, object]]) -> set[UUID]:
    """Parcels that left: (fulfillment, order, time). Returns those whose contents are not known yet; a repetition changes nothing."""
    rows = await connection.fetch(
        """
        INSERT INTO shipments AS known (fulfillment_id, order_id, shipped_at)
        SELECT fulfillment_id, order_id, shipped_at
        FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS new (fulfillment_id, order_id, shipped_at)
        ORDER BY fulfillment_id
        ON CONFLICT (fulfillment_id) DO UPDATE SET shipped_at = excluded.shipped_at WHERE known.shipped_at IS NULL
        RETURNING fulfillment_id
        """,
        [parcel[0] for parcel in parcels],
        [parcel[1] for parcel in parcels],
        [parcel[2] for parcel in parcels],
    )
    return {row["fulfillment_id"] for row in rows}


async def read_known_shipments(connection: Connection, fulfillment_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these parcels that are known to have left."""
    rows = await connection.fetch(
        "SELECT fulfillment_id FROM shipments WHERE fulfillment_id = ANY($1::uuid[]) AND shipped_at IS NOT NULL", list(fulfillment_ids)
    )
    return {row["fulfillment_id"] for row in rows}


async def insert_shipped_units(connection: Connection, units: Sequence[tuple[UUID, UUID, str, str, int]]) -> None:
    """What is in new parcels: (fulfillment, order, line, sku, units)."""
    await connection.execute(
        """
        INSERT INTO shipped_units (fulfillment_id, order_id, line_id, sku, quantity)
        SELECT fulfillment_id, order_id, line_id, min(sku), sum(quantity)
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[]) AS new (fulfillment_id, order_id, line_id, sku, quantity)
        GROUP BY fulfillment_id, order_id, line_id
        """,
        [unit[0] for unit in units],
        [unit[1] for unit in units],
        [unit[2] for unit in units],
        [unit[3] for unit in units],
        [unit[4] for unit in units],
    )


async def record_delivered(connection: Connection, parcels: Sequence[tuple[UUID, UUID, object]]) -> None:
    """Parcels that arrived: (fulfillment, order, time). Of two times the first counts."""
    await connection.execute(
        """
        INSERT INTO shipments AS known (fulfillment_id, order_id, delivered_at)
        SELECT fulfillment_id, order_id, delivered_at
        FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS new (fulfillment_id, order_id, delivered_at)
        ORDER BY fulfillment_id
        ON CONFLICT (fulfillment_id) DO UPDATE SET delivered_at = LEAST(known.delivered_at, excluded.delivered_at)
        """,
        [parcel[0] for parcel in parcels],
        [parcel[1] for parcel in parcels],
        [parcel[2] for parcel in parcels],
    )

"""Orders and their lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from services.routing.decide.order import Line, Order
from shared.messaging.message import Connection


async def lock_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Orders, locked in the order of their ids until the transaction ends."""
    return await connection.fetch(
        """
        SELECT order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by,
               shipping_paid_cents, split_policy, ship_to, promise_from, status, stock_waiting_for, stock_until, assignable,
               excluded_locations, rejections, refused_plans, plan_due_at, coming_back_until, change_id,
               attention_reason, attention_detail, attention_due_at, promised, original_ship_at, agreed_ship_at, open_ended, consent_id,
               holds_lifted, waiting_for, waiting_until, due_at, shipping_refunded_cents
        FROM orders WHERE order_id = ANY($1::uuid[])
        ORDER BY order_id
        FOR UPDATE
        """,
        list(order_ids),
    )


async def read_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Orders as they stand, not locked."""
    return await connection.fetch(
        """
        SELECT order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by,
               shipping_paid_cents, split_policy, ship_to, promise_from, status, stock_waiting_for, stock_until, assignable,
               excluded_locations, rejections, refused_plans, plan_due_at, coming_back_until, change_id,
               attention_reason, attention_detail, attention_due_at, promised, original_ship_at, agreed_ship_at, open_ended, consent_id,
               holds_lifted, waiting_for, waiting_until, due_at, shipping_refunded_cents
        FROM orders WHERE order_id = ANY($1::uuid[])
        """,
        list(order_ids),
    )


async def lock_orders_of_fulfillments(connection: Connection, fulfillment_ids: Sequence[UUID]) -> list[Record]:
    """The orders that these fulfillments belong to, locked in the order of their ids. A fulfillment never changes its order."""
    return await connection.fetch(
        """
        SELECT order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by,
               shipping_paid_cents, split_policy, ship_to, promise_from, status, stock_waiting_for, stock_until, assignable,
               excluded_locations, rejections, refused_plans, plan_due_at, coming_back_until, change_id,
               attention_reason, attention_detail, attention_due_at, promised, original_ship_at, agreed_ship_at, open_ended, consent_id,
               holds_lifted, waiting_for, waiting_until, due_at, shipping_refunded_cents
        FROM orders
        WHERE order_id IN (SELECT order_id FROM fulfillments WHERE fulfillment_id = ANY($1::uuid[]))
        ORDER BY order_id
        FOR UPDATE
        """,
        list(fulfillment_ids),
    )


async def lock_due_orders(connection: Connection, now: datetime, limit: int) -> list[Record]:
    """Orders whose next deadline has come, locked; those that somebody else works on are left to the next look."""
    return await connection.fetch(
        """
        SELECT order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by,
               shipping_paid_cents, split_policy, ship_to, promise_from, status, stock_waiting_for, stock_until, assignable,
               excluded_locations, rejections, refused_plans, plan_due_at, coming_back_until, change_id,
               attention_reason, attention_detail, attention_due_at, promised, original_ship_at, agreed_ship_at, open_ended, consent_id,
               holds_lifted, waiting_for, waiting_until, due_at, shipping_refunded_cents
        FROM orders WHERE due_at <= $1
        ORDER BY due_at LIMIT $2
        FOR UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )


async def wake_orders_planned_for(connection: Connection, places: Sequence[str], now: datetime) -> None:
    """Makes orders due of which these locations have something that no 3PL has accepted, or is yet to be handed something. They are locked
    in the order of their ids."""
    await connection.execute(
        """
        WITH waiting AS (
            SELECT order_id FROM orders
            WHERE due_at > $2 AND EXISTS (
                SELECT FROM fulfillments
                WHERE fulfillments.order_id = orders.order_id AND location = ANY($1::text[])
                  AND (state = 'submitted' OR state = 'planned' AND assigned))
            ORDER BY order_id
            FOR UPDATE
        )
        UPDATE orders SET due_at = $2 FROM waiting WHERE orders.order_id = waiting.order_id
        """,
        list(places),
        now,
    )


async def end_wait_for_window(connection: Connection, places: Sequence[str], now: datetime) -> None:
    """Makes orders due that wait for the others of their window and have something at these locations. They are locked in the order of
    their ids."""
    await connection.execute(
        """
        WITH waiting AS (
            SELECT order_id FROM orders
            WHERE due_at > $2 AND plan_due_at > $2 AND waiting_for = 'planning' AND refused_plans = 0
              AND EXISTS (SELECT FROM jsonb_each(assignable) AS stock (sku, units) WHERE units ?| $1::text[])
            ORDER BY order_id
            FOR UPDATE
        )
        UPDATE orders SET due_at = $2, plan_due_at = $2 FROM waiting WHERE orders.order_id = waiting.order_id
        """,
        list(places),
        now,
    )


async def read_lines(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """All lines of these orders."""
    return await connection.fetch(
        """
        SELECT order_id, line_id, sku, title, quantity, unit_price_cents, tax_cents, unit_weight_grams, hazmat,
               unplanned, coming_back, shipped, cancelled, unit_volume_cubic_centimetres, kit_line_id, kit_sku, kit_title, kit_units
        FROM order_lines WHERE order_id = ANY($1::uuid[])
        ORDER BY order_id, position
        """,
        list(order_ids),
    )


async def insert_orders(connection: Connection, orders: Sequence[Order]) -> set[UUID]:
    """Remembers new orders and returns those that were not known."""
    rows = await connection.fetch(
        """
        INSERT INTO orders (order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by,
                            shipping_paid_cents, split_policy, ship_to, promise_from, status, stock_waiting_for, stock_until,
                            excluded_locations, rejections, refused_plans, waiting_for, waiting_until, due_at)
        SELECT order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by,
               shipping_paid_cents, split_policy, ship_to, promise_from, status, stock_waiting_for, stock_until,
               '{}', 0, 0, waiting_for, waiting_until, due_at
        FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
                    $9::timestamptz[], $10::bigint[], $11::text[], $12::jsonb[], $13::timestamptz[], $14::text[], $15::text[],
                    $16::timestamptz[], $17::text[], $18::timestamptz[], $19::timestamptz[])
             AS new (order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by,
                     shipping_paid_cents, split_policy, ship_to, promise_from, status, stock_waiting_for, stock_until,
                     waiting_for, waiting_until, due_at)
        ORDER BY order_id
        ON CONFLICT (order_id) DO NOTHING
        RETURNING order_id
        """,
        [order.order_id for order in orders],
        [order.order_version for order in orders],
        [order.channel for order in orders],
        [order.external_id for order in orders],
        [order.placed_at for order in orders],
        [order.currency for order in orders],
        [order.segment for order in orders],
        [order.service_level for order in orders],
        [order.deliver_by for order in orders],
        [order.shipping_paid_cents for order in orders],
        [order.split_policy for order in orders],
        [order.ship_to for order in orders],
        [order.promise_from for order in orders],
        [order.status for order in orders],
        [order.stock_wait.waiting_for for order in orders],
        [order.stock_wait.until for order in orders],
        [order.waiting_for for order in orders],
        [order.waiting_until for order in orders],
        [order.due_at for order in orders],
    )
    return {row["order_id"] for row in rows}


async def lock_arrivals(connection: Connection, order_ids: Sequence[UUID]) -> None:
    """Makes an order's arrival and a reservation that overtakes it wait for each other, until one of them has committed.

    There is no row to lock before the order has arrived, so the order's id is locked itself, in one order for everybody.
    """
    await connection.execute(
        """
        SELECT pg_advisory_xact_lock(key) FROM
            (SELECT hashtextextended(order_id::text, 0) AS key FROM unnest($1::uuid[]) AS arriving (order_id) ORDER BY 1) AS keys
        """,
        list(order_ids),
    )


async def update_orders(connection: Connection, orders: Sequence[Order]) -> None:
    """Saves what may change of an order."""
    await connection.execute(
        """
        UPDATE orders
        SET order_version = new.order_version, ship_to = new.ship_to, promise_from = new.promise_from, status = new.status,
            stock_waiting_for = new.stock_waiting_for, stock_until = new.stock_until, assignable = new.assignable,
            excluded_locations = string_to_array(new.excluded_locations, ','),
            rejections = new.rejections, refused_plans = new.refused_plans, plan_due_at = new.plan_due_at,
            coming_back_until = new.coming_back_until, change_id = new.change_id, attention_reason = new.attention_reason,
            attention_detail = new.attention_detail, attention_due_at = new.attention_due_at, promised = new.promised,
            original_ship_at = new.original_ship_at, agreed_ship_at = new.agreed_ship_at, open_ended = new.open_ended,
            consent_id = new.consent_id, holds_lifted = new.holds_lifted, service_level = new.service_level, deliver_by = new.deliver_by,
            split_policy = new.split_policy, shipping_paid_cents = new.shipping_paid_cents,
            shipping_refunded_cents = new.shipping_refunded_cents,
            waiting_for = new.waiting_for, waiting_until = new.waiting_until, due_at = new.due_at
        FROM unnest($1::uuid[], $2::int[], $3::jsonb[], $4::timestamptz[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[],
                    $9::text[], $10::int[], $11::int[], $12::timestamptz[], $13::timestamptz[], $14::uuid[], $15::text[],
                    $16::text[], $17::timestamptz[], $18::text[], $19::timestamptz[], $20::timestamptz[], $21::jsonb[],
                    $22::timestamptz[], $23::timestamptz[], $24::boolean[], $25::uuid[], $26::boolean[], $27::text[],
                    $28::timestamptz[], $29::text[], $30::bigint[], $31::bigint[])
             AS new (order_id, order_version, ship_to, promise_from, status, stock_waiting_for, stock_until, assignable,
                     excluded_locations, rejections, refused_plans, plan_due_at, coming_back_until, change_id, attention_reason,
                     attention_detail, attention_due_at, waiting_for, waiting_until, due_at, promised, original_ship_at, agreed_ship_at,
                     open_ended, consent_id, holds_lifted, service_level, deliver_by, split_policy, shipping_paid_cents,
                     shipping_refunded_cents)
        WHERE orders.order_id = new.order_id
        """,
        [order.order_id for order in orders],
        [order.order_version for order in orders],
        [order.ship_to for order in orders],
        [order.promise_from for order in orders],
        [order.status for order in orders],
        [order.stock_wait.waiting_for for order in orders],
        [order.stock_wait.until for order in orders],
        [order.assignable or None for order in orders],
        [",".join(sorted(order.excluded_locations)) for order in orders],
        [order.rejections for order in orders],
        [order.refused_plans for order in orders],
        [order.plan_due_at for order in orders],
        [order.coming_back_until for order in orders],
        [order.change.change_id if order.change else None for order in orders],
        [order.attention.reason if order.attention else None for order in orders],
        [order.attention.detail if order.attention else None for order in orders],
        [order.attention.due_at if order.attention else None for order in orders],
        [order.waiting_for for order in orders],
        [order.waiting_until for order in orders],
        [order.due_at for order in orders],
        [_promised_as_json(order) for order in orders],
        [order.original_ship_at for order in orders],
        [order.agreed_ship_at for order in orders],
        [order.open_ended for order in orders],
        [order.question.consent_id if order.question else None for order in orders],
        [order.holds_lifted for order in orders],
        [order.service_level for order in orders],
        [order.deliver_by for order in orders],
        [order.split_policy for order in orders],
        [order.shipping_paid_cents for order in orders],
        [order.shipping_refunded_cents for order in orders],
    )


def _promised_as_json(order: Order) -> dict[str, list[str | None]] | None:
    promised = {
        line_id: [None if item.ship_at is None else item.ship_at.isoformat(), item.told_at.isoformat()]
        for line_id, item in order.promised.items()
    }
    return promised or None


async def update_progress(connection: Connection, orders: Sequence[Order]) -> None:
    """Saves what almost every message changes: status, reason to wait and deadline."""
    await connection.execute(
        """
        UPDATE orders
        SET status = new.status, waiting_for = new.waiting_for, waiting_until = new.waiting_until, due_at = new.due_at
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
             AS new (order_id, status, waiting_for, waiting_until, due_at)
        WHERE orders.order_id = new.order_id
        """,
        [order.order_id for order in orders],
        [order.status for order in orders],
        [order.waiting_for for order in orders],
        [order.waiting_until for order in orders],
        [order.due_at for order in orders],
    )


async def insert_lines(connection: Connection, lines: Sequence[tuple[UUID, int, Line]]) -> None:
    """New lines: order, position, line."""
    await connection.execute(
        """
        INSERT INTO order_lines (order_id, position, line_id, sku, title, quantity, unit_price_cents, tax_cents, unit_weight_grams,
                                 hazmat, unplanned, coming_back, shipped, cancelled, kit_line_id, kit_sku, kit_title, kit_units,
                                 unit_volume_cubic_centimetres)
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::int[], $7::bigint[], $8::bigint[],
                             $9::int[], $10::boolean[], $11::int[], $12::int[], $13::int[], $14::int[], $15::text[], $16::text[],
                             $17::text[], $18::int[], $19::int[])
        """,
        [order_id for order_id, _, _ in lines],
        [position for _, position, _ in lines],
        [line.line_id for _, _, line in lines],
        [line.sku for _, _, line in lines],
        [line.title for _, _, line in lines],
        [line.quantity for _, _, line in lines],
        [line.unit_price_cents for _, _, line in lines],
        [line.tax_cents for _, _, line in lines],
        [line.unit_weight_grams for _, _, line in lines],
        [line.hazmat for _, _, line in lines],
        [line.unplanned for _, _, line in lines],
        [line.coming_back for _, _, line in lines],
        [line.shipped for _, _, line in lines],
        [line.cancelled for _, _, line in lines],
        [line.kit and line.kit.line_id for _, _, line in lines],
        [line.kit and line.kit.sku for _, _, line in lines],
        [line.kit and line.kit.title for _, _, line in lines],
        [line.kit and line.kit.units for _, _, line in lines],
        [line.unit_volume_cubic_centimetres for _, _, line in lines],
    )


async def update_lines(connection: Connection, lines: Sequence[tuple[UUID, Line]]) -> None:
    """Saves what may change of a line: its quantity (by an edit) and where its units are."""
    await connection.execute(
        """
        UPDATE order_lines
        SET quantity = new.quantity, tax_cents = new.tax_cents, unplanned = new.unplanned, coming_back = new.coming_back,
            shipped = new.shipped, cancelled = new.cancelled
        FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::int[])
             AS new (order_id, line_id, quantity, tax_cents, unplanned, coming_back, shipped, cancelled)
        WHERE order_lines.order_id = new.order_id AND order_lines.line_id = new.line_id
        """,
        [order_id for order_id, _ in lines],
        [line.line_id for _, line in lines],
        [line.quantity for _, line in lines],
        [line.tax_cents for _, line in lines],
        [line.unplanned for _, line in lines],
        [line.coming_back for _, line in lines],
        [line.shipped for _, line in lines],
        [line.cancelled for _, line in lines],
    )


async def insert_early_reservations(connection: Connection, rows: Sequence[tuple[UUID, UUID, object]], now: datetime) -> None:
    """Reservations whose order has not arrived: event, order, message."""
    await connection.execute(
        """
        INSERT INTO early_reservations (event_id, order_id, message, received_at)
        SELECT event_id, order_id, message, $4 FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[]) AS new (event_id, order_id, message)
        ON CONFLICT (event_id) DO NOTHING
        """,
        [event_id for event_id, _, _ in rows],
        [order_id for _, order_id, _ in rows],
        [message for _, _, message in rows],
        now,
    )


async def take_early_reservations(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Removes and returns the reservations that came before these orders, oldest first."""
    return await connection.fetch(
        """
        WITH taken AS (
            DELETE FROM early_reservations WHERE order_id = ANY($1::uuid[]) RETURNING event_id, order_id, message
        )
        SELECT event_id, order_id, message FROM taken ORDER BY event_id
        """,
        list(order_ids),
    )


async def orders_with_early_reservations(connection: Connection, limit: int) -> list[UUID]:
    """Orders that have arrived and whose reservation slipped in beside them, unseen by either transaction."""
    rows = await connection.fetch(
        "SELECT DISTINCT order_id FROM early_reservations JOIN orders USING (order_id) LIMIT $1",
        limit,
    )
    return [row["order_id"] for row in rows]

"""Payments that edits ask channels for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from services.sync.decide.payments import BookedPayment
from shared.contracts.orders import OrderPaymentRequested
from shared.messaging.message import Connection


async def insert_payments(connection: Connection, requests: Sequence[OrderPaymentRequested], now: datetime) -> set[UUID]:
    """Keeps what is asked for and returns the payments that were not known."""
    rows = await connection.fetch(
        """
        INSERT INTO payments (payment_id, order_id, change_id, amount_cents, currency, due_at, state, requested_at)
        SELECT payment_id, order_id, change_id, amount_cents, currency, due_at, 'requested', $7
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::timestamptz[])
             AS new (payment_id, order_id, change_id, amount_cents, currency, due_at)
        ON CONFLICT (payment_id) DO NOTHING
        RETURNING payment_id
        """,
        [request.payment_id for request in requests],
        [request.order_id for request in requests],
        [request.change_id for request in requests],
        [request.amount_cents for request in requests],
        [request.currency for request in requests],
        [request.due_at for request in requests],
        now,
    )
    return {row["payment_id"] for row in rows}


async def lock_payments(connection: Connection, payment_ids: Collection[UUID]) -> dict[UUID, BookedPayment]:
    """Payments with where their orders came from, locked in the order of their ids."""
    rows = await connection.fetch(
        """
        SELECT payment_id, payments.order_id, change_id, channel, external_id, amount_cents, payments.currency, state, provider_reference
        FROM payments JOIN channel_orders USING (order_id)
        WHERE payment_id = ANY($1::uuid[])
        ORDER BY payment_id
        FOR NO KEY UPDATE OF payments
        """,
        sorted(payment_ids),
    )
    return {row["payment_id"]: BookedPayment(*row) for row in rows}


async def settle_payments(connection: Connection, payments: Sequence[BookedPayment], now: datetime) -> None:
    """What became of payments; their rows are locked."""
    await connection.execute(
        """
        UPDATE payments SET state = new.state, provider_reference = new.provider_reference, settled_at = $4
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (payment_id, state, provider_reference)
        WHERE payments.payment_id = new.payment_id
        """,
        [payment.payment_id for payment in payments],
        [payment.state for payment in payments],
        [payment.provider_reference for payment in payments],
        now,
    )


async def add_captured(connection: Connection, collected: Sequence[BookedPayment]) -> None:
    """Orders have paid more: that much more may go back."""
    await connection.execute(
        """
        WITH locked AS (
            SELECT order_id FROM channel_orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR NO KEY UPDATE
        ), more AS (
            SELECT order_id, sum(amount_cents)::bigint AS cents FROM unnest($1::uuid[], $2::bigint[]) AS paid (order_id, amount_cents)
            GROUP BY order_id
        )
        UPDATE channel_orders AS orders SET captured_cents = orders.captured_cents + more.cents
        FROM more JOIN locked USING (order_id) WHERE orders.order_id = more.order_id
        """,
        [payment.order_id for payment in collected],
        [payment.amount_cents for payment in collected],
    )

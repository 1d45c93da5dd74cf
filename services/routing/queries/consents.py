"""What customers were asked about delays, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from shared.contracts.orders import OrderDelayConsentSettled, OrderDelayed
from shared.messaging.message import Connection


async def read_consents(connection: Connection, consent_ids: Sequence[UUID]) -> list[Record]:
    """Questions by id."""
    return await connection.fetch(
        """
        SELECT consent_id, order_id, new_ship_at, answer_by, outcome, settled_at
        FROM delay_consents WHERE consent_id = ANY($1::uuid[])
        """,
        list(consent_ids),
    )


async def insert_consents(connection: Connection, asked: Sequence[OrderDelayed], settled: Sequence[OrderDelayConsentSettled]) -> None:
    """Remembers questions that were asked in this transaction, with how they ended if they ended in it as well.

    A question that is told again, because other lines moved while the order's date did not, stays as it was asked.
    """
    ended = {event.consent_id: event for event in settled}
    await connection.execute(
        """
        INSERT INTO delay_consents (consent_id, order_id, cause, cause_id, consent, old_ship_at, new_ship_at, told_at, answer_by,
                                    outcome, settled_at)
        SELECT DISTINCT ON (consent_id) *
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::timestamptz[],
                    $8::timestamptz[], $9::timestamptz[], $10::text[], $11::timestamptz[])
             AS new (consent_id, order_id, cause, cause_id, consent, old_ship_at, new_ship_at, told_at, answer_by, outcome, settled_at)
        ORDER BY consent_id
        ON CONFLICT (consent_id) DO NOTHING
        """,
        [event.consent_id for event in asked],
        [event.order_id for event in asked],
        [event.cause for event in asked],
        [event.cause_id for event in asked],
        [event.consent for event in asked],
        [event.old_ship_at for event in asked],
        [event.new_ship_at for event in asked],
        [event.told_at for event in asked],
        [event.answer_by for event in asked],
        [ended[event.consent_id].outcome if event.consent_id in ended else None for event in asked],
        [ended[event.consent_id].settled_at if event.consent_id in ended else None for event in asked],
    )


async def settle_consents(connection: Connection, settled: Sequence[OrderDelayConsentSettled]) -> None:
    """How questions ended, the last word of each. One that was agreed to may end again when the customer takes it back."""
    last = {event.consent_id: event for event in settled}.values()
    await connection.execute(
        """
        UPDATE delay_consents SET outcome = new.outcome, settled_at = new.settled_at
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS new (consent_id, outcome, settled_at)
        WHERE delay_consents.consent_id = new.consent_id
        """,
        [event.consent_id for event in last],
        [event.outcome for event in last],
        [event.settled_at for event in last],
    )


async def read_consents_of_order(connection: Connection, order_id: UUID) -> list[Record]:
    """Everything that the customer of one order was asked."""
    return await connection.fetch(
        """
        SELECT consent_id, cause, cause_id, consent, old_ship_at, new_ship_at, told_at, answer_by, outcome, settled_at
        FROM delay_consents WHERE order_id = $1 ORDER BY told_at, consent_id
        """,
        order_id,
    )


async def list_open_consents(connection: Connection, after: UUID | None, limit: int) -> list[Record]:
    """Orders that wait for their customer's answer, the most urgent first, behind the question ``after``."""
    return await connection.fetch(
        """
        SELECT consent_id, order_id, orders.channel, orders.external_id, cause, old_ship_at, new_ship_at, told_at, answer_by
        FROM delay_consents JOIN orders USING (order_id, consent_id)
        WHERE consent = 'required' AND outcome IS NULL
          AND ($1::uuid IS NULL OR (answer_by, consent_id) > (SELECT answer_by, consent_id FROM delay_consents WHERE consent_id = $1))
        ORDER BY answer_by, consent_id LIMIT $2
        """,
        after,
        limit,
    )

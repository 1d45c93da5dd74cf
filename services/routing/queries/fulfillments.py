"""Fulfillments and what was decided about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from services.routing.decide.fulfillment import Fulfillment, FulfillmentLine
from services.routing.decide.planning import Decision
from shared.messaging.message import Connection


async def read_fulfillments(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """All fulfillments of these orders, one row per line of theirs, in the order in which they were planned."""
    return await connection.fetch(
        """
        SELECT order_id, fulfillment_id, plan_id, order_version, location, partner, state, carrier, service, zone, shipping_cost_cents,
               ship_by, arrives_on, planned_at, assigned, attempts, due_at, requested_at, accepted_at, tracking_number, shipped_at,
               delivered_at, ended_because, short_picks, return_id, packing, slot_day, slot_hour, line_id, sku, planned, called_off, shipped
        FROM fulfillments JOIN fulfillment_lines USING (fulfillment_id)
        WHERE order_id = ANY($1::uuid[])
        ORDER BY fulfillment_id, position
        """,
        list(order_ids),
    )


async def insert_fulfillments(connection: Connection, fulfillments: Sequence[tuple[UUID, Fulfillment]]) -> None:
    """New fulfillments: order, fulfillment."""
    await connection.execute(
        """
        INSERT INTO fulfillments (order_id, fulfillment_id, plan_id, order_version, location, partner, state, carrier, service, zone,
                                  shipping_cost_cents, ship_by, arrives_on, planned_at, due_at, packing, slot_day,
                                  slot_hour, assigned, attempts)
        SELECT *, false, 0
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                    $10::int[], $11::bigint[], $12::timestamptz[], $13::date[], $14::timestamptz[], $15::timestamptz[], $16::jsonb[],
                    $17::date[], $18::smallint[])
        """,
        [order_id for order_id, _ in fulfillments],
        [item.fulfillment_id for _, item in fulfillments],
        [item.plan_id for _, item in fulfillments],
        [item.order_version for _, item in fulfillments],
        [item.location for _, item in fulfillments],
        [item.partner for _, item in fulfillments],
        [item.state.value for _, item in fulfillments],
        [item.carrier for _, item in fulfillments],
        [item.service for _, item in fulfillments],
        [item.zone for _, item in fulfillments],
        [item.shipping_cost_cents for _, item in fulfillments],
        [item.ship_by for _, item in fulfillments],
        [item.arrives_on for _, item in fulfillments],
        [item.planned_at for _, item in fulfillments],
        [item.due_at for _, item in fulfillments],
        # As an object: asyncpg takes a list within a list for a further dimension of the array, not for a JSON value.
        [{"instructions": item.packing} if item.packing else None for _, item in fulfillments],
        [item.slot_day for _, item in fulfillments],
        [item.slot_hour for _, item in fulfillments],
    )


async def insert_fulfillment_lines(connection: Connection, lines: Sequence[tuple[UUID, int, FulfillmentLine]]) -> None:
    """New lines: fulfillment, position, line."""
    await connection.execute(
        """
        INSERT INTO fulfillment_lines (fulfillment_id, position, line_id, sku, planned)
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[])
        """,
        [fulfillment_id for fulfillment_id, _, _ in lines],
        [position for _, position, _ in lines],
        [line.line_id for _, _, line in lines],
        [line.sku for _, _, line in lines],
        [line.planned for _, _, line in lines],
    )


async def update_fulfillments(connection: Connection, fulfillments: Sequence[Fulfillment]) -> None:
    """Saves what may change of a fulfillment."""
    await connection.execute(
        """
        UPDATE fulfillments
        SET state = new.state, carrier = new.carrier, assigned = new.assigned, attempts = new.attempts, due_at = new.due_at,
            requested_at = new.requested_at, accepted_at = new.accepted_at, tracking_number = new.tracking_number,
            shipped_at = new.shipped_at, delivered_at = new.delivered_at, ended_because = new.ended_because,
            short_picks = new.short_picks::jsonb, return_id = new.return_id
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::int[], $6::timestamptz[], $7::timestamptz[],
                    $8::timestamptz[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::uuid[])
             AS new (fulfillment_id, state, carrier, assigned, attempts, due_at, requested_at, accepted_at, tracking_number,
                     shipped_at, delivered_at, ended_because, short_picks, return_id)
        WHERE fulfillments.fulfillment_id = new.fulfillment_id
        """,
        [item.fulfillment_id for item in fulfillments],
        [item.state.value for item in fulfillments],
        [item.carrier for item in fulfillments],
        [item.assigned for item in fulfillments],
        [item.attempts for item in fulfillments],
        [item.due_at for item in fulfillments],
        [item.requested_at for item in fulfillments],
        [item.accepted_at for item in fulfillments],
        [item.tracking_number for item in fulfillments],
        [item.shipped_at for item in fulfillments],
        [item.delivered_at for item in fulfillments],
        [item.ended_because for item in fulfillments],
        [
            # As text: asyncpg takes a list within a list for a further dimension of the array, not for a JSON value.
            json.dumps([[report.picked_at.isoformat(), report.missing] for report in item.short_picks]) if item.short_picks else None
            for item in fulfillments
        ],
        [item.return_id for item in fulfillments],
    )


async def update_fulfillment_lines(connection: Connection, lines: Sequence[tuple[UUID, FulfillmentLine]]) -> None:
    """Saves units that shipped or were called off."""
    await connection.execute(
        """
        UPDATE fulfillment_lines
        SET called_off = new.called_off, shipped = new.shipped
        FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[]) AS new (fulfillment_id, line_id, called_off, shipped)
        WHERE fulfillment_lines.fulfillment_id = new.fulfillment_id AND fulfillment_lines.line_id = new.line_id
        """,
        [fulfillment_id for fulfillment_id, _ in lines],
        [line.line_id for _, line in lines],
        [line.called_off for _, line in lines],
        [line.shipped for _, line in lines],
    )


async def insert_decisions(connection: Connection, decisions: Sequence[Decision]) -> None:
    """Records decisions."""
    await connection.execute(
        """
        INSERT INTO decisions (decision_id, order_id, order_version, decided_at, record)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::timestamptz[], $5::jsonb[])
        """,
        [decision.decision_id for decision in decisions],
        [decision.order_id for decision in decisions],
        [decision.order_version for decision in decisions],
        [decision.decided_at for decision in decisions],
        [decision.record for decision in decisions],
    )

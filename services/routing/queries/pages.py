"""What operators and the portal read; nothing is locked."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def read_order(connection: Connection, order_id: UUID) -> Record | None:
    """One order, without the customer's name and street."""
    return await connection.fetchrow(
        """
        SELECT order_id, order_version, channel, external_id, placed_at, currency, segment, service_level, deliver_by, split_policy,
               ship_to ->> 'postal_code' AS postal_code, ship_to ->> 'country' AS country, status, waiting_for, waiting_until,
               attention_reason, attention_detail, attention_due_at, excluded_locations, rejections, change_id,
               original_ship_at, agreed_ship_at, open_ended, consent_id
        FROM orders WHERE order_id = $1
        """,
        order_id,
    )


async def list_orders(connection: Connection, status: str | None, after: UUID | None, limit: int) -> list[Record]:
    """Orders in the order of their ids, behind ``after``, of one status or of all."""
    return await connection.fetch(
        """
        SELECT order_id, order_version, channel, external_id, placed_at, status, waiting_for, waiting_until, attention_reason
        FROM orders
        WHERE ($1::text IS NULL OR status = $1) AND ($2::uuid IS NULL OR order_id > $2)
        ORDER BY order_id LIMIT $3
        """,
        status,
        after,
        limit,
    )


async def list_attention(connection: Connection, limit: int) -> list[Record]:
    """Orders that need a person, the most urgent first."""
    return await connection.fetch(
        """
        SELECT order_id, channel, external_id, status, attention_reason, attention_detail, attention_due_at
        FROM orders WHERE attention_reason IS NOT NULL
        ORDER BY attention_due_at LIMIT $1
        """,
        limit,
    )


async def read_lines(connection: Connection, order_id: UUID) -> list[Record]:
    """The lines of one order with where their units are."""
    return await connection.fetch(
        """
        SELECT line_id, sku, title, quantity, shipped, cancelled, unplanned, coming_back, kit_line_id, kit_sku, kit_title, kit_units
        FROM order_lines WHERE order_id = $1 ORDER BY position
        """,
        order_id,
    )


async def read_fulfillments(connection: Connection, order_id: UUID) -> list[Record]:
    """The fulfillments of one order, each with its lines as one JSON value."""
    return await connection.fetch(
        """
        SELECT fulfillment_id, plan_id, order_version, location, partner, state, status, request_status, carrier, service, zone,
               shipping_cost_cents, ship_by, arrives_on, planned_at, requested_at, attempts, accepted_at, tracking_number, shipped_at,
               delivered_at, ended_because, due_at, interception, return_id, slot_day, slot_hour,
               (SELECT jsonb_agg(jsonb_build_object('line_id', l.line_id, 'sku', l.sku, 'planned', l.planned, 'called_off', l.called_off,
                                                    'shipped', l.shipped) ORDER BY l.position)
                FROM fulfillment_lines l WHERE l.fulfillment_id = f.fulfillment_id) AS lines
        FROM fulfillments f WHERE order_id = $1 ORDER BY fulfillment_id
        """,
        order_id,
    )


async def read_changes(connection: Connection, order_id: UUID) -> list[Record]:
    """The changes that were asked for and what was answered."""
    return await connection.fetch(
        """
        SELECT change_id, kind, answer_type AS answer, answer ->> 'reason' AS reason, requested_at, answer_due_at, answered_at
        FROM changes WHERE order_id = $1 ORDER BY requested_at, change_id
        """,
        order_id,
    )


async def read_decisions(connection: Connection, order_id: UUID, limit: int) -> list[Record]:
    """The newest decisions about one order."""
    return await connection.fetch(
        """
        SELECT decision_id, order_version, decided_at, record
        FROM decisions WHERE order_id = $1 ORDER BY decision_id DESC LIMIT $2
        """,
        order_id,
        limit,
    )


async def list_locations(connection: Connection) -> Sequence[Record]:
    """All locations, with the slots that are taken from today on (``hour`` null: the whole day)."""
    return await connection.fetch(
        """
        SELECT location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active, registered_at,
               working_days, holidays, dock_to_stock_days, capabilities, fulfillments_per_day, fulfillments_per_hour, work_starts,
               services, carriers,
               COALESCE((SELECT jsonb_agg(jsonb_build_object('day', s.day, 'hour', nullif(s.hour, -1), 'taken', s.taken)
                                          ORDER BY s.day, s.hour)
                         FROM capacity_slots s
                         WHERE s.location = l.location AND s.taken > 0
                           AND s.day >= (now() AT TIME ZONE l.time_zone)::date), '[]') AS slots_taken
        FROM locations l ORDER BY location
        """
    )

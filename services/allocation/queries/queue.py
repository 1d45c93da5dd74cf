"""Who waits for a SKU, in which order, and what is still to be done about it.

The place in the queue is (priority, demand_id), the rank of an order (priority, order_id). Every reader here follows an index, so that what
it costs depends on what it returns and not on how long the queue is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def read_queue_heads(
    connection: Connection, skus: Sequence[str], units: Sequence[int], without: Sequence[UUID], lines: int
) -> list[Record]:
    """For each SKU the first places of its queue that some units would serve, in their order, except demand that is in the books already.

    A place waits for at least one unit, so no more than ``units`` places are looked at, and never more than ``lines``, however long the
    queue is.
    """
    return await connection.fetch(
        """
        SELECT head.demand_id, head.order_id, head.line_id, head.sku, head.units, head.queued, head.reserved, head.assigned,
               head.shipped, head.cancelled, head.promised_ship_at, head.priority, head.hold_all, head.channel,
               orders.order_version, orders.cancelled_version, orders.segment
        FROM unnest($1::text[], $2::int[]) AS free(sku, units)
        CROSS JOIN LATERAL (
            SELECT place.*, sum(place.queued) OVER (ORDER BY place.priority, place.demand_id) - place.queued AS ahead
            FROM (
                SELECT * FROM demand
                WHERE demand.sku = free.sku AND demand.queued > 0 AND demand.demand_id <> ALL($3::uuid[])
                ORDER BY demand.priority, demand.demand_id LIMIT LEAST(free.units, $4::int)
            ) place
        ) head
        JOIN orders USING (order_id)
        WHERE head.ahead < free.units
        ORDER BY head.sku, head.priority, head.demand_id
        """,
        skus,
        units,
        without,
        lines,
    )


async def read_first_to_lose(
    connection: Connection, skus: Sequence[str], units: Sequence[int], without: Sequence[UUID], policy: str
) -> list[Record]:
    """For each SKU the reservations that lose their units first under a shortage policy, as many as hold some unassigned units, except
    demand that is in the books already."""
    return await connection.fetch(
        """
        SELECT tail.demand_id, tail.order_id, tail.line_id, tail.sku, tail.units, tail.queued, tail.reserved, tail.assigned,
               tail.shipped, tail.cancelled, tail.promised_ship_at, tail.priority, tail.hold_all, tail.channel,
               tail.order_version, tail.cancelled_version, tail.segment
        FROM (
            SELECT demand.*, orders.order_version, orders.cancelled_version, orders.segment,
                   sum(demand.reserved - demand.assigned) OVER (
                       PARTITION BY demand.sku
                       ORDER BY CASE $4
                                    WHEN 'lowest_priority_first' THEN demand.priority
                                    WHEN 'wholesale_first' THEN array_position('{dtc,retail,wholesale}'::text[], orders.segment)
                                    ELSE 0
                                END DESC,
                                demand.demand_id DESC
                       ROWS UNBOUNDED PRECEDING
                   ) - (demand.reserved - demand.assigned) AS before
            FROM demand JOIN orders USING (order_id)
            WHERE demand.reserved > demand.assigned AND demand.sku = ANY($1::text[]) AND demand.demand_id <> ALL($3::uuid[])
        ) tail
        JOIN unnest($1::text[], $2::int[]) AS short(sku, units) ON short.sku = tail.sku
        WHERE tail.before < short.units
        """,
        skus,
        units,
        without,
        policy,
    )


async def read_units_ahead(connection: Connection, skus: Sequence[str], priorities: Sequence[int], queued: Sequence[int]) -> list[Record]:
    """Per SKU and class, how many waiting units are served before a newcomer of that class.

    Classes above the ordinary one are short, so they are counted from the front. The others are counted from the back: ``queued``, all that
    waits, less what waits in lower classes. So the long ordinary class itself is never counted.
    """
    return await connection.fetch(
        """
        SELECT asked.sku, asked.priority,
               CASE WHEN asked.priority < 5 THEN (
                   SELECT COALESCE(sum(demand.queued), 0) FROM demand
                   WHERE demand.sku = asked.sku AND demand.queued > 0 AND demand.priority <= asked.priority
               ) ELSE asked.queued - (
                   SELECT COALESCE(sum(demand.queued), 0) FROM demand
                   WHERE demand.sku = asked.sku AND demand.queued > 0 AND demand.priority > asked.priority
               ) END::bigint AS ahead
        FROM unnest($1::text[], $2::smallint[], $3::int[]) AS asked(sku, priority, queued)
        """,
        skus,
        priorities,
        queued,
    )


class Places(NamedTuple):
    """Places in queues whose positions are ``asked``.

    ``skus``, ``priorities`` and ``demand_ids`` are, per SKU, the place at which counting may end; these lists have the same length.
    """

    skus: list[str]
    priorities: list[int]
    demand_ids: list[UUID]
    asked: list[UUID]


async def read_positions_from_front(connection: Connection, places: Places) -> list[Record]:
    """Per asked place the waiting units of its SKU up to and including its last one, counted from the head of the queue."""
    return await connection.fetch(
        """
        SELECT place.demand_id, place.position
        FROM unnest($1::text[], $2::smallint[], $3::uuid[]) AS last(sku, priority, demand_id)
        CROSS JOIN LATERAL (
            SELECT demand.demand_id,
                   sum(demand.queued) OVER (ORDER BY demand.priority, demand.demand_id ROWS UNBOUNDED PRECEDING)::bigint AS position
            FROM demand
            WHERE demand.sku = last.sku AND demand.queued > 0 AND (demand.priority, demand.demand_id) <= (last.priority, last.demand_id)
        ) place
        WHERE place.demand_id = ANY($4::uuid[])
        """,
        *places,
    )


async def read_positions_from_back(connection: Connection, places: Places) -> list[Record]:
    """The same, counted from the tail: all that waits, less what waits behind the place."""
    return await connection.fetch(
        """
        SELECT place.demand_id, (pool.queued - place.behind)::bigint AS position
        FROM unnest($1::text[], $2::smallint[], $3::uuid[]) AS first(sku, priority, demand_id)
        JOIN stock_pools pool ON pool.sku = first.sku AND pool.pool = 'default'
        CROSS JOIN LATERAL (
            SELECT demand.demand_id,
                   sum(demand.queued) OVER (ORDER BY demand.priority DESC, demand.demand_id DESC ROWS UNBOUNDED PRECEDING)
                   - demand.queued AS behind
            FROM demand
            WHERE demand.sku = first.sku AND demand.queued > 0 AND (demand.priority, demand.demand_id) >= (first.priority, first.demand_id)
        ) place
        WHERE place.demand_id = ANY($4::uuid[])
        """,
        *places,
    )


async def claim_work(connection: Connection, rows: int, skus: int) -> list[Record]:
    """Takes the oldest rows of work, of a limited number of SKUs, and deletes them: they come back if the transaction fails. Other
    replicas skip them."""
    return await connection.fetch(
        """
        WITH oldest AS (
            SELECT work_id, sku FROM queue_work ORDER BY work_id LIMIT $1 FOR UPDATE SKIP LOCKED
        ), chosen AS (
            SELECT sku FROM oldest GROUP BY sku ORDER BY min(work_id) LIMIT $2
        )
        DELETE FROM queue_work USING oldest
        WHERE queue_work.work_id = oldest.work_id AND oldest.sku IN (SELECT sku FROM chosen)
        RETURNING queue_work.sku, queue_work.event_id, queue_work.traceparent
        """,
        rows,
        skus,
    )


class Work(NamedTuple):
    """SKUs to be looked at, and the message that led to it. Lists have the same length."""

    skus: list[str]
    event_ids: list[UUID]
    traceparents: list[str | None]


class Newcomers(NamedTuple):
    """Rows that have begun to wait, and the message that led to it. Lists have the same length."""

    skus: list[str]
    priorities: list[int]
    order_ids: list[UUID]
    hold_all: list[bool]
    event_ids: list[UUID]
    traceparents: list[str | None]


async def insert_work(connection: Connection, work: Work, newcomers: Newcomers) -> None:
    """Notes SKUs whose queue must be looked at: those named; those for which somebody has begun to wait while an order of lower rank that
    holds all has unassigned units; and, where who waits holds all, the SKUs of which it has unassigned units itself, because it is
    incomplete now."""
    await connection.execute(
        """
        WITH newcomer AS MATERIALIZED (
            SELECT * FROM unnest($4::text[], $5::smallint[], $6::uuid[], $7::bool[], $8::uuid[], $9::text[])
                AS newcomer(sku, priority, order_id, hold_all, event_id, traceparent)
        )
        INSERT INTO queue_work (sku, event_id, traceparent)
        SELECT DISTINCT ON (sku) sku, event_id, traceparent
        FROM (
            SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[]) AS named(sku, event_id, traceparent)
            UNION ALL
            SELECT sku, event_id, traceparent FROM newcomer
            WHERE EXISTS (
                SELECT FROM demand held
                WHERE held.sku = newcomer.sku AND held.hold_all AND held.reserved > held.assigned
                  AND (held.priority, held.order_id) > (newcomer.priority, newcomer.order_id)
            )
            UNION ALL
            SELECT held.sku, newcomer.event_id, newcomer.traceparent
            FROM newcomer JOIN demand held ON held.order_id = newcomer.order_id AND held.hold_all AND held.reserved > held.assigned
            WHERE newcomer.hold_all
        ) found
        ORDER BY sku, event_id
        """,
        *work,
        *newcomers,
    )


async def read_holders(connection: Connection, skus: Sequence[str], lines: int) -> list[Record]:
    """Per SKU the unassigned units of incomplete orders that hold all and rank lower than the highest that waits, the lowest first."""
    return await connection.fetch(
        """
        SELECT held.demand_id, held.order_id, held.line_id, held.sku, held.units, held.queued, held.reserved, held.assigned,
               held.shipped, held.cancelled, held.promised_ship_at, held.priority, held.hold_all, held.channel,
               orders.order_version, orders.cancelled_version, orders.segment
        FROM unnest($1::text[]) AS asked(sku)
        CROSS JOIN LATERAL (
            SELECT priority, order_id FROM demand
            WHERE demand.sku = asked.sku AND demand.queued > 0
            ORDER BY priority, order_id LIMIT 1
        ) highest
        CROSS JOIN LATERAL (
            SELECT * FROM demand
            WHERE demand.sku = asked.sku AND demand.hold_all AND demand.reserved > demand.assigned
              AND (demand.priority, demand.order_id) > (highest.priority, highest.order_id)
              AND EXISTS (SELECT FROM demand missing WHERE missing.order_id = demand.order_id AND missing.queued > 0)
            ORDER BY demand.priority DESC, demand.order_id DESC LIMIT $2
        ) held
        JOIN orders ON orders.order_id = held.order_id
        """,
        skus,
        lines,
    )


async def read_claimants(
    connection: Connection,
    skus: Sequence[str],
    priorities: Sequence[int],
    order_ids: Sequence[UUID],
    units: Sequence[int],
    without: Sequence[UUID],
) -> list[Record]:
    """Per SKU who waits and ranks higher than a given order, the highest first and of one order who came first, as many as some units can
    serve."""
    return await connection.fetch(
        """
        SELECT wanted.demand_id, wanted.order_id, wanted.line_id, wanted.sku, wanted.units, wanted.queued, wanted.reserved, wanted.assigned,
               wanted.shipped, wanted.cancelled, wanted.promised_ship_at, wanted.priority, wanted.hold_all, wanted.channel,
               orders.order_version, orders.cancelled_version, orders.segment
        FROM unnest($1::text[], $2::smallint[], $3::uuid[], $4::int[]) AS lowest(sku, priority, order_id, units)
        CROSS JOIN LATERAL (
            SELECT * FROM demand
            WHERE demand.sku = lowest.sku AND demand.queued > 0
              AND (demand.priority, demand.order_id) < (lowest.priority, lowest.order_id)
              AND demand.demand_id <> ALL($5::uuid[])
            ORDER BY demand.priority, demand.order_id, demand.demand_id LIMIT lowest.units
        ) wanted
        JOIN orders ON orders.order_id = wanted.order_id
        """,
        skus,
        priorities,
        order_ids,
        units,
        without,
    )


async def find_neglected(connection: Connection, event_id: UUID) -> int:
    """Notes every SKU that should be looked at and that nobody has noted; returns how many there were.

    That is, of which an incomplete order that holds all has units that a higher rank waits for.
    """
    status = await connection.execute(
        """
        INSERT INTO queue_work (sku, event_id)
        SELECT sku, $1
        FROM (
            SELECT DISTINCT held.sku FROM demand held
            WHERE held.hold_all AND held.reserved > held.assigned
              AND EXISTS (SELECT FROM demand missing WHERE missing.order_id = held.order_id AND missing.queued > 0)
              AND EXISTS (
                  SELECT FROM demand wanted
                  WHERE wanted.sku = held.sku AND wanted.queued > 0
                    AND (wanted.priority, wanted.order_id) < (held.priority, held.order_id)
              )
        ) found
        WHERE NOT EXISTS (SELECT FROM queue_work known WHERE known.sku = found.sku)
          AND NOT EXISTS (SELECT FROM stock_pools pool WHERE pool.sku = found.sku AND pool.release_at IS NOT NULL)
        """,
        event_id,
    )
    return int(status.rsplit(" ", 1)[1])


async def read_policy_changes(connection: Connection, change_ids: Sequence[UUID]) -> list[Record]:
    """Which of these changes of the shortage policy were made before."""
    return await connection.fetch("SELECT change_id, policy, set_at FROM shortage_policies WHERE change_id = ANY($1::uuid[])", change_ids)


async def insert_policy_change(connection: Connection, change_id: UUID, policy: str, operator: str, set_at: datetime) -> None:
    """Puts a shortage policy in force."""
    await connection.execute(
        "INSERT INTO shortage_policies (change_id, policy, operator, set_at) VALUES ($1, $2, $3, $4)", change_id, policy, operator, set_at
    )

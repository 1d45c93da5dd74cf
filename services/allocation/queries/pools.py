"""Rules about stock: what channels may take, what is kept back, and who decided it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def read_channel_pools(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """The rules of these SKUs, oldest first; read under the pools' locks."""
    return await connection.fetch(
        """
        SELECT sku, channel, fence, cap, share_percent, open, queued, seniority, rule_version
        FROM channel_pools WHERE sku = ANY($1::text[]) ORDER BY sku, seniority
        """,
        skus,
    )


async def count_channel_units(connection: Connection, skus: Sequence[str], channels: Sequence[str]) -> list[Record]:
    """Units that channels have reserved or held and not shipped, and those that wait, per SKU and channel. For the first day of a rule.

    They are found where they are few: unassigned and waiting ones and those of open assignments, each in an index of its own.
    """
    return await connection.fetch(
        """
        WITH asked AS (
            SELECT DISTINCT sku, channel FROM unnest($1::text[], $2::text[]) AS asked(sku, channel)
        ), units AS (
            SELECT sku, channel, reserved - assigned AS open, 0 AS queued FROM demand WHERE reserved > assigned AND sku = ANY($1::text[])
            UNION ALL
            SELECT sku, channel, 0, queued FROM demand WHERE queued > 0 AND sku = ANY($1::text[])
            UNION ALL
            SELECT held.sku, sold.channel, held.open, 0
            FROM assignments held
            CROSS JOIN LATERAL (SELECT channel FROM demand WHERE demand.order_id = held.order_id LIMIT 1) sold
            WHERE (held.open > 0 OR held.recalled > 0) AND held.open > 0 AND held.sku = ANY($1::text[])
            UNION ALL
            SELECT line.sku, holds.channel, line.held, 0 FROM hold_lines line JOIN holds USING (hold_id)
            WHERE line.held > 0 AND line.sku = ANY($1::text[])
        )
        SELECT sku, channel, COALESCE(sum(units.open), 0)::int AS open, COALESCE(sum(units.queued), 0)::int AS queued
        FROM asked LEFT JOIN units USING (sku, channel) GROUP BY sku, channel
        """,
        skus,
        channels,
    )


class PoolKeepings(NamedTuple):
    """What is kept of pools beside reservations: differences, except ``sku_safety`` and ``ruled``, which are set. One length."""

    skus: list[str]
    held: list[int]
    safety: list[int]
    fenced: list[int]
    sku_safety: list[int]
    ruled: list[bool]


async def update_pool_keepings(connection: Connection, rows: PoolKeepings) -> None:
    """Changes what is held, kept back and fenced. Comes before reservations take what holds gave back, and leaves the version to those."""
    await connection.execute(
        """
        UPDATE stock_pools pool
        SET held = pool.held + change.held, safety = pool.safety + change.safety, fenced = pool.fenced + change.fenced,
            sku_safety = change.sku_safety, ruled = change.ruled
        FROM unnest($1::text[], $2::int[], $3::int[], $4::int[], $5::int[], $6::bool[])
            AS change(sku, held, safety, fenced, sku_safety, ruled)
        WHERE pool.sku = change.sku AND pool.pool = 'default'
        """,
        *rows,
    )


class ChannelPoolRows(NamedTuple):
    """Differences of rules that units passed through; lists have the same length."""

    skus: list[str]
    channels: list[str]
    open: list[int]
    fence: list[int]
    queued: list[int]


async def update_channel_pools(connection: Connection, rows: ChannelPoolRows) -> None:
    """Adds differences to what channels have open, to what their fences still hold and to what waits for them."""
    await connection.execute(
        """
        UPDATE channel_pools rule
        SET open = rule.open + change.open, fence = rule.fence + change.fence, queued = rule.queued + change.queued
        FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::int[]) AS change(sku, channel, open, fence, queued)
        WHERE rule.sku = change.sku AND rule.channel = change.channel
        """,
        *rows,
    )


async def save_rules(
    connection: Connection,
    skus: Sequence[str],
    channels: Sequence[str],
    fences: Sequence[int],
    caps: Sequence[int | None],
    share_percents: Sequence[int | None],
    open_units: Sequence[int],
    queued: Sequence[int],
    seniority: Sequence[UUID],
    rule_versions: Sequence[int],
) -> None:
    """Rules as an operator wants them; what a known one has open and waiting stays as it is."""
    await connection.execute(
        """
        INSERT INTO channel_pools (sku, channel, fence, cap, share_percent, open, queued, seniority, rule_version)
        SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::uuid[], $9::bigint[])
        ON CONFLICT (sku, channel) DO UPDATE
        SET fence = excluded.fence, cap = excluded.cap, share_percent = excluded.share_percent, seniority = excluded.seniority,
            rule_version = excluded.rule_version
        """,
        skus,
        channels,
        fences,
        caps,
        share_percents,
        open_units,
        queued,
        seniority,
        rule_versions,
    )


async def delete_rules(connection: Connection, skus: Sequence[str], channels: Sequence[str]) -> None:
    """Rules that no longer apply."""
    await connection.execute(
        """
        DELETE FROM channel_pools rule USING unnest($1::text[], $2::text[]) AS gone(sku, channel)
        WHERE rule.sku = gone.sku AND rule.channel = gone.channel
        """,
        skus,
        channels,
    )


async def read_rule_changes(connection: Connection, change_ids: Sequence[UUID]) -> list[Record]:
    """Changes of rules that were made before."""
    return await connection.fetch("SELECT * FROM rule_changes WHERE change_id = ANY($1::uuid[])", change_ids)


async def insert_safety_changes(
    connection: Connection,
    change_ids: Sequence[UUID],
    skus: Sequence[str],
    locations: Sequence[str | None],
    old: Sequence[int],
    new: Sequence[int],
    reasons: Sequence[str],
    authors: Sequence[str],
    changed_at: datetime,
) -> None:
    """Remembers who changed what is kept back, and why."""
    await connection.execute(
        """
        INSERT INTO rule_changes (change_id, kind, sku, location, old_safety, new_safety, reason, author, changed_at)
        SELECT change_id, 'safety', sku, location, old_safety, new_safety, reason, author, $8::timestamptz
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[], $7::text[])
            AS made(change_id, sku, location, old_safety, new_safety, reason, author)
        """,
        change_ids,
        skus,
        locations,
        old,
        new,
        reasons,
        authors,
        changed_at,
    )


class ChannelPoolChange(NamedTuple):
    """One change of what a channel may take; without a rule before or after, its numbers are null."""

    change_id: UUID
    sku: str
    channel: str
    old_fence: int | None
    new_fence: int | None
    old_cap: int | None
    new_cap: int | None
    old_share_percent: int | None
    new_share_percent: int | None
    rule_version: int
    reason: str
    author: str


async def insert_channel_pool_changes(connection: Connection, changes: Sequence[ChannelPoolChange], changed_at: datetime) -> None:
    """Remembers who changed what a channel may take, and why."""
    columns = [list(column) for column in zip(*changes, strict=True)]
    await connection.execute(
        """
        INSERT INTO rule_changes (change_id, kind, sku, channel, old_fence, new_fence, old_cap, new_cap, old_share_percent,
                                  new_share_percent, rule_version, reason, author, changed_at)
        SELECT change_id, 'channel_pool', sku, channel, old_fence, new_fence, old_cap, new_cap, old_share_percent, new_share_percent,
               rule_version, reason, author, $13::timestamptz
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[], $9::int[], $10::bigint[],
                    $11::text[], $12::text[])
            AS made(change_id, sku, channel, old_fence, new_fence, old_cap, new_cap, old_share_percent, new_share_percent, rule_version,
                    reason, author)
        """,
        *columns,
        changed_at,
    )


async def read_queue_heads_by_channel(
    connection: Connection,
    skus: Sequence[str],
    channels: Sequence[str | None],
    units: Sequence[int],
    without: Sequence[UUID],
    ruled: Sequence[tuple[str, str]],
) -> list[Record]:
    """For each SKU and channel the first places of its queue that some units would serve, except demand that is in the books already.

    A null channel stands for all channels that are not among ``ruled`` (SKUs and channels): a rule that ends in this transaction is still
    in the table. A place waits for at least one unit, so no more than ``units``
    places are looked at; those of other channels in between are passed over.
    """
    return await connection.fetch(
        """
        SELECT head.demand_id, head.order_id, head.line_id, head.sku, head.units, head.queued, head.reserved, head.assigned,
               head.shipped, head.cancelled, head.promised_ship_at, head.priority, head.hold_all, head.channel,
               orders.order_version, orders.cancelled_version, orders.segment
        FROM unnest($1::text[], $2::text[], $3::int[]) AS free(sku, channel, units)
        CROSS JOIN LATERAL (
            SELECT * FROM demand
            WHERE demand.sku = free.sku AND demand.queued > 0 AND demand.demand_id <> ALL($4::uuid[])
              AND CASE WHEN free.channel IS NULL
                       THEN NOT EXISTS (
                           SELECT FROM unnest($5::text[], $6::text[]) AS rule(sku, channel)
                           WHERE rule.sku = free.sku AND rule.channel = demand.channel
                       )
                       ELSE demand.channel = free.channel END
            ORDER BY demand.priority, demand.demand_id LIMIT free.units
        ) head
        JOIN orders USING (order_id)
        """,
        skus,
        channels,
        units,
        without,
        [sku for sku, _ in ruled],
        [channel for _, channel in ruled],
    )


async def read_units_ahead_by_channel(
    connection: Connection, skus: Sequence[str], priorities: Sequence[int], demand_ids: Sequence[UUID]
) -> list[Record]:
    """Per place in a queue the units that wait up to and including it, by channel. Reads the queue of each SKU up to the place."""
    return await connection.fetch(
        """
        SELECT place.sku, place.priority, place.demand_id, ahead.channel, ahead.units
        FROM unnest($1::text[], $2::smallint[], $3::uuid[]) AS place(sku, priority, demand_id)
        CROSS JOIN LATERAL (
            SELECT channel, sum(queued)::int AS units FROM demand
            WHERE demand.sku = place.sku AND demand.queued > 0
              AND (demand.priority, demand.demand_id) <= (place.priority, place.demand_id)
            GROUP BY channel
        ) ahead
        """,
        skus,
        priorities,
        demand_ids,
    )

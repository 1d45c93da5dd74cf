"""What is kept from the queue, and how it gives way: units that only some channels may take, and units of checkout holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.holds import shrink_holds
from services.allocation.decide.pools import ChannelPool
from services.allocation.decide.stock import Pool
from services.allocation.handlers.loading import add_held_rows, add_waiting_rows
from services.allocation.queries.holds import read_held_units, update_hold_lines
from services.allocation.queries.pools import (
    ChannelPoolRows,
    PoolKeepings,
    delete_rules,
    read_queue_heads_by_channel,
    read_units_ahead_by_channel,
    save_rules,
    update_channel_pools,
    update_pool_keepings,
)
from shared.messaging.message import Connection


async def share_out_by_channel(connection: Connection, books: Books) -> None:
    """Where channels have rules: gives what is free to the first places of every channel that may take something.

    All of it at once and not in steps, so that afterwards whoever waits may not take what is free, and a new order that may takes nothing
    from anybody.
    """
    ruled = [(sku, pool) for sku, pool in books.pools.items() if pool.touched and pool.queued and pool.channels and pool.release_at is None]
    asking = [
        (sku, channel, units)
        for sku, pool in sorted(ruled, key=lambda found: found[0])
        for channel in (None, *(rule.channel for rule in pool.channels))
        if (units := pool.takeable(channel or "")) > 0
    ]
    if not asking:
        return
    heads = await read_queue_heads_by_channel(
        connection,
        [sku for sku, _, _ in asking],
        [channel for _, channel, _ in asking],
        [units for _, _, units in asking],
        list(books.demand),
        [(sku, rule.channel) for sku, pool in ruled for rule in pool.channels],
    )
    add_waiting_rows(books, heads)
    for sku in dict.fromkeys(sku for sku, _, _ in asking):
        books.share_out(sku)


async def read_ahead(connection: Connection, places: Sequence[tuple[str, int, UUID]]) -> dict[tuple[str, int, UUID], Counter[str]]:
    """Per place in a queue (SKU, class, demand id) the units that wait up to and including it, by channel."""
    ahead: dict[tuple[str, int, UUID], Counter[str]] = {place: Counter() for place in places}
    for row in await read_units_ahead_by_channel(
        connection, [sku for sku, _, _ in places], [priority for _, priority, _ in places], [demand_id for _, _, demand_id in places]
    ):
        ahead[row["sku"], row["priority"], row["demand_id"]][row["channel"]] = row["units"]
    return ahead


async def let_holds_give_way(connection: Connection, books: Books) -> list[UUID]:
    """Takes held units that no shelf has any more; returns the holds that got smaller."""
    short = sorted(sku for sku, pool in books.pools.items() if pool.touched and pool.held_shortage)
    if not short:
        return []
    add_held_rows(books, await read_held_units(connection, short))
    return shrink_holds(books, short)


async def save_keepings(connection: Connection, books: Books, pools: Sequence[Pool]) -> None:
    """What is held, kept back and fenced; before the reservations, which may take what a hold gave back."""
    kept = [pool for pool in pools if pool.keepings_changed]
    if kept:
        numbers = [(pool.numbers, pool.was) for pool in kept]
        keepings = PoolKeepings(
            skus=[pool.sku for pool in kept],
            held=[new.held - was.held for new, was in numbers],
            safety=[new.safety - was.safety for new, was in numbers],
            fenced=[new.fenced - was.fenced for new, was in numbers],
            sku_safety=[pool.sku_safety for pool in kept],
            ruled=[bool(pool.channels) for pool in kept],
        )
        await update_pool_keepings(connection, keepings)
    rules = channel_pool_rows((pool.channels, pool.channels_were) for pool in pools if pool.channels)
    if rules.skus:
        await update_channel_pools(connection, rules)
    await _save_rules(connection, pools)
    held = [units for units in books.held_units.values() if units.held != units.was_held]
    if held:
        await update_hold_lines(
            connection, [units.hold_id for units in held], [units.sku for units in held], [units.held for units in held]
        )


async def _save_rules(connection: Connection, pools: Iterable[Pool]) -> None:
    """Rules that an operator has set, changed or ended."""
    ruled = [pool for pool in pools if pool.ruled]
    were = {(rule.sku, rule.channel): rule.rule_version for pool in ruled for rule in pool.channels_were}
    rules = [rule for pool in ruled for rule in pool.channels if were.get((rule.sku, rule.channel)) != rule.rule_version]
    gone = were.keys() - {(rule.sku, rule.channel) for pool in ruled for rule in pool.channels}
    if gone:
        await delete_rules(connection, [sku for sku, _ in gone], [channel for _, channel in gone])
    if rules:
        await save_rules(
            connection,
            [rule.sku for rule in rules],
            [rule.channel for rule in rules],
            [rule.fence for rule in rules],
            [rule.cap for rule in rules],
            [rule.share_percent for rule in rules],
            [rule.open for rule in rules],
            [rule.queued for rule in rules],
            [rule.seniority for rule in rules],
            [rule.rule_version for rule in rules],
        )


def channel_pool_rows(changed: Iterable[tuple[Sequence[ChannelPool], Sequence[ChannelPool]]]) -> ChannelPoolRows:
    """What rules say now against what they said; rules that are new or gone are not among them."""
    rows = ChannelPoolRows([], [], [], [], [])
    for rules, were in changed:
        known = {rule.channel: rule for rule in were}
        for rule in rules:
            was = known.get(rule.channel)
            if was is not None and (rule.open, rule.fence, rule.queued) != (was.open, was.fence, was.queued):
                rows.skus.append(rule.sku)
                rows.channels.append(rule.channel)
                rows.open.append(rule.open - was.open)
                rows.fence.append(rule.fence - was.fence)
                rows.queued.append(rule.queued - was.queued)
    return rows

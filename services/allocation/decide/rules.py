"""What operators decide about stock at run time: safety stock and channel pools, compare-and-set (features A7, A9)."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.offering import DEFAULT_POOL
from services.allocation.decide.pools import ChannelPool, rule_of
from services.allocation.decide.stock import Cause, Shelf
from shared.contracts.rules import ChannelPoolRequested


def set_sku_safety(books: Books, sku: str, units: int, cause: Cause) -> None:
    """Keeps units of a SKU back wherever they lie.

    They cover reservations and holds before anybody is queued again, so raising it takes nothing from anybody; what lowering it frees goes
    to the queue first.
    """
    pool = books.touch(sku, cause)
    pool.safety += units - pool.sku_safety
    pool.sku_safety = units


def set_shelf_safety(books: Books, shelf: Shelf, units: int, cause: Cause) -> None:
    """Keeps units back of what lies at one location, beside what is kept back of the SKU as a whole."""
    pool = books.touch(shelf.sku, cause)
    withheld = shelf.withheld
    shelf.safety = units
    pool.safety += shelf.withheld - withheld


def channel_pool_problem(wanted: ChannelPoolRequested) -> str | None:
    """Why a rule cannot be: it contradicts itself, or its channel is the name of everybody's pool."""
    if wanted.channel == DEFAULT_POOL:
        return f"channel: {DEFAULT_POOL!r} is the pool of all channels without a rule: name a channel"
    if wanted.fence_units is not None and wanted.cap_units is not None and wanted.cap_units < wanted.fence_units:
        return (
            f"cap_units: {wanted.cap_units} is less than the {wanted.fence_units} units of the fence, so some would be set aside for "
            "nobody: raise the cap or lower the fence"
        )
    return None


class ChannelUnits(NamedTuple):
    """What a channel has of a SKU (reserved or held, and not shipped), and what of it waits for the channel."""

    open: int = 0
    queued: int = 0


def set_channel_pool(books: Books, wanted: ChannelPoolRequested, units: ChannelUnits, new_id: UUID, cause: Cause) -> ChannelPool | None:
    """Puts a rule in force, changes it, or ends it when the request asks for nothing; nobody loses units that he has.

    Args:
        books: the books, the SKU's pool locked.
        wanted: the rule.
        units: what the channel has and waits for, for a rule that is new.
        new_id: a UUIDv7: the place of a new rule behind all others.
        cause: the request.

    Returns:
        the rule, or None when there is none any more.
    """
    pool = books.touch(wanted.sku, cause)
    rule = rule_of(pool.channels, wanted.channel)
    fresh = ChannelPool(
        sku=wanted.sku,
        channel=wanted.channel,
        fence=wanted.fence_units or 0,
        cap=wanted.cap_units,
        share_percent=wanted.share_percent,
        open=units.open,
        queued=units.queued,
        seniority=new_id,
        rule_version=pool.next_version,
    )
    if fresh.says_nothing:
        if rule is not None:
            pool.channels.remove(rule)
        return None
    if rule is None:
        pool.channels.append(fresh)
        return fresh
    rule.fence, rule.cap, rule.share_percent, rule.rule_version = fresh.fence, fresh.cap, fresh.share_percent, fresh.rule_version
    return rule

"""What each channel is told about a SKU that has rules for channels (features A9, B3, F2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.allocation.decide.pools import NO_RULE, ChannelPool, takeable_units, units_for_sale, units_to_come, waiting_units
from services.allocation.decide.promising import Sellable, date_of_unit, sellable_of
from services.allocation.decide.stock import SupplyUnits

DEFAULT_POOL = "default"
"""The number of every channel without a rule of its own."""


class PoolOffer(NamedTuple):
    """What one channel, or everybody without a rule, is told about a SKU."""

    pool: str
    sellable: Sellable


def date_of_place(
    free: int,
    channels: Sequence[ChannelPool],
    ahead: Mapping[str, int],
    channel: str,
    supplies: Sequence[SupplyUnits],
    *,
    release_at: datetime | None = None,
    now: datetime | None = None,
) -> datetime | None:
    """When the last unit of a place in the queue ships, of a SKU that has rules. See
    :func:`~services.allocation.decide.pools.units_to_come` and :func:`~services.allocation.decide.promising.date_of_unit`."""
    needed = units_to_come(free, channels, ahead, channel)
    return None if needed is None else date_of_unit(needed, supplies, release_at=release_at, now=now)


def offers_of(
    free: int, queued: int, channels: Sequence[ChannelPool], supplies: Sequence[SupplyUnits], release_at: datetime | None = None
) -> list[PoolOffer]:
    """The numbers of a SKU: everybody's, and one for each channel with a rule.

    Units that are free for a channel are free although others wait: those who wait may not take them. A channel whose cap is spoken for by
    what it has and what waits for it is sold out, because no supply changes that. A preorder is capped for each channel by what its rule
    leaves to it of the goods that are there or expected.

    Args:
        free: units that nobody has, safety stock not among them; below zero in a shortage.
        queued: units that wait.
        channels: all rules of the SKU, oldest first.
        supplies: what is still expected of the SKU, earliest first, undated last.
        release_at: before which nothing of a preorder ships; None for ordinary SKUs.
    """
    if not channels:
        return [PoolOffer(DEFAULT_POOL, sellable_of(free, queued, supplies, release_at))]
    offers = [PoolOffer(DEFAULT_POOL, _offer(free, queued, channels, supplies, release_at, NO_RULE))]
    for rule in channels:
        if rule.within_cap(rule.queued + 1) <= rule.queued:
            offers.append(PoolOffer(rule.channel, Sellable(0, "sold_out", None)))
        else:
            offers.append(PoolOffer(rule.channel, _offer(free, queued, channels, supplies, release_at, rule.channel)))
    return offers


def _offer(
    free: int,
    queued: int,
    channels: Sequence[ChannelPool],
    supplies: Sequence[SupplyUnits],
    release_at: datetime | None,
    channel: str,
) -> Sellable:
    waiting = waiting_units(queued, channels)
    next_ship_at = date_of_place(free, channels, {**waiting, channel: waiting[channel] + 1}, channel, supplies, release_at=release_at)
    if release_at is not None:
        left = units_for_sale(free + sum(supply.quantity for supply in supplies), channels, waiting, channel)
        return Sellable(left, "preorder" if left else "sold_out", next_ship_at)
    takeable = takeable_units(free, channels, channel)
    return Sellable(takeable, "in_stock", None) if takeable else Sellable(0, "backorder", next_ship_at)

"""What each channel is told about a SKU that has rules for channels (features A9, F2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.allocation.decide.pools import ChannelPool, takeable_units
from services.allocation.decide.promising import Sellable, sellable_of
from services.allocation.decide.stock import SupplyUnits

DEFAULT_POOL = "default"
"""The number of every channel without a rule of its own."""


class PoolOffer(NamedTuple):
    """What one channel, or everybody without a rule, is told about a SKU."""

    pool: str
    sellable: Sellable


def offers_of(free: int, queued: int, channels: Sequence[ChannelPool], supplies: Sequence[SupplyUnits]) -> list[PoolOffer]:
    """The numbers of a SKU: everybody's, and one for each channel with a rule.

    Units that are free for a channel are free although others wait: those who wait may not take them. A channel at its cap is sold out,
    because no supply changes that.
    """
    if not channels:
        return [PoolOffer(DEFAULT_POOL, sellable_of(free, queued, supplies))]
    offers = [PoolOffer(DEFAULT_POOL, _offer(takeable_units(free, channels, ""), queued, supplies))]
    for rule in channels:
        if rule.cap is not None and rule.open >= rule.cap:
            offers.append(PoolOffer(rule.channel, Sellable(0, "sold_out", None)))
        else:
            offers.append(PoolOffer(rule.channel, _offer(takeable_units(free, channels, rule.channel), queued, supplies)))
    return offers


def _offer(takeable: int, queued: int, supplies: Sequence[SupplyUnits]) -> Sellable:
    return sellable_of(takeable, 0 if takeable > 0 else queued, supplies)

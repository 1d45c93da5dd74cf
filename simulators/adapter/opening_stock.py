"""Where stock stands at the start of a replay. No input says it, so it is declared here, and every result on it is simulated.

Five warehouses of two 3PLs at real places of the US parcel business. Most SKUs have more than the day needs; a declared share is scarce, so
that lines wait, a supply arrives during the day, and what waited is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from simulators.adapter.replay import Replay, demand_of

SCARCE_SHARE_OF_SKUS = 0.06
SCARCE_COVER = 0.5
"""A scarce SKU opens with half of what the day will ask for."""
AMPLE_COVER = 1.6
"""An ample SKU opens with this multiple of the day's demand, over all its locations."""
NEVER_RESUPPLIED_SHARE = 0.25
"""Of the scarce SKUs: those whose supply does not come today, so that orders still wait by name at the end."""
SINGLE_LOCATION_SHARE = 0.15
"""SKUs that stand in one warehouse only, which is what makes multi-line orders split."""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A location to register, and who works there."""

    code: str
    name: str
    partner: str
    postal_code: str
    time_zone: str
    share: float
    hazmat_certified: bool


@dataclass(frozen=True, slots=True)
class StockLine:
    """Units of one SKU at one location."""

    location: str
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class DeclaredStock:
    """What is there in the morning, and what the day's supply brings."""

    opening: Sequence[StockLine]
    supply: Sequence[StockLine]
    scarce_skus: frozenset[str]
    never_resupplied_skus: frozenset[str]


def warehouses(partners: Sequence[str]) -> list[Warehouse]:
    """The five locations: the first 3PL works in the east, the last one in the west."""
    east, west = partners[0], partners[-1]
    return [
        Warehouse("reno-nv", "Reno, Nevada", west, "89506", "America/Los_Angeles", 0.22, hazmat_certified=True),
        Warehouse("dallas-tx", "Dallas, Texas", west, "75236", "America/Chicago", 0.22, hazmat_certified=False),
        Warehouse("columbus-oh", "Columbus, Ohio", east, "43217", "America/New_York", 0.2, hazmat_certified=True),
        Warehouse("atlanta-ga", "Atlanta, Georgia", east, "30336", "America/New_York", 0.18, hazmat_certified=False),
        Warehouse("newark-nj", "Newark, New Jersey", east, "07114", "America/New_York", 0.18, hazmat_certified=False),
    ]


def declare_stock(replay: Replay, places: Sequence[Warehouse], seed: int) -> DeclaredStock:
    """Opening stock for what the replay will ask for. The same replay and seed give the same stock."""
    random = Random(f"opening stock {seed}")
    wanted = demand_of(replay.good_orders)
    items = {item.sku: item for item in replay.catalogue}
    scarce = _draw_scarce(random, [sku for sku, units in wanted.items() if units >= 6])
    never_resupplied = frozenset(sku for sku in sorted(scarce) if random.random() < NEVER_RESUPPLIED_SHARE)
    opening: list[StockLine] = []
    supply: list[StockLine] = []
    for sku in sorted(items):
        units = wanted[sku]
        allowed = [place for place in places if place.hazmat_certified or not items[sku].hazmat]
        if sku in scarce:
            place = random.choice(allowed)
            opening.append(StockLine(place.code, sku, max(1, int(units * SCARCE_COVER))))
            if sku not in never_resupplied:
                supply.append(StockLine(place.code, sku, units))
            continue
        if random.random() < SINGLE_LOCATION_SHARE:
            allowed = [random.choice(allowed)]
        total = max(len(allowed) * 2, round(units * AMPLE_COVER) + 3)
        opening += _spread(sku, total, allowed, random)
    return DeclaredStock(opening, supply, frozenset(scarce), never_resupplied)


def _draw_scarce(random: Random, candidates: list[str]) -> set[str]:
    count = round(len(candidates) * SCARCE_SHARE_OF_SKUS)
    return set(random.sample(sorted(candidates), count or min(1, len(candidates))))


def _spread(sku: str, total: int, places: Sequence[Warehouse], random: Random) -> list[StockLine]:
    """Shares the units out by the size of the warehouses, unevenly, to the last unit."""
    weights = [place.share * random.uniform(0.5, 1.5) for place in places]
    whole = sum(weights)
    quantities = [int(total * weight / whole) for weight in weights]
    quantities[0] += total - sum(quantities)
    return [StockLine(place.code, sku, quantity) for place, quantity in zip(places, quantities, strict=True) if quantity]

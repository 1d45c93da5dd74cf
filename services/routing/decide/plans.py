"""What is to be planned, and the plan: which location ships which units, which way, at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from services.routing.decide.capacity import Slot
from services.routing.decide.foresight import StockPrices
from services.routing.decide.geography import Place
from services.routing.decide.guidance import OrderFacts
from services.routing.decide.network import Location
from services.routing.decide.tariffs import Way

ONLY_A_PART = "has only a part"
"""Instead of what the whole order would cost from a location."""
INACTIVE = "inactive"
EXCLUDED = "excluded for this order"


class Wanted(NamedTuple):
    """Units of one order line that are to be planned."""

    line_id: str
    sku: str
    units: int
    unit_weight_grams: int
    hazmat: bool
    unit_volume_cubic_centimetres: int = 0
    """0: not known, and its weight alone counts."""


class Replanned(NamedTuple):
    """What it saved that orders were planned together before release instead of one after the other (``replanning.py``).

    Of all whose plans changed for each other, this one and ``others``, and of this one alone.
    """

    others: int
    parcels_saved: int
    cents_saved: int
    own_parcels_saved: int
    own_cents_saved: int


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned, and under which promise. ``partly`` allows to plan what can be and to leave the rest.

    ``order`` is what rules may ask of the order; without it none is applied. ``slots`` are the first free slots of locations that limit
    their work (None: no day has one); a location that is not named takes as much as comes. ``stock_prices`` are those to look ahead by,
    instead of the planner's. ``replanned`` is told in the record and changes no choice. ``unpriced_when_held`` makes the record of an
    order that a rule holds as such records were kept at first: without what its candidates cost.
    """

    wanted: Sequence[Wanted]
    assignable: Mapping[str, Mapping[str, int]]
    destination: Place
    service_level: str
    deliver_by: datetime | None
    promise_from: datetime
    now: datetime
    residential: bool
    excluded: frozenset[str] = frozenset()
    partly: bool = True
    order: OrderFacts | None = None
    slots: Mapping[str, Slot | None] = field(default_factory=dict)
    stock_prices: StockPrices | None = None
    replanned: Replanned | None = None
    unpriced_when_held: bool = False


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one location ships, and which way. ``units`` are per line, in the order's order."""

    location: Location
    units: tuple[tuple[str, str, int], ...]
    way: Way
    miles: int
    parcels: int
    carrier_cents: int
    cost_cents: int
    ship_by: datetime
    arrives_on: date
    slot: Slot | None = None
    billed_by_volume: tuple[int, int] | None = None
    """Pounds that it weighs and pounds that it is billed as, where the carrier bills its volume."""
    cents_by_carrier: Mapping[str, int] = field(default_factory=dict)
    """What it would cost by each carrier that brings it in time, where there are several to choose from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The proposal. ``unplaced`` units found no location; ``record`` explains the decision.

    ``held`` is the rule that holds the order back, and its reason; ``instructions`` are what rules tell whoever packs.
    """

    parcels: tuple[Parcel, ...]
    unplaced: Mapping[str, int]
    cost_cents: int
    late: bool
    record: dict[str, Any]
    held: tuple[str, str] | None = None
    instructions: tuple[str, ...] = ()

"""Whose reserved units queue again first when shelves hold less than is reserved (feature A10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from services.allocation.decide.stock import Demand, OrderState
from shared.contracts.orders import Segment
from shared.contracts.stock import ShortagePolicy

DEFAULT_POLICY: ShortagePolicy = "newest_first"
"""While nobody has chosen one: who came first keeps what was promised first."""

LOSES_FIRST: Mapping[Segment, int] = {"dtc": 0, "retail": 1, "wholesale": 2}
"""For ``wholesale_first``, the greatest first: one wholesale order covers a shortage that would break many shoppers' promises, it fills
shelves instead of being awaited at a door, and no consumer law sets its deadline."""


def first_to_lose(demand: Iterable[Demand], orders: Mapping[UUID, OrderState], policy: ShortagePolicy) -> list[Demand]:
    """Reservations of one SKU in the order in which they lose their units; what is equal under the policy loses the newest first.

    Args:
        demand: rows of the SKU.
        orders: the states of their orders.
        policy: what is in force.
    """

    def key(row: Demand) -> tuple[int, UUID]:
        if policy == "lowest_priority_first":
            return row.priority, row.demand_id
        if policy == "wholesale_first":
            return LOSES_FIRST[orders[row.order_id].segment], row.demand_id
        return 0, row.demand_id

    return sorted(demand, key=key, reverse=True)

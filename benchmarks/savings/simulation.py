"""Plays a period: the orders one after the other, each shipped as a policy says, from what is left on the shelves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.failure import BenchmarkError
from benchmarks.savings.scenario import Order, Scenario, Shelves
from services.routing.decide.plans import Plan

Shipped = Mapping[str, str]
"""The location of each product of one order. What nobody had any more is missing."""


class Policy(Protocol):
    """A way to choose. It is made anew for every period."""

    def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
        """Where the order, the ``number``-th of the period from 0 on, ships from."""


@dataclass(slots=True)
class Outcome:
    """What a period came to."""

    orders: int = 0
    """That something was shipped of; an order whose products were all sold out costs nothing by any policy."""
    units: int = 0
    unplaced_units: int = 0
    parcels: int = 0
    split: int = 0
    late: int = 0
    cost_cents: int = 0
    shipped: list[Shipped] = field(default_factory=list)
    cents: list[int] = field(default_factory=list)
    """Of each order."""

    def as_json(self) -> dict[str, int]:
        """For the result file."""
        return {
            "orders": self.orders,
            "units": self.units,
            "unplaced_units": self.unplaced_units,
            "parcels": self.parcels,
            "split": self.split,
            "late": self.late,
            "cost_cents": self.cost_cents,
        }


def play(scenario: Scenario, policy: Policy) -> Outcome:
    """Ships every order of the period.

    Raises:
        BenchmarkError: the policy left something unshipped that was there, or took what was not.
    """
    shelves = scenario.shelves()
    outcome = Outcome()
    for number, order in enumerate(scenario.orders):
        there = [sku for sku in order.skus if any(shelves[sku].values())]
        plan = policy.plan(order, shelves, number)
        shipped = {sku: parcel.location.code for parcel in plan.parcels for _, sku, _ in parcel.units}
        if sorted(shipped) != sorted(there):
            raise BenchmarkError(f"order {number}: {sorted(there)} were there, {sorted(shipped)} were shipped")
        for sku, code in shipped.items():
            if shelves[sku].get(code, 0) < 1:
                raise BenchmarkError(f"order {number}: {sku} was shipped from {code}, which had none")
            shelves[sku][code] -= 1
        outcome.orders += bool(shipped)
        outcome.units += len(shipped)
        outcome.unplaced_units += len(order.skus) - len(shipped)
        outcome.parcels += sum(parcel.parcels for parcel in plan.parcels)
        outcome.split += len(plan.parcels) > 1
        outcome.late += plan.late
        outcome.cost_cents += plan.cost_cents
        outcome.shipped.append(shipped)
        outcome.cents.append(plan.cost_cents)
    return outcome

"""What a period costs at least for somebody who knows all its orders beforehand: a mixed-integer programme over plans, for HiGHS.

Orders that are alike (same products, same customer's place, same promise) are one kind. A column is a plan of one kind, its value how
many orders ship so; every order ships once and no shelf gives more than it has. Columns are found as they are needed: the linear
programme prices every shelf, and the plan of each kind that is cheapest at these prices comes in. When none improves, no plan anybody could
think of would; stopped before that, what is missing is bounded (Lagrange). Then HiGHS looks for whole numbers among the columns
found. So two figures come out: a plan for the whole period, and a proven bound below which nobody can get.

Takes nothing from the planner but its prices; each policy's own plans are priced by both, and must cost the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.savings.kinds import Kinds
from benchmarks.savings.programme import CLOSE_ENOUGH, Programme
from benchmarks.savings.scenario import Scenario
from benchmarks.savings.simulation import Outcome


@dataclass(frozen=True, slots=True)
class Clairvoyant:
    """The best plan for the whole period that was found, and the proven bound."""

    cost_cents: float
    parcels: int
    bound_cents: float
    seconds: float

    @property
    def gap(self) -> float:
        """By how much the best there is may at most be cheaper, as a share."""
        return (self.cost_cents - self.bound_cents) / self.bound_cents if self.bound_cents else 0.0


def best_in_hindsight(scenario: Scenario, outcomes: Sequence[Outcome], *, most_seconds: float) -> Clairvoyant:
    """Ships the same units of the same orders as every policy did, at the least cost of the period.

    Args:
        scenario: the period.
        outcomes: what policies made of it; the search begins with their plans, so it ends no worse than the best of them.
        most_seconds: processor time, half of it for the bound and half for whole numbers.
    """
    began = time.thread_time()
    kinds = Kinds(scenario, list(zip(scenario.orders, outcomes[0].shipped, strict=True)))
    programme = Programme(kinds)
    for outcome in outcomes:
        programme.add(kinds.columns_of(outcome))
    bound = -np.inf
    while True:
        cost, prices, per_order = programme.solve()
        found, least = kinds.cheapest_plans(prices, per_order)
        bound = max(bound, least)
        out_of_time = time.thread_time() - began > most_seconds / 2
        if cost - bound <= CLOSE_ENOUGH * cost or out_of_time or not programme.add(found):
            break
    best = min(outcomes, key=lambda outcome: outcome.cost_cents)
    chosen = programme.whole_numbers(kinds.columns_of(best), bound, most_seconds / 2)
    whole_cost = kinds.total(chosen)
    parcels = sum(len(set(column[1])) * count for column, count in chosen.items())
    return Clairvoyant(whole_cost, parcels, min(bound, whole_cost), time.thread_time() - began)

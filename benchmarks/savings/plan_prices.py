"""Prices of scarce stock from whole orders, beside those of the product, which prices each product by itself.

The orders of the period before, as many as are still to come, are shipped once more from what is on the shelves, by a linear programme over
whole plans; the price of a shelf is what one unit more on it would save. So these prices know what goes into one parcel with what.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.savings.kinds import Kinds
from benchmarks.savings.programme import Programme
from benchmarks.savings.scenario import Scenario

LOST_TIMES = 2
"""Not to ship a product counts so many times the dearest parcel: more than any detour, so nothing that is there is lost."""
MOST_ROUNDS = 15


class PlanPrices:
    """Solves again and again; what was found before is where it goes on."""

    def __init__(self, scenario: Scenario) -> None:
        lost_cents = LOST_TIMES * max(scenario.parcel_cents.values())
        self._kinds = Kinds(scenario, [(order, order.skus) for order in scenario.before], lost_cents=lost_cents)
        self._programme = Programme(self._kinds, every_shelf=True)
        lost = len(self._kinds.codes)
        self._programme.add([(kind, (lost,) * len(items)) for kind, items in enumerate(self._kinds.items)])
        self._orders = len(scenario.before)

    def prices(self, shelves: Mapping[str, Mapping[str, int]], to_come: int) -> Mapping[tuple[str, str], float]:
        """Cents per unit of each shelf, with so many orders still to come."""
        share = to_come / self._orders
        self._programme.renew(self._kinds.counts.astype(np.float64) * share, self._kinds.stock_of(shelves))
        _, prices, per_order = self._programme.solve()
        for _ in range(MOST_ROUNDS):
            found, _ = self._kinds.cheapest_plans(prices, per_order)
            if not self._programme.add(found):
                break
            _, prices, per_order = self._programme.solve()
        return {
            (sku, code): float(prices[item, place])
            for item, sku in enumerate(self._kinds.skus)
            for place, code in enumerate(self._kinds.codes)
        }

"""Plans that look ahead (feature C8): beside what it costs, a plan counts what the units it takes are worth to later orders.

The prices come from ``scarcity.py``, worked out in the background. A plan by the objective ``forward_looking`` stands on one version of
them, and its record carries those of its SKUs, so that it can be made again. Without prices it is the cheapest plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class StockPrices:
    """Cents per unit, by SKU and location; what is not named is free to take.

    ``stale``: they were too old to be used, so there are none.
    """

    version: int
    computed_at: datetime
    cents: Mapping[str, Mapping[str, int]]
    stale: bool = False

    def of(self, skus: Iterable[str]) -> StockPrices:
        """Only those of some SKUs."""
        cents = {sku: self.cents[sku] for sku in skus if sku in self.cents}
        return StockPrices(self.version, self.computed_at, cents, self.stale)

    def record(self) -> dict[str, Any]:
        """For the decision record."""
        told = {
            "version": self.version,
            "computed_at": self.computed_at.isoformat(),
            "cents": {sku: dict(prices) for sku, prices in self.cents.items()},
        }
        return told | {"stale": True} if self.stale else told


def recorded_prices(record: Mapping[str, Any] | None) -> StockPrices | None:
    """The prices that a decision stood on; None for one that knew none."""
    if record is None:
        return None
    return StockPrices(record["version"], datetime.fromisoformat(record["computed_at"]), record["cents"], record.get("stale", False))


def worth_cents(prices: StockPrices | None, taken: Iterable[tuple[str, str, int]]) -> int:
    """What units are worth to later orders.

    Args:
        prices: the prices.
        taken: SKU, location and units.
    """
    if prices is None:
        return 0
    return sum(prices.cents.get(sku, {}).get(location, 0) * units for sku, location, units in taken)

"""What really stands on a 3PL's shelves: counted here by the parcel, whatever anybody else's books say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class ShelfCount:
    """Units of one SKU at one location since the simulator started."""

    received: int = 0
    """Put on the shelf: opening stock, receipts, returned goods."""
    adjusted: int = 0
    """Found minus lost or broken in counts, as reported by adjustments."""
    missing: int = 0
    """Not found by a picker."""
    shipped: int = 0

    @property
    def on_hand(self) -> int:
        """What is in the building; below zero only when more was shipped than ever came in."""
        return self.received + self.adjusted - self.missing - self.shipped


@dataclass(slots=True)
class Shelf:
    """All shelves of one 3PL, and the counter of stock-moving messages per location (``sequence`` of the contract)."""

    counts: dict[tuple[str, str], ShelfCount] = field(default_factory=dict)
    picked: Counter[tuple[str, str]] = field(default_factory=Counter)
    sequences: Counter[str] = field(default_factory=Counter)

    def count(self, location: str, sku: str) -> ShelfCount:
        """The row of one SKU at one location, made when it is first seen."""
        key = (location, sku)
        row = self.counts.get(key)
        if row is None:
            row = self.counts[key] = ShelfCount()
        return row

    def free(self, location: str, sku: str) -> int:
        """Units that no picker has in hand yet."""
        return self.count(location, sku).on_hand - self.picked[(location, sku)]

    def next_sequence(self, location: str) -> int:
        """The number of this location's next stock-moving message: 1, 2, 3 ... without gaps."""
        self.sequences[location] += 1
        return self.sequences[location]

    def continue_after(self, location: str, sequence: int | None) -> None:
        """A number that a former process has used."""
        self.sequences[location] = max(self.sequences[location], sequence or 0)

    def add(self, location: str, units: Iterable[tuple[str, int]]) -> None:
        """Goods are put on the shelf: SKU and quantity."""
        for sku, quantity in units:
            self.count(location, sku).received += quantity

    def locations(self) -> set[str]:
        """Every location that has or had stock."""
        return {location for location, _ in self.counts}

    def units_oversold(self) -> int:
        """Units shipped beyond what was ever there, over all SKUs and locations."""
        return sum(max(0, -row.on_hand) for row in self.counts.values())

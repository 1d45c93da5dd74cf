"""What the search for a plan chooses among: locations with what they have and ask, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.routing.decide.tariffs import Numbers, Prices


@dataclass(slots=True)
class Option:
    """A location that may ship: what of the wanted items it has in full (a bit per item), and what it asks.

    ``extra`` is added for a parcel from there (distance, when closeness is the goal). ``base_grams`` already travel from there.
    Where volume is billed, all weights in grams are loads: volume and weight in one number, which the prices of all options then take.
    ``worths`` are added for each item taken there in full, and a share of them for a part of it; nothing: none has any.
    """

    whole: int
    prices: Prices
    extra: int = 0
    base_grams: int = 0
    worths: tuple[int, ...] = ()

    def score(self, grams: int) -> int:
        """What ``grams`` more from here add to the cost."""
        if not self.base_grams:
            return self.prices[self.prices.measured(grams)] + self.extra
        return self.prices[self.prices.measured(self.base_grams + grams)] - self.prices[self.prices.measured(self.base_grams)]

    def scores(self, grams: Numbers) -> Numbers:
        """The same for many weights at once."""
        if not self.base_grams:
            return self.prices.scores(self.prices.measured_of_many(grams)) + self.extra
        return (
            self.prices.scores(self.prices.measured_of_many(self.base_grams + grams)) - self.prices[self.prices.measured(self.base_grams)]
        )


@dataclass(frozen=True, slots=True)
class Partition:
    """Items per option (a bit per item), and what it all costs as a score."""

    score: int
    items: dict[int, int]


def bits_of(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, the lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low

"""What a parcel costs and how long it takes: rate cards by weight, zone and service, transit days by zone and service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.routing.decide.geography import ZoneChart

Numbers = NDArray[np.int64]

Service = Literal["ground", "two_day", "next_day"]
SERVICES: tuple[Service, ...] = ("ground", "two_day", "next_day")
"""In order of preference when two cost the same."""
ZONES = (2, 3, 4, 5, 6, 7, 8)

MICROGRAMS_PER_POUND = 453_592_370
"""International avoirdupois pound. Source: NIST Handbook 44."""

PARCEL_LIMIT_POUNDS = 150
"""The heaviest single parcel that the large parcel carriers take; heavier goods go as several parcels."""

SCORE_PER_CENT = 1_000
"""Scores count thousandths of a cent, so that equal costs are told apart by the number of parcels."""


def billable_pounds(grams: int) -> int:
    """Carriers bill whole pounds, rounded up, and at least one."""
    return max(1, -(-grams * 1_000_000 // MICROGRAMS_PER_POUND))


def billable_pounds_of_many(grams: Numbers) -> Numbers:
    """The same for many weights at once."""
    return np.maximum(1, -(-grams * 1_000_000 // MICROGRAMS_PER_POUND))


@dataclass(frozen=True, slots=True)
class RateCard:
    """One service: cents by zone and pound (index 0 is one pound), and the surcharge per pound for a residence.

    A missing cell, or a parcel beyond the end of a row, is not carried.
    """

    service: Service
    cents: Mapping[int, tuple[int | None, ...]]
    residential_cents: tuple[int, ...]

    def price_cents(self, zone: int, pounds: int, *, residential: bool) -> int | None:
        """What one parcel costs, or None when the card does not carry it."""
        row = self.cents.get(zone, ())
        price = row[pounds - 1] if 0 < pounds <= len(row) else None
        return price if price is None or not residential else price + self.residential_cents[pounds - 1]


class Prices(dict[int, int]):
    """The cheapest of some services in one zone, by pound, as a score: cost including handling, plus one for the parcel.

    What is heavier than any service carries goes as full parcels and a rest, all by one service.

    Args:
        services: per service the score of each pound from one on, as far as it carries.
    """

    __slots__ = ("_heavy", "_light", "limit_pounds")

    def __init__(self, services: Sequence[Sequence[int]]) -> None:
        self.limit_pounds = max(len(scores) for scores in services)
        by_pound = [min(scores[index] for scores in services if index < len(scores)) for index in range(self.limit_pounds)]
        super().__init__(enumerate(by_pound, start=1))
        self._light = np.array([0, *by_pound], dtype=np.int64)
        self._heavy = np.array([[0, *scores] for scores in services if len(scores) == self.limit_pounds], dtype=np.int64)

    def __missing__(self, pounds: int) -> int:
        full, rest = divmod(pounds, self.limit_pounds)
        return int((full * self._heavy[:, -1] + self._heavy[:, rest]).min())

    def scores(self, pounds: Numbers) -> Numbers:
        """The scores of many weights at once."""
        if pounds.max(initial=0) <= self.limit_pounds:
            return self._light[pounds]
        full, rest = np.divmod(pounds, self.limit_pounds)
        heavy: Numbers = (full * self._heavy[:, -1:] + self._heavy[:, rest]).min(axis=0)
        return np.where(full > 0, heavy, self._light[rest])


@dataclass(frozen=True, slots=True)
class Quote:
    """How some goods travel from one location: by which service, in how many parcels, at what price of the carrier."""

    service: Service
    parcels: int
    carrier_cents: int
    handling_cents: int


@dataclass(frozen=True)
class Tariffs:
    """The rate cards of a carrier and our own cost of handling a parcel.

    Args:
        version: names the files the cards were read from; stands in every decision record.
        cards: one card per service.
        transit_days: business days by service and zone.
        offshore_days: added to ground and air when a parcel has to cross the sea.
        handling_cents: our cost per parcel.
        chart: the carrier's own zones; without it they follow from distance, and no border is crossed.
    """

    version: str
    cards: Mapping[Service, RateCard]
    transit_days: Mapping[Service, Mapping[int, int]]
    offshore_days: Mapping[Service, int]
    handling_cents: int
    chart: ZoneChart | None = None
    _days: dict[tuple[int, bool, int], tuple[int, ...]] = field(default_factory=dict)
    _prices: dict[tuple[int, tuple[Service, ...], bool], Prices | None] = field(default_factory=dict)

    def days(self, service: Service, zone: int, *, offshore: bool, extra_days: int = 0) -> int:
        """Business days in transit."""
        return self.transit_days[service][zone] + (self.offshore_days[service] if offshore else 0) + extra_days

    def days_of_services(self, zone: int, *, offshore: bool, extra_days: int = 0) -> tuple[int, ...]:
        """Business days in transit of every service."""
        key = (zone, offshore, extra_days)
        if key not in self._days:
            self._days[key] = tuple(self.days(service, zone, offshore=offshore, extra_days=extra_days) for service in SERVICES)
        return self._days[key]

    def prices(self, zone: int, services: tuple[Service, ...], *, residential: bool) -> Prices | None:
        """The cheapest of these services by pound, or None when none of them carries into that zone. Worked out once."""
        key = (zone, services, residential)
        if key not in self._prices:
            self._prices[key] = self._work_out(zone, services, residential)
        return self._prices[key]

    def _work_out(self, zone: int, services: tuple[Service, ...], residential: bool) -> Prices | None:
        carried = []
        for service in services:
            scores = []
            for pounds in range(1, PARCEL_LIMIT_POUNDS + 1):
                offer = self.cards[service].price_cents(zone, pounds, residential=residential)
                if offer is None:
                    break
                scores.append((offer + self.handling_cents) * SCORE_PER_CENT + 1)
            if scores:
                carried.append(scores)
        return Prices(carried) if carried else None

    def quote(self, zone: int, services: tuple[Service, ...], grams: int, *, residential: bool) -> Quote | None:
        """The cheapest of these services for one shipment; None when none carries it."""
        prices = self.prices(zone, services, residential=residential)
        if prices is None:
            return None
        full, rest = divmod(billable_pounds(grams), prices.limit_pounds)
        parcels = full + (1 if rest else 0)
        best: Quote | None = None
        for service in services:
            card = self.cards[service]
            full_cents = card.price_cents(zone, prices.limit_pounds, residential=residential) if full else 0
            rest_cents = card.price_cents(zone, rest, residential=residential) if rest else 0
            if full_cents is None or rest_cents is None:
                continue
            cents = full * full_cents + rest_cents
            if best is None or cents < best.carrier_cents:
                best = Quote(service, parcels, cents, self.handling_cents * parcels)
        return best

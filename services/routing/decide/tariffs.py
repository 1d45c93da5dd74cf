"""What a parcel costs and how long it takes: by each carrier's rate cards (weight, zone and service) and transit days (zone and service).

Carriers bill the greater of what a parcel weighs and its dimensional weight, its volume divided by a number of theirs; some only above a
volume. Source: UPS, "Dimensional Weight" (www.ups.com, packaging: cubic inches / 139, any fraction to the next pound, the greater
of both is billed); that USPS does so only above one cubic foot, 1,728 cubic inches: Domestic Mail Manual 123.1.4, as quoted by others.
Divisors differ by carrier, contract and year, so none is built in: the operator's file has those of the carrier's current terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.routing.decide.geography import NOT_CARRIED, Place, ZoneChart, is_offshore, lane_between
from shared.contracts.fulfillment import CARRIER_SERVICES, CarrierService

Numbers = NDArray[np.int64]

Service = CarrierService
SERVICES: tuple[Service, ...] = CARRIER_SERVICES
"""In order of preference when two cost the same."""
ZONES = (2, 3, 4, 5, 6, 7, 8)

MICROGRAMS_PER_POUND = 453_592_370
"""International avoirdupois pound. Source: NIST Handbook 44."""

PARCEL_LIMIT_POUNDS = 150
"""The heaviest single parcel that the large parcel carriers take; heavier goods go as several parcels."""

NO_SCORE = 1 << 61
"""The score of what no service carries."""

SCORE_PER_CENT = 1_000
"""Scores count thousandths of a cent, so that equal costs are told apart by the number of parcels."""


def billable_pounds(grams: int) -> int:
    """Carriers bill whole pounds, rounded up, and at least one."""
    return max(1, -(-grams * 1_000_000 // MICROGRAMS_PER_POUND))


def billable_pounds_of_many(grams: Numbers) -> Numbers:
    """The same for many weights at once."""
    return np.maximum(1, -(-grams * 1_000_000 // MICROGRAMS_PER_POUND))


LOAD_BITS = 32
"""A load is grams and cubic centimetres in one number, the grams in its lower bits: loads add up like weights do."""
LIMIT_GRAMS = 1 << LOAD_BITS
LIMIT_CUBIC_CENTIMETRES = 1 << 30
"""Shipments of 4,294 tonnes or 1,073 cubic metres, which no parcel carrier takes, are chosen by their weight alone."""


def load_of(grams: int, cubic_centimetres: int) -> int:
    """Weight and volume as one number."""
    return cubic_centimetres << LOAD_BITS | grams


@dataclass(frozen=True, slots=True)
class DimensionalWeight:
    """How one service bills volume.

    Args:
        per_pound: the volume that is billed as a pound, in hundred-millionths of a cubic centimetre: inches, pounds and kilograms are whole
            numbers in it, so that nothing is rounded before the pound.
        above: volumes up to this, in the same unit, are billed by weight alone.
    """

    per_pound: int
    above: int = 0

    UNITS_PER_CUBIC_CENTIMETRE: ClassVar[int] = 100_000_000
    UNITS_PER_CUBIC_INCH: ClassVar[int] = 1_638_706_400
    """An inch is 2.54 centimetres. Source: NIST Handbook 44."""

    @classmethod
    def of_inches(cls, divisor: int, above: int = 0) -> DimensionalWeight:
        """As carriers in the United States write it: cubic inches per pound."""
        return cls(divisor * cls.UNITS_PER_CUBIC_INCH, above * cls.UNITS_PER_CUBIC_INCH)

    @classmethod
    def of_centimetres(cls, divisor: int, above: int = 0) -> DimensionalWeight:
        """As carriers write it elsewhere: cubic centimetres per kilogram."""
        return cls(divisor * MICROGRAMS_PER_POUND // 10, above * cls.UNITS_PER_CUBIC_CENTIMETRE)

    def pounds(self, cubic_centimetres: int) -> int:
        """What a volume is billed as; 0 where only the weight counts."""
        volume = cubic_centimetres * self.UNITS_PER_CUBIC_CENTIMETRE
        return -(-volume // self.per_pound) if volume > self.above else 0

    def pounds_of_many(self, cubic_centimetres: Numbers) -> Numbers:
        """The same for many volumes at once."""
        volumes = cubic_centimetres * self.UNITS_PER_CUBIC_CENTIMETRE
        return np.where(volumes > self.above, -(-volumes // self.per_pound), 0)


@dataclass(frozen=True, slots=True)
class RateCard:
    """One service: cents by zone and pound (index 0 is one pound), and the surcharge per pound for a residence.

    A missing cell, or a parcel beyond the end of a row, is not carried. Without ``dimensional`` only the weight is billed.
    """

    service: Service
    cents: Mapping[int, tuple[int | None, ...]]
    residential_cents: tuple[int, ...]
    dimensional: DimensionalWeight | None = None

    def billed_pounds(self, grams: int, cubic_centimetres: int) -> int:
        """What some goods are billed as: the greater of weight and dimensional weight."""
        by_volume = self.dimensional.pounds(cubic_centimetres) if self.dimensional is not None and cubic_centimetres else 0
        return max(billable_pounds(grams), by_volume)

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

    by_load = False
    """Whether weights are loads, weight and volume in one number, to these prices."""
    measured = staticmethod(billable_pounds)
    """What goods of a weight are priced by."""
    measured_of_many = staticmethod(billable_pounds_of_many)
    """The same for many weights at once."""

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


def _as_it_is(grams: int) -> int:
    return grams


def _as_they_are(grams: Numbers) -> Numbers:
    return grams


class LoadPrices(Prices):
    """The same by load instead of by pound, where a service bills volume: each bills the same goods as pounds of its own.

    Args:
        services: per service the score of each pound from one on, as far as it carries.
        dimensional: per service how it bills volume.
    """

    __slots__ = ("_services",)

    by_load = True
    measured = staticmethod(_as_it_is)
    measured_of_many = staticmethod(_as_they_are)

    def __init__(self, services: Sequence[Sequence[int]], dimensional: Sequence[DimensionalWeight | None]) -> None:
        super().__init__(services)
        self.clear()
        self._services = [
            (Prices([scores]), len(scores) == self.limit_pounds, rule) for scores, rule in zip(services, dimensional, strict=True)
        ]

    def __missing__(self, load: int) -> int:
        by_weight = billable_pounds(load & LIMIT_GRAMS - 1)
        volume = load >> LOAD_BITS
        best = NO_SCORE
        for prices, endless, rule in self._services:
            pounds = by_weight if rule is None else max(by_weight, rule.pounds(volume))
            if (endless or pounds <= prices.limit_pounds) and (score := prices[pounds]) < best:
                best = score
        return best

    def scores(self, pounds: Numbers) -> Numbers:
        """The scores of many loads at once."""
        by_weight = billable_pounds_of_many(pounds & LIMIT_GRAMS - 1)
        volumes = pounds >> LOAD_BITS
        best: Numbers = np.full(pounds.shape, NO_SCORE, dtype=np.int64)
        for prices, endless, rule in self._services:
            own = by_weight if rule is None else np.maximum(by_weight, rule.pounds_of_many(volumes))
            scores = prices.scores(own)
            np.minimum(best, scores if endless else np.where(own <= prices.limit_pounds, scores, NO_SCORE), out=best)
        return best


class Way(NamedTuple):
    """One way for a parcel from a location to a customer: by a carrier's service, in the zone that this carrier prices."""

    carrier: str
    service: Service
    zone: int
    days: int
    """Business days in transit."""


Ways = tuple[Way, ...]
"""The preferred first, for when two cost the same: by carrier, then by service."""


def usual(ways: Ways) -> Way | None:
    """The way that rules and records speak of when they name the zone and the days of a location: by ground, or else the next service that
    somebody has there; of several carriers the quickest."""
    for service in SERVICES:
        own = [way for way in ways if way.service == service]
        if own:
            return min(own, key=lambda way: way.days)
    return None


@dataclass(frozen=True, slots=True)
class Quote:
    """How some goods travel from one location: which way, in how many parcels, at what price of the carrier, billed as what."""

    way: Way
    parcels: int
    carrier_cents: int
    handling_cents: int
    billed_pounds: int


@dataclass(frozen=True)
class Carrier:
    """What one carrier offers.

    Args:
        name: as 3PLs and customers are told it.
        cards: one card per service that it has.
        transit_days: business days by service and zone.
        offshore_days: added by service when a parcel has to cross the sea.
        chart: the carrier's own zones; without it they follow from distance, and no border is crossed.
    """

    name: str
    cards: Mapping[Service, RateCard]
    transit_days: Mapping[Service, Mapping[int, int]]
    offshore_days: Mapping[Service, int]
    chart: ZoneChart | None = None

    def ways(self, origin: Place, destination: Place) -> Ways:
        """By each of its services, if it takes parcels from there to there at all."""
        lane = lane_between(origin, destination, self.chart)
        if lane.zone == NOT_CARRIED:
            return ()
        offshore = is_offshore(origin, destination)
        return tuple(
            Way(
                self.name,
                service,
                lane.zone,
                self.transit_days[service][lane.zone] + (self.offshore_days[service] if offshore else 0) + lane.extra_days,
            )
            for service in SERVICES
            if service in self.cards
        )


@dataclass(frozen=True)
class Tariffs:
    """What carriers charge, and our own cost of handling a parcel.

    Args:
        version: names the files the cards were read from; stands in every decision record.
        carriers: by name, the preferred first.
        handling_cents: our cost per parcel.
    """

    version: str
    carriers: Mapping[str, Carrier]
    handling_cents: int
    _prices: dict[tuple[Ways, bool, bool], Prices | None] = field(default_factory=dict, compare=False)

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """What tells these cards from others: their version, and the carriers' names, which an only carrier's files do not have."""
        return (self.version, *self.carriers)

    @cached_property
    def bill_volume(self) -> bool:
        """Whether any service does."""
        return any(card.dimensional is not None for carrier in self.carriers.values() for card in carrier.cards.values())

    def ways(self, origin: Place, destination: Place) -> Ways:
        """All ways between two places."""
        return tuple(way for carrier in self.carriers.values() for way in carrier.ways(origin, destination))

    def card(self, way: Way) -> RateCard:
        """What a way is priced by."""
        return self.carriers[way.carrier].cards[way.service]

    def prices(self, ways: Ways, *, residential: bool, by_load: bool = False) -> Prices | None:
        """The cheapest of these ways by pound, or None when there is none. Worked out once.

        ``by_load``: by weight and volume (:func:`load_of`) instead.
        """
        key = (ways, residential, by_load)
        if key not in self._prices:
            self._prices[key] = self._work_out(ways, residential, by_load)
        return self._prices[key]

    def _work_out(self, ways: Ways, residential: bool, by_load: bool) -> Prices | None:
        carried = []
        dimensional = []
        for way in ways:
            card = self.card(way)
            scores = []
            for pounds in range(1, PARCEL_LIMIT_POUNDS + 1):
                offer = card.price_cents(way.zone, pounds, residential=residential)
                if offer is None:
                    break
                scores.append((offer + self.handling_cents) * SCORE_PER_CENT + 1)
            if scores:
                carried.append(scores)
                dimensional.append(card.dimensional)
        if not carried:
            return None
        return LoadPrices(carried, dimensional) if by_load else Prices(carried)

    def quote(self, ways: Ways, grams: int, *, residential: bool, cubic_centimetres: int = 0, among: Ways | None = None) -> Quote | None:
        """The cheapest of these ways for one shipment; None when none carries it.

        What is too heavy for one parcel goes by a way that takes the heaviest one; ``among``: of all of these.
        """
        prices = self.prices(among or ways, residential=residential)
        if prices is None:
            return None
        best: Quote | None = None
        least = 0
        for way in ways:
            card = self.card(way)
            pounds = card.billed_pounds(grams, cubic_centimetres)
            full, rest = divmod(pounds, prices.limit_pounds)
            parcels = full + (1 if rest else 0)
            full_cents = card.price_cents(way.zone, prices.limit_pounds, residential=residential) if full else 0
            rest_cents = card.price_cents(way.zone, rest, residential=residential) if rest else 0
            if full_cents is None or rest_cents is None:
                continue
            cents = full * full_cents + rest_cents
            score = (cents + self.handling_cents * parcels) * SCORE_PER_CENT + parcels
            if best is None or score < least:
                best, least = Quote(way, parcels, cents, self.handling_cents * parcels, pounds), score
        return best

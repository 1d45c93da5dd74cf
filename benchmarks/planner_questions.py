"""What the planner is asked, put as a question for HiGHS: from the request, the rate cards and the calendar alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from benchmarks.integer_program import Offer, Place, Question
from services.routing.decide.calendar import promised_day
from services.routing.decide.capacity import price_cents
from services.routing.decide.geography import is_offshore, lane_between
from services.routing.decide.network import Reach
from services.routing.decide.planner import Planner
from services.routing.decide.plans import PlanRequest
from services.routing.decide.tariffs import DimensionalWeight, RateCard, Tariffs

Priced = tuple[RateCard, int]
"""A card and the zone that it is read in."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The question, the day by which all must arrive, and the units per SKU that places may ship."""

    question: Question
    limit: date | None
    units: Mapping[str, int]


def question_of(planner: Planner, request: PlanRequest) -> Asked | None:
    """The promise comes first: the earliest day from the promised one on by which enough of everything can arrive. Then the least cost.

    Only items that no place has in full by that day may be divided. Slots count by their price, not by their day. None when no place can
    ship anything. A SKU is on one line only.
    """
    stocks = _stocks(planner, request)
    units = {entry.sku: min(entry.units, sum(stock[entry.sku] for _, stock in stocks)) for entry in request.wanted}
    entries = [entry for entry in request.wanted if units[entry.sku]]
    if not entries:
        return None
    for limit in _limits(planner, request, stocks):
        in_time = [(reach, stock, priced) for reach, stock in stocks if (priced := _priced(planner, reach, request, limit))]
        if all(sum(stock[entry.sku] for _, stock, _ in in_time) >= units[entry.sku] for entry in entries):
            break
    else:
        raise AssertionError("the last day is one on which everything can arrive")
    question = Question(
        places=[
            Place(
                [stock[entry.sku] for entry in entries],
                _offers(planner.tariffs, priced, request.residential, _slot_cents(planner, reach, request)),
                _unit_cents(planner, reach, [entry.sku for entry in entries]),
            )
            for reach, stock, priced in in_time
        ],
        units=[units[entry.sku] for entry in entries],
        unit_grams=[entry.unit_weight_grams for entry in entries],
        divisible=[all(stock[entry.sku] < units[entry.sku] for _, stock, _ in in_time) for entry in entries],
        pick_cents=planner.pick_cents,
        split_cents=planner.split_cents,
        unit_volumes=[entry.unit_volume_cubic_centimetres for entry in entries] if planner.tariffs.bill_volume else (),
    )
    return Asked(question, limit, {entry.sku: units[entry.sku] for entry in entries})


def _stocks(planner: Planner, request: PlanRequest) -> list[tuple[Reach, dict[str, int]]]:
    return [
        (
            reach,
            {
                entry.sku: 0
                if entry.hazmat and not reach.location.hazmat_certified
                else request.assignable[entry.sku].get(reach.location.code, 0)
                for entry in request.wanted
            },
        )
        for reach in planner.network.reach(request.destination, planner.tariffs)
        if reach.location.active
    ]


def _limits(planner: Planner, request: PlanRequest, stocks: Sequence[tuple[Reach, Mapping[str, int]]]) -> Iterator[date | None]:
    zone = ZoneInfo(request.destination.time_zone)
    promised = promised_day(request.service_level, request.deliver_by, request.promise_from, zone)
    yield promised
    if promised is not None:
        having = [reach for reach, stock in stocks if any(stock.values())]
        days = {day for reach in having for _, day in _arrivals(planner, reach, request)}
        yield from sorted(day for day in days if day > promised)


def _priced(planner: Planner, reach: Reach, request: PlanRequest, limit: date | None) -> list[Priced]:
    return [priced for priced, day in _arrivals(planner, reach, request) if limit is None or day <= limit]


def _arrivals(planner: Planner, reach: Reach, request: PlanRequest) -> Iterator[tuple[Priced, date]]:
    """By what a parcel may leave a place, and when it is there, from the carriers' cards and charts alone."""
    origin, destination = reach.location.place, request.destination
    for carrier in planner.tariffs.carriers.values():
        lane = lane_between(origin, destination, carrier.chart)
        if reach.location.carriers and carrier.name not in reach.location.carriers and len(planner.tariffs.carriers) > 1:
            continue
        for service, card in carrier.cards.items():
            if service in reach.location.services:
                arrival = planner.network.dispatch(reach.index, request.now).day
                days = carrier.transit_days[service][lane.zone] + lane.extra_days
                for _ in range(days + (carrier.offshore_days[service] if is_offshore(origin, destination) else 0)):
                    arrival += timedelta(days={4: 3, 5: 2}.get(arrival.weekday(), 1))
                yield (card, lane.zone), arrival


def _slot_cents(planner: Planner, reach: Reach, request: PlanRequest) -> int:
    slot, capacity = request.slots.get(reach.location.code), reach.location.capacity
    return 0 if slot is None or capacity is None else price_cents(capacity, slot, planner.capacity_cents)


def _unit_cents(planner: Planner, reach: Reach, skus: Sequence[str]) -> Sequence[int]:
    if planner.objective != "forward_looking" or planner.stock_prices is None:
        return ()
    return [planner.stock_prices.cents.get(sku, {}).get(reach.location.code, 0) for sku in skus]


def _offers(tariffs: Tariffs, priced: Sequence[Priced], residential: bool, slot_cents: int) -> list[Offer]:
    """One for all cards, or one for each where they bill volume: each bills the same parcel as pounds of its own."""
    most = max(len(card.cents[zone]) for card, zone in priced)
    if not tariffs.bill_volume:
        return [Offer(Cents(tariffs, priced, residential, most, slot_cents).of)]
    offers = []
    for card, zone in priced:
        rule = card.dimensional
        cents = Cents(tariffs, [(card, zone)], residential, most, slot_cents).of
        units = DimensionalWeight.UNITS_PER_CUBIC_CENTIMETRE
        offers.append(Offer(cents) if rule is None else Offer(cents, Fraction(rule.per_pound, units), rule.above // units))
    return offers


@dataclass(frozen=True, slots=True)
class Cents:
    """What a parcel costs by the cheapest of some cards, from the cards alone; the heaviest that any of them carries weighs ``most``."""

    tariffs: Tariffs
    priced: Sequence[Priced]
    residential: bool
    most: int
    slot_cents: int = 0
    """What the slot counts that a parcel takes there."""

    def of(self, pounds: int) -> int | None:
        """By the cheapest card; more than ``most`` goes as full parcels and a rest, all by one."""
        full, rest = divmod(pounds, self.most)
        weights = [self.most] * full + [rest] * (rest > 0)
        offers = []
        for card, zone in self.priced:
            prices = [card.price_cents(zone, weight, residential=self.residential) for weight in weights]
            offers.append(None if None in prices else sum(price for price in prices if price is not None))
        cheapest = min((offer for offer in offers if offer is not None), default=None)
        return None if cheapest is None else cheapest + self.tariffs.handling_cents * len(weights) + self.slot_cents

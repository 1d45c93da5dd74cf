"""What the planner is asked, put as a question for HiGHS: from the request, the rate cards and the calendar alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from benchmarks.integer_program import Offer, Place, Question
from services.routing.decide.calendar import promised_day
from services.routing.decide.capacity import price_cents
from services.routing.decide.network import Reach
from services.routing.decide.planner import Planner
from services.routing.decide.plans import PlanRequest
from services.routing.decide.tariffs import DimensionalWeight, Service, Tariffs


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
        in_time = [(reach, stock, services) for reach, stock in stocks if (services := _services(planner, reach, request, limit))]
        if all(sum(stock[entry.sku] for _, stock, _ in in_time) >= units[entry.sku] for entry in entries):
            break
    else:
        raise AssertionError("the last day is one on which everything can arrive")
    question = Question(
        places=[
            Place(
                [stock[entry.sku] for entry in entries],
                _offers(planner.tariffs, reach.zone, services, request.residential, _slot_cents(planner, reach, request)),
                _unit_cents(planner, reach, [entry.sku for entry in entries]),
            )
            for reach, stock, services in in_time
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
        for reach in planner.network.reach(request.destination)
        if reach.location.active
    ]


def _limits(planner: Planner, request: PlanRequest, stocks: Sequence[tuple[Reach, Mapping[str, int]]]) -> Iterator[date | None]:
    zone = ZoneInfo(request.destination.time_zone)
    promised = promised_day(request.service_level, request.deliver_by, request.promise_from, zone)
    yield promised
    if promised is not None:
        having = [reach for reach, stock in stocks if any(stock.values())]
        days = {_arrival(planner, reach, service, request.now) for reach in having for service in reach.location.services}
        yield from sorted(day for day in days if day > promised)


def _services(planner: Planner, reach: Reach, request: PlanRequest, limit: date | None) -> tuple[Service, ...]:
    own = reach.location.services
    return tuple(service for service in own if limit is None or _arrival(planner, reach, service, request.now) <= limit)


def _arrival(planner: Planner, reach: Reach, service: Service, now: datetime) -> date:
    arrival = planner.network.dispatch(reach.index, now).day
    for _ in range(planner.tariffs.days(service, reach.zone, offshore=reach.offshore)):
        arrival += timedelta(days={4: 3, 5: 2}.get(arrival.weekday(), 1))
    return arrival


def _slot_cents(planner: Planner, reach: Reach, request: PlanRequest) -> int:
    slot, capacity = request.slots.get(reach.location.code), reach.location.capacity
    return 0 if slot is None or capacity is None else price_cents(capacity, slot, planner.capacity_cents)


def _unit_cents(planner: Planner, reach: Reach, skus: Sequence[str]) -> Sequence[int]:
    if planner.objective != "forward_looking" or planner.stock_prices is None:
        return ()
    return [planner.stock_prices.cents.get(sku, {}).get(reach.location.code, 0) for sku in skus]


def _offers(tariffs: Tariffs, zone: int, services: tuple[Service, ...], residential: bool, slot_cents: int) -> list[Offer]:
    """One for all services, or one for each where they bill volume: each bills the same parcel as pounds of its own."""
    most = max(len(tariffs.cards[service].cents[zone]) for service in services)
    if not tariffs.bill_volume:
        return [Offer(Cents(tariffs, zone, services, residential, most, slot_cents).of)]
    offers = []
    for service in services:
        rule = tariffs.cards[service].dimensional
        cents = Cents(tariffs, zone, (service,), residential, most, slot_cents).of
        units = DimensionalWeight.UNITS_PER_CUBIC_CENTIMETRE
        offers.append(Offer(cents) if rule is None else Offer(cents, Fraction(rule.per_pound, units), rule.above // units))
    return offers


@dataclass(frozen=True, slots=True)
class Cents:
    """What a parcel costs by the cheapest of some services, from the cards alone; the heaviest that any service carries weighs ``most``."""

    tariffs: Tariffs
    zone: int
    services: tuple[Service, ...]
    residential: bool
    most: int
    slot_cents: int = 0
    """What the slot counts that a parcel takes there."""

    def of(self, pounds: int) -> int | None:
        """By the cheapest service; more than ``most`` goes as full parcels and a rest, all by one."""
        cards = [self.tariffs.cards[service] for service in self.services]
        full, rest = divmod(pounds, self.most)
        weights = [self.most] * full + [rest] * (rest > 0)
        offers = []
        for card in cards:
            prices = [card.price_cents(self.zone, weight, residential=self.residential) for weight in weights]
            offers.append(None if None in prices else sum(price for price in prices if price is not None))
        cheapest = min((offer for offer in offers if offer is not None), default=None)
        return None if cheapest is None else cheapest + self.tariffs.handling_cents * len(weights) + self.slot_cents

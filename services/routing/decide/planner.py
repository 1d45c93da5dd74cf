"""Where an order ships from: the cheapest plan that keeps the promise, else the earliest one (features C1, C6; decision record C10).

Candidates are the registered locations that are active, were not excluded for this order, for hazardous goods are certified, and may ship
something by the rules in force (``guidance.py``). What
a location costs is what its parcel costs: carrier price by zone and billable weight (the dimensional weight where the rate card has one and
it is greater), plus handling per parcel, plus picking per item.
Every parcel beyond the first may be given a price of its own. Items that some location has in full are never divided; only an item that no
location has in full is taken from several. What is exact and what is not: docs/decisions/0019-planner.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from services.routing.decide.calendar import add_business_days, promised_day
from services.routing.decide.capacity import Slot, price_cents
from services.routing.decide.foresight import StockPrices, worth_cents
from services.routing.decide.geography import NOT_CARRIED, Place
from services.routing.decide.guidance import Guidance, Objective, OrderFacts, WantedItem, guide
from services.routing.decide.network import Location, Network, Reach
from services.routing.decide.refining import Units, Wish, refined
from services.routing.decide.rules import LocationFacts, RuleSet
from services.routing.decide.scattered import cheapest_division
from services.routing.decide.splitting import MOST_ITEMS, Option, Partition, cheapest_partition
from services.routing.decide.tariffs import (
    LIMIT_CUBIC_CENTIMETRES,
    LIMIT_GRAMS,
    SCORE_PER_CENT,
    SERVICES,
    Prices,
    Service,
    Tariffs,
    billable_pounds,
    load_of,
)

SCORE_PER_MILE = SCORE_PER_CENT * 1_000_000
"""More than orders cost, so that when closeness is the goal the cost only tells equal distances apart."""

MOST_PARCELS_RANKED = 12
"""In plans of up to so many parcels what a rule prefers comes strictly after the number of parcels, and strictly before miles and cost."""
SCORE_PER_RANK = SCORE_PER_MILE * 150
"""More than any cost."""
SCORE_PER_RANK_OF_CLOSEST = SCORE_PER_MILE * 12_500 * MOST_PARCELS_RANKED
"""More than any distance on earth."""

DAYS_PUT_OFF = 1
"""An order without a promised day waits so many working days for a full location; longer only where nothing else ships it."""
MOST_DAYS_COUNTED = 11
SCORE_PER_DAY_PUT_OFF = SCORE_PER_MILE
"""More than orders cost; in a parcel less than what a rule prefers, however many days are counted."""
SCORE_PER_DAY_PUT_OFF_OF_CLOSEST = SCORE_PER_MILE * 12_500
"""More than any distance."""


class Wanted(NamedTuple):
    """Units of one order line that are to be planned."""

    line_id: str
    sku: str
    units: int
    unit_weight_grams: int
    hazmat: bool
    unit_volume_cubic_centimetres: int = 0
    """0: not known, and its weight alone counts."""


class Replanned(NamedTuple):
    """What it saved that orders were planned together before release instead of one after the other (``replanning.py``).

    Of all whose plans changed for each other, this one and ``others``, and of this one alone.
    """

    others: int
    parcels_saved: int
    cents_saved: int
    own_parcels_saved: int
    own_cents_saved: int


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned, and under which promise. ``partly`` allows to plan what can be and to leave the rest.

    ``order`` is what rules may ask of the order; without it none is applied. ``slots`` are the first free slots of locations that limit
    their work (None: no day has one); a location that is not named takes as much as comes. ``stock_prices`` are those to look ahead by,
    instead of the planner's. ``replanned`` is told in the record and changes no choice.
    """

    wanted: Sequence[Wanted]
    assignable: Mapping[str, Mapping[str, int]]
    destination: Place
    service_level: str
    deliver_by: datetime | None
    promise_from: datetime
    now: datetime
    residential: bool
    excluded: frozenset[str] = frozenset()
    partly: bool = True
    order: OrderFacts | None = None
    slots: Mapping[str, Slot | None] = field(default_factory=dict)
    stock_prices: StockPrices | None = None
    replanned: Replanned | None = None


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one location ships, by which service. ``units`` are per line, in the order's order."""

    location: Location
    units: tuple[tuple[str, str, int], ...]
    service: Service
    zone: int
    miles: int
    parcels: int
    carrier_cents: int
    cost_cents: int
    ship_by: datetime
    arrives_on: date
    slot: Slot | None = None
    billed_by_volume: tuple[int, int] | None = None
    """Pounds that it weighs and pounds that it is billed as, where the carrier bills its volume."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The proposal. ``unplaced`` units found no location; ``record`` explains the decision.

    ``held`` is the rule that holds the order back, and its reason; ``instructions`` are what rules tell whoever packs.
    """

    parcels: tuple[Parcel, ...]
    unplaced: Mapping[str, int]
    cost_cents: int
    late: bool
    record: dict[str, Any]
    held: tuple[str, str] | None = None
    instructions: tuple[str, ...] = ()


@dataclass(slots=True)
class _Item:
    """All wanted units of one SKU; lines of the same SKU are planned together, so that no unit is counted twice."""

    sku: str
    units: int
    unit_grams: int
    hazmat: bool
    unit_volume: int = 0

    @property
    def grams(self) -> int:
        return self.units * self.unit_grams

    @property
    def volume(self) -> int:
        return self.units * self.unit_volume


@dataclass(slots=True)
class _Candidate:
    """A location that may be asked. ``stock`` is per item, in the order of the items; ``whole`` has a bit for each that it has in full.

    ``extra`` is what a parcel from there counts more than it costs: distance when closeness is the goal, and what rules say.
    """

    reach: Reach
    stock: list[int]
    whole: int = 0
    extra: int = 0
    services: tuple[Service, ...] = ()
    """Those that arrive by the day that was last looked at."""
    prices: Prices | None = None
    """What a parcel costs by them."""


@dataclass(frozen=True)
class Planner:
    """Everything a decision depends on beside the order and its stock."""

    network: Network
    tariffs: Tariffs
    objective: Objective = "cheapest"
    pick_cents: int = 0
    split_cents: int = 0
    """What another parcel for the same order is worth avoiding, beyond what it costs. In no cost that is told."""
    rules: RuleSet | None = None
    capacity_cents: int = 0
    """What the last slot of a location counts in the choice. In no cost that is told."""
    stock_prices: StockPrices | None = None
    """What units are worth to later orders; counts where the objective is ``forward_looking``."""

    @property
    def looks_ahead(self) -> bool:
        """Whether any plan may ask for the prices of stock."""
        if self.objective == "forward_looking":
            return True
        return self.rules is not None and any(rule.written.objective == "forward_looking" for rule in self.rules.rules)

    def plan(self, request: PlanRequest) -> Plan:
        """Chooses locations and services. A plan without parcels means that no location can ship anything (or not all, when it must)."""
        items = _items(request.wanted)
        candidates, excluded, guidance = self._candidates(request, items)
        if guidance is not None and guidance.objective is not None and guidance.objective != self.objective:
            return replace(self, objective=guidance.objective)._planned(request, items, candidates, excluded, guidance)
        return self._planned(request, items, candidates, excluded, guidance)

    def _planned(
        self,
        request: PlanRequest,
        items: list[_Item],
        candidates: list[_Candidate],
        excluded: list[list[Any]],
        guidance: Guidance | None,
    ) -> Plan:
        """The plan among candidates, by this planner's objective."""
        promised = promised_day(request.service_level, request.deliver_by, request.promise_from, ZoneInfo(request.destination.time_zone))
        self._weigh(candidates, guidance)
        if request.slots:
            self._weigh_slots(candidates, request.slots, patient=promised is None and self.objective != "fastest")
        wanted = items
        told = self._told(request, items, guidance)
        held = None if guidance is None else guidance.held
        unplaced = _unplaced(items, candidates)
        solution: Units | None = None
        limit: date | None = None
        late = False
        if items and held is None and (request.partly or not unplaced):
            items = _reduced(items, candidates, unplaced)
            for limit in self._limits(candidates, request, promised):
                self._price(candidates, items, limit, request)
                solution = self._solve(candidates, items, request)
                if solution is not None:
                    late = promised is not None and limit is not None and limit > promised
                    break
        else:
            self._price(candidates, items, None, request)
        if solution is None:
            unplaced = {item.sku: item.units for item in wanted}
            return Plan((), unplaced, 0, False, self._record(request, items, candidates, excluded, (), None, False, told), held)
        parcels = tuple(self._parcels(request, items, candidates, solution))
        record = self._record(request, items, candidates, excluded, parcels, limit, late, told)
        instructions = () if guidance is None else tuple(guidance.instructions)
        return Plan(parcels, unplaced, sum(parcel.cost_cents for parcel in parcels), late, record, None, instructions)

    def _candidates(self, request: PlanRequest, items: Sequence[_Item]) -> tuple[list[_Candidate], list[list[Any]], Guidance | None]:
        """Locations that may ship something, nearest first, why the others may not, and what the rules say."""
        stocks = [request.assignable.get(item.sku, {}) for item in items]
        hazardous = any(item.hazmat for item in items)
        excluded: list[list[Any]] = [[code, NOT_CARRIED, 0, "its postal code is on no map"] for code in self.network.off_map]
        asked: list[tuple[Reach, list[int]]] = []
        for reach in self.network.reach(request.destination, self.tariffs.chart):
            location = reach.location
            if not location.active:
                excluded.append([location.code, reach.zone, reach.miles, "inactive"])
            elif not reach.carried:
                border = f"no rate from {location.place.country} to {request.destination.country}"
                excluded.append([location.code, reach.zone, reach.miles, border])
            elif location.code in request.excluded:
                excluded.append([location.code, reach.zone, reach.miles, "excluded for this order"])
            elif location.code in request.slots and request.slots[location.code] is None:
                excluded.append([location.code, reach.zone, reach.miles, "capacity exhausted for a year"])
            else:
                stock = [have.get(location.code, 0) for have in stocks]
                if hazardous and not location.hazmat_certified:
                    stock = [0 if item.hazmat else have for item, have in zip(items, stock, strict=True)]
                asked.append((reach, stock))
        guidance = self._guidance(request, items, asked)
        candidates = []
        for reach, stock in asked:
            if any(stock):
                candidates.append(_Candidate(reach, stock))
                continue
            location = reach.location
            reason = None if guidance is None else _rule_against(guidance.kept_out.get(location.code, {}), location.code, stocks)
            if reason is None:
                reason = "not certified for hazmat" if hazardous and not location.hazmat_certified else "no stock"
            excluded.append([location.code, reach.zone, reach.miles, reason])
        return candidates, excluded, guidance

    def _guidance(self, request: PlanRequest, items: Sequence[_Item], asked: Sequence[tuple[Reach, list[int]]]) -> Guidance | None:
        """Applies the rules to the stock of the locations that may be asked."""
        if self.rules is None or not self.rules.rules or request.order is None:
            return None
        locations = [
            LocationFacts(
                reach,
                self.tariffs.days_of_services(reach.zone, offshore=reach.offshore, extra_days=reach.extra_days)[0],
                sum(min(have, item.units) for item, have in zip(items, stock, strict=True)),
                all(have >= item.units for item, have in zip(items, stock, strict=True)),
            )
            for reach, stock in asked
        ]
        stock_by_code = {reach.location.code: stock for reach, stock in asked}
        return guide(self.rules, request.order, request.destination, _asked(items), locations, stock_by_code)

    def _told(self, request: PlanRequest, items: Sequence[_Item], guidance: Guidance | None) -> dict[str, Any] | None:
        """What the rules said, for the record: at least their version. None where none are known."""
        if guidance is not None:
            return guidance.record(_asked(items))
        return None if self.rules is None or request.order is None else {"version": self.rules.version, "fired": []}

    def _weigh(self, candidates: Sequence[_Candidate], guidance: Guidance | None) -> None:
        """Notes what a parcel from each location counts beside its cost.

        What rules prefer never makes two parcels of one: a parcel counts more than the worst places of all the others together.
        """
        closest = self.objective == "closest"
        each = self.split_cents * SCORE_PER_CENT
        per_rank = SCORE_PER_RANK_OF_CLOSEST if closest else SCORE_PER_RANK
        if guidance is not None and (guidance.ranks or guidance.together):
            worst = max(guidance.ranks.values(), default=0)
            each += (min(len(candidates), MOST_PARCELS_RANKED) * worst + 1) * per_rank
        for candidate in candidates:
            candidate.extra = each + (candidate.reach.miles * SCORE_PER_MILE if closest else 0)
            if guidance is not None:
                code = candidate.reach.location.code
                candidate.extra += guidance.handicaps.get(code, 0) * SCORE_PER_CENT + guidance.ranks.get(code, 0) * per_rank

    def _weigh_slots(self, candidates: Sequence[_Candidate], slots: Mapping[str, Slot | None], *, patient: bool) -> None:
        """Notes what a slot of a nearly full location counts, and which would keep an order waiting that was promised no day."""
        per_day = SCORE_PER_DAY_PUT_OFF_OF_CLOSEST if self.objective == "closest" else SCORE_PER_DAY_PUT_OFF
        for candidate in candidates:
            location = candidate.reach.location
            slot = slots.get(location.code)
            if slot is None:
                continue
            if patient and slot.put_off > DAYS_PUT_OFF:
                candidate.extra += min(slot.put_off - DAYS_PUT_OFF, MOST_DAYS_COUNTED) * per_day
            if self.capacity_cents and location.capacity is not None:
                candidate.extra += price_cents(location.capacity, slot, self.capacity_cents) * SCORE_PER_CENT

    def _limits(self, candidates: Sequence[_Candidate], request: PlanRequest, promised: date | None) -> Iterator[date | None]:
        """The promised day, then every later day on which something can arrive: the first that works is the earliest.

        When speed is the goal, every day on which something can arrive.
        """
        fastest = self.objective == "fastest"
        if not fastest:
            yield promised
        if fastest or promised is not None:
            days = {self._arrival(candidate.reach, service, request) for candidate in candidates for service in SERVICES}
            yield from sorted(day for day in days if fastest or promised is None or day > promised)

    def _leaves(self, reach: Reach, request: PlanRequest) -> date:
        """The day on which a parcel leaves: the first with a free slot, where slots are limited."""
        slot = request.slots.get(reach.location.code) if request.slots else None
        return self.network.dispatch(reach.index, request.now).day if slot is None else slot.day

    def _arrival(self, reach: Reach, service: Service, request: PlanRequest) -> date:
        days = self.tariffs.days(service, reach.zone, offshore=reach.offshore, extra_days=reach.extra_days)
        return _day_after(self._leaves(reach, request), days)

    def _services(self, reach: Reach, limit: date | None, leaves: date) -> tuple[Service, ...]:
        """Services that arrive in time."""
        if limit is None:
            return SERVICES
        days = self.tariffs.days_of_services(reach.zone, offshore=reach.offshore, extra_days=reach.extra_days)
        return _in_time(leaves, days, limit)

    def _price(self, candidates: Sequence[_Candidate], items: Sequence[_Item], limit: date | None, request: PlanRequest) -> None:
        """Notes at each candidate by which services a parcel arrives by ``limit``, and what it costs; most candidates share both."""
        by_load = self._by_load(items)
        known: dict[tuple[int, bool, int, date | None], tuple[tuple[Service, ...], Prices | None]] = {}
        for candidate in candidates:
            reach = candidate.reach
            leaves = None if limit is None else self._leaves(reach, request)
            key = (reach.zone, reach.offshore, reach.extra_days, leaves)
            found = known.get(key)
            if found is None:
                services = SERVICES if leaves is None else self._services(reach, limit, leaves)
                prices = self.tariffs.prices(reach.zone, services, residential=request.residential, by_load=by_load)
                found = known[key] = (services, prices)
            candidate.services, candidate.prices = found

    def _solve(self, candidates: Sequence[_Candidate], items: Sequence[_Item], request: PlanRequest) -> Units | None:
        """The best plan by the services that are in time: units per item (by position) and candidate. None when there is none."""
        options: list[Option] = []
        senders: list[int] = []
        everywhere = 0
        foresight = self._foresight(request)
        for index, candidate in enumerate(candidates):
            if candidate.prices is not None:
                worths = () if foresight is None else _worths(foresight, candidate.reach.location.code, items)
                options.append(Option(candidate.whole, candidate.prices, candidate.extra, 0, worths))
                senders.append(index)
                everywhere |= candidate.whole
        scattered = [position for position in range(len(items)) if not everywhere >> position & 1]
        units = [item.units for item in items]
        by_load = self._by_load(items)
        unit_grams = [load_of(item.unit_grams, item.unit_volume) for item in items] if by_load else [item.unit_grams for item in items]
        taken: Units | None
        if scattered:
            stock = [candidates[sender].stock for sender in senders]
            taken = cheapest_division(options, stock, units, unit_grams, scattered, self.pick_cents * SCORE_PER_CENT)
        else:
            partition = cheapest_partition(options, [count * grams for count, grams in zip(units, unit_grams, strict=True)])
            taken = None if partition is None else _units(partition, items)
            if taken is not None and len(items) > MOST_ITEMS:
                stock = [candidates[sender].stock for sender in senders]
                taken = refined(Wish(options, stock, units, unit_grams, frozenset()), taken)
        return None if taken is None else {senders[option]: own_units for option, own_units in taken.items()}

    def _by_load(self, items: Sequence[_Item]) -> bool:
        """Whether the volume of these items may change what a parcel of them costs."""
        if not self.tariffs.bill_volume:
            return False
        volume = sum(item.volume for item in items)
        return 0 < volume < LIMIT_CUBIC_CENTIMETRES and sum(item.grams for item in items) < LIMIT_GRAMS

    def _foresight(self, request: PlanRequest) -> StockPrices | None:
        """The prices that the plan counts, of all that was asked for; None where it does not look ahead."""
        prices = request.stock_prices if request.stock_prices is not None else self.stock_prices
        return None if prices is None or self.objective != "forward_looking" else prices.of(entry.sku for entry in request.wanted)

    def _parcels(self, request: PlanRequest, items: Sequence[_Item], candidates: Sequence[_Candidate], solution: Units) -> Iterator[Parcel]:
        """Turns units per location into parcels with service, cost and dates, and gives each order line its units."""
        open_units = {entry.line_id: entry.units for entry in request.wanted}
        by_load = self._by_load(items)
        for index, units in sorted(solution.items()):
            reach = candidates[index].reach
            grams = sum(items[position].unit_grams * count for position, count in units.items())
            volume = sum(items[position].unit_volume * count for position, count in units.items()) if by_load else 0
            quote = self.tariffs.quote(
                reach.zone, candidates[index].services, grams, residential=request.residential, cubic_centimetres=volume
            )
            assert quote is not None, "a location without a price is no option"
            weighed = billable_pounds(grams)
            slot = request.slots.get(reach.location.code)
            lines = [
                given
                for position, count in sorted(units.items())
                for given in _deal(items[position].sku, count, request.wanted, open_units)
            ]
            yield Parcel(
                location=reach.location,
                units=tuple(lines),
                service=quote.service,
                zone=reach.zone,
                miles=reach.miles,
                parcels=quote.parcels,
                carrier_cents=quote.carrier_cents,
                cost_cents=quote.carrier_cents + quote.handling_cents + self.pick_cents * len(units),
                ship_by=(
                    self.network.dispatch(reach.index, request.now).ship_by if slot is None else reach.location.calendar.end_of(slot.day)
                ),
                arrives_on=self._arrival(reach, quote.service, request),
                slot=slot,
                billed_by_volume=(weighed, quote.billed_pounds) if quote.billed_pounds > weighed else None,
            )

    def _record(
        self,
        request: PlanRequest,
        items: Sequence[_Item],
        candidates: Sequence[_Candidate],
        excluded: list[list[Any]],
        parcels: Sequence[Parcel],
        limit: date | None,
        late: bool,
        told: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Why this plan: every location with what it would cost to ship all from there, or why it can not; what the rules said."""
        everything = (1 << len(items)) - 1
        grams = sum(item.grams for item in items)
        by_load = self._by_load(items)
        load = load_of(grams, sum(item.volume for item in items)) if by_load else grams
        picking = self.pick_cents * len(items)
        seen: list[list[Any]] = []
        for candidate in candidates:
            reach, prices = candidate.reach, candidate.prices
            cost: int | str
            if candidate.whole != everything:
                cost = "has only a part"
            elif prices is None:
                cost = self._why_too_late(reach, limit, request)
            else:
                cost = prices[prices.measured(load)] // SCORE_PER_CENT + picking
            seen.append([reach.location.code, reach.zone, reach.miles, cost])
        record: dict[str, Any] = {
            "objective": self.objective,
            "network": self.network.version,
            "rate_cards": self.tariffs.version,
            "handling_cents": self.tariffs.handling_cents,
            "pick_cents": self.pick_cents,
            "split_cents": self.split_cents,
            "area": request.destination.area,
            "arrive_by": limit.isoformat() if limit is not None else None,
            "late": late,
            "wanted": {item.sku: item.units for item in items},
            "pounds": billable_pounds(grams),
            "cost_cents": sum(parcel.cost_cents for parcel in parcels),
            "chosen": [
                [parcel.location.code, parcel.service, parcel.cost_cents, {line_id: count for line_id, _, count in parcel.units}]
                for parcel in parcels
            ],
            "candidates": seen,
            "excluded": excluded,
            "asked": _question(request),
        }
        bulky = {parcel.location.code: list(parcel.billed_by_volume) for parcel in parcels if parcel.billed_by_volume is not None}
        if bulky:
            record["billed_by_volume"] = bulky
        if self.capacity_cents:
            record["capacity_cents"] = self.capacity_cents
        worths = self._foresight(request)
        if worths is not None:
            taken = ((sku, parcel.location.code, count) for parcel in parcels for _, sku, count in parcel.units)
            record["stock_worth_cents"] = worth_cents(worths, taken)
            record["asked"]["stock_prices"] = worths.record()
        return record if told is None else record | {"rules": told}

    def _why_too_late(self, reach: Reach, limit: date | None, request: PlanRequest) -> str:
        """Whether a location would be in time if it had a free slot."""
        slot = request.slots.get(reach.location.code)
        if slot is not None and slot.put_off:
            in_time = self._services(reach, limit, self.network.dispatch(reach.index, request.now).day)
            if self.tariffs.prices(reach.zone, in_time, residential=request.residential) is not None:
                return f"capacity exhausted until {slot.day.isoformat()}"
        return "too late"


def _question(request: PlanRequest) -> dict[str, Any]:
    """The request as it is recorded; ``recording.request_of`` makes it out of that again."""
    place = request.destination
    # The operator's own file may change; ZIP codes are everybody's.
    own = {"place": [place.country, place.latitude, place.longitude, place.state, place.time_zone]} if place.own else {}
    asked: dict[str, Any] = own | {
        # Lines without a volume are written as they were before volumes were known.
        "lines": [list(entry if entry.unit_volume_cubic_centimetres else entry[:5]) for entry in request.wanted],
        "stock": {entry.sku: dict(request.assignable.get(entry.sku, {})) for entry in request.wanted},
        "postal_code": request.destination.postal_code,
        "service_level": request.service_level,
        "deliver_by": request.deliver_by.isoformat() if request.deliver_by is not None else None,
        "promise_from": request.promise_from.isoformat(),
        "now": request.now.isoformat(),
        "residential": request.residential,
        "excluded": sorted(request.excluded),
        "partly": request.partly,
        "order": None if request.order is None else asdict(request.order),
    }
    if request.slots:
        asked["slots"] = {code: None if slot is None else [slot.day.isoformat(), *slot[1:]] for code, slot in request.slots.items()}
    if request.replanned is not None:
        asked["replanned"] = list(request.replanned)
    return asked


def _worths(prices: StockPrices, location: str, items: Sequence[_Item]) -> tuple[int, ...]:
    """What each item in full from a location is worth to later orders, as scores; nothing where nothing there has a price."""
    cents = [prices.cents.get(item.sku, {}).get(location, 0) * item.units for item in items]
    return tuple(each * SCORE_PER_CENT for each in cents) if any(cents) else ()


@lru_cache(maxsize=4_096)
def _day_after(day: date, days: int) -> date:
    return add_business_days(day, days)


@lru_cache(maxsize=16_384)
def _in_time(dispatched: date, days: tuple[int, ...], limit: date) -> tuple[Service, ...]:
    return tuple(service for service, count in zip(SERVICES, days, strict=True) if add_business_days(dispatched, count) <= limit)


def _deal(sku: str, units: int, wanted: Sequence[Wanted], open_units: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    """Gives units of a SKU to the lines that want it, in the order's order."""
    for entry in wanted:
        take = min(units, open_units[entry.line_id]) if entry.sku == sku else 0
        if take:
            open_units[entry.line_id] -= take
            units -= take
            yield entry.line_id, sku, take


def _items(wanted: Sequence[Wanted]) -> list[_Item]:
    items: dict[str, _Item] = {}
    for entry in wanted:
        known = items.get(entry.sku)
        if known is None:
            items[entry.sku] = _Item(entry.sku, entry.units, entry.unit_weight_grams, entry.hazmat, entry.unit_volume_cubic_centimetres)
        else:
            known.units += entry.units
            known.hazmat = known.hazmat or entry.hazmat
            known.unit_grams = max(known.unit_grams, entry.unit_weight_grams)
            known.unit_volume = max(known.unit_volume, entry.unit_volume_cubic_centimetres)
    return list(items.values())


def _asked(items: Sequence[_Item]) -> list[WantedItem]:
    return [WantedItem(item.sku, item.units, item.unit_grams, item.hazmat) for item in items]


def _rule_against(reasons: Mapping[int, str], code: str, stocks: Sequence[Mapping[str, int]]) -> str | None:
    """The rule for which a location ships nothing: one that kept out what lies there, or all that is wanted."""
    for position, reason in reasons.items():
        if stocks[position].get(code, 0) or len(reasons) == len(stocks):
            return reason
    return None


def _unplaced(items: Sequence[_Item], candidates: Sequence[_Candidate]) -> dict[str, int]:
    """Units that no location may ship, per SKU."""
    if not candidates:
        return {item.sku: item.units for item in items}
    there = map(sum, zip(*(candidate.stock for candidate in candidates), strict=True))
    return {item.sku: item.units - have for item, have in zip(items, there, strict=True) if have < item.units}


def _reduced(items: Sequence[_Item], candidates: Sequence[_Candidate], unplaced: Mapping[str, int]) -> list[_Item]:
    """The items without the units that no location may ship; notes at each candidate which of them it has in full."""
    kept = []
    positions = []
    for position, item in enumerate(items):
        units = item.units - unplaced.get(item.sku, 0)
        if units:
            kept.append(item if units == item.units else _Item(item.sku, units, item.unit_grams, item.hazmat, item.unit_volume))
            positions.append(position)
    if len(positions) < len(items):
        for candidate in candidates:
            candidate.stock = [candidate.stock[position] for position in positions]
    wholes = [0] * len(candidates)
    for place, (item, stock) in enumerate(zip(kept, zip(*(candidate.stock for candidate in candidates), strict=True), strict=False)):
        bit, units = 1 << place, item.units
        wholes = [whole | bit if have >= units else whole for whole, have in zip(wholes, stock, strict=True)]
    for candidate, whole in zip(candidates, wholes, strict=True):
        candidate.whole = whole
    return kept


def _units(partition: Partition, items: Sequence[_Item]) -> Units:
    """Units per item and option of a partition in which every item is whole."""
    return {
        option: {position: item.units for position, item in enumerate(items) if mask >> position & 1}
        for option, mask in partition.items.items()
    }

"""Where an order ships from: the cheapest plan that keeps the promise, else the earliest one (features C1, C6; decision record C10).

Candidates are the registered locations that are active, were not excluded for this order and, for hazardous goods, are certified. What
a location costs is what its parcel costs: carrier price by zone and billable weight, plus handling per parcel, plus picking per item.
Every parcel beyond the first may be given a price of its own. Items that some location has in full are never divided; only an item that no
location has in full is taken from several. What is exact and what is not: docs/decisions/0019-planner.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from services.routing.decide.calendar import add_business_days, promised_day
from services.routing.decide.geography import Place
from services.routing.decide.network import Location, Network, Reach
from services.routing.decide.refining import Units, Wish, refined
from services.routing.decide.scattered import cheapest_division
from services.routing.decide.splitting import MOST_ITEMS, Option, Partition, cheapest_partition
from services.routing.decide.tariffs import SCORE_PER_CENT, SERVICES, Prices, Service, Tariffs, billable_pounds

Objective = Literal["cheapest", "closest"]

SCORE_PER_MILE = SCORE_PER_CENT * 10_000_000
"""More than any cost, so that when closeness is the goal the cost only tells equal distances apart."""


class Wanted(NamedTuple):
    """Units of one order line that are to be planned."""

    line_id: str
    sku: str
    units: int
    unit_weight_grams: int
    hazmat: bool


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned, and under which promise. ``partly`` allows to plan what can be and to leave the rest."""

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


@dataclass(frozen=True, slots=True)
class Plan:
    """The proposal. ``unplaced`` units found no location; ``record`` explains the decision."""

    parcels: tuple[Parcel, ...]
    unplaced: Mapping[str, int]
    cost_cents: int
    late: bool
    record: dict[str, Any]


@dataclass(slots=True)
class _Item:
    """All wanted units of one SKU; lines of the same SKU are planned together, so that no unit is counted twice."""

    sku: str
    units: int
    unit_grams: int
    hazmat: bool

    @property
    def grams(self) -> int:
        return self.units * self.unit_grams


@dataclass(slots=True)
class _Candidate:
    """A location that may be asked. ``stock`` is per item, in the order of the items; ``whole`` has a bit for each that it has in full."""

    reach: Reach
    stock: list[int]
    whole: int = 0


class _Solution(NamedTuple):
    """Units per item (by position) for each candidate, and the services that may be used."""

    units: Units
    services: Sequence[tuple[Service, ...]]


@dataclass(frozen=True)
class Planner:
    """Everything a decision depends on beside the order and its stock."""

    network: Network
    tariffs: Tariffs
    objective: Objective = "cheapest"
    pick_cents: int = 0
    split_cents: int = 0
    """What another parcel for the same order is worth avoiding, beyond what it costs. In no cost that is told."""

    def plan(self, request: PlanRequest) -> Plan:
        """Chooses locations and services. A plan without parcels means that no location can ship anything (or not all, when it must)."""
        items = _items(request.wanted)
        candidates, excluded = self._candidates(request, items)
        unplaced = _unplaced(items, candidates)
        solution: _Solution | None = None
        limit: date | None = None
        late = False
        if items and (request.partly or not unplaced):
            items = _reduced(items, candidates, unplaced)
            promised = promised_day(
                request.service_level, request.deliver_by, request.promise_from, ZoneInfo(request.destination.time_zone)
            )
            for limit in self._limits(candidates, request.now, promised):
                solution = self._solve(candidates, items, limit, request)
                if solution is not None:
                    late = promised is not None and limit is not None and limit > promised
                    break
        if solution is None:
            unplaced = {item.sku: item.units for item in _items(request.wanted)}
            return Plan((), unplaced, 0, False, self._record(request, items, candidates, excluded, (), None, False))
        parcels = tuple(self._parcels(request, items, candidates, solution))
        record = self._record(request, items, candidates, excluded, parcels, limit, late)
        return Plan(parcels, unplaced, sum(parcel.cost_cents for parcel in parcels), late, record)

    def _candidates(self, request: PlanRequest, items: Sequence[_Item]) -> tuple[list[_Candidate], list[list[Any]]]:
        """Locations that may ship something, nearest first, and why the others may not."""
        stocks = [request.assignable.get(item.sku, {}) for item in items]
        hazardous = any(item.hazmat for item in items)
        candidates = []
        excluded: list[list[Any]] = []
        for reach in self.network.reach(request.destination):
            location = reach.location
            reason = None
            if not location.active:
                reason = "inactive"
            elif location.code in request.excluded:
                reason = "excluded for this order"
            else:
                stock = [have.get(location.code, 0) for have in stocks]
                if hazardous and not location.hazmat_certified:
                    stock = [0 if item.hazmat else have for item, have in zip(items, stock, strict=True)]
                    reason = "not certified for hazmat"
                if any(stock):
                    candidates.append(_Candidate(reach, stock))
                    continue
                reason = reason or "no stock"
            excluded.append([location.code, reach.zone, reach.miles, reason])
        return candidates, excluded

    def _limits(self, candidates: Sequence[_Candidate], now: datetime, promised: date | None) -> Iterator[date | None]:
        """The promised day, then every later day on which something can arrive: the first that works is the earliest."""
        yield promised
        if promised is not None:
            days = {self._arrival(candidate.reach, service, now) for candidate in candidates for service in SERVICES}
            yield from sorted(day for day in days if day > promised)

    def _arrival(self, reach: Reach, service: Service, now: datetime) -> date:
        days = self.tariffs.days(service, reach.zone, offshore=reach.offshore)
        return _day_after(self.network.dispatch(reach.index, now).day, days)

    def _services(self, reach: Reach, limit: date | None, now: datetime) -> tuple[Service, ...]:
        """Services that arrive in time."""
        if limit is None:
            return SERVICES
        days = self.tariffs.days_of_services(reach.zone, offshore=reach.offshore)
        return _in_time(self.network.dispatch(reach.index, now).day, days, limit)

    def _solve(
        self, candidates: Sequence[_Candidate], items: Sequence[_Item], limit: date | None, request: PlanRequest
    ) -> _Solution | None:
        """The best plan whose parcels all arrive by ``limit``; None when there is none."""
        services: list[tuple[Service, ...]] = []
        options: list[Option] = []
        senders: list[int] = []
        known: dict[tuple[int, bool, date | None], tuple[tuple[Service, ...], Prices | None]] = {}
        split = self.split_cents * SCORE_PER_CENT
        everywhere = 0
        for index, candidate in enumerate(candidates):
            reach = candidate.reach
            key = (reach.zone, reach.offshore, None if limit is None else self.network.dispatch(reach.index, request.now).day)
            found = known.get(key)
            if found is None:
                own = self._services(reach, limit, request.now)
                found = known[key] = (own, self.tariffs.prices(reach.zone, own, residential=request.residential))
            services.append(found[0])
            if found[1] is not None:
                extra = reach.miles * SCORE_PER_MILE if self.objective == "closest" else 0
                options.append(Option(candidate.whole, found[1], extra + split))
                senders.append(index)
                everywhere |= candidate.whole
        scattered = [position for position in range(len(items)) if not everywhere >> position & 1]
        stock = [candidates[sender].stock for sender in senders]
        units = [item.units for item in items]
        unit_grams = [item.unit_grams for item in items]
        if scattered:
            taken = cheapest_division(options, stock, units, unit_grams, scattered, self.pick_cents * SCORE_PER_CENT)
        else:
            partition = cheapest_partition(options, [item.grams for item in items])
            taken = None if partition is None else _units(partition, items)
            if taken is not None and len(items) > MOST_ITEMS:
                taken = refined(Wish(options, stock, units, unit_grams, frozenset()), taken)
        return None if taken is None else _Solution({senders[option]: own_units for option, own_units in taken.items()}, services)

    def _parcels(
        self, request: PlanRequest, items: Sequence[_Item], candidates: Sequence[_Candidate], solution: _Solution
    ) -> Iterator[Parcel]:
        """Turns units per location into parcels with service, cost and dates, and gives each order line its units."""
        open_units = {entry.line_id: entry.units for entry in request.wanted}
        for index in sorted(solution.units):
            reach = candidates[index].reach
            units = solution.units[index]
            grams = sum(items[position].unit_grams * count for position, count in units.items())
            quote = self.tariffs.quote(reach.zone, solution.services[index], grams, residential=request.residential)
            assert quote is not None, "a location without a price is no option"
            dispatch = self.network.dispatch(reach.index, request.now)
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
                ship_by=dispatch.ship_by,
                arrives_on=self._arrival(reach, quote.service, request.now),
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
    ) -> dict[str, Any]:
        """Why this plan: every location with what it would cost to ship all from there, or why it can not."""
        everything = (1 << len(items)) - 1
        pounds = billable_pounds(sum(item.grams for item in items))
        seen: list[list[Any]] = []
        for candidate in candidates:
            reach = candidate.reach
            services = self._services(reach, limit, request.now)
            prices = self.tariffs.prices(reach.zone, services, residential=request.residential)
            row: list[Any] = [reach.location.code, reach.zone, reach.miles]
            if candidate.whole != everything:
                row.append("has only a part")
            elif prices is None:
                row.append("too late")
            else:
                row.append(prices[pounds] // SCORE_PER_CENT + self.pick_cents * len(items))
            seen.append(row)
        return {
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
            "pounds": pounds,
            "cost_cents": sum(parcel.cost_cents for parcel in parcels),
            "chosen": [
                [parcel.location.code, parcel.service, parcel.cost_cents, {line_id: count for line_id, _, count in parcel.units}]
                for parcel in parcels
            ],
            "candidates": seen,
            "excluded": excluded,
            "asked": _asked(request),
        }


def _asked(request: PlanRequest) -> dict[str, Any]:
    """The request as it is recorded; ``recording.request_of`` makes it out of that again."""
    return {
        "lines": [list(entry) for entry in request.wanted],
        "stock": {entry.sku: dict(request.assignable.get(entry.sku, {})) for entry in request.wanted},
        "postal_code": request.destination.postal_code,
        "service_level": request.service_level,
        "deliver_by": request.deliver_by.isoformat() if request.deliver_by is not None else None,
        "promise_from": request.promise_from.isoformat(),
        "now": request.now.isoformat(),
        "residential": request.residential,
        "excluded": sorted(request.excluded),
        "partly": request.partly,
    }


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
            items[entry.sku] = _Item(entry.sku, entry.units, entry.unit_weight_grams, entry.hazmat)
        else:
            known.units += entry.units
            known.hazmat = known.hazmat or entry.hazmat
            known.unit_grams = max(known.unit_grams, entry.unit_weight_grams)
    return list(items.values())


def _unplaced(items: Sequence[_Item], candidates: Sequence[_Candidate]) -> dict[str, int]:
    """Units that no location may ship, per SKU."""
    missing = {}
    for position, item in enumerate(items):
        short = item.units - sum(candidate.stock[position] for candidate in candidates)
        if short > 0:
            missing[item.sku] = short
    return missing


def _reduced(items: Sequence[_Item], candidates: Sequence[_Candidate], unplaced: Mapping[str, int]) -> list[_Item]:
    """The items without the units that no location may ship; notes at each candidate which of them it has in full."""
    kept = []
    positions = []
    for position, item in enumerate(items):
        units = item.units - unplaced.get(item.sku, 0)
        if units:
            kept.append(item if units == item.units else _Item(item.sku, units, item.unit_grams, item.hazmat))
            positions.append(position)
    needed = [(1 << place, item.units) for place, item in enumerate(kept)]
    for candidate in candidates:
        if len(positions) < len(items):
            candidate.stock = [candidate.stock[position] for position in positions]
        whole = 0
        for (bit, units), have in zip(needed, candidate.stock, strict=True):
            if have >= units:
                whole |= bit
        candidate.whole = whole
    return kept


def _units(partition: Partition, items: Sequence[_Item]) -> Units:
    """Units per item and option of a partition in which every item is whole."""
    return {
        option: {position: item.units for position, item in enumerate(items) if mask >> position & 1}
        for option, mask in partition.items.items()
    }

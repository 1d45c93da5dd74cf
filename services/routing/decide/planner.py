"""Where an order ships from: the cheapest plan that keeps the promise, else the earliest one (features C1, C6; decision record C10).

Candidates (``candidates.py``) are the registered locations that may ship something. What a location costs is what its parcel costs: carrier
price by zone and billable weight (the dimensional weight where the rate card has one and it is greater), plus handling per parcel, plus
picking per item. What else counts in the choice is in ``weighing.py``: every parcel beyond the first may be given a price of its own. Items
that some location has in full are never divided; only an item that no location has in full is taken from several. What is exact and what
is not: docs/decisions/0019-planner.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from services.routing.decide.calendar import add_business_days, promised_day
from services.routing.decide.candidates import Candidate, Item, candidates_of, items_of, told_of_rules, unplaced_units, without_unplaced
from services.routing.decide.foresight import StockPrices, worth_cents
from services.routing.decide.guidance import Guidance, Objective
from services.routing.decide.network import Network, Reach, named
from services.routing.decide.options import Option, Partition
from services.routing.decide.plans import ONLY_A_PART, Parcel, Plan, PlanRequest, Wanted
from services.routing.decide.recording import record_of_request
from services.routing.decide.refining import Units, Wish, refined
from services.routing.decide.rules import RuleSet
from services.routing.decide.scattered import cheapest_division
from services.routing.decide.splitting import MOST_ITEMS, cheapest_partition
from services.routing.decide.tariffs import (
    LIMIT_CUBIC_CENTIMETRES,
    LIMIT_GRAMS,
    SCORE_PER_CENT,
    Prices,
    Tariffs,
    Way,
    Ways,
    billable_pounds,
    load_of,
)
from services.routing.decide.weighing import weigh, weigh_slots


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
        items = items_of(request.wanted)
        candidates, excluded, guidance = candidates_of(self.network, self.tariffs, self.rules, request, items)
        if guidance is not None and guidance.objective is not None and guidance.objective != self.objective:
            return replace(self, objective=guidance.objective)._planned(request, items, candidates, excluded, guidance)
        return self._planned(request, items, candidates, excluded, guidance)

    def _planned(
        self,
        request: PlanRequest,
        items: list[Item],
        candidates: list[Candidate],
        excluded: list[list[Any]],
        guidance: Guidance | None,
    ) -> Plan:
        """The plan among candidates, by this planner's objective."""
        promised = promised_day(request.service_level, request.deliver_by, request.promise_from, ZoneInfo(request.destination.time_zone))
        closest = self.objective == "closest"
        weigh(candidates, guidance, closest=closest, split_cents=self.split_cents)
        if request.slots:
            patient = promised is None and self.objective != "fastest"
            weigh_slots(candidates, request.slots, closest=closest, patient=patient, capacity_cents=self.capacity_cents)
        wanted = items
        told = told_of_rules(self.rules, request, items, guidance)
        held = None if guidance is None else guidance.held
        unplaced = unplaced_units(items, candidates)
        solution: Units | None = None
        limit: date | None = None
        late = False
        if items and held is None and (request.partly or not unplaced):
            items = without_unplaced(items, candidates, unplaced)
            for limit in self._limits(candidates, request, promised):
                self._price(candidates, items, limit, request)
                solution = self._solve(candidates, items, request)
                if solution is not None:
                    late = promised is not None and limit is not None and limit > promised
                    break
        else:
            if held is not None and not request.unpriced_when_held:
                # What its person wants to know: where it could ship from, and for how much.
                limit = None if self.objective == "fastest" else promised
                if not unplaced:
                    items = without_unplaced(items, candidates, unplaced)
            self._price(candidates, items, limit, request)
        if solution is None:
            unplaced = {item.sku: item.units for item in wanted}
            return Plan((), unplaced, 0, False, self._record(request, items, candidates, excluded, (), None, False, told), held)
        parcels = tuple(self._parcels(request, items, candidates, solution))
        record = self._record(request, items, candidates, excluded, parcels, limit, late, told)
        instructions = () if guidance is None else tuple(guidance.instructions)
        return Plan(parcels, unplaced, sum(parcel.cost_cents for parcel in parcels), late, record, None, instructions)

    def _limits(self, candidates: Sequence[Candidate], request: PlanRequest, promised: date | None) -> Iterator[date | None]:
        """The promised day, then every later day on which something can arrive: the first that works is the earliest.

        When speed is the goal, every day on which something can arrive.
        """
        fastest = self.objective == "fastest"
        if not fastest:
            yield promised
        if fastest or promised is not None:
            days = {self._arrival(candidate.reach, way, request) for candidate in candidates for way in candidate.reach.ways}
            yield from sorted(day for day in days if fastest or promised is None or day > promised)

    def _leaves(self, reach: Reach, request: PlanRequest) -> date:
        """The day on which a parcel leaves: the first with a free slot, where slots are limited."""
        slot = request.slots.get(reach.location.code) if request.slots else None
        return self.network.dispatch(reach.index, request.now).day if slot is None else slot.day

    def _arrival(self, reach: Reach, way: Way, request: PlanRequest) -> date:
        return _day_after(self._leaves(reach, request), way.days)

    def _price(self, candidates: Sequence[Candidate], items: Sequence[Item], limit: date | None, request: PlanRequest) -> None:
        """Notes at each candidate which ways a parcel arrives by ``limit``, and what it costs; most candidates share both."""
        by_load = self._by_load(items)
        known: dict[tuple[int, date | None], tuple[Ways, Prices | None]] = {}
        for candidate in candidates:
            reach = candidate.reach
            leaves = None if limit is None else self._leaves(reach, request)
            # Equal ways are one object (``Reach``), and to tell objects apart is faster than to compare what is in them.
            key = (id(reach.ways), leaves)
            found = known.get(key)
            if found is None:
                ways = reach.ways if leaves is None else _in_time(reach.ways, leaves, limit)
                prices = self.tariffs.prices(ways, residential=request.residential, by_load=by_load)
                found = known[key] = (ways, prices)
            candidate.ways, candidate.prices = found

    def _solve(self, candidates: Sequence[Candidate], items: Sequence[Item], request: PlanRequest) -> Units | None:
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

    def _by_load(self, items: Sequence[Item]) -> bool:
        """Whether the volume of these items may change what a parcel of them costs."""
        if not self.tariffs.bill_volume:
            return False
        volume = sum(item.volume for item in items)
        return 0 < volume < LIMIT_CUBIC_CENTIMETRES and sum(item.grams for item in items) < LIMIT_GRAMS

    def _foresight(self, request: PlanRequest) -> StockPrices | None:
        """The prices that the plan counts, of all that was asked for; None where it does not look ahead."""
        prices = request.stock_prices if request.stock_prices is not None else self.stock_prices
        return None if prices is None or self.objective != "forward_looking" else prices.of(entry.sku for entry in request.wanted)

    def _parcels(self, request: PlanRequest, items: Sequence[Item], candidates: Sequence[Candidate], solution: Units) -> Iterator[Parcel]:
        """Turns units per location into parcels with service, cost and dates, and gives each order line its units."""
        open_units = {entry.line_id: entry.units for entry in request.wanted}
        by_load = self._by_load(items)
        for index, units in sorted(solution.items()):
            reach = candidates[index].reach
            grams = sum(items[position].unit_grams * count for position, count in units.items())
            volume = sum(items[position].unit_volume * count for position, count in units.items()) if by_load else 0
            ways = candidates[index].ways
            quote = self.tariffs.quote(ways, grams, residential=request.residential, cubic_centimetres=volume)
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
                way=quote.way,
                miles=reach.miles,
                parcels=quote.parcels,
                carrier_cents=quote.carrier_cents,
                cost_cents=quote.carrier_cents + quote.handling_cents + self.pick_cents * len(units),
                ship_by=(
                    self.network.dispatch(reach.index, request.now).ship_by if slot is None else reach.location.calendar.end_of(slot.day)
                ),
                arrives_on=self._arrival(reach, quote.way, request),
                slot=slot,
                billed_by_volume=(weighed, quote.billed_pounds) if quote.billed_pounds > weighed else None,
                cents_by_carrier=self._by_carrier(ways, grams, volume, request.residential, self.pick_cents * len(units)),
            )

    def _by_carrier(self, ways: Ways, grams: int, volume: int, residential: bool, picking: int) -> dict[str, int]:
        """What a parcel costs by each carrier that can bring it; nothing where the installation has just one."""
        if len(self.tariffs.carriers) == 1:
            return {}
        costs = {}
        for carrier in self.tariffs.carriers:
            own = tuple(way for way in ways if way.carrier == carrier)
            quote = self.tariffs.quote(own, grams, residential=residential, cubic_centimetres=volume, among=ways)
            if quote is not None:
                costs[carrier] = quote.carrier_cents + quote.handling_cents + picking
        return costs

    def _record(
        self,
        request: PlanRequest,
        items: Sequence[Item],
        candidates: Sequence[Candidate],
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
                cost = ONLY_A_PART
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
                [parcel.location.code, parcel.way.service, parcel.cost_cents, {line_id: count for line_id, _, count in parcel.units}]
                for parcel in parcels
            ],
            "candidates": seen,
            "excluded": excluded,
            "asked": record_of_request(request),
        }
        bulky = {parcel.location.code: list(parcel.billed_by_volume) for parcel in parcels if parcel.billed_by_volume is not None}
        if bulky:
            record["billed_by_volume"] = bulky
        if len(self.tariffs.carriers) > 1:
            record["carriers"] = {parcel.location.code: [parcel.way.carrier, dict(parcel.cents_by_carrier)] for parcel in parcels}
        if self.capacity_cents:
            record["capacity_cents"] = self.capacity_cents
        worths = self._foresight(request)
        if worths is not None:
            taken = ((sku, parcel.location.code, count) for parcel in parcels for _, sku, count in parcel.units)
            record["stock_worth_cents"] = worth_cents(worths, taken)
            record["asked"]["stock_prices"] = worths.record()
        return record if told is None else record | {"rules": told}

    def _why_too_late(self, reach: Reach, limit: date | None, request: PlanRequest) -> str:
        """Whether a location would be in time if it had a free slot, or if other services or carriers picked up there."""
        slot = request.slots.get(reach.location.code)
        if slot is not None and slot.put_off:
            in_time = _in_time(reach.ways, self.network.dispatch(reach.index, request.now).day, limit)
            if self.tariffs.prices(in_time, residential=request.residential) is not None:
                return f"capacity exhausted until {slot.day.isoformat()}"
        everything = self.tariffs.ways(reach.location.place, request.destination)
        if everything != reach.ways and _in_time(everything, self._leaves(reach, request), limit):
            return f"too late: offers only {named(reach.location, self.tariffs)}"
        return "too late"


def _worths(prices: StockPrices, location: str, items: Sequence[Item]) -> tuple[int, ...]:
    """What each item in full from a location is worth to later orders, as scores; nothing where nothing there has a price."""
    cents = [prices.cents.get(item.sku, {}).get(location, 0) * item.units for item in items]
    return tuple(each * SCORE_PER_CENT for each in cents) if any(cents) else ()


@lru_cache(maxsize=4_096)
def _day_after(day: date, days: int) -> date:
    return add_business_days(day, days)


@lru_cache(maxsize=16_384)
def _in_time(ways: Ways, leaves: date, limit: date | None) -> Ways:
    """The ways of these that arrive in time."""
    return ways if limit is None else tuple(way for way in ways if add_business_days(leaves, way.days) <= limit)


def _deal(sku: str, units: int, wanted: Sequence[Wanted], open_units: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    """Gives units of a SKU to the lines that want it, in the order's order."""
    for entry in wanted:
        take = min(units, open_units[entry.line_id]) if entry.sku == sku else 0
        if take:
            open_units[entry.line_id] -= take
            units -= take
            yield entry.line_id, sku, take


def _units(partition: Partition, items: Sequence[Item]) -> Units:
    """Units per item and option of a partition in which every item is whole."""
    return {
        option: {position: item.units for position, item in enumerate(items) if mask >> position & 1}
        for option, mask in partition.items.items()
    }

"""Random orders, planned here and solved by HiGHS: ``python -m tests.routing.oracle [ORDERS] [SEED]`` names those they disagree about.

The networks (some places lack services or carriers), the carriers and their zones, the rate cards (steps, surcharges for residences, cards
that end early or get cheaper with the weight, services that bill volume, each in its own way), what a pick and another parcel cost, and the
promises are drawn anew for each order. What is compared is the cost of the whole plan and the day it keeps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import accumulate, combinations
from random import Random
from zoneinfo import ZoneInfo

from benchmarks.failure import BenchmarkError
from benchmarks.integer_program import Question, least_cents, least_cents_of_listed
from benchmarks.planner_questions import Asked, question_of
from services.routing.decide.geography import Lane, Place, ZoneChart
from services.routing.decide.network import Location, Network
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Wanted
from services.routing.decide.tariffs import SERVICES, ZONES, Carrier, DimensionalWeight, RateCard, Tariffs
from services.routing.postal_codes import all_places
from services.routing.tariff_files import SHIPPED_RATE_CARDS, load_tariffs
from shared.contracts.fulfillment import CarrierService

MOST_LINES = 8
MOST_LINES_DIVIDED = 6
"""HiGHS takes minutes for some larger orders whose items may be divided."""
MOST_LOCATIONS = 8
MOST_SECONDS = 30.0
MOST_SECONDS_OF_FIRST_FORM = 1.0
FEWER_SERVICES = [some for count in (1, 2) for some in combinations(SERVICES, count)]
(SHIPPED,) = load_tariffs(SHIPPED_RATE_CARDS, handling_cents=150).carriers.values()
MONDAY = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Compared:
    """One order: what our plan costs, what the best one costs, and whether an item had to be divided."""

    divided: bool
    ours: int
    best: int
    told: str
    """Which order it was, and what else is wrong with the plan; empty when nothing is."""

    @property
    def gap(self) -> float:
        """How much dearer ours is, as a share of the best."""
        return self.ours / self.best - 1


@cache
def _places() -> Sequence[Place]:
    return sorted(all_places().values(), key=lambda place: place.postal_code)


def random_tariffs(random: Random) -> Tariffs:
    """One carrier or several; the shipped cards, or cards of which only the form is sure; services bill volume or do not."""
    handling_cents = random.choice([0, 150, 400])
    bill_volume = random.random() < 0.5
    first = _random_carrier(random, "carrier-0", SERVICES, bill_volume=bill_volume)
    others = [
        _random_carrier(random, f"carrier-{number}", random.choice([SERVICES, *FEWER_SERVICES]), bill_volume=bill_volume)
        for number in range(1, random.choice([1, 1, 2, 3]))
    ]
    return Tariffs("random", {carrier.name: carrier for carrier in (first, *others)}, handling_cents)


def _random_carrier(random: Random, name: str, services: Sequence[CarrierService], *, bill_volume: bool) -> Carrier:
    if random.random() < 0.3:
        shipped = {
            service: replace(card, dimensional=_dimensional(random) if bill_volume else None)
            for service, card in SHIPPED.cards.items()
            if service in services
        }
        return replace(SHIPPED, name=name, cards=shipped, chart=_random_chart(random))
    cards = {}
    for number, service in enumerate(services):
        pounds = random.choice([150, 150, 40, 70]) if number else 150
        cards[service] = RateCard(
            service,
            {zone: tuple(_steps(random, random.randint(300, 900) + 60 * zone * (1 + number), pounds)) for zone in ZONES},
            tuple(_steps(random, random.choice([0, 99, 450]), pounds)),
            _dimensional(random) if bill_volume else None,
        )
    return replace(SHIPPED, name=name, cards=cards, chart=_random_chart(random))


def _random_chart(random: Random) -> ZoneChart | None:
    """Zones of its own between some parts of the country, or none."""
    if random.random() < 0.6:
        return None
    parts = [("US", str(random.randint(0, 9)), "US", str(random.randint(0, 9))) for _ in range(20)]
    return ZoneChart({part: Lane(random.choice(ZONES), random.choice([0, 0, 1, 3])) for part in parts})


def _dimensional(random: Random) -> DimensionalWeight | None:
    """By inches or centimetres, from a volume on or always, or not at all."""
    return random.choice(
        [
            DimensionalWeight.of_inches(139),
            DimensionalWeight.of_inches(166, 1_728),
            DimensionalWeight.of_centimetres(5_000),
            DimensionalWeight.of_centimetres(6_000, 40_000),
            None,
        ]
    )


def _steps(random: Random, first: int, count: int) -> list[int]:
    jumps = (random.choice([0, 0, 0, 5, 30, 60, 400]) if random.random() < 0.97 else -200 for _ in range(count - 1))
    return [max(0, cents) for cents in accumulate(jumps, initial=first)]


def random_planner(random: Random, locations: int) -> Planner:
    """A network somewhere in the United States."""
    tariffs = random_tariffs(random)
    carriers = list(tariffs.carriers)
    network = Network(
        [
            Location(
                code=f"place-{number}",
                name=f"place-{number}",
                partner="east",
                place=random.choice(_places()),
                time_zone=ZoneInfo(random.choice(["America/New_York", "America/Chicago", "America/Los_Angeles"])),
                order_cutoff=time(random.choice([9, 12, 15, 18])),
                hazmat_certified=random.random() < 0.7,
                active=random.random() < 0.95,
                working_days=random.choice([frozenset({1, 2, 3, 4, 5}), frozenset({1, 2, 3, 4, 5}), frozenset({2, 4})]),
                services=SERVICES if random.random() < 0.5 else random.choice(FEWER_SERVICES),
                carriers=frozenset({"carrier-0", random.choice(carriers)}) if random.random() < 0.3 else frozenset(),
            )
            for number in range(locations)
        ]
    )
    return Planner(network, tariffs, "cheapest", random.choice([0, 35, 120]), random.choice([0, 0, 200, 1500]))


def random_request(random: Random, planner: Planner, lines: int, *, scattered: bool) -> PlanRequest:
    """An order. ``scattered``: of some items no place has all units."""
    heavy = random.random() < 0.05
    density = random.choice([0.3, 0.5, 0.8])
    wanted = []
    stock: dict[str, dict[str, int]] = {}
    for number in range(lines):
        units = random.randint(2, 9) if scattered else random.randint(1, 4)
        grams = random.randint(20_000, 60_000) if heavy else int(min(15_000, random.lognormvariate(6.5, 1.1))) + 20
        hazmat = random.random() < 0.1
        volume = int(grams * random.lognormvariate(1.2, 1.0)) if planner.tariffs.bill_volume and random.random() < 0.8 else 0
        wanted.append(Wanted(str(number), f"SKU-{number}", units, grams, hazmat, volume))
        short = scattered and random.random() < 0.4
        stock[f"SKU-{number}"] = {
            location.code: random.randint(1, units - 1) if short else units + random.randint(0, 3)
            for location in planner.network.locations
            if random.random() < density
        }
    now = MONDAY + timedelta(hours=random.randint(0, 24 * 7))
    return PlanRequest(
        wanted=wanted,
        assignable=stock,
        destination=random.choice(_places()),
        service_level=random.choice(["standard", "standard", "two_day", "next_day"]),
        deliver_by=now + timedelta(days=random.randint(0, 8)) if random.random() < 0.3 else None,
        promise_from=now,
        now=now,
        residential=random.random() < 0.6,
    )


def compare(planner: Planner, request: PlanRequest, *, scattered: bool = False, freely: bool = False) -> Compared | None:
    """Plans, solves and compares.

    None when no place can ship anything, or when an item must be divided although ``scattered`` does not ask for that, or the other way
    round. ``freely``: HiGHS may divide every item, which our rule forbids.
    """
    asked = question_of(planner, request)
    if asked is None or any(asked.question.divisible) is not scattered:
        return None
    plan = planner.plan(request)
    question = replace(asked.question, divisible=[True] * len(asked.question.units)) if freely else asked.question
    best = _best(question)
    assert best is not None, "there is enough of everything in time"
    ours = plan.cost_cents + planner.split_cents * (len(plan.parcels) - 1)
    return Compared(any(asked.question.divisible), ours, best, "; ".join(_broken(planner.tariffs, plan, request, asked)))


def _best(question: Question) -> int | None:
    """The least cost, proven by HiGHS in the one form or in the other."""
    if any(question.divisible):
        return least_cents(question, most_seconds=MOST_SECONDS)
    try:
        return least_cents(question, most_seconds=MOST_SECONDS_OF_FIRST_FORM)
    except BenchmarkError:
        return least_cents_of_listed(question, most_seconds=MOST_SECONDS)


def _broken(tariffs: Tariffs, plan: Plan, request: PlanRequest, asked: Asked) -> Iterator[str]:
    """What no plan may do, whatever it costs."""
    if plan.record["arrive_by"] != (None if asked.limit is None else asked.limit.isoformat()):
        yield f"keeps {plan.record['arrive_by']} instead of {asked.limit}"
    placed: dict[str, int] = {}
    for parcel in plan.parcels:
        if not parcel.location.has(parcel.way, tariffs):
            yield f"ships by {parcel.way} from {parcel.location.code}"
        for _, sku, count in parcel.units:
            placed[sku] = placed.get(sku, 0) + count
            if count > request.assignable[sku].get(parcel.location.code, 0):
                yield f"takes {count} of {sku} from {parcel.location.code}"
    if placed != asked.units:
        yield f"places {placed} instead of {asked.units}"
    if {entry.sku: entry.units - asked.units.get(entry.sku, 0) for entry in request.wanted} != {
        entry.sku: plan.unplaced.get(entry.sku, 0) for entry in request.wanted
    }:
        yield f"leaves {plan.unplaced}"
    if len({parcel.location.code for parcel in plan.parcels}) < len(plan.parcels):
        yield "two parcels from one place"


def compare_many(orders: int, seed: int, *, scattered: bool = False, freely: bool = False) -> Iterator[Compared]:
    """So many random orders; the same ones for the same seed. ``scattered``: all of them have an item that must be divided.

    An order of which HiGHS proves nothing in time is left out and named; too many of them are an error.
    """
    number = 0
    may_be_left_out = orders if scattered or freely else 2 + orders // 500
    while orders:
        random = Random(f"{seed} {number}")
        planner = random_planner(random, random.randint(1, MOST_LOCATIONS))
        most_lines = MOST_LINES_DIVIDED if scattered or freely else MOST_LINES
        request = random_request(random, planner, random.randint(1, most_lines), scattered=scattered)
        number += 1
        try:
            compared = compare(planner, request, scattered=scattered, freely=freely)
        except BenchmarkError as error:
            may_be_left_out -= 1
            if may_be_left_out < 0:
                raise
            print(f"order {number - 1} of seed {seed} is left out: {error}", flush=True)
            continue
        if compared is not None:
            orders -= 1
            missed = compared.ours > compared.best and not compared.divided and not freely
            if compared.told or compared.ours < compared.best or missed:
                found = f"order {number - 1} of seed {seed}: {compared.ours} cents, HiGHS {compared.best}; {compared.told}"
                compared = replace(compared, told=found)
            yield compared


def main() -> int:
    """Compares and prints."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    wrong = sum(_tell(compare_many(orders, seed), "whose items stay whole"))
    few = max(1, orders // 20)
    wrong += sum(_tell(compare_many(few, seed, scattered=True), "with an item that no place has in full"))
    wrong += sum(_tell(compare_many(few, seed, freely=True), "whose items stay whole here and may be divided there"))
    return 1 if wrong else 0


def _tell(all_compared: Iterator[Compared], which: str) -> Iterator[bool]:
    """Prints what was found of such orders; yields for each order whether something is wrong."""
    gaps = []
    for compared in all_compared:
        if compared.told:
            print(compared.told)
        gaps.append(compared.gap)
        yield bool(compared.told)
    gaps.sort()
    optimal, mean, most = sum(gap <= 0 for gap in gaps) / len(gaps), sum(gaps) / len(gaps), gaps[int(0.99 * (len(gaps) - 1))]
    print(
        f"{len(gaps):,} orders {which}: {optimal:.1%} at the optimum that HiGHS proves, on average {mean:.2%} above it, "
        f"99 of 100 by at most {most:.1%}, all by at most {gaps[-1]:.1%}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())

"""How long the routing planner takes for an order, beside HiGHS on the same orders.

The network is drawn over the whole United States, every item is in full at half of the locations, the rate cards are the shipped ones. The
time of a plan includes its record, which names every location with its cost; choosing alone is what remains when the candidates are known.
All times are processor time, so that what else the machine does counts little. Nothing here needs a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from datetime import time as time_of_day
from functools import cache
from random import Random
from statistics import median
from zoneinfo import ZoneInfo

from benchmarks.failure import BenchmarkError
from benchmarks.integer_program import least_cents
from benchmarks.planner_questions import question_of
from benchmarks.sizes import Sizes
from deploy.local.progress import Progress
from services.routing.decide.geography import Place
from services.routing.decide.network import Location, Network
from services.routing.decide.options import Option
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Wanted
from services.routing.decide.splitting import cheapest_partition
from services.routing.postal_codes import all_places
from services.routing.tariff_files import SHIPPED_RATE_CARDS, load_tariffs

SHAPES = ((3, 10), (3, 50), (3, 200), (8, 50), (12, 50))
"""Lines and locations."""
DESTINATIONS = 50
NOON = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)
MOST_HIGHS_SECONDS = 20.0


@dataclass(frozen=True)
class PlannerRun:
    """Orders of one shape."""

    lines: int
    locations: int
    orders: int
    p50_us: float
    """One plan, with its record."""
    p99_us: float
    mean_us: float
    """The same on average, in the best round."""
    choosing_us: float
    """Of that, choosing the locations."""
    solved: int
    """Orders that HiGHS was asked about."""
    proven: int
    """Orders it proved an optimum of in time."""
    equal: int
    """Orders of these whose plan costs just as much."""
    highs_p50_ms: float
    highs_longest_ms: float


@dataclass(frozen=True)
class Proofs:
    """What HiGHS could say about some orders, and how long it took for each. Of ``equal`` the plan costs as little as HiGHS proved."""

    seconds: Sequence[float]
    proven: int
    equal: int


def measure_planner(sizes: Sizes, progress: Progress) -> dict[str, object]:
    """All shapes; for the result file."""
    runs = []
    for lines, locations in SHAPES:
        with progress.step(f"planner: {lines} lines, {locations} locations") as step:
            run = _measure(lines, locations, sizes)
            step.result = f"p50 {run.p50_us:,.0f} us, HiGHS {run.highs_p50_ms:,.0f} ms"
        runs.append(asdict(run))
    return {"runs": runs}


def _measure(lines: int, locations: int, sizes: Sizes) -> PlannerRun:
    random = Random(f"{lines} lines, {locations} locations")
    planner = planner_of(random, locations)
    places = [random.choice(everywhere()) for _ in range(DESTINATIONS)]
    requests = [request_of(random, planner, lines, random.choice(places)) for _ in range(sizes.planner_orders)]
    each = plan_seconds(planner, requests)
    choices = [_choice(planner, request) for request in requests]
    per_order = 1e6 / len(requests)
    proofs = proofs_of(planner, requests[: sizes.planner_solved], lambda plan: plan.cost_cents)
    return PlannerRun(
        lines,
        locations,
        len(requests),
        p50_us=median(each) * 1e6,
        p99_us=each[int(0.99 * (len(each) - 1))] * 1e6,
        mean_us=_seconds(lambda: [planner.plan(request) for request in requests], sizes) * per_order,
        choosing_us=_seconds(lambda: [cheapest_partition(*choice) for choice in choices], sizes) * per_order,
        solved=len(proofs.seconds),
        proven=proofs.proven,
        equal=proofs.equal,
        highs_p50_ms=median(proofs.seconds) * 1e3,
        highs_longest_ms=max(proofs.seconds) * 1e3,
    )


def plan_seconds(planner: Planner, requests: Sequence[PlanRequest]) -> list[float]:
    """How long each of these plans takes, the shortest first."""
    for request in requests:
        planner.plan(request)  # zones and price tables are known from here on, as in a process that has worked for a while
    each = []
    for request in requests:
        begin = time.thread_time()
        planner.plan(request)
        each.append(time.thread_time() - begin)
    return sorted(each)


def proofs_of(planner: Planner, requests: Sequence[PlanRequest], counted_cents: Callable[[Plan], int]) -> Proofs:
    """Asks HiGHS for the least that each of these orders can cost; ``counted_cents`` is what a plan comes to where the same counts."""
    seconds, proven, equal = [], 0, 0
    for request in requests:
        asked = question_of(planner, request)
        assert asked is not None, "every item is somewhere"
        begin = time.thread_time()
        try:
            best = least_cents(asked.question, most_seconds=MOST_HIGHS_SECONDS)
            proven += 1
            equal += best == counted_cents(planner.plan(request))
        except BenchmarkError:
            pass  # not proven in time, which is what is counted
        seconds.append(time.thread_time() - begin)
    return Proofs(seconds, proven, equal)


@cache
def everywhere() -> Sequence[Place]:
    """Every place on the map, in an order that never changes."""
    return sorted(all_places().values(), key=lambda place: place.postal_code)


def planner_of(random: Random, locations: int) -> Planner:
    network = Network(
        [
            Location(
                code=f"place-{number}",
                name=f"place-{number}",
                partner="east",
                place=random.choice(everywhere()),
                time_zone=ZoneInfo("America/Chicago"),
                order_cutoff=time_of_day(15),
                hazmat_certified=False,
                active=True,
            )
            for number in range(locations)
        ]
    )
    return Planner(network, load_tariffs(SHIPPED_RATE_CARDS, handling_cents=150), pick_cents=35)


def request_of(random: Random, planner: Planner, lines: int, destination: Place) -> PlanRequest:
    units = [random.randint(1, 3) for _ in range(lines)]
    stock = {
        f"SKU-{number}": {
            location.code: count + random.randint(0, 9)
            for location in random.sample(planner.network.locations, k=len(planner.network.locations) // 2)
        }
        for number, count in enumerate(units)
    }
    return PlanRequest(
        wanted=[Wanted(str(number), f"SKU-{number}", count, random.randint(100, 4_000), False) for number, count in enumerate(units)],
        assignable=stock,
        destination=destination,
        service_level=random.choice(["standard", "standard", "two_day"]),
        deliver_by=None,
        promise_from=NOON,
        now=NOON,
        residential=random.random() < 0.7,
    )


def _choice(planner: Planner, request: PlanRequest) -> tuple[list[Option], list[int]]:
    """The same order, without a promise, as the search for the best partition sees it."""
    options = []
    for reach in planner.network.reach(request.destination, planner.tariffs):
        prices = planner.tariffs.prices(reach.ways, residential=request.residential)
        assert prices is not None, "the shipped cards carry into every zone"
        own = [request.assignable[entry.sku].get(reach.location.code, 0) >= entry.units for entry in request.wanted]
        if any(own):
            options.append(Option(sum(1 << place for place, there in enumerate(own) if there), prices))
    return options, [entry.units * entry.unit_weight_grams for entry in request.wanted]


def _seconds(work: Callable[[], object], sizes: Sizes) -> float:
    """The best of some rounds."""
    found = []
    for _ in range(sizes.planner_rounds):
        begin = time.thread_time()
        work()
        found.append(time.thread_time() - begin)
    return min(found)

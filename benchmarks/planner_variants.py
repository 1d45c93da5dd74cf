"""What rules, limited capacity and prices of stock add to a plan, and how many recorded orders a what-if plans anew in a second.

All of it on the orders of one shape, three lines and fifty locations. HiGHS is asked about the same orders where its programme can say
what counts: slots that are dearer the fuller a place is, and units that are worth something to later orders. Of rules it knows nothing.
Processor time, no servers; a what-if reads its decisions from memory instead of the database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from statistics import median
from typing import Any

from benchmarks.failure import BenchmarkError
from benchmarks.planner import DESTINATIONS, NOON, everywhere, plan_seconds, planner_of, proofs_of, request_of
from benchmarks.rules import rule_of
from benchmarks.sizes import Sizes
from deploy.local.progress import Progress
from services.routing.decide import recording
from services.routing.decide.capacity import WHOLE_DAY, Capacity, SlotKey, first_free, price_cents
from services.routing.decide.foresight import StockPrices
from services.routing.decide.guidance import OrderFacts
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest
from services.routing.decide.rules import read_rules
from services.routing.postal_codes import find_place
from services.routing.replay.account import Account, Question

LINES, LOCATIONS = 3, 50
RULES = (10, 100, 1_000)
MOST_ORDERS = 200
"""A thousand rules take long."""
FULFILLMENTS_PER_DAY = 200
LAST_SLOT_CENTS = 300
MOST_WORTH_CENTS = 400
SKUS = 500
"""Of the orders that a what-if plans: they share stock, so that what is left of it is carried from one to the next."""


@dataclass(frozen=True)
class Variant:
    """A planner, and the same orders as it is asked about them. ``proven`` says whether HiGHS knows all that counts."""

    name: str
    planner: Planner
    requests: Sequence[PlanRequest]
    proven: bool


@dataclass(frozen=True)
class VariantRun:
    """How long its plans take, and how many of them cost what HiGHS proves to be the least."""

    name: str
    p50_us: float
    p99_us: float
    solved: int
    proven: int
    equal: int
    highs_p50_ms: float | None


def measure_variants(sizes: Sizes, progress: Progress) -> dict[str, object]:
    """All of them, and the what-if; for the result file."""
    runs = []
    for variant in _variants(sizes):
        with progress.step(f"planner: {variant.name}") as step:
            run = _measure(variant, sizes)
            step.result = f"p50 {run.p50_us:,.0f} us"
        runs.append(asdict(run))
    with progress.step("planner: a what-if") as step:
        what_if = _measure_what_if(sizes)
        step.result = f"{what_if['orders_per_second']:,.0f} orders/s"
    return {"variants": runs, "what_if": what_if}


def _variants(sizes: Sizes) -> Iterator[Variant]:
    random = Random("variants of the planner")
    planner = planner_of(random, LOCATIONS)
    places = [random.choice(everywhere()) for _ in range(DESTINATIONS)]
    requests = [request_of(random, planner, LINES, random.choice(places)) for _ in range(min(sizes.planner_orders, MOST_ORDERS))]
    yield Variant("as it is", planner, requests, proven=True)
    known = [replace(request, order=_facts(request)) for request in requests]
    for count in RULES:
        rules = read_rules(1, tuple(rule_of(number) for number in range(count)))
        yield Variant(f"with {count:,} rules", replace(planner, rules=rules), known, proven=False)
    limited = _limited(planner)
    slots = [replace(request, slots=_slots(random, limited.network)) for request in requests]
    yield Variant("with slots that run out", limited, slots, proven=True)
    prices = _prices(random, planner)
    ahead = replace(planner, objective="forward_looking", stock_prices=prices)
    yield Variant("with prices of stock", ahead, requests, proven=True)
    both = replace(limited, objective="forward_looking", stock_prices=prices)
    yield Variant("with slots and prices", both, slots, proven=True)
    rules = read_rules(1, tuple(rule_of(number) for number in range(100)))
    everything = [replace(request, order=_facts(request)) for request in slots]
    yield Variant("with slots, prices and 100 rules", replace(both, rules=rules), everything, proven=False)


def _facts(request: PlanRequest) -> OrderFacts:
    units = sum(entry.units for entry in request.wanted)
    grams = sum(entry.units * entry.unit_weight_grams for entry in request.wanted)
    skus = tuple(entry.sku for entry in request.wanted)
    return OrderFacts("shop", "dtc", request.service_level, "US", units, len(skus), skus, grams, 2_000 * units, "USD", False)


def _limited(planner: Planner) -> Planner:
    capacity = Capacity(FULFILLMENTS_PER_DAY, None)
    network = Network([replace(location, capacity=capacity) for location in planner.network.locations])
    return replace(planner, network=network, capacity_cents=LAST_SLOT_CENTS)


def _slots(random: Random, network: Network) -> dict[str, Any]:
    """Every place has a slot today, and some are nearly full."""
    found = {}
    for location in network.locations:
        assert location.capacity is not None
        today: SlotKey = (location.code, location.calendar.dispatch(NOON).day, WHOLE_DAY)
        taken = {today: random.randrange(FULFILLMENTS_PER_DAY)}
        found[location.code] = first_free(location.code, location.capacity, location.calendar, taken, NOON)
    return found


def _prices(random: Random, planner: Planner) -> StockPrices:
    cents = {
        f"SKU-{number}": {
            location.code: random.randint(1, MOST_WORTH_CENTS) for location in random.sample(planner.network.locations, k=LOCATIONS // 2)
        }
        for number in range(LINES)
    }
    return StockPrices(1, NOON, cents)


def _measure(variant: Variant, sizes: Sizes) -> VariantRun:
    planner = variant.planner
    each = plan_seconds(planner, variant.requests)
    asked = variant.requests[: sizes.planner_solved] if variant.proven else ()
    proofs = proofs_of(planner, asked, lambda plan: _counted_cents(planner, plan))
    return VariantRun(
        variant.name,
        p50_us=median(each) * 1e6,
        p99_us=each[int(0.99 * (len(each) - 1))] * 1e6,
        solved=len(proofs.seconds),
        proven=proofs.proven,
        equal=proofs.equal,
        highs_p50_ms=median(proofs.seconds) * 1e3 if proofs.seconds else None,
    )


def _counted_cents(planner: Planner, plan: Plan) -> int:
    """What a plan costs and what it counts beside that."""
    slots = 0
    for parcel in plan.parcels:
        if parcel.slot is not None and parcel.location.capacity is not None:
            slots += price_cents(parcel.location.capacity, parcel.slot, planner.capacity_cents)
    return plan.cost_cents + int(plan.record.get("stock_worth_cents", 0)) + slots


def _measure_what_if(sizes: Sizes) -> dict[str, Any]:
    """Recorded decisions, each read, made again, compared byte for byte, and planned under another price of a split, with the stock that
    the plans before have left."""
    random = Random("a what-if")
    planner = planner_of(random, LOCATIONS)
    places = [random.choice(everywhere()) for _ in range(DESTINATIONS)]
    kept = []
    for _ in range(sizes.planner_orders):
        request = request_of(random, planner, LINES, random.choice(places))
        names = dict(zip((entry.sku for entry in request.wanted), random.sample(range(SKUS), LINES), strict=True))
        wanted = [entry._replace(sku=f"SKU-{names[entry.sku]}") for entry in request.wanted]
        stock = {f"SKU-{names[sku]}": own for sku, own in request.assignable.items()}
        kept.append(json.dumps(planner.plan(replace(request, wanted=wanted, assignable=stock)).record))
    varied = replace(planner, split_cents=400)
    accounts = [Account(Question(varied=True)) for _ in range(sizes.planner_rounds)]
    found = []
    for account in accounts:
        begin = time.thread_time()
        for record in kept:
            read = json.loads(record)
            account.take("a decision", read, planner, varied, recording.request_of(read, lambda code: find_place(code, "US")))
        found.append(time.thread_time() - begin)
        if account.different or account.refused:
            problems = [*account.different, *account.refused]
            raise BenchmarkError(f"{len(problems)} decisions came out differently: {problems[0]}")
    parcels = [accounts[0].live.parcels, accounts[0].other.parcels]
    return {"orders": len(kept), "orders_per_second": len(kept) / min(found), "parcels": parcels}

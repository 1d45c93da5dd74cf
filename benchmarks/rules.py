"""``python -m benchmarks.rules``: what routing rules add to the planning of one order. Needs no servers."""

from __future__ import annotations

from datetime import UTC, datetime, time
from statistics import median
from time import perf_counter
from zoneinfo import ZoneInfo

from services.routing.decide.guidance import OrderFacts
from services.routing.decide.network import Location, Network
from services.routing.decide.planner import Planner
from services.routing.decide.plans import PlanRequest, Wanted
from services.routing.decide.rules import read_rules
from services.routing.postal_codes import find_place
from services.routing.tariff_files import SHIPPED_RATE_CARDS, load_tariffs
from shared.contracts.routing_rules import RoutingRule

ZIPS = ("89506", "75236", "43217", "30336", "07114")
CUSTOMERS = ("94103", "10001", "60601", "33101", "80202")
ROUNDS = 300


def _network() -> Network:
    places = [find_place(code, "US") for code in ZIPS]
    zone = ZoneInfo("America/New_York")
    return Network([Location(f"l{n}", f"l{n}", "east", place, zone, time(15), False, True) for n, place in enumerate(places) if place])


def rule_of(number: int) -> RoutingRule:
    """One in ten applies to the measured orders; each asks something of the order, as rules in use do."""
    when = f"order.units > {1 if number % 10 == 0 else 1_000 + number} && order.weight_grams < 100000"
    return RoutingRule(
        name=f"rule {number}", why="measured", action="weight", when=when, locations=f"location.zone > {2 + number % 6}", cents=1
    )


def milliseconds(rules: tuple[RoutingRule, ...]) -> float:
    """The median time that one order takes to plan."""
    planner = Planner(_network(), load_tariffs(SHIPPED_RATE_CARDS, handling_cents=150), rules=read_rules(1, rules))
    stock = {"A": {f"l{n}": 9 for n in range(len(ZIPS))}, "B": {"l0": 9, "l3": 9}}
    lines = [Wanted("1", "A", 2, 400, False), Wanted("2", "B", 1, 900, False)]
    order = OrderFacts("shop", "dtc", "standard", "US", 3, 2, ("A", "B"), 1_700, 5_000, "USD", False)
    now = datetime(2026, 3, 4, 16, tzinfo=UTC)
    taken = []
    for number in range(ROUNDS):
        place = find_place(CUSTOMERS[number % len(CUSTOMERS)], "US")
        assert place is not None
        began = perf_counter()
        planner.plan(PlanRequest(lines, stock, place, "standard", None, now, now, True, order=order))
        taken.append((perf_counter() - began) * 1_000)
    return median(taken[ROUNDS // 10 :])


if __name__ == "__main__":
    bare = milliseconds(())
    print(f"no rules       {bare:8.3f} ms an order")
    for count in (10, 100, 1_000):
        print(f"{count:5} rules    {milliseconds(tuple(rule_of(number) for number in range(count))):8.3f} ms")

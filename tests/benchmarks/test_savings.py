"""The savings report: its baselines, its simulation, and its optimum in hindsight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from benchmarks.failure import BenchmarkError
from benchmarks.savings import telling
from benchmarks.savings.clairvoyant import best_in_hindsight
from benchmarks.savings.history import drawn_baskets
from benchmarks.savings.policies import BiggestFirst, ByList, EachFromTheNearest, Forward, Live, Nearest, Prices, filled_from
from benchmarks.savings.scenario import Order, Scenario, Shelves, draw_scenario
from benchmarks.savings.simulation import Outcome, Policy, play
from benchmarks.savings.standard import CITIES, OUTSIDE, PER_DOLLAR, draw_instance
from services.routing.decide.plans import Plan
from services.routing.postal_codes import all_places

PLACES = ("newark", "reno", "dallas")


@pytest.fixture(scope="module")
def tight() -> Scenario:
    """Thirty orders for three locations whose stock was just enough for the thirty before."""
    return draw_scenario(drawn_baskets(60), "3 locations", "tight", seed=0, count=30)


def policies_of(scenario: Scenario) -> Sequence[Policy]:
    """Every way to choose of the declared networks."""
    by_hand = [ByList(scenario, codes) for codes in scenario.lists.values()]
    forward = [Forward(scenario, prices, every=10) for prices in (Prices(scenario), Prices(scenario, alone=True))]
    return [*by_hand, BiggestFirst(scenario), Nearest(scenario), Live(scenario), *forward]


def small(scenario: Scenario, orders: Sequence[Order], stock: Shelves) -> Scenario:
    """The same places and prices with other orders and shelves."""
    return replace(scenario, orders=orders, before=orders, stock=stock, unit_grams=dict.fromkeys(stock, 400))


@pytest.mark.parametrize(
    ("shelves", "chosen"),
    [
        ({"A": {"newark": 1, "reno": 1}, "B": {"newark": 1, "reno": 1}}, {"A": "newark", "B": "newark"}),
        ({"A": {"newark": 1, "dallas": 1}, "B": {"reno": 1, "dallas": 1}}, {"A": "dallas", "B": "dallas"}),
        ({"A": {"newark": 1}, "B": {"reno": 1, "dallas": 1}}, {"A": "newark", "B": "reno"}),
        ({"A": {"newark": 0, "dallas": 1}, "B": {"reno": 0}}, {"A": "dallas"}),
    ],
    ids=["the first has everything", "a later one has everything", "none has everything", "one product is sold out"],
)
def test_by_hand_takes_the_first_of_the_list_with_everything_else_fills_from_the_next(shelves: Shelves, chosen: dict[str, str]) -> None:
    assert filled_from(PLACES, ("A", "B"), shelves) == chosen


def test_each_baseline_ships_from_where_its_name_says(tight: Scenario) -> None:
    seattle = Order(("A",), all_places()["98101"], "9")
    scenario = small(tight, [seattle], {"A": {"newark": 1, "reno": 1, "dallas": 1}, "B": {"dallas": 5}})

    def sender(policy: Policy) -> str:
        (shipped,) = play(scenario, policy).shipped
        return shipped["A"]

    assert sender(ByList(scenario, PLACES)) == "newark"
    assert sender(BiggestFirst(scenario)) == "dallas"
    assert sender(Nearest(scenario)) == "reno"
    assert sender(Live(scenario)) == "reno"


def test_whatever_the_policy_all_that_is_there_is_shipped_and_nothing_else(tight: Scenario) -> None:
    outcomes = [play(tight, policy) for policy in policies_of(tight)]
    for outcome in outcomes:
        taken = Counter((sku, code) for shipped in outcome.shipped for sku, code in shipped.items())
        assert all(units <= tight.stock[sku][code] for (sku, code), units in taken.items())
        assert outcome.units + outcome.unplaced_units == sum(len(order.skus) for order in tight.orders)
        assert outcome.cost_cents == sum(outcome.cents)
        assert [sorted(shipped) for shipped in outcome.shipped] == [sorted(shipped) for shipped in outcomes[0].shipped]
    assert outcomes[0].unplaced_units > 0, "the stock is tight"


def test_a_policy_that_leaves_out_what_is_there_is_not_compared(tight: Scenario) -> None:
    class Idle(Live):
        def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
            return super().plan(order, {sku: {} for sku in shelves}, number)

    with pytest.raises(BenchmarkError, match="were there"):
        play(tight, Idle(tight))


def test_nobody_is_cheaper_than_the_best_in_hindsight_and_it_not_than_its_bound(tight: Scenario) -> None:
    outcomes = [play(tight, policy) for policy in policies_of(tight)]
    best = best_in_hindsight(tight, outcomes, most_seconds=2.0)
    assert best.bound_cents <= best.cost_cents <= min(outcome.cost_cents for outcome in outcomes)
    assert best.gap < 0.01


def test_the_best_in_hindsight_is_what_looking_at_everything_finds(tight: Scenario) -> None:
    """Dallas is the nearest to the first customer; who ships from there sends two parcels to the last one."""
    orders = [Order(skus, all_places()[code], code[0]) for skus, code in ((("A",), "73301"), (("A", "B"), "75201"), (("A", "B"), "94103"))]
    stock = {"A": {"newark": 1, "reno": 1, "dallas": 1}, "B": {"reno": 1, "dallas": 1}}
    scenario = small(tight, orders, stock)
    outcomes = [play(scenario, policy) for policy in policies_of(scenario)]
    units = [(number, sku) for number, order in enumerate(orders) for sku in order.skus]
    costs = []
    for places in product(PLACES, repeat=len(units)):
        taken = Counter((sku, place) for (_, sku), place in zip(units, places, strict=True))
        if all(count <= stock[sku].get(place, 0) for (sku, place), count in taken.items()):
            costs.append(sum(_cents(scenario, number, units, places) for number in range(len(orders))))
    best = best_in_hindsight(scenario, outcomes, most_seconds=2.0)
    assert best.cost_cents == min(costs)
    assert best.cost_cents < play(scenario, Live(scenario)).cost_cents


def _cents(scenario: Scenario, number: int, units: Sequence[tuple[int, str]], places: Sequence[str]) -> int:
    only = {sku: {place: 1} for (order, sku), place in zip(units, places, strict=True) if order == number}
    return scenario.planner.plan(scenario.request(scenario.orders[number], only)).cost_cents


@pytest.mark.parametrize("alone", [False, True])
def test_who_looks_forward_keeps_the_last_unit_for_whom_it_is_nearest_to(tight: Scenario, alone: bool) -> None:
    """Seattle bought it before. The last unit in Reno goes there; Salt Lake City, not so far from Dallas, is served from Dallas."""
    seattle, salt_lake_city = (Order(("A",), all_places()[code], code[0]) for code in ("98101", "84101"))
    scenario = small(tight, [salt_lake_city, seattle], {"A": {"reno": 1, "dallas": 5}})
    scenario = replace(scenario, before=[seattle, seattle])
    at_once, later = play(scenario, Live(scenario)), play(scenario, Forward(scenario, Prices(scenario, alone=alone), every=1))
    assert [shipped["A"] for shipped in at_once.shipped] == ["reno", "dallas"]
    assert [shipped["A"] for shipped in later.shipped] == ["dallas", "reno"]
    assert later.cost_cents < at_once.cost_cents


def test_a_seed_always_draws_the_same_period() -> None:
    one, other = (draw_scenario(drawn_baskets(60), "5 locations", "usual", seed=1, count=20) for _ in range(2))
    assert (one.orders, one.before, one.stock) == (other.orders, other.before, other.stock)


def test_a_standard_instance_costs_what_its_paper_says_and_what_is_outside_twice_as_much() -> None:
    scenario = draw_instance(0, 0, arrivals=200)
    order = next(order for order in scenario.orders if len(order.skus) == 2)
    assert order.region in CITIES
    reaches = {reach.location.code: reach for reach in scenario.planner.network.reach(order.destination, scenario.planner.tariffs)}
    from_centre, from_outside = (
        scenario.planner.plan(scenario.request(order, {sku: {code: 1} for sku in order.skus})) for code in ("whitestown", OUTSIDE)
    )
    miles = reaches["whitestown"].miles
    assert from_centre.cost_cents == pytest.approx(PER_DOLLAR * (8.759 + 2 * (0.423 + 0.000541 * miles)), abs=10)
    farthest = max(reach.miles for code, reach in reaches.items() if code != OUTSIDE)
    assert from_outside.cost_cents == pytest.approx(2 * PER_DOLLAR * (8.759 + 2 * (0.423 + 0.000541 * farthest)), abs=20)
    outcomes = [play(scenario, policy) for policy in (EachFromTheNearest(scenario, OUTSIDE), Live(scenario))]
    best = best_in_hindsight(scenario, outcomes, most_seconds=2.0)
    assert best.bound_cents <= best.cost_cents <= outcomes[1].cost_cents <= outcomes[0].cost_cents
    assert [outcome.unplaced_units for outcome in outcomes] == [0, 0]


def _run(seed: int, live: int, forward: int, least: int) -> dict[str, Any]:
    outcome = Outcome(orders=10, units=20, parcels=12).as_json()
    costs = {**dict.fromkeys(telling.BASELINES, 20_000), telling.LIVE: live, telling.FORWARD: forward, telling.SINGLE_PRODUCTS: forward}
    return {
        "network": "3 locations",
        "stock": "tight",
        "seed": seed,
        "instance": seed,
        "sequence": 0,
        "policies": {name: {**outcome, "cost_cents": cost} for name, cost in costs.items()},
        "clairvoyant": {"cost_cents": least, "bound_cents": least, "parcels": 11},
    }


def test_savings_and_the_closed_share_are_told_with_what_they_may_be_off_by() -> None:
    runs = [_run(0, 18_000, 17_500, 17_000), _run(1, 16_000, 15_800, 15_000)]
    assert telling.best_myopic(runs) == telling.LIVE
    assert telling.closed(runs[:1], telling.FORWARD, telling.LIVE) == 0.5
    assert telling.interval([0.1, 0.2]) == pytest.approx((0.15, 12.706 * 0.05), rel=1e-3)
    found = {"runs": runs, "standard": runs, "arrivals": 10_000}
    assert "| 15.0% ± 63.5 |" in telling.savings_table(found)
    assert "met" in telling.targets_table(found)
    for table in (telling.gap_table, telling.costs_table, telling.parcels_table):
        assert "| 3 locations, tight stock " in table(found)
    assert "| 2 instances, 2 sequences of 10,000 arrivals " in telling.standard_table(found)

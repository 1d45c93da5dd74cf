"""Plans that count what the stock they take is worth to later orders (feature C8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.explaining import in_words, runner_up
from services.routing.decide.foresight import StockPrices
from services.routing.decide.planner import Planner
from services.routing.decide.plans import PlanRequest, Wanted
from services.routing.decide.recording import canonical, request_of
from services.routing.postal_codes import find_place
from tests.routing.test_planner import CODES, a_planner, as_request, cost_of, everywhere, instances, request, taken, wanted

MORNING = datetime(2026, 3, 4, 5, 0, tzinfo=UTC)


def prices(cents: Mapping[str, Mapping[str, int]]) -> StockPrices:
    return StockPrices(7, MORNING, cents)


def ahead(cents: Mapping[str, Mapping[str, int]], *codes: str) -> Planner:
    return a_planner(*codes, objective="forward_looking", stock_prices=prices(cents))


def worth(cents: Mapping[str, Mapping[str, int]], units: Mapping[str, Mapping[str, int]]) -> int:
    return sum(cents.get(sku, {}).get(code, 0) * count for code, own in units.items() for sku, count in own.items())


def test_a_unit_that_later_orders_need_more_is_left_to_them_and_the_decision_says_so() -> None:
    asked = request(wanted(1), {"SKU-1": {"reno": 2, "newark": 40}}, to="80202")
    near, far = (a_planner(code).plan(asked).cost_cents for code in ("reno", "newark"))
    assert near < far
    keen = far - near + 1
    assert taken(ahead({"SKU-1": {"reno": keen - 2}}, "reno", "newark").plan(asked)) == {"reno": {"1": 1}}
    planner = ahead({"SKU-1": {"reno": keen}}, "reno", "newark")
    plan = planner.plan(asked)
    assert taken(plan) == {"newark": {"1": 1}}
    assert plan.cost_cents == far, "the price decides, and is in no cost that is told"
    assert plan.record["stock_worth_cents"] == 0
    assert in_words(plan, runner_up(planner, asked, plan)) == (
        f"newark, not reno: 1 parcel for {far / 100:.2f} instead of 1 parcel for {near / 100:.2f}; "
        f"it kept 1 of reno's 2 SKU-1, worth {keen / 100:.2f} each to later orders"
    ).replace(f"{far / 100:.2f} instead", f"{far / 100:.2f} over {plan.parcels[0].miles:,} miles instead")


def test_only_a_planner_that_looks_ahead_counts_prices_and_a_promise_is_worth_more_than_any() -> None:
    asked = request(wanted(1), everywhere("SKU-1"), service_level="next_day")
    cents = {"SKU-1": {"reno": 99_999}}
    for objective in ("cheapest", "closest", "fastest"):
        plain = a_planner(objective=objective)
        assert replace(plain, stock_prices=prices(cents)).plan(asked) == plain.plan(asked)
    late = replace(asked, service_level="standard", deliver_by=datetime(2026, 3, 5, 23, tzinfo=UTC))
    kept = {code for code in CODES if not a_planner(code).plan(late).late}
    assert set(taken(ahead({"SKU-1": dict.fromkeys(kept, 99_999)}, *CODES).plan(late))) <= kept
    assert ahead({}).plan(asked).parcels == a_planner().plan(asked).parcels, "nothing has a price: the cheapest plan"


@given(instances, st.lists(st.integers(0, 700), min_size=16, max_size=16), st.integers(0, 1))
@settings(max_examples=100, deadline=None)
def test_cost_and_worth_together_are_the_least_of_all_plans_and_the_record_gives_the_plan_again(
    instance: dict[str, Any], cents: list[int], closed: int
) -> None:
    instance["stock"] = [[9 if units > 1 else 0 for units in row] for row in instance["stock"]]
    asked = as_request(instance)
    table = {
        entry.sku: {code: cents[(4 * row + column) % 16] for column, code in enumerate(CODES)} for row, entry in enumerate(asked.wanted)
    }
    planner = ahead(table, *CODES[closed:])
    plan = planner.plan(asked)
    made = replace(planner, stock_prices=None).plan(request_of(plan.record, lambda code: find_place(code, "US")))
    assert canonical(made.record) == canonical(plan.record)
    homes = [[code for code in CODES[closed:] if asked.assignable[entry.sku][code]] for entry in asked.wanted]
    entries = [(entry, own) for entry, own in zip(asked.wanted, homes, strict=True) if own]
    sums = []
    for choice in product(*(own for _, own in entries)):
        units: dict[str, dict[str, int]] = {}
        for (entry, _), code in zip(entries, choice, strict=True):
            units.setdefault(code, {})[entry.sku] = entry.units
        sums.append(total(planner, asked, units, plan.record["arrive_by"], table))
    if entries:
        assert plan.cost_cents + plan.record["stock_worth_cents"] == min(each for each in sums if each is not None)


@given(st.integers(2, 12), st.lists(st.integers(0, 9), min_size=4, max_size=4), st.lists(st.integers(0, 300), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_of_a_divided_item_the_units_come_from_where_cost_and_worth_are_least(count: int, stock: list[int], cents: list[int]) -> None:
    if sum(stock) < count or max(stock) >= count:
        return
    table = {"SKU-1": dict(zip(CODES, cents, strict=True))}
    asked = request([Wanted("1", "SKU-1", count, 900, False)], {"SKU-1": dict(zip(CODES, stock, strict=True))})
    planner = ahead(table, *CODES)
    plan = planner.plan(asked)
    sums = [
        total(planner, asked, {code: {"SKU-1": part} for code, part in zip(CODES, split, strict=True)}, None, table)
        for split in product(*(range(have + 1) for have in stock))
        if sum(split) == count
    ]
    assert plan.cost_cents + plan.record["stock_worth_cents"] == min(each for each in sums if each is not None)


def total(
    planner: Planner,
    asked: PlanRequest,
    units: Mapping[str, Mapping[str, int]],
    arrive_by: str | None,
    cents: Mapping[str, Mapping[str, int]],
) -> int | None:
    cost = cost_of(planner, asked, units, None if arrive_by is None else datetime.fromisoformat(arrive_by).date())
    return None if cost is None else cost + worth(cents, units)

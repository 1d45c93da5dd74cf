"""The planner against HiGHS, and the searches that it is made of against looking at everything."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.combining import NEVER, cheapest_parcels, digits_of
from services.routing.decide.options import Option
from services.routing.decide.splitting import cheapest_partition
from services.routing.decide.tariffs import Prices
from tests.routing.oracle import compare_many
from tests.routing.test_planner import a_planner, request, taken, wanted


def test_random_orders_cost_what_highs_proves_to_be_the_least() -> None:
    """Ten thousand: ``python -m tests.routing.oracle``."""
    assert [compared.told for compared in compare_many(120, seed=19) if compared.told] == []


def test_orders_that_divide_an_item_cost_hardly_more_than_highs_proves_to_be_the_least() -> None:
    compared = list(compare_many(25, seed=19, scattered=True))
    assert [order.told for order in compared if order.told] == []
    assert sum(order.gap <= 0 for order in compared) >= 0.9 * len(compared)
    assert sum(order.gap for order in compared) / len(compared) < 0.02


def test_a_second_parcel_is_sent_only_where_it_saves_more_than_it_is_worth_avoiding() -> None:
    """Everything from Newark, or the heavy thing from Reno round the corner."""
    lines = [*wanted(1, grams=20_000), *[entry._replace(line_id="2", sku="SKU-2") for entry in wanted(1, grams=400)]]
    stock = {"SKU-1": {"reno": 5, "newark": 5}, "SKU-2": {"newark": 5}}
    apart = a_planner("reno", "newark").plan(request(lines, stock))
    together = a_planner("reno", "newark").plan(request(lines, {**stock, "SKU-1": {"newark": 5}}))
    assert set(taken(apart)) == {"reno", "newark"}
    saved = together.cost_cents - apart.cost_cents
    for split_cents, codes in ((saved - 1, {"reno", "newark"}), (saved + 1, {"newark"})):
        plan = a_planner("reno", "newark", split_cents=split_cents).plan(request(lines, stock))
        assert set(taken(plan)) == codes
        assert plan.cost_cents == (apart if len(codes) == 2 else together).cost_cents, "it is in no cost that is told"
        assert plan.record["split_cents"] == split_cents


prices_of_any_form = st.lists(st.integers(0, 40), min_size=12, max_size=12)


@given(
    st.lists(st.tuples(st.integers(0, 15), prices_of_any_form, st.integers(0, 5)), min_size=1, max_size=4),
    st.lists(st.integers(1, 3), min_size=4, max_size=4),
    st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_prices_are_one_parcel_of_each_place_is_the_best_way(
    places: list[tuple[int, list[int], int]], pounds: list[int], count: int
) -> None:
    """Prices that rise, fall or jump: where two parcels from one place would be cheaper than one, there is still only one."""
    weights = [450 * pound for pound in pounds[:count]]
    options = [Option(whole, Prices([[cents * 1_000 + 1 for cents in prices]]), extra) for whole, prices, extra in places]
    best: int | None = None
    for choice in product(range(len(options)), repeat=count):
        if all(options[sender].whole >> item & 1 for item, sender in enumerate(choice)):
            loads = [sum(weights[item] for item, sender in enumerate(choice) if sender == index) for index in range(len(options))]
            score = sum(option.score(load) for option, load in zip(options, loads, strict=True) if load)
            best = score if best is None else min(best, score)
    found = cheapest_partition(options, weights)
    assert (None if found is None else found.score) == best


@given(st.lists(st.integers(2, 4), min_size=1, max_size=3), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_parcels_with_parts_of_items_are_combined_at_the_least_score(sizes: list[int], places: int, random: Any) -> None:
    digits = digits_of(sizes)
    scores = np.array([[random.choice([random.randint(1, 50), NEVER]) for _ in digits] for _ in range(places)], dtype=np.int64)
    scores[:, 0] = 0
    best: int | None = None
    for parcels in product(range(len(digits)), repeat=places):
        if sum(parcels) == len(digits) - 1 and digits[list(parcels)].sum(axis=0).tolist() == [size - 1 for size in sizes]:
            score = sum(int(scores[place, parcel]) for place, parcel in enumerate(parcels))
            if score < NEVER:
                best = score if best is None else min(best, score)
    found = cheapest_parcels(scores, sizes)
    assert (None if found is None else found[0]) == best
    if found is not None:
        assert sum(found[1].values()) == len(digits) - 1
        assert sum(int(scores[place, parcel]) for place, parcel in found[1].items()) == best

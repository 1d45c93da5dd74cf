"""What a unit of scarce stock is worth where it lies (feature C8)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.scarcity import StockPriceError, stock_prices

COSTS = {("reno", "west"): 500, ("reno", "east"): 900, ("newark", "west"): 1_000, ("newark", "east"): 550}


def _prices(shelves: Mapping[str, int], demand: Mapping[str, float], costs: Mapping[tuple[str, str], int] = COSTS) -> dict[str, float]:
    found = stock_prices(
        {("cup", location): units for location, units in shelves.items()},
        {("cup", region): units for region, units in demand.items()},
        costs,
    )
    return {location: cents for (_, location), cents in found.items()}


@pytest.mark.parametrize(
    ("shelves", "demand", "prices"),
    [
        # The west wants three and gets two from Reno: without one of them, another comes from Newark, for 1,000 instead of 500.
        ({"reno": 2, "newark": 9}, {"west": 3, "east": 3}, {"reno": 500}),
        ({"reno": 2, "newark": 9}, {"west": 2, "east": 3}, {"reno": 500}),
        ({"reno": 4, "newark": 9}, {"west": 3, "east": 3}, {}),
        ({"reno": 2, "newark": 9}, {"east": 30}, {"newark": 350}),
        ({"reno": 2, "newark": 9}, {}, {}),
        ({"reno": 2}, {"west": 9}, {}),
        ({"reno": 2, "newark": 0}, {"west": 9}, {}),
        # Eleven units are wanted ten times over: they go west and east alike, so some of Newark's go west.
        ({"reno": 2, "newark": 9}, {"west": 55, "east": 55}, {"reno": 500}),
        ({"reno": 2, "newark": 9}, {"moon": 55, "west": 1}, {}),
    ],
)
def test_a_unit_is_priced_at_what_serving_the_others_costs_more_without_it(
    shelves: Mapping[str, int], demand: Mapping[str, float], prices: Mapping[str, float]
) -> None:
    assert _prices(shelves, demand) == prices


def test_an_impossible_number_is_refused_by_name() -> None:
    with pytest.raises(StockPriceError, match=r"shipping_cost_cents\['reno', 'west'\] is -1"):
        _prices({"reno": 2}, {"west": 1}, {("reno", "west"): -1})
    with pytest.raises(StockPriceError, match=r"demand\['cup', 'west'\] is nan"):
        _prices({"reno": 2}, {"west": float("nan")})


@settings(max_examples=60, deadline=None)
@given(
    stock=st.lists(st.integers(1, 3), min_size=2, max_size=3),
    demand=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    cents=st.lists(st.integers(0, 9), min_size=9, max_size=9),
)
def test_whole_units_have_the_price_that_trying_every_way_without_one_of_them_shows(
    stock: list[int], demand: list[int], cents: list[int]
) -> None:
    """Where the stock is enough also for one order more; prices are never negative, and zero at some location."""
    while sum(demand) >= sum(stock):
        stock = [units + 1 for units in stock]
    table = [cents[3 * location : 3 * location + len(demand)] for location in range(len(stock))]
    found = _prices(
        {f"l{location}": units for location, units in enumerate(stock)},
        {f"r{region}": units for region, units in enumerate(demand)},
        {(f"l{location}", f"r{region}"): value for location, row in enumerate(table) for region, value in enumerate(row)},
    )

    usual = _least(stock, demand, table)
    without = [_least([units - (other == location) for other, units in enumerate(stock)], demand, table) for location in range(len(stock))]
    assert [found.get(f"l{location}", 0) for location in range(len(stock))] == [least - usual for least in without]
    assert min(least - usual for least in without) == 0


def _least(stock: list[int], demand: list[int], cents: list[list[int]]) -> int:
    """The cost of the cheapest of all ways to serve the demand."""
    customers = [region for region, units in enumerate(demand) for _ in range(units)]
    ways = product(range(len(stock)), repeat=len(customers))
    return min(
        sum(cents[location][region] for location, region in zip(way, customers, strict=True))
        for way in ways
        if all(way.count(location) <= units for location, units in enumerate(stock))
    )

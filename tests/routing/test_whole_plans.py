"""What a unit of scarce stock is worth to orders that are seen whole (feature C8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from random import Random

import highspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide import outlook, together, whole_plans
from services.routing.decide.network import Network
from services.routing.decide.outlook import Ordered, Outlook, StockPriceList, in_pieces
from services.routing.decide.scarcity import StockPriceError
from services.routing.decide.tariffs import SCORE_PER_CENT, SERVICES, Prices, Service
from services.routing.decide.together import clusters
from services.routing.decide.whole_plans import Orders, Parcels, plan_prices, while_it_lasts
from tests.routing.test_planner import CARRIER, TARIFFS, a_location, a_planner, place

POUND_GRAMS = 453


def by_pounds(*cents: int) -> Prices:
    """What a location's parcels cost, from one pound on."""
    return Prices([[each * SCORE_PER_CENT + 1 for each in cents]])


WAYS = {
    "west": {"newark": by_pounds(900, 1_000, 1_100), "reno": by_pounds(500, 600, 700)},
    "east": {"newark": by_pounds(550, 650, 750), "reno": by_pounds(900, 1_000, 1_100)},
    "middle": {"newark": by_pounds(700, 800, 900), "reno": by_pounds(700, 800, 900)},
}
PARCELS = Parcels(WAYS, dict.fromkeys("ABC", POUND_GRAMS))


def orders(*entries: tuple[str, str, float]) -> list[Orders]:
    """Of one unit of each SKU, a letter each."""
    return [Orders(tuple((sku, 1) for sku in skus), way, count) for skus, way, count in entries]


def test_the_unit_that_keeps_an_order_in_one_parcel_is_worth_the_second_parcel() -> None:
    """Only Reno has a B. Whoever takes its A for somebody in the middle, to whom both places are as near, makes two parcels of an order of
    both."""
    shelves = {("A", "reno"): 2, ("A", "newark"): 9, ("B", "reno"): 9}
    expected = orders(("AB", "west", 2.0), ("A", "middle", 3.0))
    found = plan_prices(["A", "B"], shelves, expected, PARCELS, {})
    # Without the A in Reno, the order for both costs 500 and 900 instead of 600.
    assert found["A", "reno"] == pytest.approx(800)
    assert found["A", "newark"] == 0
    alone = plan_prices(["A"], shelves, orders(("A", "west", 2.0), ("A", "middle", 3.0)), PARCELS, {})
    assert alone["A", "reno"] == pytest.approx(400), "bought by itself it is worth the longer way only"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_a_price_lies_between_what_one_unit_more_saves_and_one_unit_less_costs(seed: int) -> None:
    """The programme with every plan there is, written down once more, is solved with one unit less and one more on each shelf."""
    random = Random(seed)
    codes, skus = ["l0", "l1", "l2"], ["A", "B", "C"]
    ways = {way: {code: by_pounds(*_rising(random)) for code in codes} for way in ("x", "y")}
    parcels = Parcels(ways, {sku: random.choice((200, POUND_GRAMS)) for sku in skus})
    expected = [
        Orders(
            tuple((sku, random.choice((1, 1, 2))) for sku in sorted(random.sample(skus, random.randint(1, 3)))), way, random.uniform(0.2, 3)
        )
        for way in ways
        for _ in range(3)
    ]
    # The last location has enough of everything, so its units are free and prices are told as they are.
    shelves = {(sku, code): 60 if code == "l2" else random.randint(3, 7) for sku in skus for code in codes}
    found = plan_prices(skus, shelves, expected, parcels, {})
    usual = _least_cents(shelves, expected, parcels)
    for key, cents in found.items():
        less, more = ({**shelves, key: shelves[key] + change} for change in (-1, 1))
        assert usual - _least_cents(more, expected, parcels) - 0.1 <= cents <= _least_cents(less, expected, parcels) - usual + 0.1


def _rising(random: Random) -> list[int]:
    cents = [random.randint(300, 900)]
    for _ in range(5):
        cents.append(cents[-1] + random.randint(10, 200))
    return cents


def _least_cents(shelves: Mapping[tuple[str, str], int], expected: Sequence[Orders], parcels: Parcels) -> float:
    """What these orders cost at least, by a linear programme over all their plans."""
    rows = {key: number for number, key in enumerate(shelves)}
    solver = highspy.Highs()  # type: ignore[no-untyped-call]  # the stubs leave the return type out
    solver.setOptionValue("output_flag", False)
    for units in shelves.values():
        solver.addRow(-highspy.kHighsInf, float(units), 0, np.zeros(0, dtype=np.int32), np.zeros(0))
    for entry in expected:
        solver.addRow(entry.count, entry.count, 0, np.zeros(0, dtype=np.int32), np.zeros(0))
    for number, entry in enumerate(expected):
        for codes in product(sorted({code for _, code in shelves}), repeat=len(entry.lines)):
            grams: Counter[str] = Counter()
            taken = {len(rows) + number: 1.0}
            for (sku, units), code in zip(entry.lines, codes, strict=True):
                grams[code] += units * parcels.unit_grams[sku]
                taken[rows[sku, code]] = float(units)
            cents = sum(parcels.ways[entry.way][code][-(-weight // 453)] // SCORE_PER_CENT for code, weight in grams.items())
            solver.addCol(float(cents), 0.0, highspy.kHighsInf, len(taken), np.array(list(taken)), np.array(list(taken.values())))
    solver.run()
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(solver.getInfo().objective_function_value)


def test_what_runs_out_is_missing_in_the_orders_that_come_later_wherever_they_go() -> None:
    expected = orders(("AB", "west", 4.0), ("A", "east", 4.0), ("C", "east", 1.0))
    shipped = while_it_lasts(expected, {"A": 2.0, "B": 3.0, "C": 5.0})
    # A lasts for a quarter of the time, B for three quarters.
    assert [("".join(sku for sku, _ in entry.lines), entry.way, entry.count) for entry in shipped] == [
        ("A", "east", 1.0),
        ("AB", "west", 1.0),
        ("B", "west", 2.0),
        ("C", "east", 1.0),
    ]
    assert while_it_lasts(expected, {}) == []
    with pytest.raises(StockPriceError, match="count of orders"):
        while_it_lasts(orders(("A", "west", float("nan"))), {"A": 2.0})


def test_every_scarce_product_that_travels_with_another_is_in_one_cluster_with_all_its_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST_SKUS_TOGETHER", 3)
    random = Random(5)
    skus = [f"S{number:02d}" for number in range(20)]
    expected = [Orders(tuple((sku, 1) for sku in sorted(random.sample(skus, random.randint(1, 3)))), "west", 1.0) for _ in range(40)]
    shelves = {sku: {"reno": 1, "newark": 9} for sku in skus} | {"S00": {"reno": 90, "newark": 90}, "S01": {"reno": 1}}
    found = clusters(expected, shelves)
    accompanied = {sku for entry in expected if len(entry.lines) > 1 for sku, _ in entry.lines}
    assert sorted(sku for own, _ in found for sku in own) == sorted(accompanied - {"S00", "S01"})
    for own, entries in found:
        assert len(own) <= 3
        assert entries == [entry for entry in expected if {sku for sku, _ in entry.lines} & set(own)]
    assert any(len(own) == 3 for own, _ in found)


def an_outlook(seed: int) -> Outlook:
    """Twelve products that are bought together, in three places, for customers all over the country."""
    random = Random(seed)
    skus = [f"S{number:02d}" for number in range(12)]
    planner = a_planner("newark", "reno", "dallas")
    ordered = [
        Ordered(
            tuple((sku, 1) for sku in sorted(random.sample(skus, random.randint(1, 4)))),
            place(random.choice(("10001", "98101", "60601", "73301", "33130"))),
            random.choice(("standard", "two_day", "next_day")),
            random.random() < 0.8,
            random.random(),
        )
        for _ in range(120)
    ]
    shelves = {sku: {code: random.randint(0, 9) for code in ("newark", "reno", "dallas")} for sku in skus}
    return Outlook(planner.network, planner.tariffs, 0, shelves, {sku: random.randint(50, 3_000) for sku in skus}, ordered, 1.5)


def taken(pieces: Outlook) -> StockPriceList:
    """All prices of an outlook."""
    found = StockPriceList()
    for piece in in_pieces(pieces):
        found.take(piece)
    return found


@pytest.mark.parametrize(
    ("skus", "level", "reno", "newark", "by"),
    [
        ("A", "standard", SERVICES, ("next_day",), ("ground", "next_day")),
        ("AB", "standard", SERVICES, ("next_day",), ("ground", "next_day")),
        ("AB", "two_day", SERVICES, ("next_day",), ("ground", "next_day")),
        ("AB", "next_day", ("two_day",), ("two_day",), ("two_day", "two_day")),
    ],
    ids=["by itself", "with what it is ordered with", "with a promise", "with a promise that nobody can keep"],
)
def test_a_unit_is_worth_what_the_services_of_the_other_place_cost_more(
    skus: str, level: str, reno: tuple[Service, ...], newark: tuple[Service, ...], by: tuple[Service, Service]
) -> None:
    """Reno has too few for the customers around, Newark has enough."""
    network = Network([a_location("reno", services=reno), a_location("newark", services=newark)])
    shelves = {"A": {"reno": 2, "newark": 90}, "B": {"newark": 90}}
    ordered = [Ordered(tuple((sku, 1) for sku in lines), place("89501"), level, True, 9.0) for lines in dict.fromkeys((skus, "A"))]
    found = taken(Outlook(network, TARIFFS, 0, {sku: shelves[sku] for sku in skus}, dict.fromkeys(skus, 400), ordered, 1.0))
    assert found.together == (set("A") if skus == "AB" else set())
    zones = {reach.location.code: reach.zone for reach in network.reach(place("89501"), TARIFFS)}
    here, there = (
        CARRIER.cards[service].price_cents(zones[code], 1, residential=True) for service, code in zip(by, ("reno", "newark"), strict=True)
    )
    assert here is not None
    assert there is not None
    assert found.cents["A", "reno"] == there - here


def test_the_same_outlook_gives_the_same_prices_in_whatever_order_it_is_told() -> None:
    told = an_outlook(1)
    other = Outlook(
        told.network,
        told.tariffs,
        told.split_cents,
        {sku: dict(reversed(list(places.items()))) for sku, places in reversed(list(told.shelves.items()))},
        told.unit_grams,
        list(reversed(told.ordered)),
        told.days,
    )
    first = taken(told)
    assert first.cents == taken(other).cents
    assert first.together == set(told.shelves), "all of them are scarce and travel with others"
    assert first.to_come == 0


def test_of_many_dual_values_always_the_same_is_the_price() -> None:
    """Whole orders from whole units leave a choice of prices, which whatever comes first would decide."""
    told = an_outlook(3)
    skus = sorted(told.shelves)
    shelves = [((sku, code), units) for sku in skus for code, units in told.shelves[sku].items() if code != "dallas"]
    expected = [Orders(entry.lines, way, 1.0) for entry, way in zip(told.ordered, ["west", "east"] * 60, strict=True)]
    expected = while_it_lasts(expected, dict.fromkeys(skus, 1e9))
    parcels = Parcels({way: WAYS[way] for way in ("west", "east")}, told.unit_grams)
    first = plan_prices(skus, dict(shelves), expected, parcels, {})
    assert first == pytest.approx(plan_prices(skus[::-1], dict(shelves[::-1]), expected[::-1], parcels, {}))
    assert any(first.values())


def test_products_whose_programme_fails_keep_the_price_that_each_has_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    told = an_outlook(2)
    usual = taken(told)

    def fails(*_: object) -> dict[tuple[str, str], float]:
        raise StockPriceError("no optimum")

    monkeypatch.setattr(outlook, "plan_prices", fails)
    found = taken(told)
    assert (found.together, found.alone_after_all, found.problem) == (set(), set(told.shelves), "no optimum")
    assert found.cents == {key: cents for piece in in_pieces(told) if piece.problem is None for key, cents in piece.cents.items()}
    assert found.cents != usual.cents


def test_of_too_many_kinds_of_orders_some_speak_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty A are wanted, ten times one and twenty times two, and Reno has 48. The two kinds that are looked at come to 45."""
    others = [f"B{number:03d}" for number in range(30)]
    shelves = {("A", "reno"): 48, ("A", "newark"): 90, **{(other, "reno"): 9 for other in others}}
    expected = [Orders((("A", 1 if number < 10 else 2), (other, 1)), "west", 1.0) for number, other in enumerate(others)]
    parcels = Parcels(WAYS, {sku: POUND_GRAMS for sku, _ in shelves})
    usual = plan_prices(["A"], shelves, expected, parcels, {})
    assert usual["A", "reno"] == pytest.approx(400), "two travel from Newark for 800 more"
    monkeypatch.setattr(whole_plans, "MOST_KINDS", 2)
    assert plan_prices(["A"], shelves, expected, parcels, {}) == pytest.approx(usual)

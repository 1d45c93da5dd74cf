"""New orders: the rules, by example and by property."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.allocation.decide.placing import Placement, place_orders, queue_positions
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from tests.allocation.messages import line, order


def place(orders: Sequence[OrderPlaced], available: dict[str, int], queued: dict[str, int] | None = None) -> Placement:
    waiting = {sku: (queued or {}).get(sku, 0) for sku in available}
    return place_orders(list(enumerate(orders)), known=(), available=available, queued=waiting, new_id=new_id)


def reserved_of(placement: Placement) -> list[list[int]]:
    return [[line.reserved for line in placed.lines] for placed in placement.orders]


def test_an_order_takes_what_it_wants_when_it_is_there() -> None:
    placement = place([order(line(2, "MUG"), line(1, "CUP", "2"))], {"MUG": 5, "CUP": 1})
    assert reserved_of(placement) == [[2, 1]]
    assert placement.claims["MUG"] == (2, 0, 3, 0)
    assert placement.claims["CUP"] == (1, 0, 0, 0)


def test_the_last_unit_goes_to_the_order_that_was_received_first() -> None:
    placement = place([order(), order()], {"MUG": 1})
    assert reserved_of(placement) == [[1], [0]]
    assert placement.claims["MUG"] == (1, 1, 0, 1)


def test_a_line_takes_what_is_there_and_queues_the_rest() -> None:
    placement = place([order(line(5))], {"MUG": 3})
    assert reserved_of(placement) == [[3]]
    assert placement.claims["MUG"] == (3, 2, 0, 2)


def test_two_lines_of_one_sku_in_one_order_both_count() -> None:
    placement = place([order(line(2), line(2, line_id="2"))], {"MUG": 3})
    assert reserved_of(placement) == [[2, 1]]


def test_an_order_that_holds_all_reserves_what_is_there_too() -> None:
    placement = place([order(line(1, "MUG"), line(1, "CUP", "2"), split_policy="hold_all")], {"MUG": 1, "CUP": 0})
    assert reserved_of(placement) == [[1, 0]]


def test_a_new_order_does_not_overtake_the_queue() -> None:
    placement = place([order(line(4))], {"MUG": 5}, {"MUG": 3})
    assert reserved_of(placement) == [[2]]
    assert list(queue_positions(placement.waiting, {("MUG", 5): 3}).values()) == [3 + 2]


def test_nothing_is_reserved_while_a_shortage_lasts() -> None:
    placement = place([order(line(1))], {"MUG": -2})
    assert reserved_of(placement) == [[0]]
    assert placement.claims["MUG"] == (0, 1, -2, 1)


def test_an_order_placed_twice_in_one_batch_counts_once() -> None:
    placed = order(line(2))
    placement = place([placed, placed], {"MUG": 10})
    assert placement.claims["MUG"] == (2, 0, 8, 0)
    assert len(placement.orders) == 1


def test_an_order_known_from_before_gets_nothing_again() -> None:
    placed = order(line(2))
    placement = place_orders([(0, placed)], known=[placed.order_id], available={"MUG": 10}, queued={"MUG": 0}, new_id=new_id)
    assert placement == Placement([], {}, [], [])


def test_a_newcomer_of_a_higher_class_stands_before_lower_classes_of_the_queue_and_of_its_batch() -> None:
    orders = [order(line(2)), order(line(1), priority=1), order(line(3), priority=9), order(line(4), priority=1)]
    placement = place(orders, {"MUG": 0}, {"MUG": 12})
    ahead = {("MUG", 1): 2, ("MUG", 5): 7, ("MUG", 9): 12}
    positions = queue_positions(placement.waiting, ahead)
    assert [positions[placed.lines[0].demand_id] for placed in placement.orders] == [7 + 1 + 4 + 2, 2 + 1, 12 + 1 + 4 + 2 + 3, 2 + 1 + 4]


def test_a_high_class_takes_no_unit_that_the_queue_has_a_claim_to() -> None:
    placement = place([order(line(2), priority=1)], {"MUG": 3}, {"MUG": 3})
    assert reserved_of(placement) == [[0]]
    assert placement.claims["MUG"].is_scarce


def test_a_sku_is_contested_when_a_batch_both_waits_for_it_and_holds_units_of_it() -> None:
    held = order(line(1), line(1, "CUP", "2"), split_policy="hold_all")
    placement = place([held, order(line(1), priority=1)], {"MUG": 1, "CUP": 0})
    assert placement.contested == ["MUG"]
    assert place([order(line(1)), order(line(1), priority=1)], {"MUG": 1}).contested == []


SKUS = ("A", "B", "C")
LINES = st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 6)), min_size=1, max_size=5)
STOCK = st.fixed_dictionaries({sku: st.integers(-3, 20) for sku in SKUS})
QUEUES = st.fixed_dictionaries({sku: st.integers(0, 5) for sku in SKUS})


@given(wanted=st.lists(LINES, min_size=1, max_size=8), available=STOCK, queued=QUEUES)
def test_no_batch_of_orders_promises_a_unit_twice_or_loses_one(
    wanted: list[list[tuple[str, int]]], available: dict[str, int], queued: dict[str, int]
) -> None:
    orders = [order(*(line(units, sku, str(number)) for number, (sku, units) in enumerate(lines))) for lines in wanted]
    placement = place(orders, available, queued)
    lines = [placed for one in placement.orders for placed in one.lines]
    for sku in SKUS:
        own = [placed for placed in lines if placed.sku == sku]
        reserved = sum(placed.reserved for placed in own)
        ordered = sum(placed.units for placed in own)
        free = max(0, available[sku] - queued[sku])
        claim = placement.claims.get(sku, (0, 0, available[sku], queued[sku]))
        assert reserved == min(free, ordered)
        assert claim == (reserved, ordered - reserved, available[sku] - reserved, queued[sku] + ordered - reserved)
        assert all(0 <= placed.reserved <= placed.units for placed in own)


@given(wanted=st.lists(LINES, min_size=1, max_size=8), available=STOCK, queued=QUEUES)
def test_whoever_comes_later_never_gets_units_that_an_earlier_line_waits_for(
    wanted: list[list[tuple[str, int]]], available: dict[str, int], queued: dict[str, int]
) -> None:
    orders = [order(*(line(units, sku, str(number)) for number, (sku, units) in enumerate(lines))) for lines in wanted]
    placement = place(orders, available, queued)
    lines = [placed for one in placement.orders for placed in one.lines]
    at = queue_positions(placement.waiting, {(sku, 5): units for sku, units in queued.items()})
    assert [placed.demand_id for placed in lines] == sorted(placed.demand_id for placed in lines)
    for sku in SKUS:
        own = [placed for placed in lines if placed.sku == sku]
        first_short = next((number for number, placed in enumerate(own) if placed.reserved < placed.units), len(own))
        assert all(placed.reserved == 0 for placed in own[first_short + 1 :])
        positions = [at[placed.demand_id] for placed in own if placed.reserved < placed.units]
        assert positions == sorted(positions)
        assert all(position > queued[sku] for position in positions)

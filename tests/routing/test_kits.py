"""Kits: their components are planned together or not at all, and change together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.cancelling import wishes_of
from services.routing.decide.changes import request_change
from services.routing.decide.fulfillment import State
from services.routing.decide.order import Line, Order, live_units
from services.routing.decide.planning import plan_order, plannable
from services.routing.decide.refusals import Refusal
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentAssigned,
    FulfillmentPlanned,
    FulfillmentRequested,
    FulfillmentShipped,
    OrderNeedsAttention,
    ThirdPartyAccepted,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import (
    ComponentProduct,
    LineChange,
    LineToCancel,
    OrderCancelRequested,
    OrderEdited,
    OrderEditRejected,
    OrderEditRequested,
    OrderLine,
)
from shared.contracts.returns import RefundRequested
from shared.kits import Kit, lines_of
from tests.routing.conftest import Desk
from tests.routing.messages import NOON, PATIENCE, SHOPPER, a_copy, a_line, an_order, backordered, reserved, units
from tests.routing.test_planner import a_planner, place

AMPLE = {sku: {"reno": 50, "newark": 50} for sku in ("MUG", "LAMP", "CHAIR")}


def component(sku: str, quantity: int = 1, price: int = 1_000) -> ComponentProduct:
    return ComponentProduct(sku=sku, title=f"The {sku}", quantity=quantity, unit_price_cents=price, unit_weight_grams=400)


SET = (component("MUG", 2), component("LAMP"))


def a_set(
    quantity: int = 1, *, line_id: str = "k", price: int = 3_000, tax: int = 0, of: tuple[ComponentProduct, ...] = SET
) -> list[OrderLine]:
    """Sets of two mugs and a lamp, as sync places them: lines ``k.1`` and ``k.2``."""
    return lines_of(Kit(line_id, "SET", "The set", quantity, price, tax, of), {line_id})


def free(order: Order) -> dict[str, int]:
    return {entry.line_id: entry.units for entry in plannable(order, NOON)}


def holding(order: Order, **unplanned: int) -> Order:
    """The order with units that are free to plan, by SKU."""
    return replace(order, lines=tuple(replace(line, unplanned=unplanned.get(line.sku, 0)) for line in order.lines))


def test_a_kit_is_planned_only_as_far_as_all_its_components_reach() -> None:
    order = a_copy(*a_set(3))
    assert free(holding(order, MUG=6, LAMP=3)) == {"k.1": 6, "k.2": 3}
    assert free(holding(order, MUG=6, LAMP=1)) == {"k.1": 2, "k.2": 1}
    assert free(holding(order, MUG=5, LAMP=3)) == {"k.1": 4, "k.2": 2}
    assert free(holding(order, MUG=1, LAMP=3)) == {}


def test_what_was_bought_beside_a_kit_does_not_wait_for_it() -> None:
    order = a_copy(*a_set(), a_line("b", 1, sku="CHAIR"))
    assert free(holding(order, MUG=2, CHAIR=1)) == {"b": 1}


def test_a_component_bought_by_itself_as_well_does_not_wait_for_the_kit() -> None:
    order = a_copy(*a_set(), a_line("b", 1, sku="MUG"))
    assert free(replace(order, lines=tuple(replace(line, unplanned=1) for line in order.lines))) == {"b": 1}


def test_an_order_that_holds_all_waits_for_everything_as_before() -> None:
    order = a_copy(*a_set(), a_line("b", 1, sku="CHAIR"), split_policy="hold_all")
    assert free(holding(order, MUG=2, LAMP=1)) == {}
    assert free(holding(order, MUG=2, LAMP=1, CHAIR=1)) == {"k.1": 2, "k.2": 1, "b": 1}


def test_the_rest_of_a_kit_of_which_a_part_has_left_follows_by_itself() -> None:
    order = a_copy(*a_set(2))
    gone = replace(order, lines=(replace(order.lines[0], shipped=4), replace(order.lines[1], shipped=1, unplanned=1)))
    assert free(gone) == {"k.2": 1}


def plan(order: Order, assignable: Mapping[str, Mapping[str, int]]) -> tuple[Order, list[Any]]:
    ids = iter([new_id() for _ in range(200)])
    planned = plan_order(
        replace(order, assignable=assignable), place("89501"), a_planner("reno", "newark"), {}, NOON, lambda: next(ids), PATIENCE
    )
    return planned.outcome.order, [say.data for say in planned.outcome.says]


def test_half_a_kit_that_no_location_could_complete_stays_and_a_person_is_called() -> None:
    order, said = plan(
        holding(a_copy(*a_set(), a_line("b", 1, sku="CHAIR")), MUG=2, LAMP=1, CHAIR=1), {"MUG": {"reno": 9}, "CHAIR": {"reno": 1}}
    )
    assert live_units(order) == {"b": 1}
    [attention] = [told for told in said if isinstance(told, OrderNeedsAttention)]
    assert "no location may ship 1 of LAMP" in attention.detail
    assert {line.line_id: line.unplanned for line in order.lines} == {"k.1": 2, "k.2": 1, "b": 0}


def test_units_of_a_kit_that_cannot_be_complete_go_to_the_next_one() -> None:
    lines = [*a_set(of=(component("MUG"), component("LAMP")), line_id="k"), *a_set(of=(component("MUG"), component("CHAIR")), line_id="m")]
    order, _ = plan(
        replace(a_copy(*lines), lines=tuple(replace(line, unplanned=1) for line in a_copy(*lines).lines)),
        {"MUG": {"reno": 1}, "CHAIR": {"newark": 1}},
    )
    assert live_units(order) == {"m.1": 1, "m.2": 1}


KITS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.dictionaries(st.sampled_from(["MUG", "LAMP", "CHAIR"]), st.integers(1, 3), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=3,
)
PLACES = st.dictionaries(st.sampled_from(["reno", "newark"]), st.integers(0, 6), max_size=2)


@settings(max_examples=150, deadline=None)
@given(
    kits=KITS,
    single=st.integers(0, 3),
    # A share for every line: three components of three kits, each in up to two lines, and the single one.
    reserved_share=st.lists(st.integers(0, 9), min_size=19, max_size=19),
    assignable=st.fixed_dictionaries({"MUG": PLACES, "LAMP": PLACES, "CHAIR": PLACES}),
)
def test_no_plan_ever_sends_half_a_kit(
    kits: list[tuple[int, dict[str, int]]],
    single: int,
    reserved_share: list[int],
    assignable: dict[str, dict[str, int]],
) -> None:
    lines = [
        line
        for number, (quantity, parts) in enumerate(kits)
        for line in a_set(quantity, line_id=f"k{number}", of=tuple(component(sku, count) for sku, count in parts.items()))
    ]
    copy = a_copy(*lines, *([a_line("single", single, sku="MUG")] if single else []))
    order = replace(
        copy,
        lines=tuple(replace(line, unplanned=min(line.quantity, share)) for line, share in zip(copy.lines, reserved_share, strict=False)),
    )
    planned, _ = plan(order, assignable)
    live = live_units(planned)
    parts: dict[str, list[Line]] = {}
    for line in planned.lines:
        if line.kit is not None:
            parts.setdefault(line.kit.line_id, []).append(line)
    for own in parts.values():
        sent = {live.get(line.line_id, 0) / line.kit.units for line in own if line.kit is not None}
        assert len(sent) == 1
        assert sent.pop().is_integer()
    for line in planned.lines:
        assert live.get(line.line_id, 0) + line.unplanned == next(old.unplanned for old in order.lines if old.line_id == line.line_id)
    if single:
        stocked = sum(assignable["MUG"].values())
        needed = sum(live.get(line.line_id, 0) for line in planned.lines if line.sku == "MUG" and line.kit is not None)
        assert live.get("single", 0) == min(order.lines[-1].unplanned, stocked - needed) or needed > 0


def edit(order: Any, *changes: LineChange) -> OrderEditRequested:
    return OrderEditRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, line_changes=list(changes))


def edited(order: Order, *changes: LineChange) -> OrderEdited:
    outcome = request_change(order, edit(order, *changes), NOON, PATIENCE)
    [event] = [say.data for say in outcome.says if isinstance(say.data, OrderEdited)]
    return event


def refusal(order: Order, *changes: LineChange) -> str:
    [say] = request_change(order, edit(order, *changes), NOON, PATIENCE).says
    assert isinstance(say.data, OrderEditRejected)
    return f"{say.data.reason}: {say.data.detail}"


def test_a_kit_is_made_smaller_by_its_own_line_and_stays_whole() -> None:
    order = a_copy(*a_set(3, price=1_000, tax=100))
    event = edited(order, LineChange(line_id="k", quantity=2))
    assert [(line.sku, line.quantity, line.kit and (line.kit.quantity, line.kit.units_per_kit)) for line in event.lines] == [
        ("MUG", 2, (2, 1)),
        ("MUG", 2, (2, 1)),
        ("LAMP", 2, (2, 1)),
    ]
    assert -event.money_delta_cents in range(1_000, 1_035)


def test_a_kit_is_removed_by_its_own_line() -> None:
    event = edited(a_copy(*a_set(), a_line("b")), LineChange(line_id="k", sku="SET", quantity=0))
    assert [line.line_id for line in event.lines] == ["b"]


def test_a_part_of_a_kit_cannot_be_changed_by_itself_and_the_answer_names_the_way_out() -> None:
    order = a_copy(*a_set(2))
    answer = refusal(order, LineChange(line_id="k.1", quantity=3))
    assert answer.startswith("invalid: line_changes: line k.1 is a part of kit SET, which changes as a whole: ")
    assert "name line k, its quantity counts kits (0 removes the kit)" in answer
    part = [LineToCancel(line_id="k.1")]
    cancelled = wishes_of(order, OrderCancelRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, reason="x", lines=part))
    what = "line k.1 is a part of kit SET, which is cancelled as a whole: name line k, its quantity counts kits"
    assert cancelled == Refusal("invalid", f"lines: {what}")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (LineChange(line_id="m", quantity=1), "unknown_line: line_changes: the order has no line m"),
        (LineChange(line_id="k", sku="MUG", quantity=1), "invalid: line_changes: line k is SET, not MUG"),
        (
            LineChange(line_id="k", quantity=1, unit_price_cents=2_999),
            "invalid: line_changes.0.unit_price_cents: line k has 3000, not 2999, and keeps it",
        ),
        (LineChange(line_id="k", quantity=500_001), "invalid: line_changes: line k: quantity: at most 1000000 units"),
        (
            LineChange(sku="BOX", quantity=1, components=[component("MUG")]),
            "invalid: line_changes: change 1: unit_price_cents: needed for BOX",
        ),
        (
            LineChange(sku="BOX", quantity=1, unit_price_cents=0, components=[component("MUG"), component("MUG")]),
            "invalid: line_changes: change 1: components: MUG stands twice in kit BOX",
        ),
        (
            LineChange(sku="BOX", quantity=1_000, unit_price_cents=0, components=[component("MUG", 1_001)]),
            "invalid: line_changes: change 1: quantity: 1000 kits need too many units of MUG",
        ),
    ],
    ids=["no such line", "another SKU", "another price", "too many", "no price", "a component twice", "too many components"],
)
def test_a_change_of_a_kit_that_makes_no_sense_names_the_field(change: LineChange, answer: str) -> None:
    assert refusal(a_copy(*a_set(2)), change).startswith(answer)


def test_a_kit_named_twice_is_refused() -> None:
    assert "line k is named twice" in refusal(a_copy(*a_set(2)), LineChange(line_id="k", quantity=1), LineChange(line_id="k", quantity=1))


def test_a_kit_that_is_added_becomes_its_components_at_the_kits_price() -> None:
    order = a_copy(a_line("b", 2, unit_price_cents=5_000, tax_cents=0))
    added = LineChange(sku="SET", title="The set", quantity=2, unit_price_cents=2_000, tax_cents=99, components=list(SET))
    event = edited(order, LineChange(line_id="b", quantity=1), added)
    parts = [line for line in event.lines if line.kit is not None]
    assert sum(line.quantity * line.unit_price_cents for line in parts) == 4_000
    assert sum(line.tax_cents for line in parts) == 99
    assert {line.sku: line.quantity for line in parts} == {"MUG": 4, "LAMP": 2}
    assert len({line.kit.line_id for line in parts if line.kit}) == 1
    assert event.money_delta_cents == 4_099 - 5_000


async def test_kits_are_kept_as_kits_through_planning_edit_and_shipment(desk: Desk) -> None:
    placed = an_order(*a_set(2, price=1_001, tax=77), a_line("b", 1, sku="CHAIR"))
    await desk.hear(placed)
    assert len((await desk.hear(reserved(placed, AMPLE, {"k.1": 2, "k.2": 2, "b": 1}))).of(FulfillmentPlanned)) == 1
    event = (await desk.hear(edit(placed, LineChange(line_id="k", quantity=1)))).one(OrderEdited)
    assert {line.sku: line.quantity for line in event.lines if line.kit} == {"MUG": 2, "LAMP": 1}
    wanted = {line.line_id: line.quantity for line in event.lines}
    plan = (await desk.hear(reserved(placed, AMPLE, wanted, cause="edited", version=2))).one(FulfillmentPlanned)
    [request] = (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))).of(FulfillmentRequested)
    told = ThirdPartyShipped(
        fulfillment_id=request.fulfillment_id,
        carrier="UPS",
        tracking_number="1Z",
        lines=[units(line.quantity, line.line_id, line.sku) for line in request.lines],
        shipped_at=NOON,
    )
    parcel = (await desk.hear(told, partner="west")).one(FulfillmentShipped)
    assert {line.line_id: line.quantity for line in parcel.lines} == wanted


async def test_half_a_kit_waits_until_the_rest_is_there(desk: Desk) -> None:
    placed = an_order(*a_set())
    await desk.hear(placed)
    assert (await desk.hear(reserved(placed, AMPLE, {"k.1": 2}))).types == []
    assert (await desk.hear(backordered(placed, {"k.2": 1}))).types == []
    order = await desk.order(placed.order_id)
    assert (order["status"], order["waiting_for"]) == ("partially_allocated", "stock")
    plan = (await desk.hear(reserved(placed, {"LAMP": {"reno": 5}}, {"k.2": 1}, cause="restocked"))).one(FulfillmentPlanned)
    assert sorted((line.line_id, line.quantity) for part in plan.fulfillments for line in part.lines) == [("k.1", 2), ("k.2", 1)]


async def test_a_component_that_a_picker_missed_follows_when_it_is_there_again(desk: Desk) -> None:
    placed = an_order(*a_set())
    [request] = await desk.hand_over(placed, {"MUG": {"reno": 9}, "LAMP": {"reno": 9}})
    await desk.hear(ThirdPartyAccepted(fulfillment_id=request.fulfillment_id, accepted_at=NOON), partner="west")
    missing = [units(1, "k.2", "LAMP")]
    await desk.hear(ThirdPartyShortPicked(fulfillment_id=request.fulfillment_id, missing=missing, picked_at=NOON), partner="west")
    again = (await desk.hear(reserved(placed, AMPLE, {"k.2": 1}, cause="fulfillment_cancelled"))).one(FulfillmentPlanned)
    assert [(line.line_id, line.quantity) for line in again.fulfillments[0].lines] == [("k.2", 1)]
    assert await desk.states(placed.order_id) == [State.ACCEPTED.value, State.PLANNED.value]


async def test_the_refund_of_an_edited_kit_is_what_its_lines_fell_by(desk: Desk) -> None:
    placed = an_order(*a_set(3, price=1_000, tax=50))
    await desk.hear(placed)
    heard = await desk.hear(edit(placed, LineChange(line_id="k", quantity=1)))
    refund = heard.one(RefundRequested)
    assert refund.amount_cents == -heard.one(OrderEdited).money_delta_cents == sum(line.amount_cents for line in refund.lines)


async def test_orders_of_one_batch_that_want_more_than_there_is_are_planned_on_allocations_word(desk: Desk) -> None:
    first, second = an_order(a_line("1", 1)), an_order(a_line("1", 1))
    await desk.hear(first, second)
    heard = await desk.hear(*(reserved(order, {"SKU-1": {"reno": 1}}) for order in (first, second)))
    assert len(heard.of(FulfillmentPlanned)) == 2

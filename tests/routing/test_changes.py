"""Cancel and edit: what may be changed, what it costs, and that the same request gets the same answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing import current
from services.routing.decide.answers import answer
from services.routing.decide.changes import request_change
from services.routing.decide.fulfillment import State
from services.routing.decide.money import cancellation_refund, first_units_cents, refund_id_of, share_cents, total_cents
from services.routing.decide.order import Order
from services.routing.decide.paying import take_payment
from services.routing.decide.planning import as_if_new
from services.routing.decide.preview import preview_edit
from services.routing.decide.service_prices import priced, shipping_after
from services.routing.decide.stock import reserve
from services.routing.decide.tariffs import DimensionalWeight
from services.routing.service_price_files import ServicePriceError, load_service_prices
from shared.contracts.base import MOST_CENTS
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentAssigned,
    FulfillmentCancelRequested,
    FulfillmentInterceptRequested,
    FulfillmentPlanned,
    FulfillmentRequested,
    OrderNeedsAttention,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyIntercepted,
    ThirdPartyRejected,
    ThirdPartyShipped,
)
from shared.contracts.orders import (
    ComponentProduct,
    LineChange,
    LineToCancel,
    OrderCancelled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderChangePending,
    OrderEdited,
    OrderEditRejected,
    OrderEditRequested,
    OrderPaymentRequested,
    PaymentCollected,
    PaymentRefused,
)
from shared.contracts.returns import RefundRequested, ReturnAuthorisationRequested
from tests.routing.conftest import Desk
from tests.routing.messages import HOME, NOON, PATIENCE, RENO, SHOPPER, a_copy, a_line, an_order, backordered, reserved, units
from tests.routing.test_handlers import AMPLE, shipped
from tests.routing.test_planner import a_planner, place, with_volume_billed
from tests.routing.test_states import a_fulfillment


def edit(order: Any, *changes: LineChange, **more: Any) -> OrderEditRequested:
    fields = {"order_id": order.order_id, "change_id": new_id(), "actor": SHOPPER, "line_changes": list(changes)}
    return OrderEditRequested(**{**fields, **more})


def cancel(order: Any, **more: Any) -> OrderCancelRequested:
    return OrderCancelRequested(**{"order_id": order.order_id, "change_id": new_id(), "actor": SHOPPER, "reason": "no need", **more})


def said(order: Order, request: OrderEditRequested | OrderCancelRequested, **more: Any) -> list[Any]:
    return [say.data for say in request_change(order, request, NOON, PATIENCE, **more).says]


def refusal(order: Order, request: OrderEditRequested | OrderCancelRequested, **more: Any) -> str:
    [answer] = said(order, request, **more)
    assert isinstance(answer, OrderEditRejected | OrderCancelRejected)
    assert answer.detail
    return answer.reason


@given(st.integers(0, 100_000), st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_shares_of_an_amount_add_up_to_it_in_whatever_steps_it_is_taken(total_cents: int, steps: list[int]) -> None:
    whole = sum(steps)
    taken = 0
    cents = []
    for step in steps:
        cents.append(share_cents(total_cents, taken + step, whole) - share_cents(total_cents, taken, whole))
        taken += step
    assert sum(cents) == (total_cents if whole else 0)
    assert all(cent >= 0 for cent in cents)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 5_000), st.integers(0, 999), st.integers(0, 900))
def test_what_is_refunded_and_what_is_kept_add_up_to_what_was_paid(
    quantity: int, shipped_units: int, price: int, tax: int, shipping: int
) -> None:
    shipped_units = min(shipped_units, quantity)
    order = a_copy(a_line("1", quantity, unit_price_cents=price, tax_cents=tax), a_line("2", 1), shipping_paid_cents=shipping)
    order = replace(order, lines=(replace(order.lines[0], shipped=shipped_units), order.lines[1]))
    refund = cancellation_refund(order, new_id())
    refunded = refund.amount_cents if refund else 0
    kept = first_units_cents(order.lines[0], shipped_units) + (shipping if shipped_units else 0)
    assert refunded + kept == total_cents(order.lines) + shipping
    if refund:
        assert refund.amount_cents == sum(line.amount_cents for line in refund.lines) + refund.shipping_cents


def test_the_refund_of_a_cause_has_one_id_for_ever() -> None:
    order, change = new_id(), new_id()
    assert refund_id_of(order, change) == refund_id_of(order, change)
    assert refund_id_of(order, change) != refund_id_of(order, new_id())


def test_an_order_that_no_3pl_has_heard_of_is_cancelled_at_once_with_its_shipping() -> None:
    order = a_copy(a_line("1", 3, tax_cents=100))
    cancelled, refund = said(order, cancel(order))
    assert isinstance(cancelled, OrderCancelled)
    assert isinstance(refund, RefundRequested)
    assert (cancelled.lines, cancelled.refund_cents, cancelled.order_version) == ([units(3)], 3_600, 2)
    assert (refund.amount_cents, refund.shipping_cents, refund.cause_id) == (3_600, 500, cancelled.change_id)


def test_a_free_order_is_cancelled_without_a_refund() -> None:
    order = a_copy(a_line("1", 3, unit_price_cents=0, tax_cents=0), shipping_paid_cents=0)
    [cancelled] = said(order, cancel(order))
    assert (cancelled.type, cancelled.refund_cents) == ("order.cancelled.v1", 0)


def test_the_rest_of_a_partly_shipped_order_is_cancelled_without_its_shipping() -> None:
    order = a_copy(a_line("1", 3, tax_cents=100), a_line("2", 2))
    order = replace(order, fulfillments=(a_fulfillment(State.SHIPPED, 3),), lines=(replace(order.lines[0], shipped=3), order.lines[1]))
    cancelled, refund = said(order, cancel(order))
    assert cancelled.lines == [units(2, "2")]
    assert (refund.amount_cents, refund.shipping_cents) == (2_100, 0)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.ACCEPTED, "fulfillment_started"),
        (State.CANCEL_REFUSED, "fulfillment_started"),
        (State.INTERCEPT_FAILED, "fulfillment_started"),
        (State.INCOMPLETE, "fulfillment_started"),
        (State.SHIPPED, "already_shipped"),
        (State.DELIVERED, "already_shipped"),
    ],
)
def test_after_the_cutoff_edits_are_refused_with_the_reason_and_cancellations_once_everything_left(state: State, reason: str) -> None:
    fulfillment = a_fulfillment(state)
    order = a_copy(a_line("1", 3))
    left = sum(line.shipped for line in fulfillment.lines)
    order = replace(order, fulfillments=(fulfillment,), lines=(replace(order.lines[0], shipped=left),))
    assert refusal(order, edit(order, LineChange(line_id="1", quantity=2))) == reason
    if reason == "already_shipped":
        assert refusal(order, cancel(order)) == reason
    else:
        assert said(order, cancel(order))[0].type == "order.change_pending.v1"


@pytest.mark.parametrize("worked", list(permutations(("first", "second", "edit"))), ids=" ".join)
@pytest.mark.parametrize(("first", "second", "wanted"), [(3, 2, 1), (3, 2, 2), (1, 4, 2), (2, 2, 3), (1, 2, 2)])
def test_units_that_come_back_around_an_edit_can_be_planned_in_whatever_order_allocation_works_and_is_heard(
    worked: tuple[str, ...], first: int, second: int, wanted: int
) -> None:
    """Two fulfillments give their units back while the line is made smaller; allocation takes what is too much from what is free first."""
    order = a_copy(a_line("1", first + second))
    order = replace(order, lines=(replace(order.lines[0], coming_back=first + second),))
    order = request_change(order, edit(order, LineChange(line_id="1", quantity=wanted)), NOON, PATIENCE).order
    tied = {"first": first, "second": second}
    free, version, words = 0, 1, []
    for step in worked:
        if step == "edit":
            version, surplus = 2, first + second - wanted
            taken = min(surplus, free)
            free, surplus = free - taken, surplus - taken
            for name in ("second", "first"):
                recalled = min(surplus, tied[name])
                tied[name], surplus = tied[name] - recalled, surplus - recalled
            words.append(reserved(order, AMPLE, {"1": free} if free else {}, cause="edited", version=2))
        elif tied[step]:
            free += tied[step]
            words.append(reserved(order, AMPLE, {"1": tied[step]}, cause="fulfillment_cancelled", version=version))
            tied[step] = 0
    for heard in permutations(words):
        known = order
        for word in heard:
            outcome = reserve(known, word, NOON, PATIENCE)
            assert outcome.problem is None
            known = outcome.order
        assert known.lines[0].plannable == wanted
        assert known.lines[0].coming_back <= 0


@pytest.mark.parametrize(("state", "reason"), [(State.ACCEPTED, "fulfillment_started"), (State.SHIPPED, "already_shipped")])
def test_lines_before_their_cutoff_stay_free_after_others_have_started_or_shipped(state: State, reason: str) -> None:
    second = new_id()
    waiting = a_fulfillment(State.SUBMITTED, 2, second, "2")
    gone = a_fulfillment(state)
    order = a_copy(a_line("1", 3), a_line("2", 2))
    order = replace(order, fulfillments=(gone, waiting), lines=(replace(order.lines[0], shipped=gone.lines[0].shipped), order.lines[1]))
    assert refusal(order, edit(order, LineChange(line_id="1", quantity=1))) == reason
    moved = HOME.model_copy(update={"postal_code": "10001", "region": "NY"})
    assert refusal(order, edit(order, ship_to=moved)) == reason, "the address is that of what has left, too"
    pending = request_change(order, edit(order, LineChange(line_id="2", quantity=1)), NOON, PATIENCE)
    asked = [say.data for say in pending.says if isinstance(say.data, FulfillmentCancelRequested)]
    assert [request.fulfillment_id for request in asked] == [second], "who has started is left alone"
    started = answer(pending.order, ThirdPartyAccepted(fulfillment_id=second, accepted_at=NOON), NOON, PATIENCE)
    assert [say.data.type for say in started.says] == ["fulfillment.started.v1", "order.edit_rejected.v1"]
    made = answer(pending.order, ThirdPartyCancelAccepted(fulfillment_id=second, answered_at=NOON), NOON, PATIENCE)
    [edited, refund] = [say.data for say in made.says]
    assert isinstance(edited, OrderEdited)
    assert ([line.quantity for line in edited.lines], edited.withdrawn_fulfillment_ids) == ([3, 1], [second])
    assert isinstance(refund, RefundRequested)
    assert refund.amount_cents == 1_050
    assert made.order.fulfillments[0] == gone
    fewer = replace(order, fulfillments=(gone,))
    removed = said(fewer, edit(fewer, LineChange(line_id="2", quantity=0)))
    assert [line.line_id for line in removed[0].lines] == ["1"], "nobody need be asked about what no warehouse has"


def test_a_cancelled_order_is_neither_cancelled_nor_edited_again() -> None:
    order = a_copy()
    cancelled = request_change(order, cancel(order), NOON, PATIENCE).order
    assert refusal(cancelled, cancel(order)) == "already_cancelled"
    assert refusal(cancelled, edit(order, LineChange(line_id="1", quantity=1))) == "already_cancelled"


def test_a_change_on_a_version_that_is_gone_is_refused() -> None:
    order = a_copy()
    assert refusal(order, cancel(order, expected_order_version=3)) == "stale_version"
    assert said(order, cancel(order, expected_order_version=1))[0].type == "order.cancelled.v1"


def test_one_change_at_a_time() -> None:
    order = replace(a_copy(a_line("1", 3)), fulfillments=(a_fulfillment(State.SUBMITTED),))
    pending = request_change(order, edit(order, LineChange(line_id="1", quantity=2)), NOON, PATIENCE)
    assert [say.data.type for say in pending.says] == ["order.change_pending.v1", "fulfillment.cancel_requested.v1"]
    assert refusal(pending.order, cancel(order)) == "change_in_progress"


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ([LineChange(line_id="9", quantity=1)], "unknown_line", "line 9"),
        ([LineChange(line_id="1", quantity=2)], "nothing_to_change", "already is"),
        ([], "nothing_to_change", "already is"),
        ([LineChange(line_id="1", quantity=0), LineChange(line_id="2", quantity=0)], "empties_order", "cancel it"),
        ([LineChange(line_id="1", quantity=3)], "payment_required", "line_changes: the change costs 1050 cents (USD) more"),
        (
            [LineChange(line_id="1", quantity=1), LineChange(line_id="1", quantity=0)],
            "invalid",
            "line 1 is named twice; name it once with its final",
        ),
        ([LineChange(line_id="1", sku="OTHER", quantity=1)], "invalid", "to swap, remove it and add a line"),
        ([LineChange(quantity=1)], "invalid", "name line_id"),
        ([LineChange(sku="NEW", quantity=0, unit_price_cents=0, unit_weight_grams=1)], "invalid", "quantity"),
        ([LineChange(sku="NEW", quantity=1, unit_weight_grams=1)], "invalid", "unit_price_cents: needed for NEW"),
        ([LineChange(sku="NEW", quantity=1, unit_price_cents=1)], "invalid", "unit_weight_grams: needed for NEW"),
        (
            [LineChange(line_id="1", quantity=1, unit_price_cents=999)],
            "invalid",
            "line_changes.0.unit_price_cents: line 1 has 1000, not",
        ),
        ([LineChange(line_id="1", quantity=2, tax_cents=0)], "invalid", "line_changes.0.tax_cents: line 1 with 2 units has 100, not 0"),
    ],
)
def test_an_edit_that_can_not_be_made_is_refused_naming_the_field(changes: list[LineChange], reason: str, named: str) -> None:
    order = a_copy(a_line("1"), a_line("2"))
    [answer] = said(order, edit(order, *changes))
    assert answer.reason == reason
    assert named in answer.detail


@pytest.mark.parametrize(
    "harmless",
    [
        LineChange(line_id="1", quantity=1, unit_price_cents=1_000, tax_cents=50),
        LineChange(line_id="1", quantity=0, unit_price_cents=1, tax_cents=1),
    ],
    ids=["what the line then has", "of a line that goes"],
)
def test_a_price_that_makes_no_difference_may_be_said_of_a_line_that_was_bought(harmless: LineChange) -> None:
    order = a_copy(a_line("1", 2, tax_cents=100), a_line("2"))
    bare = LineChange(line_id="1", quantity=harmless.quantity)
    assert [answer.lines for answer in said(order, edit(order, harmless)) if isinstance(answer, OrderEdited)] == [
        answer.lines for answer in said(order, edit(order, bare)) if isinstance(answer, OrderEdited)
    ]
    assert said(order, edit(order, harmless))[0].money_delta_cents < 0


COLLECTS = replace(PATIENCE, payment=timedelta(minutes=30))
A_COMPONENT = ComponentProduct(sku="CUP", title="Cup", quantity=2, unit_price_cents=1, unit_weight_grams=1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ([LineChange(sku="NEW", quantity=1_000_000, unit_price_cents=MOST_CENTS, unit_weight_grams=1)], "line_changes.1.unit_price_cents"),
        ([LineChange(sku="NEW", quantity=1_000_000, unit_price_cents=10_000, unit_weight_grams=1)], "line_changes.1.quantity"),
        ([LineChange(sku="KIT", quantity=1, unit_price_cents=MOST_CENTS, components=[A_COMPONENT])], "line_changes.1.unit_price_cents"),
        ([LineChange(line_id="2", quantity=1_000_000)], "line_changes.1.quantity"),
        ([], "service_level"),
    ],
)
def test_an_edit_to_more_than_any_order_may_be_worth_is_refused_by_field_with_the_limit(changes: list[LineChange], field: str) -> None:
    order = a_copy(a_line("1", 3), a_line("2", unit_price_cents=10_000))
    faster = {} if changes else {"service_level": "next_day", "shipping_paid_cents": MOST_CENTS}
    request = edit(order, LineChange(line_id="1", quantity=2), *changes, **faster)
    [refused] = [say.data for say in request_change(order, request, NOON, COLLECTS).says]
    assert isinstance(refused, OrderEditRejected)
    assert (refused.reason, refused.detail.split(":")[0]) == ("invalid", field)
    assert "the largest amount is 10000000000; " in refused.detail


@pytest.mark.parametrize("blank", [" ", "\u00a0\t", "\u200b"])
@pytest.mark.parametrize("field", ["name", "line1", "city"])
def test_an_address_that_a_label_would_show_empty_is_refused_by_field(field: str, blank: str) -> None:
    order = a_copy()
    [answer] = said(order, edit(order, ship_to=HOME.model_copy(update={"line2": blank, field: blank})))
    assert (answer.reason, answer.detail) == ("invalid", f"ship_to.{field}: is blank; send what is to stand on the parcel")


def test_an_address_that_is_not_on_the_map_is_refused() -> None:
    order = a_copy()
    nowhere = HOME.model_copy(update={"postal_code": "00000"})
    [say] = request_change(order, edit(order, ship_to=nowhere), NOON, PATIENCE, postal_code_known=False).says
    assert isinstance(say.data, OrderEditRejected)
    assert say.data.reason == "invalid"
    assert say.data.detail.startswith("ship_to.postal_code: '00000' is on no map of US here; correct the postal code or the country, or ")


def test_a_smaller_quantity_gives_price_and_tax_share_back() -> None:
    order = a_copy(a_line("1", 3, tax_cents=100))
    edited, refund = said(order, edit(order, LineChange(line_id="1", quantity=2)))
    assert isinstance(edited, OrderEdited)
    assert (edited.lines[0].quantity, edited.lines[0].tax_cents, edited.money_delta_cents) == (2, 67, -1_033)
    assert (refund.amount_cents, refund.cause, refund.lines[0].quantity, refund.shipping_cents) == (1_033, "edited", 1, 0)


def test_a_swap_is_paid_from_the_line_that_goes_and_only_the_rest_comes_back() -> None:
    order = a_copy(a_line("1", 1, unit_price_cents=3_000, tax_cents=0), a_line("2", 1))
    swap = edit(
        order,
        LineChange(line_id="1", quantity=0),
        LineChange(sku="NEW", quantity=1, unit_price_cents=2_000, tax_cents=150, unit_weight_grams=100, unit_volume_cubic_centimetres=900),
    )
    edited, refund = said(order, swap)
    assert [(line.sku, line.quantity, line.unit_volume_cubic_centimetres) for line in edited.lines] == [("SKU-2", 1, 0), ("NEW", 1, 900)]
    assert edited.money_delta_cents == -850
    assert [(line.line_id, line.quantity, line.amount_cents) for line in refund.lines] == [("1", 1, 850)]


def test_the_preview_of_an_edit_and_the_trial_of_rules_bill_the_volume_of_the_lines() -> None:
    planner = a_planner("reno", tariffs=with_volume_billed(DimensionalWeight.of_inches(139)))
    costs = []
    for volume in (0, 15_000):
        order = a_copy(a_line("1", 3).model_copy(update={"unit_volume_cubic_centimetres": volume}))
        home, stock = place("89501"), {"SKU-1": {"reno": 3}}
        preview = preview_edit(order, edit(order, LineChange(line_id="1", quantity=2)), home, home, stock, planner, NOON)
        assert preview.shipping_after is not None
        costs.append((preview.shipping_after.cost_cents, as_if_new(order, home, planner, stock, NOON)[1].cost_cents))
    light, bulky = costs
    assert all(more > less for more, less in zip(bulky, light, strict=True))


def test_an_unpaid_line_that_is_added_and_then_removed_refunds_nothing() -> None:
    order = a_copy(a_line("1"))
    addition = LineChange(sku="NEW", quantity=1, unit_price_cents=500, unit_weight_grams=100)
    assert refusal(order, edit(order, addition)) == "payment_required"
    gift = addition.model_copy(update={"unit_price_cents": 0})
    enriched = request_change(order, edit(order, gift), NOON, PATIENCE).order
    answers = said(enriched, edit(enriched, LineChange(line_id=enriched.lines[-1].line_id, quantity=0)))
    assert [(answer.type, answer.money_delta_cents) for answer in answers] == [("order.edited.v1", 0)]


def test_a_new_address_alone_costs_nothing_and_withdraws_what_is_planned() -> None:
    order = replace(a_copy(a_line("1", 3)), fulfillments=(a_fulfillment(State.PLANNED),))
    moved = HOME.model_copy(update={"postal_code": "10001", "region": "NY"})
    [edited] = said(order, edit(order, ship_to=moved))
    assert (edited.ship_to, edited.money_delta_cents, len(edited.withdrawn_fulfillment_ids)) == (moved, 0, 1)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2_000), st.integers(0, 400)), min_size=1, max_size=4),
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
)
def test_an_edit_refunds_exactly_what_the_order_fell_by_and_never_more_than_a_line_cost(
    lines: list[tuple[int, int, int]], wanted: list[int]
) -> None:
    order = a_copy(*(a_line(str(number), count, unit_price_cents=price, tax_cents=tax) for number, (count, price, tax) in enumerate(lines)))
    request = edit(order, *(LineChange(line_id=line.line_id, quantity=count) for line, count in zip(order.lines, wanted, strict=False)))
    answers = said(order, request)
    if isinstance(answers[0], OrderEditRejected):
        return
    old = {line.line_id: total_cents((line,)) for line in order.lines}
    new_total = sum(line.unit_price_cents * line.quantity + line.tax_cents for line in answers[0].lines)
    refunded = {line.line_id: line.amount_cents for refund in answers[1:] for line in refund.lines}
    assert sum(refunded.values()) == sum(old.values()) - new_total == -answers[0].money_delta_cents
    assert all(cents <= old[line_id] for line_id, cents in refunded.items())


@pytest.mark.parametrize(
    ("lines", "reason", "named"),
    [
        ([LineToCancel(line_id="9")], "unknown_line", "line 9"),
        ([LineToCancel(line_id="1", quantity=4)], "invalid", "more than the 3 bought"),
        ([LineToCancel(line_id="1"), LineToCancel(line_id="1")], "invalid", "named twice; name it once with all units to cancel"),
        ([LineToCancel(line_id="2")], "already_shipped", "line 2 has shipped"),
        ([LineToCancel(line_id="3")], "fulfillment_started", "held back only as a whole"),
    ],
)
def test_a_line_that_can_not_be_cancelled_is_refused_by_name(lines: list[LineToCancel], reason: str, named: str) -> None:
    packed = a_fulfillment(State.ACCEPTED, 1, new_id(), "3")
    packed = replace(packed, lines=(*packed.lines, replace(packed.lines[0], line_id="1", sku="SKU-1")))
    order = a_copy(a_line("1", 3), a_line("2", 1), a_line("3", 1))
    order = replace(order, fulfillments=(packed,), lines=(order.lines[0], replace(order.lines[1], shipped=1), order.lines[2]))
    [answer] = said(order, cancel(order, lines=lines))
    assert isinstance(answer, OrderCancelRejected)
    assert (answer.reason, named in answer.detail) == (reason, True)
    assert [line.line_id for line in answer.not_cancelled] == ([lines[0].line_id] if "ship" in reason or "start" in reason else [])


def test_cancelling_every_line_is_cancelling_the_order_and_some_units_what_the_same_edit_does() -> None:
    order = a_copy(a_line("1", 3, tax_cents=100), a_line("2", 1))
    everything = cancel(order, lines=[LineToCancel(line_id="1", quantity=3), LineToCancel(line_id="2")])
    whole, refund = said(order, everything)
    assert isinstance(whole, OrderCancelled)
    assert refund.shipping_cents == 500
    by_edit = said(order, edit(order, LineChange(line_id="1", quantity=2), change_id=everything.change_id))
    by_cancellation = said(order, everything.model_copy(update={"lines": [LineToCancel(line_id="1", quantity=1)]}))
    assert by_cancellation[0].cancelled == [units(1)]
    assert by_cancellation[0].model_copy(update={"cancelled": []}) == by_edit[0]
    assert by_cancellation[1:] == by_edit[1:]


@pytest.mark.parametrize(("state", "reason"), [(State.ACCEPTED, "fulfillment_started"), (State.SHIPPED, "already_shipped")])
def test_service_level_and_split_policy_are_changed_until_the_first_line_has_started(state: State, reason: str) -> None:
    order = a_copy(a_line("1", 3), a_line("2", 1), deliver_by=NOON + timedelta(days=9))
    for field, wanted in (("service_level", "next_day"), ("split_policy", "hold_all")):
        gone = a_fulfillment(state)
        started = replace(order, fulfillments=(gone,), lines=(replace(order.lines[0], shipped=gone.lines[0].shipped), order.lines[1]))
        [late] = said(started, edit(order, **{field: wanted}))
        assert (late.reason, late.detail.startswith(f"{field}: ")) == (reason, True)
        assert refusal(order, edit(order, **{field: getattr(order, field)})) == "nothing_to_change"
        changed = request_change(order, edit(order, **{field: wanted}), NOON + timedelta(hours=1), PATIENCE)
        [edited] = [say.data for say in changed.says]
        assert isinstance(edited, OrderEdited)
        assert (getattr(edited, field), getattr(changed.order, field), edited.money_delta_cents) == (wanted, wanted, 0)
        promise = (changed.order.promise_from, changed.order.deliver_by)
        kept = (order.promise_from, order.deliver_by)
        assert promise == ((NOON + timedelta(hours=1), None) if field == "service_level" else kept), "the new level is a new promise"


async def test_a_faster_service_is_planned_anew_and_kept(desk: Desk) -> None:
    placed = an_order(a_line("1", 2))
    slow = await desk.plan(placed, AMPLE)
    await desk.hear(edit(placed, service_level="next_day", split_policy="hold_all"))
    fast = (await desk.hear(reserved(placed, AMPLE, cause="edited", version=2))).one(FulfillmentPlanned)
    heard = await desk.hear(FulfillmentAssigned(plan_id=fast.plan_id, order_id=placed.order_id))
    assert heard.one(FulfillmentRequested).service_level == "next_day"
    assert slow.plan_id != fast.plan_id
    row = await desk.order(placed.order_id)
    assert (row["service_level"], row["split_policy"]) == ("next_day", "hold_all")


async def test_a_cancelled_order_drops_its_plan_and_whatever_is_said_later_changes_nothing(desk: Desk) -> None:
    placed = an_order()
    plan = await desk.plan(placed, AMPLE)
    heard = await desk.hear(cancel(placed))
    assert heard.types == ["order.cancelled.v1", "refund.requested.v1"]
    assert await desk.states(placed.order_id) == ["withdrawn"]
    assert (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))).types == []
    assert (await desk.hear(reserved(placed, AMPLE, cause="restocked"))).types == []
    await desk.hear(backordered(placed, {"1": 1}, cause="shortage"))
    order = await desk.order(placed.order_id)
    assert (order["status"], order["waiting_for"]) == ("cancelled", None)


async def test_a_request_that_is_repeated_gets_the_same_answer_and_pays_once(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed)
    request = cancel(placed)
    first = await desk.hear(request, request)
    again = await desk.hear(request)
    assert first.types == ["order.cancelled.v1", "refund.requested.v1", "order.cancelled.v1"]
    assert again.one(OrderCancelled) == first.of(OrderCancelled)[0]
    assert await desk.connection.fetchval("SELECT count(*) FROM refunds") == 1
    assert await desk.connection.fetchval("SELECT count(*) FROM changes") == 1


async def test_a_request_that_was_refused_is_refused_the_same_way_later(desk: Desk) -> None:
    placed = an_order()
    [pick] = await desk.hand_over(placed, AMPLE)
    await desk.hear(shipped(pick.fulfillment_id, (2, "1")), partner="west")
    request = cancel(placed)
    assert (await desk.hear(request)).one(OrderCancelRejected).reason == "already_shipped"
    assert (await desk.hear(request)).one(OrderCancelRejected).reason == "already_shipped"


async def test_a_change_id_used_for_another_change_is_refused_and_the_first_answer_stays(desk: Desk) -> None:
    placed, other = an_order(), an_order()
    await desk.hear(placed, other)
    request = cancel(placed)
    await desk.hear(request)
    reused = await desk.hear(cancel(other, change_id=request.change_id))
    assert reused.one(OrderCancelRejected).reason == "invalid"
    assert (await desk.order(other.order_id))["status"] == "placed"
    assert (await desk.hear(request)).one(OrderCancelled).order_id == placed.order_id


async def test_a_cancellation_of_a_line_waits_for_the_3pl_and_the_rest_is_planned_anew(desk: Desk) -> None:
    placed = an_order(a_line("1", 3), a_line("2", 1))
    [pick] = await desk.hand_over(placed, AMPLE)
    request = cancel(placed, lines=[LineToCancel(line_id="1")])
    assert (await desk.hear(request)).types == ["order.change_pending.v1", "fulfillment.cancel_requested.v1"]
    done = await desk.hear(ThirdPartyCancelAccepted(fulfillment_id=pick.fulfillment_id, answered_at=NOON), partner="west")
    assert done.one(OrderEdited).cancelled == [units(3)]
    assert (await desk.hear(request)).one(OrderEdited) == done.one(OrderEdited)
    plan = (await desk.hear(reserved(placed, AMPLE, {"2": 1}, cause="edited", version=2))).one(FulfillmentPlanned)
    assert [(line.line_id, line.quantity) for line in plan.fulfillments[0].lines] == [("2", 1)]
    both = an_order(a_line("1", 3), a_line("2", 1), external_id="#1002")
    [pick] = await desk.hand_over(both, AMPLE)
    await desk.hear(cancel(both, lines=[LineToCancel(line_id="1")]))
    left = await desk.hear(shipped(pick.fulfillment_id, (3, "1"), (1, "2")), partner="west")
    assert left.types == ["fulfillment.shipped.v1", "order.cancel_rejected.v1"], "it carried a line that nobody cancelled"
    assert [line.reason for line in left.one(OrderCancelRejected).not_cancelled] == ["already_shipped"]


async def test_a_change_of_an_order_that_has_not_arrived_waits_for_it(desk: Desk) -> None:
    placed = an_order()
    heard = await desk.hear(cancel(placed))
    assert heard.deferred == [f"order_id: order {placed.order_id} has not arrived yet"]


async def test_a_cancellation_waits_for_the_3pl_and_the_same_question_gets_the_same_pending_answer(desk: Desk) -> None:
    placed = an_order()
    [pick] = await desk.hand_over(placed, AMPLE)
    request = cancel(placed)
    first = await desk.hear(request)
    assert first.types == ["order.change_pending.v1", "fulfillment.cancel_requested.v1"]
    assert first.outgoing[1].partner == "west"
    assert first.one(FulfillmentCancelRequested).fulfillment_id == pick.fulfillment_id
    assert (await desk.hear(request)).one(OrderChangePending) == first.one(OrderChangePending)
    assert (await desk.order(placed.order_id))["waiting_for"] == "third_party_cancel_answer"
    done = await desk.hear(ThirdPartyCancelAccepted(fulfillment_id=pick.fulfillment_id, answered_at=NOON), partner="west")
    assert done.types == ["order.cancelled.v1", "refund.requested.v1"]
    assert (await desk.hear(request)).one(OrderCancelled) == done.one(OrderCancelled)


async def test_who_rejected_the_old_address_may_ship_to_the_corrected_one_and_who_rejected_otherwise_may_not(desk: Desk) -> None:
    placed = an_order(a_line("1", 3))
    [pick] = await desk.hand_over(placed, AMPLE)
    full = ThirdPartyRejected(fulfillment_id=pick.fulfillment_id, reason="capacity", rejected_at=NOON)
    await desk.hear(full, partner="west")
    plan = (await desk.hear(reserved(placed, AMPLE, cause="fulfillment_cancelled"))).one(FulfillmentPlanned)
    pick = (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))).one(FulfillmentRequested)
    assert pick.location == "newark"
    unknown = ThirdPartyRejected(fulfillment_id=pick.fulfillment_id, reason="address_undeliverable", rejected_at=NOON)
    await desk.hear(unknown, partner="east")
    needed = (await desk.hear(reserved(placed, AMPLE, cause="fulfillment_cancelled"))).one(OrderNeedsAttention)
    assert (needed.reason, "newark: rejected it" in needed.detail) == ("no_location_can_ship", True)
    rewritten = await desk.hear(edit(placed, LineChange(line_id="1", quantity=2)))
    assert rewritten.one(OrderEdited).order_version == 2
    again = await desk.hear(reserved(placed, AMPLE, {"1": 2}, cause="edited", version=2))
    assert again.one(OrderNeedsAttention).reason == "no_location_can_ship", "it still goes to the old address"
    corrected = edit(placed, ship_to=HOME.model_copy(update={"line1": "1 Other Street"}))
    assert (await desk.hear(corrected)).one(OrderEdited).order_version == 3
    assert (await desk.order(placed.order_id))["attention_reason"] is None
    row = await desk.order(placed.order_id)
    assert (row["excluded_locations"], row["rejections"]) == (["reno"], 1)
    planned = await desk.hear(reserved(placed, AMPLE, {"1": 2}, cause="edited", version=3))
    assert [item.location for item in planned.one(FulfillmentPlanned).fulfillments] == ["newark"]


async def test_an_edited_order_is_planned_anew_from_what_allocation_says_under_the_new_version(desk: Desk) -> None:
    placed = an_order(a_line("1", 3), a_line("2", 1))
    await desk.plan(placed, AMPLE)
    new_line = LineChange(sku="SKU-9", quantity=1, unit_price_cents=0, unit_weight_grams=100)
    heard = await desk.hear(edit(placed, LineChange(line_id="1", quantity=1), new_line))
    edited = heard.one(OrderEdited)
    assert (edited.order_version, len(edited.withdrawn_fulfillment_ids)) == (2, 1)
    assert (await desk.hear(reserved(placed, AMPLE, {"1": 3}, cause="restocked"))).types == [], "said under the old version"
    added = edited.lines[-1].line_id
    now = replace(a_copy(*edited.lines), order_id=placed.order_id)
    stock = {**AMPLE, "SKU-9": {"reno": 1}}
    plan = (await desk.hear(reserved(now, stock, {"1": 1, "2": 1, added: 1}, cause="edited", version=2))).one(FulfillmentPlanned)
    assert plan.order_version == 2
    assert [(line.line_id, line.quantity) for line in plan.fulfillments[0].lines] == [("1", 1), ("2", 1), (added, 1)]
    request = (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))).one(FulfillmentRequested)
    assert sum(line.quantity for line in request.lines) == 3


async def test_an_edit_of_the_address_lets_an_order_with_an_unknown_postal_code_go_on(desk: Desk) -> None:
    placed = an_order(ship_to=HOME.model_copy(update={"postal_code": "00000"}))
    await desk.hear(placed)
    await desk.hear(reserved(placed, AMPLE))
    edited = (await desk.hear(edit(placed, ship_to=HOME))).one(OrderEdited)
    assert edited.order_version == 2
    plan = (await desk.hear(reserved(placed, AMPLE, cause="edited", version=2))).one(FulfillmentPlanned)
    assert plan.fulfillments[0].location == "reno"


async def test_units_that_come_back_after_an_edit_are_planned_under_the_new_version(desk: Desk) -> None:
    placed = an_order(a_line("1", 3))
    [pick] = await desk.hand_over(placed, AMPLE)
    await desk.hear(cancel(placed))
    await desk.wake(timedelta(minutes=1))
    refused = ThirdPartyShipped(fulfillment_id=pick.fulfillment_id, carrier="UPS", tracking_number="1Z", lines=[units(3)], shipped_at=NOON)
    heard = await desk.hear(refused, partner="west")
    told = ["fulfillment.shipped.v1", "fulfillment.interception_moved.v1", "order.cancel_rejected.v1", "return.authorisation_requested.v1"]
    assert heard.types == told
    assert heard.one(OrderCancelRejected).reason == "already_shipped"
    assert heard.one(ReturnAuthorisationRequested).return_id == heard.one(OrderCancelRejected).return_ids[0]


async def test_a_parcel_that_was_held_back_is_cancelled_refunded_and_told_of_in_its_own_words(desk: Desk) -> None:
    placed = an_order(a_line("1", 3))
    [pick] = await desk.hand_over(placed, AMPLE)
    await desk.hear(ThirdPartyAccepted(fulfillment_id=pick.fulfillment_id, accepted_at=NOON), partner="west")
    request = cancel(placed)
    asked = await desk.hear(request)
    assert asked.types == ["order.change_pending.v1", "fulfillment.interception_moved.v1", "fulfillment.intercept_requested.v1"]
    assert asked.outgoing[2].partner == "west"
    assert (await desk.hear(request)).types == ["order.change_pending.v1"]
    again = (await desk.wake(timedelta(minutes=6))).one(FulfillmentInterceptRequested)
    assert (again.attempt, await desk.violations()) == (2, [])
    word = ThirdPartyIntercepted(fulfillment_id=pick.fulfillment_id, intercepted_at=NOON)
    held = await desk.hear(word, partner="west")
    assert held.types == ["fulfillment.interception_moved.v1", "order.cancelled.v1", "refund.requested.v1"]
    assert (await desk.hear(word, partner="west")).types == []
    assert await desk.states(placed.order_id) == ["intercepted"]
    assert await desk.connection.fetchval("SELECT interception FROM fulfillments") == "succeeded"


def one_more(order: Any, **more: Any) -> OrderEditRequested:
    return edit(order, LineChange(line_id="1", quantity=4), **more)


def paid(asked: OrderPaymentRequested) -> PaymentCollected:
    words = {name: getattr(asked, name) for name in ("payment_id", "order_id", "change_id", "amount_cents", "currency")}
    return PaymentCollected(**words, provider_reference="p-1", collected_at=NOON)


def unpaid(asked: OrderPaymentRequested) -> PaymentRefused:
    return PaymentRefused(
        payment_id=asked.payment_id, order_id=asked.order_id, change_id=asked.change_id, detail="card declined", refused_at=NOON
    )


def test_an_edit_that_costs_more_asks_for_the_difference_and_a_cancellation_wins_over_it() -> None:
    order = a_copy(a_line("1", 3, tax_cents=0))
    request = one_more(order)
    waiting = request_change(order, request, NOON, COLLECTS)
    [asked] = [say.data for say in waiting.says]
    assert isinstance(asked, OrderPaymentRequested)
    assert (asked.amount_cents, asked.currency, asked.due_at) == (1_000, "USD", NOON + timedelta(minutes=30))
    assert waiting.order.lines == order.lines
    assert refusal(waiting.order, one_more(order)) == "change_in_progress"
    stale = request_change(waiting.order, cancel(order, expected_order_version=9), NOON, COLLECTS)
    assert ([say.data.type for say in stale.says], stale.order) == (["order.cancel_rejected.v1"], waiting.order)
    made = request_change(waiting.order, cancel(order), NOON, COLLECTS)
    told: list[Any] = [say.data for say in made.says]
    dropped, voided, cancelled, refund = told
    assert (dropped.type, dropped.change_id, dropped.reason) == ("order.edit_rejected.v1", request.change_id, "payment_required")
    assert (voided.type, voided.payment_id, voided.reason) == ("order.payment_voided.v1", asked.payment_id, "cancelled")
    assert (cancelled.type, refund.amount_cents) == ("order.cancelled.v1", 3_500)
    late = take_payment(made.order, paid(asked), NOON, COLLECTS)
    [back] = [say.data for say in late.says]
    assert isinstance(back, RefundRequested)
    assert (back.amount_cents, back.cause_id, late.order) == (1_000, asked.payment_id, made.order)


@pytest.mark.parametrize(
    ("dearer", "field"),
    [({"line_changes": [LineChange(line_id="1", quantity=4)]}, "line_changes"), ({"service_level": "two_day"}, "service_level")],
    ids=["more units", "a faster service"],
)
@pytest.mark.parametrize(
    ("quantity", "unpaid_because", "words"),
    [
        (1, "cancelled_in_part", "a cancellation of some units came before the change was paid"),
        (3, "cancelled", "the order was cancelled before the change was paid"),
    ],
    ids=["a unit", "every unit"],
)
def test_an_unpaid_edit_that_ends_by_a_cancellation_says_how_much_was_cancelled_and_what_had_cost_more(
    dearer: dict[str, Any], field: str, quantity: int, unpaid_because: str, words: str
) -> None:
    order = a_copy(a_line("1", 3))
    request = priced(order, edit(order, **dearer), {("USD", "standard"): 500, ("USD", "two_day"): 1_400})
    waiting = request_change(order, request, NOON, COLLECTS)
    fewer = cancel(order, lines=[LineToCancel(line_id="1", quantity=quantity)])
    dropped, voided, *_ = [say.data for say in request_change(waiting.order, fewer, NOON, COLLECTS).says]
    assert isinstance(dropped, OrderEditRejected)
    assert (dropped.change_id, dropped.unpaid) == (request.change_id, unpaid_because)
    assert dropped.detail.startswith(f"{field}: {words} (")
    assert (voided.type, voided.reason) == ("order.payment_voided.v1", "cancelled")  # type: ignore[attr-defined]  # it is one


@pytest.mark.parametrize("end", ["refused", "lapsed"])
async def test_an_edit_that_is_not_paid_is_dropped_and_told_once_and_late_money_goes_back_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(current, "deadlines", lambda: COLLECTS)
    placed = an_order(a_line("1", 3))
    await desk.hear(placed)
    request = one_more(placed)
    asked = (await desk.hear(request)).one(OrderPaymentRequested)
    assert (await desk.hear(request)).one(OrderPaymentRequested) == asked
    assert (await desk.hear(reserved(placed, AMPLE))).types == [], "nothing is planned while the edit waits"
    row = await desk.order(placed.order_id)
    assert (row["waiting_for"], await desk.violations()) == ("payment", [])
    heard = await (desk.hear(unpaid(asked)) if end == "refused" else desk.wake(timedelta(minutes=31)))
    told = ["order.edit_rejected.v1", *([] if end == "refused" else ["order.payment_voided.v1"]), "fulfillment.planned.v1"]
    assert heard.types == told
    assert (await desk.hear(unpaid(asked))).types == []
    assert (await desk.hear(request)).one(OrderEditRejected).reason == "payment_required"
    late = await desk.hear(paid(asked), paid(asked))
    assert [refund.amount_cents for refund in late.of(RefundRequested)] == [asked.amount_cents]
    assert (await desk.hear(paid(asked))).types == []


async def test_a_location_that_closes_is_asked_at_once_to_call_off_although_an_edit_waits_for_its_money(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "deadlines", lambda: COLLECTS)
    lapsing, paying = an_order(a_line("1", 3)), an_order(a_line("1", 3))
    picks = {order.order_id: (await desk.hand_over(order, AMPLE))[0] for order in (lapsing, paying)}
    asked = {order.order_id: (await desk.hear(one_more(order))).one(OrderPaymentRequested) for order in (lapsing, paying)}
    await desk.register(RENO.model_copy(update={"active": False}))
    recalled = await desk.wake()
    assert {request.fulfillment_id for request in recalled.of(FulfillmentCancelRequested)} == {
        pick.fulfillment_id for pick in picks.values()
    }
    given_up = [ThirdPartyCancelAccepted(fulfillment_id=pick.fulfillment_id, answered_at=NOON) for pick in picks.values()]
    # Paid while the 3PL is asked: the edit waits for its answer and is made with it.
    assert (await desk.hear(paid(asked[paying.order_id]))).types == ["order.change_pending.v1"]
    assert (await desk.hear(given_up[1], partner="west")).types == ["order.edited.v1"]
    assert (await desk.hear(given_up[0], partner="west")).types == ["fulfillment.cancelled.v1"]
    assert (await desk.hear(reserved(lapsing, AMPLE, cause="fulfillment_cancelled"))).types == [], "nothing is planned while the edit waits"
    lapsed = await desk.wake(timedelta(minutes=31))
    assert [item.location for item in lapsed.one(FulfillmentPlanned).fulfillments] == ["newark"]


async def test_a_plan_that_waits_for_an_unpaid_edit_is_not_handed_over_to_a_location_that_has_closed_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "deadlines", lambda: COLLECTS)
    placed, other = an_order(a_line("1", 3)), an_order(a_line("1", 3))
    for order in (placed, other):
        plan = await desk.plan(order, AMPLE)
        await desk.hear(one_more(order))
        assert (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=order.order_id))).types == [], "held back"
    await desk.register(RENO.model_copy(update={"active": False}))
    woken = await desk.wake()
    assert woken.types == ["fulfillment.cancelled.v1"] * 2, "no 3PL has heard of them: allocation lets go of the units"
    await desk.hear(reserved(placed, AMPLE, cause="fulfillment_cancelled"))
    lapsed = await desk.wake(timedelta(minutes=31))
    assert lapsed.of(FulfillmentRequested) == []
    assert [item.location for item in lapsed.one(FulfillmentPlanned).fulfillments] == ["newark"]


async def test_an_edit_that_lapses_in_the_moment_its_location_closes_hands_nothing_over_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "deadlines", lambda: COLLECTS)
    placed = an_order(a_line("1", 3))
    plan = await desk.plan(placed, AMPLE)
    await desk.hear(one_more(placed))
    await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))
    desk.now += timedelta(minutes=31)
    await desk.register(RENO.model_copy(update={"active": False}))
    assert (await desk.wake()).types == ["fulfillment.cancelled.v1", "order.edit_rejected.v1", "order.payment_voided.v1"]
    assert await desk.states(placed.order_id) == ["withdrawn"]


async def test_a_paid_edit_is_made_and_when_the_3pl_has_started_the_money_goes_back_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "deadlines", lambda: COLLECTS)
    placed = an_order(a_line("1", 3))
    await desk.hear(placed)
    asked = (await desk.hear(one_more(placed))).one(OrderPaymentRequested)
    made = await desk.hear(paid(asked))
    assert (made.types, made.one(OrderEdited).money_delta_cents) == (["order.edited.v1"], asked.amount_cents)
    assert (await desk.hear(paid(asked))).types == []
    late = an_order(a_line("1", 3), external_id="#1002")
    [pick] = await desk.hand_over(late, AMPLE)
    asked = (await desk.hear(one_more(late))).one(OrderPaymentRequested)
    pending = await desk.hear(paid(asked))
    assert pending.types == ["order.change_pending.v1", "fulfillment.cancel_requested.v1"]
    started = await desk.hear(ThirdPartyAccepted(fulfillment_id=pick.fulfillment_id, accepted_at=NOON), partner="west")
    assert started.types == ["fulfillment.started.v1", "order.edit_rejected.v1", "refund.requested.v1"]
    assert started.one(RefundRequested).amount_cents == asked.amount_cents
    assert (await desk.hear(paid(asked))).types == []
    stray = await desk.hear(paid(asked).model_copy(update={"payment_id": new_id()}))
    assert "was never asked for" in stray.parked[0]


PRICES = {("USD", "standard"): 500, ("USD", "two_day"): 1_400}


@pytest.mark.parametrize(
    ("paid_cents", "currency", "level", "expected"),
    [
        (500, "USD", "two_day", ("priced", 1_400)),
        (0, "USD", "two_day", ("priced", 900)),
        (500, "USD", "standard", ("same_service", 500)),
        (500, "USD", None, ("same_service", 500)),
        (500, "USD", "next_day", ("no_price", 500)),
        (500, "EUR", "two_day", ("no_price", 500)),
    ],
)
def test_who_changes_the_service_pays_the_difference_of_the_two_prices_where_both_are_known(
    paid_cents: int, currency: str, level: Any, expected: tuple[str, int]
) -> None:
    order = a_copy(a_line("1", 3), shipping_paid_cents=paid_cents, currency=currency)
    request = edit(order, service_level=level, shipping_paid_cents=1)
    assert shipping_after(order, request, PRICES) == expected
    assert priced(order, request, PRICES).shipping_paid_cents == (expected[1] if expected[0] == "priced" else None), (
        "nobody sets it himself"
    )


def test_a_slower_service_gives_no_more_back_than_was_paid_for_shipping() -> None:
    order = a_copy(a_line("1", 3), shipping_paid_cents=200, service_level="two_day")
    assert shipping_after(order, edit(order, service_level="standard"), PRICES) == ("priced", 0)


async def test_another_service_level_collects_the_difference_as_it_was_priced_then_and_gives_it_back_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "deadlines", lambda: COLLECTS)
    monkeypatch.setattr(current, "service_prices", lambda: PRICES)
    placed = an_order(a_line("1", 3))
    await desk.hear(placed)
    faster = await desk.hear(edit(placed, service_level="two_day"))
    asked = faster.one(OrderPaymentRequested)
    assert asked.amount_cents == 900
    monkeypatch.setattr(current, "service_prices", lambda: {("USD", "standard"): 500, ("USD", "two_day"): 9_000})
    made = (await desk.hear(paid(asked))).one(OrderEdited)
    assert (made.service_level, made.money_delta_cents, made.shipping_delta_cents) == ("two_day", 900, 900)
    assert made.shipping_captured_cents == 1_400
    assert ((await desk.order(placed.order_id))["shipping_paid_cents"], await desk.violations()) == (1_400, [])
    monkeypatch.setattr(current, "service_prices", lambda: PRICES)
    slower = await desk.hear(edit(placed, LineChange(line_id="1", quantity=2), service_level="standard"))
    refund = slower.one(RefundRequested)
    assert (slower.one(OrderEdited).money_delta_cents, refund.amount_cents, refund.shipping_cents) == (-1_933, 1_933, 900)
    less = (await desk.hear(edit(placed, LineChange(line_id="1", quantity=1)))).one(OrderEdited)
    assert {told.shipping_captured_cents for told in (slower.one(OrderEdited), less)} == {1_400}, "what was given back was captured"
    gone = (await desk.hear(cancel(placed))).one(RefundRequested)
    paid_back_cents = gone.amount_cents - less.money_delta_cents
    assert (gone.shipping_cents, paid_back_cents, await desk.violations()) == (500, 2_567, []), "all that was paid is back"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("currency,level\n", "row 1: the columns should be currency,service_level,price_cents"),
        ("currency,service_level,price_cents\nusd,standard,500", "row 2, column currency: 'usd' should be three capital letters"),
        ("currency,service_level,price_cents\nUSD,slow,500", "row 2, column service_level: 'slow' should be one of standard, two_day"),
        ("currency,service_level,price_cents\nUSD,standard,5.99", "row 2, column price_cents: '5.99' should be whole cents"),
        ("currency,service_level,price_cents\nUSD,standard,100000001", "row 2, column price_cents: '100000001' should be whole cents"),
        ("currency,service_level,price_cents\nUSD,standard", "row 2: 2 columns; there should be 3"),
        ("currency,service_level,price_cents\nUSD,standard,5\nUSD,standard,6", "row 3: standard in USD has a price already"),
    ],
)
def test_a_wrong_file_of_service_prices_is_refused_at_start_by_row_and_column(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(text)
    with pytest.raises(ServicePriceError) as caught:
        load_service_prices(file)
    assert problem in str(caught.value)
    file.write_text("currency,service_level,price_cents\nUSD,standard,500\n\nUSD,two_day,1400\n")
    assert load_service_prices(file) == PRICES

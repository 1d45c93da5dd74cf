"""The rules of returns and refunds, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.returns.decide.authorisation import Approval, Declined, authorise, check_digit, make_label, returnable_units
from services.returns.decide.books import OrderBooks, ShippedUnits, default_policy, open_books
from services.returns.decide.edits import EditRefused, add_payment, apply_edit
from services.returns.decide.inspection import (
    LATE_PARCEL_GRACE,
    Inspection,
    ReturnBooks,
    ReturnLineBooks,
    ScanInvalid,
    ScanRefused,
    ScanRepeated,
    expire,
    inspect,
    scan_content,
)
from services.returns.decide.prices import share_cents, value_of_first_units_cents
from services.returns.decide.refunds import Claimed, Refund, Rejected, Repeated, Settled, TooEarly, decide_claim, settle
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderEdited, OrderPlaced
from shared.contracts.returns import ReturnLine, ReturnScanRequested
from tests.returns.messages import NOW, a_line, a_refund, a_return, a_scan, an_edit, an_order, money_moved, money_refused

LATER = NOW + timedelta(days=3)


def shipped(books: OrderBooks, units: dict[str, int] | None = None) -> OrderBooks:
    """These books with parcels that left at noon: everything, or these units by line."""
    return books.with_lines(
        replace(line, shipped=(*line.shipped, ShippedUnits((units or {}).get(line.line_id, line.quantity), NOW)))
        for line in books.lines.values()
        if units is None or line.line_id in units
    )


def ask(books: OrderBooks, units: dict[str, int]) -> Approval | Declined:
    """A return of these units, asked for three days later."""
    return authorise(books, new_id(), a_return(books.order_id, units).lines, LATER)


def approve(books: OrderBooks, units: dict[str, int]) -> tuple[OrderBooks, ReturnBooks]:
    """The same when it must be approved."""
    approval = ask(books, units)
    assert isinstance(approval, Approval), approval
    lines = {line.line_id: ReturnLineBooks(line.line_id, line.sku, line.units, line.quote_cents) for line in approval.lines}
    return approval.books, ReturnBooks(new_id(), books.order_id, "approved", approval.label.expires_at, lines)


def scan(books: OrderBooks, returned: ReturnBooks, message: ReturnScanRequested) -> Inspection:
    """A scan that must be booked."""
    inspection = inspect(books, returned, message, None, LATER, location_known=True)
    assert isinstance(inspection, Inspection), inspection
    return inspection


def test_the_shares_of_an_amount_add_up_to_it_in_whatever_steps() -> None:
    assert [share_cents(100, part, 3) for part in range(4)] == [0, 33, 67, 100]


@given(st.integers(0, 10_000), st.integers(0, 5_000), st.integers(1, 40), st.data())
def test_a_line_cut_into_any_pieces_is_worth_the_line(price: int, tax: int, quantity: int, data: st.DataObject) -> None:
    cuts = [*sorted(data.draw(st.sets(st.integers(0, quantity)))), quantity]
    worth, before = 0, 0
    for cut in cuts:
        piece = value_of_first_units_cents(price, tax, quantity, cut) - value_of_first_units_cents(price, tax, quantity, before)
        assert piece >= price * (cut - before)
        worth, before = worth + piece, cut
    assert worth == price * quantity + tax


def test_more_units_than_the_line_has_are_worth_nothing_at_all_but_an_error() -> None:
    with pytest.raises(ValueError, match="4 units of a line of 3"):
        value_of_first_units_cents(100, 0, 3, 4)


def test_everything_that_was_paid_is_captured_where_it_was_paid_for() -> None:
    books = open_books(an_order(a_line("1"), a_line("2", quantity=1, unit_price_cents=250, tax_cents=0), shipping_cents=500))
    assert {line.line_id: line.captured_cents for line in books.lines.values()} == {"1": 3_100, "2": 250}
    assert (books.shipping_captured_cents, books.captured_cents) == (500, 3_850)


def test_a_return_is_quoted_with_its_share_of_the_tax_and_no_shipping() -> None:
    approval = ask(shipped(open_books(an_order())), {"1": 2})
    assert isinstance(approval, Approval)
    assert approval.quote_cents == 2_067
    assert approval.books.lines["1"].held_cents == 2_067


def test_the_second_return_never_refunds_shipping_again() -> None:
    books, first = approve(shipped(open_books(an_order())), {"1": 2})
    books = scan(books, first, a_scan(first.return_id, {"1": 2})).books
    second = ask(books, {"1": 1})
    assert isinstance(second, Approval)
    assert second.quote_cents == 3_100 - 2_067
    assert books.shipping_refunded_cents == 0


def test_units_that_did_not_ship_may_not_come_back() -> None:
    declined = ask(open_books(an_order()), {"1": 1})
    assert isinstance(declined, Declined)
    assert declined.reason == "not_shipped"


def test_more_units_than_shipped_may_not_come_back() -> None:
    declined = ask(shipped(open_books(an_order()), {"1": 2}), {"1": 3})
    assert isinstance(declined, Declined)
    assert declined.reason == "quantity_exceeds_shipped"
    assert "3 units asked for, 2 shipped" in declined.detail


def test_units_on_their_way_back_may_not_be_authorised_again() -> None:
    books, _ = approve(shipped(open_books(an_order())), {"1": 2})
    declined = ask(books, {"1": 2})
    assert isinstance(declined, Declined)
    assert declined.reason == "quantity_exceeds_shipped"


def test_a_line_the_order_does_not_have_is_named() -> None:
    declined = ask(shipped(open_books(an_order())), {"9": 1})
    assert isinstance(declined, Declined)
    assert (declined.reason, "9" in declined.detail) == ("unknown_line", True)


def test_one_bad_line_declines_the_whole_request() -> None:
    assert isinstance(ask(shipped(open_books(an_order())), {"1": 1, "9": 1}), Declined)


def test_the_same_line_asked_for_twice_in_one_request_counts_twice() -> None:
    books = shipped(open_books(an_order()))
    lines = [ReturnLine(line_id="1", quantity=2, reason="defective"), ReturnLine(line_id="1", quantity=2, reason="wrong_size")]
    declined = authorise(books, new_id(), lines, LATER)
    assert isinstance(declined, Declined)
    assert declined.reason == "quantity_exceeds_shipped"


@pytest.mark.parametrize(("days", "units"), [(0, 3), (30, 3), (31, 0)])
def test_the_window_closes_thirty_days_after_shipment_when_nobody_told_of_a_delivery(days: int, units: int) -> None:
    books = shipped(open_books(an_order()))
    assert returnable_units(books.lines["1"], books.policy, NOW + timedelta(days=days)).units == units


def test_the_window_starts_when_the_customer_has_the_parcel() -> None:
    books = open_books(an_order())
    line = replace(books.lines["1"], shipped=(ShippedUnits(3, NOW, delivered_at=NOW + timedelta(days=9)),))
    found = returnable_units(line, books.policy, NOW + timedelta(days=39))
    assert (found.units, found.closes_at) == (3, NOW + timedelta(days=39))
    assert returnable_units(line, books.policy, NOW + timedelta(days=39, seconds=1)).units == 0


def test_a_closed_window_is_told_as_such() -> None:
    books = shipped(open_books(an_order()))
    declined = authorise(books, new_id(), [ReturnLine(line_id="1", quantity=1, reason="late")], NOW + timedelta(days=40))
    assert isinstance(declined, Declined)
    assert declined.reason == "window_closed"


def test_a_segment_may_have_a_window_of_its_own() -> None:
    books = shipped(open_books(an_order()))
    books = replace(books, policy=replace(books.policy, window_days=60))
    assert isinstance(authorise(books, new_id(), [ReturnLine(line_id="1", quantity=1, reason="late")], NOW + timedelta(days=40)), Approval)


def test_of_two_parcels_only_the_younger_may_still_come_back() -> None:
    books = open_books(an_order())
    line = replace(books.lines["1"], shipped=(ShippedUnits(2, NOW), ShippedUnits(1, NOW + timedelta(days=20))))
    assert returnable_units(line, books.policy, NOW + timedelta(days=40)).units == 1
    # An earlier return counts against the older parcel.
    assert returnable_units(replace(line, received_units=2), books.policy, NOW + timedelta(days=40)).units == 1
    assert returnable_units(replace(line, received_units=3), books.policy, NOW + timedelta(days=40)).units == 0


def test_a_label_follows_from_the_return_and_can_be_read_by_a_machine() -> None:
    return_id = UUID("0199aaaa-0000-7000-8000-000000000001")
    label = make_label(return_id, default_policy("dtc"), NOW)
    assert label == make_label(return_id, default_policy("dtc"), NOW)
    assert label != make_label(new_id(), default_policy("dtc"), NOW)
    assert label.tracking_number.startswith("RT")
    assert len(label.tracking_number) == 20
    assert label.expires_at == NOW + timedelta(days=30)


def test_the_check_digit_is_the_one_of_gs1() -> None:
    # GS1 General Specifications, figure 7.9.1-1: 6291041500213 carries check digit 3.
    assert check_digit("629104150021") == 3


def test_return_three_receive_two_refund_two() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 3})
    inspection = scan(books, returned, a_scan(returned.return_id, {"1": 2}))
    assert inspection.claim is not None
    assert inspection.claim.amount_cents == 2_067
    assert [(line.disposition, line.quantity) for line in inspection.dispositions] == [("restocked", 2), ("missing", 1)]
    assert inspection.returned.status == "inspected"
    line = inspection.books.lines["1"]
    assert (line.held_cents, line.returned_cents, line.open_units, line.received_units) == (0, 2_067, 0, 2)


def test_a_missing_unit_may_be_authorised_again_and_then_completes_the_line_to_the_cent() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 3})
    books = scan(books, returned, a_scan(returned.return_id, {"1": 2})).books
    books, again = approve(books, {"1": 1})
    assert scan(books, again, a_scan(again.return_id, {"1": 1})).books.lines["1"].returned_cents == 3_100


def test_damaged_units_are_refunded_and_not_restocked() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 3})
    inspection = scan(books, returned, a_scan(returned.return_id, {"1": 1}, {"1": 2}))
    assert [(line.disposition, line.quantity) for line in inspection.dispositions] == [("restocked", 1), ("damaged", 2)]
    assert inspection.claim is not None
    assert inspection.claim.amount_cents == 3_100


def test_a_scan_that_does_not_close_leaves_the_rest_expected() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 3})
    first = scan(books, returned, a_scan(returned.return_id, {"1": 1}, closes=False))
    assert (first.returned.status, first.returned.outstanding_units, first.books.lines["1"].held_cents) == ("received", 2, 2_067)
    second = scan(first.books, first.returned, a_scan(returned.return_id, {"1": 2}, closes=False))
    assert second.returned.status == "inspected"
    assert second.books.lines["1"].returned_cents == 3_100


def test_a_parcel_without_anything_in_it_pays_nothing_and_closes_the_return() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 1})
    inspection = scan(books, returned, a_scan(returned.return_id))
    assert (inspection.claim, inspection.returned.status) == (None, "closed")
    assert [(line.disposition, line.quantity) for line in inspection.dispositions] == [("missing", 1)]


def test_the_same_scan_twice_is_the_same_scan_and_other_content_is_not() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 3})
    message = a_scan(returned.return_id, {"1": 1})
    assert isinstance(inspect(books, returned, message, scan_content(message), LATER, location_known=True), ScanRepeated)
    other = a_scan(returned.return_id, {"1": 2}, scan_id=message.scan_id)
    assert isinstance(inspect(books, returned, other, scan_content(message), LATER, location_known=True), ScanInvalid)


def test_scans_that_contradict_the_return_are_refused_with_the_reason() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 2})

    def reason(message: ReturnScanRequested, of: ReturnBooks | None) -> str:
        decision = inspect(books, of, message, None, LATER, location_known=True)
        assert isinstance(decision, ScanRefused)
        return decision.reason

    assert reason(a_scan(new_id(), {"1": 1}), None) == "unknown_return"
    assert reason(a_scan(returned.return_id, {"1": 3}), returned) == "quantity_exceeds_approved"
    assert reason(a_scan(returned.return_id, {"1": 1}, {"1": 2}), returned) == "quantity_exceeds_approved"
    assert reason(a_scan(returned.return_id, {"7": 1}), returned) == "unknown_line"
    assert reason(a_scan(returned.return_id, {"1": 1}), replace(returned, status="closed")) == "already_closed"
    assert reason(a_scan(returned.return_id, {"1": 1}), replace(returned, status="declined")) == "unknown_return"


def test_a_scan_of_nothing_that_does_not_close_says_what_is_wrong() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 2})
    decision = inspect(books, returned, a_scan(returned.return_id, closes=False), None, LATER, location_known=True)
    assert isinstance(decision, ScanInvalid)
    assert decision.reason.startswith("units:")


def test_a_return_whose_parcel_never_came_frees_its_units_and_money() -> None:
    books, returned = approve(shipped(open_books(an_order())), {"1": 2})
    assert returned.expires_at is not None
    too_early = expire(books, returned, returned.expires_at + LATE_PARCEL_GRACE)
    assert too_early == (books, returned)
    freed, cancelled = expire(books, returned, returned.expires_at + LATE_PARCEL_GRACE + timedelta(seconds=1))
    assert cancelled.status == "cancelled"
    assert (freed.lines["1"].held_cents, freed.lines["1"].open_units) == (0, 0)


def test_an_edit_moves_captured_money_between_lines_and_frees_the_rest() -> None:
    order = an_order(a_line("A", 5, 1_000, 0), a_line("D", 5, 1_000, 0), shipping_cents=0)
    edited = apply_edit(open_books(order), an_edit(order, a_line("A", 2, 1_000, 0), a_line("D", 2, 1_000, 0), a_line("B", 4, 1_000, 0)))
    assert isinstance(edited, OrderBooks)
    assert {line_id: line.captured_cents for line_id, line in edited.lines.items()} == {"A": 2_000, "D": 2_000, "B": 4_000}
    assert (edited.unapportioned_cents, edited.captured_cents) == (2_000, 10_000)


def test_an_older_edit_changes_nothing_but_is_heard_of() -> None:
    order = an_order(a_line("A", 5, 1_000, 0))
    newer = apply_edit(open_books(order), an_edit(order, a_line("A", 2, 1_000, 0), version=3))
    older = an_edit(order, a_line("A", 4, 1_000, 0), version=2)
    assert isinstance(newer, OrderBooks)
    assert apply_edit(newer, older) == replace(newer, changes=newer.changes | {older.change_id})


def test_an_edit_that_costs_more_than_was_captured_is_refused_with_the_figures() -> None:
    order = an_order(a_line("A", 5, 1_000, 0))
    refused = apply_edit(open_books(order), an_edit(order, a_line("A", 6, 1_000, 0)))
    assert isinstance(refused, EditRefused)
    assert "6000" in refused.reason
    assert "5000" in refused.reason


def test_a_line_that_an_edit_removes_has_nothing_left_to_return() -> None:
    order = an_order(a_line("A", 1, 1_000, 0), a_line("B", 1, 500, 0))
    edited = apply_edit(open_books(order), an_edit(order, a_line("B", 1, 500, 0)))
    assert isinstance(edited, OrderBooks)
    assert (edited.lines["A"].quantity, edited.lines["A"].captured_cents, edited.unapportioned_cents) == (0, 0, 1_000)


def settled_books(books: OrderBooks, order: OrderPlaced, steps: tuple[str, ...]) -> OrderBooks:
    """Runs steps of one story in some order; a step that comes too early is tried again at the end, as the runtime does."""
    swap = an_edit(order, a_line("A", 2, 1_000, 0), a_line("B", 5, 1_000, 0), version=2, change_id=UUID(int=2))
    drop = an_edit(order, a_line("A", 2, 1_000, 0), version=3, change_id=UUID(int=3))
    edits = {"swap": swap, "drop": drop}
    refunds = {
        "refund of swap": a_refund(order.order_id, {"A": 1_000}, cause="edited", cause_id=UUID(int=2), refund_id=UUID(int=12)),
        "refund of drop": a_refund(order.order_id, {"B": 5_000}, cause="edited", cause_id=UUID(int=3), refund_id=UUID(int=13)),
    }
    waiting = list(steps)
    for _ in steps:
        for step in list(waiting):
            decision = apply_edit(books, edits[step]) if step in edits else decide_claim(books, None, refunds[step])
            assert isinstance(decision, OrderBooks | Claimed | TooEarly), decision
            if not isinstance(decision, TooEarly):
                books = decision.books if isinstance(decision, Claimed) else decision
                waiting.remove(step)
    assert waiting == []
    return books


@pytest.mark.parametrize("steps", list(permutations(["swap", "drop", "refund of swap", "refund of drop"])))
def test_edits_and_their_refunds_end_in_the_same_books_whatever_the_order_of_arrival(steps: tuple[str, ...]) -> None:
    order = an_order(a_line("A", 8, 1_000, 0), shipping_cents=0)
    books = settled_books(open_books(order), order, steps)
    assert (books.captured_cents, books.unapportioned_cents, books.refunded_cents) == (8_000, 0, 6_000)
    assert {line_id: line.captured_cents - line.edited_cents for line_id, line in books.lines.items()} == {"A": 2_000, "B": 0}
    assert books.lines["A"].goods_cents == 2_000


def test_a_refund_may_take_everything_that_was_captured_and_not_a_cent_more() -> None:
    order = an_order(shipping_cents=500)
    books = open_books(order)
    everything = a_refund(order.order_id, {"1": 3_100}, shipping_cents=500)
    claimed = decide_claim(books, None, everything)
    assert isinstance(claimed, Claimed)
    seen = replace(books, changes=frozenset({everything.cause_id}))
    one_more = a_refund(order.order_id, {"1": 3_101}, shipping_cents=500, cause_id=everything.cause_id)
    rejected = decide_claim(seen, None, one_more)
    assert isinstance(rejected, Rejected)
    assert "line 1: 3101 asked, 3100 captured, 0 already claimed" in rejected.reason
    again = decide_claim(
        replace(claimed.books, changes=seen.changes), None, a_refund(order.order_id, {"1": 1}, cause_id=everything.cause_id)
    )
    assert isinstance(again, Rejected)
    assert "3600 captured, 3600 refunded before" in again.reason


def test_two_legitimate_equal_partial_refunds_both_succeed() -> None:
    order = an_order()
    first = decide_claim(open_books(order), None, a_refund(order.order_id, {"1": 500}))
    assert isinstance(first, Claimed)
    second = decide_claim(first.books, None, a_refund(order.order_id, {"1": 500}))
    assert isinstance(second, Claimed)
    assert second.books.lines["1"].cancelled_cents == 1_000


def test_the_same_refund_twice_is_one_refund_and_other_content_under_its_id_is_not() -> None:
    order = an_order()
    request = a_refund(order.order_id, {"1": 500})
    claimed = decide_claim(open_books(order), None, request)
    assert isinstance(claimed, Claimed)
    assert isinstance(decide_claim(claimed.books, claimed.refund, request), Repeated)
    other = request.model_copy(update={"shipping_cents": 1, "amount_cents": 501})
    rejected = decide_claim(claimed.books, claimed.refund, other)
    assert isinstance(rejected, Rejected)
    assert "500 USD" in rejected.reason
    assert "501 USD" in rejected.reason


def test_shipping_goes_back_once() -> None:
    order = an_order(shipping_cents=500)
    claimed = decide_claim(open_books(order), None, a_refund(order.order_id, {}, shipping_cents=500))
    assert isinstance(claimed, Claimed)
    change_id = new_id()
    books = replace(claimed.books, changes=frozenset({change_id}))
    rejected = decide_claim(books, None, a_refund(order.order_id, {}, shipping_cents=500, cause_id=change_id))
    assert isinstance(rejected, Rejected)
    assert "shipping: 500 asked, 500 captured, 500 already refunded" in rejected.reason


def test_money_quoted_to_a_return_is_not_given_away_by_another_refund() -> None:
    order = an_order(shipping_cents=0)
    books, returned = approve(shipped(open_books(order)), {"1": 3})
    change_id = new_id()
    rejected = decide_claim(replace(books, changes=frozenset({change_id})), None, a_refund(order.order_id, {"1": 1}, cause_id=change_id))
    assert isinstance(rejected, Rejected)
    assert scan(books, returned, a_scan(returned.return_id, {"1": 3})).books.lines["1"].returned_cents == 3_100


def test_a_refund_whose_figures_disagree_is_rejected() -> None:
    order = an_order()
    rejected = decide_claim(open_books(order), None, a_refund(order.order_id, {"1": 500}, amount_cents=600))
    assert isinstance(rejected, Rejected)
    assert rejected.reason.startswith("amount_cents: 600")


def test_a_refund_in_another_currency_is_rejected() -> None:
    order = an_order()
    rejected = decide_claim(open_books(order), None, a_refund(order.order_id, {"1": 500}, currency="EUR"))
    assert isinstance(rejected, Rejected)
    assert rejected.reason.startswith("currency: EUR")


def test_refunds_of_returns_are_made_by_the_scan_alone() -> None:
    order = an_order()
    assert isinstance(decide_claim(open_books(order), None, a_refund(order.order_id, {"1": 500}, cause="returned")), Rejected)


def test_a_refund_of_an_order_that_has_not_arrived_waits() -> None:
    assert isinstance(decide_claim(None, None, a_refund(new_id(), {"1": 500})), TooEarly)


def test_money_that_moved_has_moved_whatever_else_is_said() -> None:
    order = an_order()
    claimed = decide_claim(open_books(order), None, a_refund(order.order_id, {"1": 500}))
    assert isinstance(claimed, Claimed)
    sent = claimed.refund
    refund_id = sent.claim.refund_id
    yes, no = money_moved(refund_id, order.order_id, 500), money_refused(refund_id, order.order_id, 500)
    assert settle(sent, yes) == Settled("succeeded", "succeeded", "re_1")
    assert settle(sent, no) == Settled("failed", "failed", "account closed")
    assert settle(replace(sent, state="failed"), yes) == Settled("succeeded", "succeeded", "re_1")
    assert isinstance(settle(replace(sent, state="succeeded"), no), Repeated)
    assert isinstance(settle(replace(sent, state="succeeded"), yes), Repeated)
    assert isinstance(settle(replace(sent, state="failed"), no), Repeated)


def test_an_answer_over_another_amount_or_for_an_unknown_refund_needs_a_person() -> None:
    order = an_order()
    claimed = decide_claim(open_books(order), None, a_refund(order.order_id, {"1": 500}))
    assert isinstance(claimed, Claimed)
    refund = claimed.refund
    wrong = settle(refund, money_moved(refund.claim.refund_id, order.order_id, 499))
    assert isinstance(wrong, Rejected)
    assert "499" in wrong.reason
    assert isinstance(settle(None, money_moved(new_id(), order.order_id, 500)), Rejected)


@st.composite
def orders(draw: st.DrawFn) -> OrderPlaced:
    """Orders of one to three lines with small numbers, where rounding bites."""
    lines = [
        a_line(
            str(number),
            quantity=draw(st.integers(1, 7)),
            unit_price_cents=draw(st.integers(0, 400)),
            tax_cents=draw(st.integers(0, 50)),
        )
        for number in range(1, draw(st.integers(1, 3)) + 1)
    ]
    return an_order(*lines, shipping_cents=draw(st.integers(0, 300)))


def claims_are_covered(books: OrderBooks) -> None:
    """Invariant I4 on the books themselves."""
    for line in books.lines.values():
        assert line.held_cents >= 0
        assert line.free_cents >= 0
    assert books.unapportioned_cents >= 0
    assert books.shipping_refunded_cents <= books.shipping_captured_cents
    lines = sum(line.captured_cents for line in books.lines.values())
    assert books.captured_cents == lines + books.shipping_captured_cents + books.unapportioned_cents
    assert books.refunded_cents <= books.captured_cents


@given(orders(), st.data())
def test_whatever_happens_to_an_order_never_more_goes_back_than_was_captured(order: OrderPlaced, data: st.DataObject) -> None:
    books = shipped(open_books(order))
    open_returns: list[ReturnBooks] = []
    version = 1
    for _ in range(data.draw(st.integers(1, 12))):
        step = data.draw(st.sampled_from(["return", "scan", "cancel refund", "edit", "edit refund"]))
        line_id = data.draw(st.sampled_from(sorted(books.lines)))
        if step == "return":
            units = data.draw(st.integers(1, 7))
            approval = ask(books, {line_id: units})
            if isinstance(approval, Approval):
                books, returned = approve(books, {line_id: units})
                open_returns.append(returned)
        elif step == "scan" and open_returns:
            returned = open_returns.pop(data.draw(st.integers(0, len(open_returns) - 1)))
            line = next(iter(returned.lines.values()))
            found = data.draw(st.integers(0, line.outstanding_units))
            closes = data.draw(st.booleans()) or found == 0
            inspection = scan(books, returned, a_scan(returned.return_id, {line.line_id: found} if found else {}, closes=closes))
            books = inspection.books
            if inspection.returned.status == "received":
                open_returns.append(inspection.returned)
        elif step.endswith("refund"):
            amount, shipping = data.draw(st.integers(0, 1_000)), data.draw(st.integers(0, 200))
            cause_id = new_id()
            request = a_refund(
                order.order_id,
                {line_id: amount},
                shipping_cents=shipping,
                cause="edited" if step == "edit refund" else "cancelled",
                cause_id=cause_id,
            )
            decision = decide_claim(replace(books, changes=books.changes | {cause_id}), None, request)
            if isinstance(decision, Claimed):
                books = decision.books
        elif step == "edit":
            version += 1
            lines = [
                a_line(
                    line.line_id, line.quantity, data.draw(st.integers(0, line.unit_price_cents)), data.draw(st.integers(0, line.tax_cents))
                )
                for line in books.lines.values()
                if line.quantity
            ]
            edited = apply_edit(books, an_edit(order, *lines, version=version))
            if isinstance(edited, OrderBooks):
                books = edited
        claims_are_covered(books)


@given(orders(), st.data())
def test_a_line_that_comes_back_in_whatever_steps_is_refunded_to_the_cent(order: OrderPlaced, data: st.DataObject) -> None:
    books = shipped(open_books(order))
    quantity = books.lines["1"].quantity
    open_returns: list[ReturnBooks] = []
    while books.lines["1"].received_units < quantity:
        line = books.lines["1"]
        free = quantity - line.spoken_for_units
        if free and (not open_returns or data.draw(st.booleans())):
            books, returned = approve(books, {"1": data.draw(st.integers(1, free))})
            open_returns.append(returned)
            continue
        returned = open_returns.pop(data.draw(st.integers(0, len(open_returns) - 1)))
        found = data.draw(st.integers(1, returned.lines["1"].outstanding_units))
        inspection = scan(books, returned, a_scan(returned.return_id, {"1": found}, closes=data.draw(st.booleans())))
        books = inspection.books
        if inspection.returned.status == "received":
            open_returns.append(inspection.returned)
    assert books.lines["1"].returned_cents == books.lines["1"].goods_cents
    assert books.lines["1"].held_cents == 0


@given(orders(), st.data())
def test_what_a_return_was_quoted_is_what_it_pays_when_everything_arrives(order: OrderPlaced, data: st.DataObject) -> None:
    books = shipped(open_books(order))
    for _ in range(3):
        free = books.lines["1"].quantity - books.lines["1"].spoken_for_units
        if not free:
            break
        books, returned = approve(books, {"1": data.draw(st.integers(1, free))})
        paid = 0
        while returned.outstanding_units:
            found = data.draw(st.integers(1, returned.outstanding_units))
            inspection = scan(books, returned, a_scan(returned.return_id, {"1": found}, closes=False))
            paid += inspection.claim.amount_cents if inspection.claim else 0
            books, returned = inspection.books, inspection.returned
        assert paid == returned.lines["1"].quote_cents


def test_a_refund_of_nothing_is_settled_at_once() -> None:
    order = an_order()
    claimed = decide_claim(open_books(order), None, a_refund(order.order_id, {"1": 0}))
    assert isinstance(claimed, Claimed)
    assert isinstance(claimed.refund, Refund)
    assert claimed.refund.state == "succeeded"


@pytest.mark.parametrize(
    ("units", "shipping_delta_cents"),
    [(2, -400), (4, -400), (2, 400), (4, 400), (3, -400), (3, 400), (2, 2_000), (4, -2_000)],
)
def test_another_service_level_and_other_lines_end_in_the_same_books_however_edit_payment_refunds_and_a_later_edit_arrive(
    units: int, shipping_delta_cents: int
) -> None:
    order = an_order(a_line("1", 3, 1_000, 0), a_line("2", 1, 700, 0), shipping_cents=2_500)
    delta_cents = (units - 3) * 1_000 + shipping_delta_cents
    edit = an_edit(order, a_line("1", units, 1_000, 0), a_line("2", 1, 700, 0))
    back_cents = min(max(0, -delta_cents), max(0, -shipping_delta_cents))
    shipping = {"shipping_delta_cents": shipping_delta_cents, "shipping_captured_cents": 2_500 + shipping_delta_cents + back_cents}
    edit = edit.model_copy(update={"money_delta_cents": delta_cents, **shipping})
    later = an_edit(order, a_line("1", units, 1_000, 0), version=3)
    later = later.model_copy(update={"money_delta_cents": -700, **shipping, "shipping_delta_cents": 0})
    drop = a_refund(order.order_id, {"2": 700}, cause="edited", cause_id=later.change_id)
    arrivals: list[object] = [edit, later, drop]
    if delta_cents > 0:
        arrivals.append(delta_cents)
    elif delta_cents < 0:
        lines = {"1": -delta_cents - back_cents}
        arrivals.append(a_refund(order.order_id, lines, cause="edited", cause_id=edit.change_id, shipping_cents=back_cents))
    ends = set()
    for arrival in permutations(arrivals):
        books, waiting = open_books(order), [*arrival, edit]
        for _ in range(len(waiting)):
            for event in list(waiting):
                after = _heard(books, event)
                if after is not None:
                    books = after
                    waiting.remove(event)
        assert waiting == [], "whatever must wait gets its turn"
        room_cents = books.shipping_captured_cents - books.shipping_refunded_cents
        ends.add((books.captured_cents, books.unapportioned_cents, room_cents, books.lines["1"].free_cents, books.lines["2"].free_cents))
    assert ends == {(6_200 + max(0, delta_cents), 0, 2_500 + shipping_delta_cents, units * 1_000, 0)}, "what may go back is what it costs"


def _heard(books: OrderBooks, event: object) -> OrderBooks | None:
    """The books after a message; None when it has to wait."""
    if isinstance(event, int):
        return add_payment(books, event)
    if isinstance(event, OrderEdited):
        edited = apply_edit(books, event)
        return None if isinstance(edited, EditRefused) else edited
    claimed = decide_claim(books, None, event)  # type: ignore[arg-type]  # the third kind of message is a refund
    return claimed.books if isinstance(claimed, Claimed) else None

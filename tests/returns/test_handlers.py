"""The handlers on a real database: each story ends with clean books (see the fixture)."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from services.returns.handlers import authorisations, expire_returns, retry_refund
from services.returns.handlers.loading import lock_books
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderLine, OrderPlaced, PaymentCollected
from shared.contracts.returns import (
    RefundExecutionRequested,
    RefundLine,
    RefundRequested,
    ReturnApproved,
    ReturnClosed,
    ReturnDeclined,
    ReturnInspected,
    ReturnScanRejected,
)
from shared.messaging.message import Transaction
from tests.conftest import Databases
from tests.returns.conftest import Desk
from tests.returns.messages import (
    NOW,
    RENO,
    a_cancellation,
    a_delivery,
    a_line,
    a_refund,
    a_return,
    a_scan,
    a_shipment,
    an_edit,
    an_order,
    money_moved,
    money_refused,
    received,
)


async def shipped_order(desk: Desk, *lines: OrderLine) -> OrderPlaced:
    """An order that has left completely."""
    order = an_order(*lines)
    await desk.hear(order)
    await desk.hear(a_shipment(order))
    return order


async def approved_return(desk: Desk, order: OrderPlaced, units: dict[str, int]) -> ReturnApproved:
    """A return that was approved."""
    return (await desk.hear(a_return(order.order_id, units))).one(ReturnApproved)


async def refund_states(desk: Desk) -> list[tuple[str, int]]:
    """All refunds, oldest first."""
    rows = await desk.connection.fetch("SELECT state, amount_cents FROM refunds ORDER BY requested_at, refund_id")
    return [(row["state"], row["amount_cents"]) for row in rows]


async def return_status(desk: Desk, return_id: UUID) -> str:
    """Where a return stands."""
    status: str = await desk.connection.fetchval("SELECT status FROM returns WHERE return_id = $1", return_id)
    return status


async def test_a_return_goes_from_request_to_label_to_scan_to_money_to_its_end(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 3})
    assert (approved.refund_quote_cents, approved.currency) == (3_100, "USD")
    assert approved.expires_at == NOW + timedelta(days=30)

    scan = a_scan(approved.return_id, {"1": 2}, {"1": 1})
    heard = await desk.hear(scan)
    inspected = heard.one(ReturnInspected)
    assert (inspected.order_id, inspected.location, inspected.scan_id) == (order.order_id, "reno", scan.scan_id)
    assert [(line.disposition, line.quantity, line.sku) for line in inspected.dispositions] == [
        ("restocked", 2, "SKU-1"),
        ("damaged", 1, "SKU-1"),
    ]
    asked = heard.one(RefundExecutionRequested)
    assert (asked.amount_cents, asked.channel, asked.external_id) == (3_100, "shopify", "#1001")
    assert asked.idempotency_key == str(asked.refund_id)
    assert heard.of(ReturnClosed) == []

    closed = (await desk.hear(money_moved(asked.refund_id, order.order_id, 3_100))).one(ReturnClosed)
    assert (closed.return_id, closed.refunded_cents) == (approved.return_id, 3_100)
    assert await return_status(desk, approved.return_id) == "closed"


async def test_every_message_carries_its_order_as_subject_and_its_cause(desk: Desk) -> None:
    order = await shipped_order(desk)
    request = received(a_return(order.order_id, {"1": 1}))
    heard = await desk.hear(request)
    assert [(item.subject, item.because) for item in heard.outgoing] == [(str(order.order_id), request)]


async def test_an_order_placed_twice_is_one_order(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order, order)
    await desk.hear(order)
    assert await desk.connection.fetchval("SELECT count(*) FROM order_lines") == 1


async def test_an_order_that_names_a_line_twice_is_parked_and_the_rest_of_the_batch_goes_on(desk: Desk) -> None:
    good = an_order()
    heard = await desk.hear(an_order(a_line("1"), a_line("1")), good)
    assert heard.parked == ["lines: line_id '1' appears twice; send each line once"]
    assert [row[0] for row in await desk.connection.fetch("SELECT order_id FROM orders")] == [good.order_id]


async def test_shipment_and_delivery_may_come_before_the_order(desk: Desk) -> None:
    order = an_order()
    parcel = a_shipment(order, shipped_at=NOW)
    await desk.hear(a_delivery(parcel, NOW + timedelta(days=5)))
    await desk.hear(parcel)
    await desk.hear(order)
    desk.now = NOW + timedelta(days=34)
    assert (await approved_return(desk, order, {"1": 3})).refund_quote_cents == 3_100


async def test_shipped_told_twice_ships_once(desk: Desk) -> None:
    order = an_order()
    parcel = a_shipment(order, {"1": 2})
    await desk.hear(order)
    await desk.hear(parcel, parcel)
    await desk.hear(parcel)
    declined = (await desk.hear(a_return(order.order_id, {"1": 3}))).one(ReturnDeclined)
    assert declined.reason == "quantity_exceeds_shipped"


async def test_a_return_of_a_parcel_that_was_cancelled_waits_for_its_shipment_and_knows_no_window(desk: Desk) -> None:
    order = an_order()
    parcel = a_shipment(order, shipped_at=NOW - timedelta(days=90))
    request = a_return(order.order_id, {"1": 3}).model_copy(update={"fulfillment_id": parcel.fulfillment_id})
    await desk.hear(order)
    assert (await desk.hear(request)).deferred == [f"fulfillment_id: nothing was heard yet of parcel {parcel.fulfillment_id} having left"]
    await desk.hear(parcel)
    assert (await desk.hear(a_return(order.order_id, {"1": 3}))).one(ReturnDeclined).reason == "window_closed"
    approved = (await desk.hear(request)).one(ReturnApproved)
    assert (approved.refund_quote_cents, approved.fulfillment_id) == (3_100, parcel.fulfillment_id)
    other = request.model_copy(update={"return_id": new_id()})
    assert (await desk.hear(other)).one(ReturnDeclined).reason == "quantity_exceeds_shipped", "its units may come back once"


async def test_a_shipment_that_is_recorded_while_its_return_is_decided_declines_nothing(
    desk: Desk, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = an_order()
    parcel = a_shipment(order)
    request = a_return(order.order_id, {"1": 3}).model_copy(update={"fulfillment_id": parcel.fulfillment_id})
    await desk.hear(order)
    other = Desk(await databases.connect("returns"))

    async def heard_meanwhile(*arguments: object) -> object:
        found = await lock_books(*arguments)  # type: ignore[arg-type]  # passed on as they came
        await other.hear(parcel)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(authorisations, "lock_books", heard_meanwhile)
        assert (await desk.hear(request)).deferred != [], "the books were opened before it was recorded"
    assert (await desk.hear(request)).one(ReturnApproved).refund_quote_cents == 3_100


async def test_a_return_of_an_order_nobody_knows_waits_for_it_and_leaves_nothing_behind(desk: Desk) -> None:
    order = an_order()
    request = a_return(order.order_id, {"1": 1})
    heard = await desk.hear(request)
    assert (heard.outgoing, len(heard.deferred)) == ([], 1)
    assert heard.deferred[0].startswith(f"order_id: order {order.order_id} has not arrived")
    assert await desk.connection.fetchval("SELECT count(*) FROM returns") == 0
    await desk.hear(order)
    await desk.hear(a_shipment(order))
    assert (await desk.hear(request)).one(ReturnApproved).return_id == request.return_id


async def test_a_scan_at_a_place_nobody_registered_pays_nothing_until_the_place_is_known(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 3})
    scan, elsewhere = a_scan(approved.return_id, {"1": 2}, closes=False), a_scan(approved.return_id, {"1": 1}, location="atlantis")
    heard = await desk.hear(elsewhere, scan)
    assert heard.deferred[0].startswith("location: 'atlantis' is not registered")
    assert heard.one(ReturnInspected).scan_id == scan.scan_id, "the rest of the batch goes on"
    assert await refund_states(desk) == [("sent", 2_067)]
    await desk.hear(RENO.model_copy(update={"location": "atlantis"}), RENO)
    assert (await desk.hear(elsewhere)).one(ReturnInspected).location == "atlantis"


async def test_the_same_return_asked_for_twice_is_one_return(desk: Desk) -> None:
    order = await shipped_order(desk)
    request = a_return(order.order_id, {"1": 1})
    assert len((await desk.hear(request, request)).outgoing) == 1
    assert (await desk.hear(request)).outgoing == []
    assert await desk.connection.fetchval("SELECT open_units FROM order_lines") == 1


async def test_another_return_under_the_same_id_is_parked(desk: Desk) -> None:
    order = await shipped_order(desk)
    request = a_return(order.order_id, {"1": 1})
    await desk.hear(request)
    heard = await desk.hear(a_return(order.order_id, {"1": 2}, return_id=request.return_id))
    assert (heard.outgoing, len(heard.parked)) == ([], 1)
    assert heard.parked[0].startswith("return_id:")


async def test_two_requests_of_one_batch_for_the_same_units_one_wins(desk: Desk) -> None:
    order = await shipped_order(desk)
    heard = await desk.hear(a_return(order.order_id, {"1": 2}), a_return(order.order_id, {"1": 2}))
    assert (len(heard.of(ReturnApproved)), len(heard.of(ReturnDeclined))) == (1, 1)


async def test_return_three_receive_two_refund_two(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 3})
    heard = await desk.hear(a_scan(approved.return_id, {"1": 2}))
    assert heard.one(RefundExecutionRequested).amount_cents == 2_067
    assert ("missing", 1) in [(line.disposition, line.quantity) for line in heard.one(ReturnInspected).dispositions]


async def test_a_scan_told_twice_pays_once(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 3})
    scan = a_scan(approved.return_id, {"1": 3})
    assert len((await desk.hear(scan, scan)).of(RefundExecutionRequested)) == 1
    assert (await desk.hear(scan)).outgoing == []
    assert await refund_states(desk) == [("sent", 3_100)]


async def test_two_scanners_of_one_batch_can_not_book_more_than_was_approved(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 3})
    heard = await desk.hear(a_scan(approved.return_id, {"1": 2}, closes=False), a_scan(approved.return_id, {"1": 2}, closes=False))
    assert heard.one(ReturnScanRejected).reason == "quantity_exceeds_approved"
    assert await refund_states(desk) == [("sent", 2_067)]


async def test_a_scan_of_an_unknown_return_is_refused_to_its_sender(desk: Desk) -> None:
    refused = (await desk.hear(a_scan(new_id(), {"1": 1}))).one(ReturnScanRejected)
    assert refused.reason == "unknown_return"


async def test_partial_scans_pay_cumulatively_and_the_return_closes_with_the_last_refund(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 3})
    first = (await desk.hear(a_scan(approved.return_id, {"1": 1}, closes=False))).one(RefundExecutionRequested)
    assert await return_status(desk, approved.return_id) == "received"
    second = (await desk.hear(a_scan(approved.return_id, {"1": 2}))).one(RefundExecutionRequested)
    assert first.amount_cents + second.amount_cents == 3_100
    assert (await desk.hear(money_moved(second.refund_id, order.order_id, second.amount_cents))).outgoing == []
    closed = (await desk.hear(money_moved(first.refund_id, order.order_id, first.amount_cents))).one(ReturnClosed)
    assert closed.refunded_cents == 3_100


async def test_a_free_item_comes_back_without_a_refund_and_closes_at_once(desk: Desk) -> None:
    order = await shipped_order(desk, a_line("1", quantity=1, unit_price_cents=0, tax_cents=0))
    approved = await approved_return(desk, order, {"1": 1})
    heard = await desk.hear(a_scan(approved.return_id, {"1": 1}))
    assert heard.of(RefundExecutionRequested) == []
    assert heard.one(ReturnClosed).refunded_cents == 0


async def test_a_refund_asked_for_twice_is_asked_of_the_channel_once(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order)
    request = a_refund(order.order_id, {"1": 3_100}, shipping_cents=500)
    assert len((await desk.hear(request, request)).outgoing) == 1
    heard = await desk.hear(request)
    assert (heard.outgoing, heard.parked) == ([], [])
    assert await refund_states(desk) == [("sent", 3_600)]


async def test_a_refund_beyond_what_was_captured_is_parked_with_the_amounts(desk: Desk) -> None:
    order = an_order()
    cancelled = a_cancellation(order)
    await desk.hear(order)
    await desk.hear(cancelled)
    await desk.hear(a_refund(order.order_id, {"1": 3_000}, cause_id=cancelled.change_id))
    heard = await desk.hear(a_refund(order.order_id, {"1": 101}, cause_id=cancelled.change_id))
    assert heard.outgoing == []
    assert "101 asked, 3100 captured, 3000 already claimed" in heard.parked[0]


async def test_two_refunds_of_one_batch_can_not_share_the_same_money(desk: Desk) -> None:
    order = an_order()
    cancelled = a_cancellation(order)
    await desk.hear(order)
    await desk.hear(cancelled)
    requests = [a_refund(order.order_id, {"1": 2_000}, cause_id=cancelled.change_id) for _ in range(2)]
    heard = await desk.hear(*requests)
    assert (len(heard.of(RefundExecutionRequested)), len(heard.parked)) == (1, 1)


async def test_cancellation_edit_and_refund_wait_for_their_order(desk: Desk) -> None:
    order = an_order()
    assert (await desk.hear(a_cancellation(order))).deferred == [f"order {order.order_id} has not arrived"]
    assert (await desk.hear(an_edit(order, a_line("1", 2)))).deferred == [f"order {order.order_id} has not arrived"]
    assert (await desk.hear(a_refund(order.order_id, {"1": 1}))).deferred == [f"order {order.order_id} has not arrived"]


async def test_an_edit_and_its_refund_leave_the_rest_of_the_order_refundable(desk: Desk) -> None:
    order = an_order(a_line("1", 3, 1_000, 90), shipping_cents=0)
    edit = an_edit(order, a_line("1", 1, 1_000, 30))
    await desk.hear(order)
    await desk.hear(edit)
    await desk.hear(a_refund(order.order_id, {"1": 2_060}, cause="edited", cause_id=edit.change_id))
    await desk.hear(a_shipment(order, {"1": 1}))
    approved = await approved_return(desk, order, {"1": 1})
    assert approved.refund_quote_cents == 1_030
    await desk.hear(a_scan(approved.return_id, {"1": 1}))
    assert sum(amount for _, amount in await refund_states(desk)) == 3_090


async def test_edits_of_one_batch_in_any_order_leave_the_newest_version(desk: Desk) -> None:
    order = an_order(a_line("1", 5, 1_000, 0), shipping_cents=0)
    await desk.hear(order)
    await desk.hear(an_edit(order, a_line("1", 2, 1_000, 0), version=3), an_edit(order, a_line("1", 4, 1_000, 0), version=2))
    row = await desk.connection.fetchrow("SELECT quantity, captured_cents FROM order_lines")
    assert row is not None
    assert tuple(row) == (2, 2_000)
    assert await desk.connection.fetchval("SELECT unapportioned_cents FROM orders") == 3_000


async def test_an_edit_that_two_refunds_have_overtaken_waits_for_the_next_edit(desk: Desk) -> None:
    order = an_order(a_line("1", 5, 1_000, 0), shipping_cents=0)
    second, third = an_edit(order, a_line("1", 4, 1_000, 0)), an_edit(order, a_line("1", 3, 1_000, 0), version=3)
    await desk.hear(order)
    await desk.hear(*(a_refund(order.order_id, {"1": 1_000}, cause="edited", cause_id=edit.change_id) for edit in (second, third)))
    assert "or the edit of a refund" in (await desk.hear(second)).deferred[0]
    await desk.hear(third)
    assert (await desk.hear(second)).parked == []
    row = await desk.connection.fetchrow("SELECT quantity, captured_cents, edited_cents FROM order_lines")
    assert row is not None
    assert tuple(row) == (3, 5_000, 2_000)


async def test_an_edit_that_was_not_paid_for_is_parked(desk: Desk) -> None:
    order = an_order(a_line("1", 1, 1_000, 0))
    await desk.hear(order)
    heard = await desk.hear(an_edit(order, a_line("1", 2, 1_000, 0)))
    assert "payment_required" in heard.parked[0]


async def test_a_payment_adds_once_to_what_was_paid_and_its_edit_waits_for_it(desk: Desk) -> None:
    order = an_order(a_line("1", 1, 1_000, 0), shipping_cents=0)
    await desk.hear(order)

    def paid(cents: int) -> PaymentCollected:
        return PaymentCollected(
            payment_id=new_id(),
            order_id=order.order_id,
            change_id=new_id(),
            amount_cents=cents,
            currency="USD",
            provider_reference="p-1",
            collected_at=NOW,
        )

    in_time, late = paid(1_000), paid(500)
    edit = an_edit(order, a_line("1", 2, 1_000, 0)).model_copy(update={"money_delta_cents": 1_000})
    assert "a payment has not arrived" in (await desk.hear(edit)).deferred[0]
    back = RefundRequested(
        refund_id=new_id(),
        order_id=order.order_id,
        cause="edited",
        cause_id=late.payment_id,
        lines=[RefundLine(line_id="1", quantity=0, amount_cents=500)],
        amount_cents=500,
        currency="USD",
    )
    assert (await desk.hear(back)).one(RefundExecutionRequested).amount_cents == 500, "it may overtake the payment that it gives back"
    for _ in range(2):
        await desk.hear(in_time, in_time, late)
    assert (await desk.hear(edit)).deferred == []
    books = "SELECT o.captured_cents, unapportioned_cents, l.captured_cents, edited_cents FROM orders o JOIN order_lines l USING (order_id)"
    row = await desk.connection.fetchrow(books)
    assert row is not None
    assert tuple(row) == (2_500, 0, 2_500, 500), "both units can be paid back in full"


async def test_an_order_cancelled_twice_is_cancelled_once(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order)
    await desk.hear(a_cancellation(order), a_cancellation(order))
    await desk.hear(a_cancellation(order, version=3))
    assert await desk.connection.fetchval("SELECT sum(quantity) FROM cancelled_units") == 3


async def test_a_failed_refund_is_visible_and_an_operator_has_it_tried_again_under_the_same_key(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 3})
    asked = (await desk.hear(a_scan(approved.return_id, {"1": 3}))).one(RefundExecutionRequested)
    await desk.hear(money_refused(asked.refund_id, order.order_id, 3_100))
    row = await desk.connection.fetchrow("SELECT state, failure_reason FROM refunds")
    assert row is not None
    assert tuple(row) == ("failed", "account closed")
    assert await return_status(desk, approved.return_id) == "inspected"

    async with desk.connection.transaction():
        tx = Transaction(desk.connection, desk.now)
        refund, outgoing = await retry_refund(tx, asked.refund_id)
        await desk.say(outgoing)
    assert refund is not None
    assert [item.data for item in outgoing] == [asked]

    assert (await desk.hear(money_moved(asked.refund_id, order.order_id, 3_100))).one(ReturnClosed).refunded_cents == 3_100
    entries = await desk.connection.fetch("SELECT kind FROM refund_ledger ORDER BY recorded_at, entry_id")
    assert [row["kind"] for row in entries] == ["requested", "failed", "retried", "succeeded"]


async def test_only_a_failed_refund_can_be_tried_again(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order)
    asked = (await desk.hear(a_refund(order.order_id, {"1": 100}))).one(RefundExecutionRequested)
    tx = Transaction(desk.connection, desk.now)
    refund, outgoing = await retry_refund(tx, asked.refund_id)
    assert refund is not None
    assert (refund.state, outgoing) == ("sent", [])
    assert await retry_refund(tx, new_id()) == (None, [])


async def test_a_late_success_after_a_failure_counts_and_a_late_failure_after_a_success_does_not(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order)
    asked = (await desk.hear(a_refund(order.order_id, {"1": 100}))).one(RefundExecutionRequested)
    await desk.hear(money_refused(asked.refund_id, order.order_id, 100))
    await desk.hear(money_moved(asked.refund_id, order.order_id, 100))
    await desk.hear(money_refused(asked.refund_id, order.order_id, 100), money_refused(asked.refund_id, order.order_id, 100))
    assert await refund_states(desk) == [("succeeded", 100)]


async def test_success_told_twice_in_one_batch_is_booked_once(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order)
    asked = (await desk.hear(a_refund(order.order_id, {"1": 100}))).one(RefundExecutionRequested)
    yes = money_moved(asked.refund_id, order.order_id, 100)
    await desk.hear(yes, yes)
    assert await desk.connection.fetchval("SELECT count(*) FROM refund_ledger WHERE kind = 'succeeded'") == 1


async def test_answers_about_unknown_refunds_or_other_amounts_are_parked(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order)
    asked = (await desk.hear(a_refund(order.order_id, {"1": 100}))).one(RefundExecutionRequested)
    heard = await desk.hear(money_moved(asked.refund_id, order.order_id, 99), money_moved(new_id(), order.order_id, 100))
    assert len(heard.parked) == 2
    assert await refund_states(desk) == [("sent", 100)]


async def test_a_failed_refund_keeps_its_claim_because_the_money_is_still_owed(desk: Desk) -> None:
    order = an_order(shipping_cents=0)
    cancelled = a_cancellation(order)
    await desk.hear(order)
    await desk.hear(cancelled)
    asked = (await desk.hear(a_refund(order.order_id, {"1": 3_100}, cause_id=cancelled.change_id))).one(RefundExecutionRequested)
    await desk.hear(money_refused(asked.refund_id, order.order_id, 3_100))
    assert len((await desk.hear(a_refund(order.order_id, {"1": 1}, cause_id=cancelled.change_id))).parked) == 1


async def test_a_refund_of_nothing_needs_no_channel(desk: Desk) -> None:
    order = an_order(a_line("1", 1, 0, 0), shipping_cents=0)
    await desk.hear(order)
    assert (await desk.hear(a_refund(order.order_id, {"1": 0}))).outgoing == []
    assert await refund_states(desk) == [("succeeded", 0)]


async def test_returns_whose_parcels_never_came_end_by_themselves(desk: Desk) -> None:
    order = await shipped_order(desk)
    approved = await approved_return(desk, order, {"1": 2})
    desk.now = NOW + timedelta(days=44)
    assert await expire_returns(Transaction(desk.connection, desk.now)) == []
    desk.now = NOW + timedelta(days=44, seconds=1)
    async with desk.connection.transaction():
        outgoing = await expire_returns(Transaction(desk.connection, desk.now))
    assert [item.data.type for item in outgoing] == ["return.closed.v1"]
    assert await return_status(desk, approved.return_id) == "cancelled"
    assert await desk.connection.fetchval("SELECT held_cents FROM order_lines") == 0
    late = (await desk.hear(a_scan(approved.return_id, {"1": 2}))).one(ReturnScanRejected)
    assert late.reason == "already_closed"


async def test_the_books_of_an_order_with_everything_in_it_balance(desk: Desk) -> None:
    order = an_order(a_line("1", 5, 999, 37), a_line("2", 2, 1_250, 11), a_line("3", 1, 100, 0), shipping_cents=499)
    edit = an_edit(order, a_line("1", 4, 999, 30), a_line("2", 2, 1_250, 11))
    await desk.hear(order)
    await desk.hear(a_refund(order.order_id, {"1": 1_006, "3": 100}, cause="edited", cause_id=edit.change_id))
    await desk.hear(edit)
    await desk.hear(a_shipment(order, {"1": 2}), a_shipment(order, {"1": 2, "2": 2}))
    for units in ({"1": 1}, {"1": 3, "2": 1}, {"2": 1}):
        approved = await approved_return(desk, order, units)
        asked = (await desk.hear(a_scan(approved.return_id, units))).one(RefundExecutionRequested)
        await desk.hear(money_moved(asked.refund_id, order.order_id, asked.amount_cents))
    refunded = sum(amount for _, amount in await refund_states(desk))
    assert refunded == sum(line.quantity * line.unit_price_cents + line.tax_cents for line in order.lines)


@pytest.mark.parametrize("table", ["refund_ledger", "refund_lines", "dispositions", "return_scans"])
@pytest.mark.parametrize("privilege", ["UPDATE", "DELETE", "TRUNCATE"])
async def test_the_service_can_not_change_what_it_has_written_into_a_ledger(databases: Databases, table: str, privilege: str) -> None:
    connection = await databases.connect("returns")
    assert await connection.fetchval("SELECT has_table_privilege(current_user, $1, 'INSERT')", table)
    assert not await connection.fetchval("SELECT has_table_privilege(current_user, $1, $2)", table, privilege)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM refund_ledger")


async def test_the_database_itself_refuses_a_cent_more_than_was_captured(desk: Desk) -> None:
    order = an_order()
    await desk.hear(order)
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.connection.execute("UPDATE order_lines SET cancelled_cents = captured_cents + 1")

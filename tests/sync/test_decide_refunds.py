"""Money back exactly once."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sync.channels.protocol import Accepted, Answer, Busy, Refused, Unclear
from services.sync.decide.orders import Article, canonical_order
from services.sync.decide.refunds import BookedRefund, RefundableOrder, RefundBook, RefundRow, settle_refund
from shared.contracts.envelope import new_id
from shared.contracts.returns import RefundExecutionRequested, RefundFailed, RefundSucceeded
from tests.sync.messages import NOW, a_refund, an_order

PLACED = canonical_order(an_order(), new_id(), {("shop", "MUG"): Article("A mug", 300, hazmat=False, listed=True)})


def a_book(*, captured: int = 3200, refunded: int = 0, known: tuple[BookedRefund, ...] = ()) -> RefundBook:
    return RefundBook(
        orders={PLACED.order_id: RefundableOrder("shop", "1001", "USD", captured, refunded)},
        refunds={booked.request.refund_id: booked for booked in known},
        keys={(booked.request.channel, booked.request.idempotency_key): booked.request.refund_id for booked in known},
    )


def test_two_equal_partial_refunds_are_two_refunds() -> None:
    book = a_book()
    assert [book.request(a_refund(PLACED, 1600)), book.request(a_refund(PLACED, 1600))] == ["new", "new"]


def test_a_refund_asked_for_again_is_known() -> None:
    book, refund = a_book(), a_refund(PLACED, 1600)
    assert [book.request(refund), book.request(refund)] == ["new", "known"]


def test_the_same_refund_with_another_amount_is_refused() -> None:
    book, refund = a_book(), a_refund(PLACED, 1600)
    book.request(refund)
    verdict = book.request(refund.model_copy(update={"amount_cents": 1}))
    assert isinstance(verdict, Refused)
    assert verdict.reason.startswith("refund_id:")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_cents": 3201}, "amount_cents"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"currency": "EUR"}, "currency"),
        ({"channel": "outlet"}, "external_id"),
        ({"external_id": "1002"}, "external_id"),
    ],
)
def test_what_contradicts_the_order_is_refused_by_field(change: dict[str, object], field: str) -> None:
    verdict = a_book().request(a_refund(PLACED, 100).model_copy(update=change))
    assert isinstance(verdict, Refused)
    assert verdict.reason.startswith(f"{field}:")


def test_a_key_belongs_to_one_refund() -> None:
    book, refund = a_book(), a_refund(PLACED, 100)
    book.request(refund)
    verdict = book.request(a_refund(PLACED, 100, idempotency_key=refund.idempotency_key))
    assert isinstance(verdict, Refused)
    assert verdict.reason.startswith("idempotency_key:")


def test_a_refund_of_an_order_nobody_knows_waits() -> None:
    assert a_book().request(a_refund(PLACED, 100, order_id=new_id())) is None


def test_a_refused_refund_may_be_tried_again_but_not_beyond_what_was_paid() -> None:
    refund = a_refund(PLACED, 1600)
    failed = BookedRefund(refund, "failed")
    assert a_book(known=(failed,)).request(refund) == "again"
    assert isinstance(a_book(known=(failed,), refunded=1601).request(refund), Refused)


@given(st.lists(st.integers(1, 2_000), max_size=12))
def test_no_sequence_of_requests_gives_back_more_than_was_paid(amounts: list[int]) -> None:
    book = a_book()
    granted = [cents for cents in amounts if book.request(a_refund(PLACED, cents)) == "new"]
    assert sum(granted) <= 3200
    left = 3200
    for cents in amounts:
        if cents <= left:
            left -= cents
    assert sum(granted) == 3200 - left


def a_row(state: str = "sent", attempts: int = 1) -> RefundRow:
    return RefundRow(
        refund_id=new_id(),
        order_id=PLACED.order_id,
        amount_cents=1600,
        currency="USD",
        state=state,  # type: ignore[arg-type]  # every state is tried
        attempts=attempts,
        due_at=NOW,
        last_failure=None,
        provider_reference=None,
        settled_at=None,
        cause_event_id=new_id(),
        cause_traceparent=None,
    )


def test_a_yes_settles_and_is_told_with_the_reference() -> None:
    row, event = settle_refund(a_row(), 1, Accepted("re_1"), NOW, 0.5)
    assert (row.state, row.provider_reference, row.due_at, row.settled_at) == ("succeeded", "re_1", None, NOW)
    assert isinstance(event, RefundSucceeded)
    assert (event.amount_cents, event.provider_reference) == (1600, "re_1")


def test_a_refusal_settles_and_is_told_with_the_reason() -> None:
    row, event = settle_refund(a_row(), 1, Refused("HTTP 422: closed account"), NOW, 0.5)
    assert (row.state, row.due_at) == ("failed", None)
    assert isinstance(event, RefundFailed)
    assert event.reason == "HTTP 422: closed account"


@pytest.mark.parametrize("answer", [Unclear("timeout"), Busy(3.0)])
def test_an_open_outcome_is_unknown_and_due_again(answer: Answer) -> None:
    row, event = settle_refund(a_row(), 1, answer, NOW, 0.5)
    assert (row.state, event) == ("unknown", None)
    assert row.due_at is not None
    assert row.due_at > NOW


def test_a_late_refusal_of_an_earlier_attempt_does_not_end_a_later_one() -> None:
    before = a_row(attempts=2)
    assert settle_refund(before, 1, Refused("HTTP 422"), NOW, 0.5) == (before, None)


def test_a_late_yes_of_an_earlier_attempt_is_believed() -> None:
    row, event = settle_refund(a_row(attempts=2), 1, Accepted("re_1"), NOW, 0.5)
    assert row.state == "succeeded"
    assert event is not None


ANSWERS = st.sampled_from([Accepted("re_1"), Accepted(None), Refused("no"), Unclear("?"), Busy(1.0)])


@given(st.lists(st.tuples(st.integers(1, 4), ANSWERS), max_size=20))
def test_whatever_is_answered_in_whatever_order_one_event_is_told(answers: list[tuple[int, Answer]]) -> None:
    row = a_row()
    events = []
    for attempt, answer in answers:
        row = replace(row, attempts=max(row.attempts, attempt))
        row, event = settle_refund(row, attempt, answer, NOW, 0.5)
        events += [event] if event else []
    settled = row.state in ("succeeded", "failed")
    assert len(events) == settled
    assert (row.due_at is None) is settled
    assert (row.provider_reference is not None) is (row.state == "succeeded")


def test_requests_compare_by_everything_they_say() -> None:
    refund = a_refund(PLACED, 100)
    again = RefundExecutionRequested.model_validate_json(refund.model_dump_json())
    assert again == refund
    assert isinstance(again.refund_id, UUID)

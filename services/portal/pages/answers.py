"""What an owner's answer means in words for a shopper.

The words stand here; only a sealed code travels in the address of the page, so nobody can make our page say something else. Addresses are
kept and opened again, and other tabs go on: a notice is shown only while the order bears it out (:func:`notice_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from services.portal.asking import Answer
from services.portal.decide.order import Entry, OrderView
from shared.contracts.orders import (
    OrderCancelled,
    OrderCancelRejected,
    OrderChangePending,
    OrderDelayAnswerRejected,
    OrderDelayConsentSettled,
    OrderEdited,
    OrderEditRejected,
    OrderPaymentRequested,
)
from shared.contracts.returns import ReturnApproved, ReturnDeclined


@dataclass(frozen=True, slots=True)
class Notice:
    """One message at the top of a page."""

    tone: Literal["good", "waiting", "bad"]
    title: str
    text: str


ANSWERS: dict[str, Notice] = {
    "cancelled": Notice(
        "good", "Your order is cancelled", "Nothing more will ship. If there is money to return, it goes back the way you paid."
    ),
    "cancel_pending": Notice(
        "waiting",
        "We have asked the warehouse to stop",
        "Your order was already handed over. You get an e-mail as soon as the warehouse has answered.",
    ),
    "cancel_refused_fulfillment_started": Notice(
        "bad",
        "It is too late to cancel",
        "The warehouse has started with your order, so it will ship. You can send it back once it has arrived.",
    ),
    "cancel_refused_already_shipped": Notice(
        "bad", "It is too late to cancel", "Everything has left our warehouse. You can send it back once it has arrived."
    ),
    "cancel_refused_already_cancelled": Notice("good", "Your order is already cancelled", "There is nothing more to do."),
    "cancel_refused_change_in_progress": Notice(
        "waiting", "A change is already on its way", "We are waiting for the warehouse. You get an e-mail as soon as it has answered."
    ),
    "cancel_refused": Notice("bad", "We could not cancel your order", "Please look at its current state below, or write to us."),
    "delay_agreed": Notice("good", "Thank you for waiting", "We ship as soon as we can. You can still call it off until it ships."),
    "delay_called_off": Notice("good", "What has not shipped is cancelled", "If there is money to return, it goes back the way you paid."),
    "delay_called_off_pending": Notice(
        "waiting",
        "What has not shipped will be cancelled",
        "The warehouse is at work on a part of your order. What it has started ships first, then we cancel the rest and write to you.",
    ),
    "delay_refused_too_late": Notice(
        "bad", "The time to answer is over", "What had not shipped is cancelled, and the money goes back the way you paid."
    ),
    "delay_refused_replaced": Notice("waiting", "The date has changed again", "Please look at the newest date below and answer once more."),
    "delay_refused_not_needed": Notice("good", "You need not wait any longer", "Please look at the current state of your order below."),
    "delay_refused_already_settled": Notice("good", "We have your answer", "What had not shipped is cancelled."),
    "delay_refused_change_in_progress": Notice(
        "waiting", "A change is already on its way", "We are waiting for the warehouse. Please try again when it has answered."
    ),
    "delay_refused": Notice(
        "bad", "We could not take your answer", "Please look at the current state of your order below, or write to us."
    ),
    "return_approved": Notice(
        "good",
        "Your return is approved",
        "Print the label below, put it on the parcel and hand it to the carrier. We have e-mailed it to you as well.",
    ),
    "return_declined_window_closed": Notice("bad", "We cannot take this back", "The time for returns of these items is over."),
    "return_declined_not_shipped": Notice("bad", "We cannot take this back yet", "These items have not left our warehouse."),
    "return_declined_quantity_exceeds_shipped": Notice(
        "bad", "That is more than you have", "Some of these items are already on their way back. Please choose again."
    ),
    "return_declined": Notice("bad", "We could not approve this return", "Please choose again, or write to us."),
    "return_form_incomplete": Notice("bad", "We have not asked for a return yet", "Please look at what is marked below."),
    "changed": Notice(
        "good", "Your order is changed", "This is how it stands now. If there is money to return, it goes back the way you paid."
    ),
    "change_pending": Notice(
        "waiting",
        "We have asked the warehouse",
        "Your order was already handed over. You get an e-mail as soon as the warehouse has answered.",
    ),
    "change_unpaid": Notice("waiting", "Your change waits for its payment", "We make it as soon as the difference is paid."),
    "change_refused_fulfillment_started": Notice(
        "bad", "It is too late for this change", "The warehouse has started with it. You can send back what you do not want to keep."
    ),
    "change_refused_already_shipped": Notice(
        "bad", "It is too late for this change", "It has left our warehouse. You can send back what you do not want to keep."
    ),
    "change_refused_already_cancelled": Notice("bad", "Your order is cancelled", "There is nothing left to change."),
    "change_refused_stale_version": Notice(
        "bad", "Your order has changed meanwhile", "Please look at how it stands below, and change it once more."
    ),
    "change_refused_change_in_progress": Notice(
        "waiting", "A change is already on its way", "You get an e-mail as soon as it is decided. Please try again then."
    ),
    "change_refused_payment_required": Notice(
        "bad", "This change costs more than you paid", "We cannot take a payment here: please order what you want to add separately."
    ),
    "change_refused_empties_order": Notice("bad", "Nothing would be left", "To call off everything, please cancel the order."),
    "change_refused": Notice("bad", "We could not change your order", "Please look at it below and try once more, or write to us."),
    "already_done": Notice("good", "We have your request", "It was already on its way, so nothing was done twice."),
    "try_again": Notice("bad", "That did not work just now", "Nothing is lost. Please try again in a minute."),
}


CANCEL_WORDS: Final = frozenset({"order.cancelled.v1", "order.cancel_rejected.v1", "order.change_pending.v1"})


def _newest(order: OrderView, *types: str) -> Entry | None:
    return next((entry for entry in reversed(order.entries) if entry.type in types), None)


def _refused_last(reason: str) -> Callable[[OrderView], bool]:
    """The newest word about a cancellation is a refusal for this reason, and the order was not cancelled after all."""

    def bears_out(order: OrderView) -> bool:
        newest = _newest(order, *CANCEL_WORDS)
        refused = newest is not None and newest.type == "order.cancel_rejected.v1" and newest.data["reason"] == reason
        return refused and order.status not in ("cancelled", "shipped", "delivered")

    return bears_out


def _delay_ended(*outcomes: str) -> Callable[[OrderView], bool]:
    """The newest question about a delay has ended so, and it still matters."""

    def bears_out(order: OrderView) -> bool:
        settled = _newest(order, "order.delay_consent_settled.v1")
        return settled is not None and settled.data["outcome"] in outcomes and order.status != "delivered"

    return bears_out


BORNE_OUT: Final[Mapping[str, Callable[[OrderView], bool]]] = {
    "cancelled": lambda order: order.status == "cancelled",
    "cancel_pending": lambda order: bool(order.pending_changes),
    "cancel_refused_fulfillment_started": _refused_last("fulfillment_started"),
    "cancel_refused_already_shipped": lambda order: order.status in ("shipped", "delivered"),
    "cancel_refused_already_cancelled": lambda order: order.status == "cancelled",
    "cancel_refused_change_in_progress": lambda order: bool(order.pending_changes) or _refused_last("change_in_progress")(order),
    "cancel_refused": lambda order: order.status != "cancelled",
    "changed": lambda order: _newest(order, "order.edited.v1") is not None and order.status != "cancelled",
    "change_pending": lambda order: bool(order.pending_changes),
    "change_unpaid": lambda order: bool(order.pending_changes),
    "delay_agreed": lambda order: order.status != "cancelled" and _delay_ended("consented")(order),
    "delay_called_off": _delay_ended("refused"),
    "delay_called_off_pending": lambda order: bool(order.pending_changes),
    "return_approved": lambda order: any(item.status == "approved" for item in order.returns),
}
"""When the order bears an answer out. Answers that are not listed say nothing about its state."""


def notice_of(code: str, order: OrderView) -> Notice | None:
    """What stands at the top of the page after an answer; nothing where the order has gone on and says otherwise."""
    bears_out = BORNE_OUT.get(code)
    return ANSWERS.get(code) if bears_out is None or bears_out(order) else None


def _known(code: str, fallback: str) -> str:
    return code if code in ANSWERS else fallback


def answer_to_cancel(answer: Answer) -> str:
    """The code of what routing said to a cancellation."""
    for message in answer.messages:
        if isinstance(message, OrderCancelled):
            return "cancelled"
        if isinstance(message, OrderChangePending):
            return "cancel_pending"
        if isinstance(message, OrderCancelRejected):
            return _known(f"cancel_refused_{message.reason}", "cancel_refused")
    return _without_message(answer, "cancel_refused")


def answer_to_change(answer: Answer) -> str:
    """The code of what routing said to a change."""
    for message in answer.messages:
        if isinstance(message, OrderEdited):
            return "changed"
        if isinstance(message, OrderPaymentRequested):
            return "change_unpaid"
        if isinstance(message, OrderChangePending):
            return "change_pending"
        if isinstance(message, OrderEditRejected):
            return _known(f"change_refused_{message.reason}", "change_refused")
    return _without_message(answer, "change_refused")


def words_of_refusal(reason: str) -> str:
    """Why a change would not be made, for who only wanted to see it."""
    notice = ANSWERS[_known(f"change_refused_{reason}", "change_refused")]
    return f"{notice.title}. {notice.text}"


def answer_to_delay(answer: Answer) -> str:
    """The code of what routing said to an answer about a delay."""
    for message in answer.messages:
        if isinstance(message, OrderDelayAnswerRejected):
            return _known(f"delay_refused_{message.reason}", "delay_refused")
    if any(isinstance(message, OrderChangePending) for message in answer.messages):
        return "delay_called_off_pending"
    for message in answer.messages:
        if isinstance(message, OrderDelayConsentSettled):
            return "delay_agreed" if message.outcome == "consented" else "delay_called_off"
    return _without_message(answer, "delay_refused")


def answer_to_return(answer: Answer) -> str:
    """The code of what returns said to a request."""
    for message in answer.messages:
        if isinstance(message, ReturnApproved):
            return "return_approved"
        if isinstance(message, ReturnDeclined):
            return _known(f"return_declined_{message.reason}", "return_declined")
    return _without_message(answer, "return_declined")


def _without_message(answer: Answer, refused: str) -> str:
    if answer.status in ("done", "duplicate"):
        return "already_done"
    # Deferred: the order has not reached that service yet.
    return "try_again" if answer.status == "deferred" else refused

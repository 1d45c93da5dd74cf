"""What an owner's answer means in words for a shopper.

The words stand here and only a code travels in the address of the page, so nobody can make our page say something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.portal.asking import Answer
from shared.contracts.orders import (
    OrderCancelled,
    OrderCancelRejected,
    OrderChangePending,
    OrderDelayAnswerRejected,
    OrderDelayConsentSettled,
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
        "bad", "It is too late to cancel", "Your order is on its way. You can send it back once it has arrived."
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
    "return_nothing_chosen": Notice("bad", "Nothing to send back yet", "Choose how many of which items you want to send back."),
    "already_done": Notice("good", "We have your request", "It was already on its way, so nothing was done twice."),
    "try_again": Notice("bad", "That did not work just now", "Nothing is lost. Please try again in a minute."),
}


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

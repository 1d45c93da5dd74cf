"""What the channel says of a payment that an edit waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from services.routing.decide.changes import make_paid_edit
from services.routing.decide.collecting import awaits_payment, drop_unpaid, pay_back
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.handover import submit_assigned
from services.routing.decide.order import Order, Payment
from services.routing.decide.outcome import Outcome
from services.routing.decide.values import replace
from shared.contracts.orders import OrderEditRequested, PaymentCollected, PaymentRefused
from shared.contracts.returns import RefundRequested

Became = Literal["collected", "paid_back"]
"""What became of money that is there: the edit's, or given back."""


def settle_payment(
    order: Order, became: str, message: PaymentCollected, now: datetime, deadlines: Deadlines
) -> tuple[Outcome, Became] | None:
    """Settles money that is there, and says what became of it. None when it has been settled before: money counts once."""
    if became != "asked":
        return None
    outcome = take_payment(order, message, now, deadlines)
    back = any(isinstance(say.data, RefundRequested) and say.data.cause_id == message.payment_id for say in outcome.says)
    return outcome, "paid_back" if back else "collected"


def take_payment(order: Order, message: PaymentCollected, now: datetime, deadlines: Deadlines) -> Outcome:
    """Makes the edit that was paid for. Money for one that does not wait any more goes back."""
    change = order.change
    if change is None or change.change_id != message.change_id or change.payment is None:
        return pay_back(order, Payment(message.payment_id, message.amount_cents, collected=True))
    request = OrderEditRequested.model_validate(change.request)
    return make_paid_edit(replace(order, change=None), request, replace(change.payment, collected=True), now, deadlines)


def refuse_payment(order: Order, message: PaymentRefused, now: datetime, deadlines: Deadlines) -> Outcome:
    """Drops the edit that is not paid for, if it still waits."""
    if not awaits_payment(order) or order.change is None or order.change.change_id != message.change_id:
        return Outcome(order)
    return drop_unpaid(order, "refused", now, message.detail).then(lambda free: submit_assigned(free, now, deadlines))


def lapse_payment(order: Order, now: datetime, deadlines: Deadlines) -> Outcome:
    """Drops an edit that was not paid in time."""
    if not awaits_payment(order) or order.change is None or order.change.answer_due_at > now:
        return Outcome(order)
    return drop_unpaid(order, "lapsed", now).then(lambda free: submit_assigned(free, now, deadlines))

"""How much money may go back, and what the channel's answer makes of a refund."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from services.returns.decide.books import LineBooks, OrderBooks
from shared.contracts.returns import RefundFailed, RefundRequested, RefundSucceeded

RefundState = Literal["sent", "succeeded", "failed"]
RefundCause = Literal["cancelled", "edited", "returned"]


@dataclass(frozen=True, slots=True)
class ClaimedLine:
    """Money for some units of one line."""

    line_id: str
    quantity: int
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A refund as it enters the ledger. ``return_id`` is set when a scan caused it."""

    refund_id: UUID
    order_id: UUID
    cause: RefundCause
    cause_id: UUID
    lines: tuple[ClaimedLine, ...]
    shipping_cents: int
    currency: str
    return_id: UUID | None = None

    @property
    def amount_cents(self) -> int:
        """All of it."""
        return sum(line.amount_cents for line in self.lines) + self.shipping_cents


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of the ledger and where it stands."""

    claim: Claim
    state: RefundState


@dataclass(frozen=True, slots=True)
class Claimed:
    """The money is claimed in ``books``. A refund of nothing is settled at once; there is nothing to move."""

    refund: Refund
    books: OrderBooks


@dataclass(frozen=True, slots=True)
class Repeated:
    """The ledger has this very refund already."""


@dataclass(frozen=True, slots=True)
class TooEarly:
    """What the refund builds on has not arrived."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The refund can not be booked as it is; a person must look."""

    reason: str


ClaimDecision = Claimed | Repeated | TooEarly | Rejected


def claim_of(request: RefundRequested) -> Claim | Rejected:
    """A requested refund as a claim, if its own figures agree."""
    if request.cause == "returned":
        return Rejected("cause: refunds of returns are made by the scan alone; send return.scan_requested")
    amounts: dict[str, ClaimedLine] = {}
    for line in request.lines:
        known = amounts.get(line.line_id, ClaimedLine(line.line_id, 0, 0))
        amounts[line.line_id] = ClaimedLine(line.line_id, known.quantity + line.quantity, known.amount_cents + line.amount_cents)
    lines = tuple(amounts[line_id] for line_id in sorted(amounts))
    claim = Claim(request.refund_id, request.order_id, request.cause, request.cause_id, lines, request.shipping_cents, request.currency)
    if claim.amount_cents != request.amount_cents:
        return Rejected(
            f"amount_cents: {request.amount_cents}, but the lines ({claim.amount_cents - claim.shipping_cents}) and shipping "
            f"({claim.shipping_cents}) add up to {claim.amount_cents}; send figures that agree"
        )
    return claim


def decide_claim(books: OrderBooks | None, known: Refund | None, request: RefundRequested) -> ClaimDecision:
    """May this money go back? Never more than was captured, per line, for shipping and so for the order (invariant I4).

    Everything asked for before counts, whatever became of it: sent, succeeded, failed (still owed), unknown, and what is held for returns
    on their way. A claim that is too high for the books as they are waits while the edit or cancellation it belongs to has not arrived.
    """
    claim = claim_of(request)
    if isinstance(claim, Rejected):
        return claim
    if known is not None:
        if known.claim == claim:
            return Repeated()
        return Rejected(
            f"refund_id: {claim.refund_id} is in the ledger over {known.claim.amount_cents} {known.claim.currency} with other content; "
            f"this message asks for {claim.amount_cents} {claim.currency}"
        )
    if books is None:
        return TooEarly(f"order {request.order_id} has not arrived")
    if claim.currency != books.currency:
        return Rejected(f"currency: {claim.currency}, but the order was paid in {books.currency}")
    unknown = [line.line_id for line in claim.lines if line.line_id not in books.lines]
    if unknown:
        # Only an edit adds lines, so this one is still on its way; when it never comes, the message is parked after its time.
        return TooEarly(f"lines: the order has no line {', '.join(unknown)}; waiting for the edit that added it")
    booked = _book(books, claim)
    if booked is None:
        problem = excess(books, claim)
        if claim.cause_id not in books.changes:
            return TooEarly(f"{problem}; waiting for the change {claim.cause_id} it belongs to")
        return Rejected(problem)
    return Claimed(Refund(claim, "sent" if claim.amount_cents else "succeeded"), booked)


def _book(books: OrderBooks, claim: Claim) -> OrderBooks | None:
    """The books with the claim in them, or None when it does not fit."""
    unapportioned = books.unapportioned_cents
    changed: list[LineBooks] = []
    for asked in claim.lines:
        line = books.lines[asked.line_id]
        if claim.cause == "edited":
            # What the edit freed pays for it first; the line's own captured money is still needed for its goods.
            drawn = min(unapportioned, asked.amount_cents)
            unapportioned -= drawn
            line = replace(line, captured_cents=line.captured_cents + drawn)
        if asked.amount_cents > line.free_cents:
            return None
        if claim.cause == "edited":
            changed.append(replace(line, edited_cents=line.edited_cents + asked.amount_cents))
        else:
            changed.append(replace(line, cancelled_cents=line.cancelled_cents + asked.amount_cents))
    shipping_refunded = books.shipping_refunded_cents + claim.shipping_cents
    if shipping_refunded > books.shipping_captured_cents:
        return None
    return replace(books, shipping_refunded_cents=shipping_refunded, unapportioned_cents=unapportioned).with_lines(changed)


def excess(books: OrderBooks, claim: Claim) -> str:
    """Names the figures of a claim that is too high."""
    lines = []
    for asked in claim.lines:
        line = books.lines[asked.line_id]
        room = line.free_cents + (books.unapportioned_cents if claim.cause == "edited" else 0)
        if asked.amount_cents > room:
            claimed = line.captured_cents - line.free_cents
            lines.append(f"line {asked.line_id}: {asked.amount_cents} asked, {line.captured_cents} captured, {claimed} already claimed")
    if claim.shipping_cents > books.shipping_captured_cents - books.shipping_refunded_cents:
        lines.append(
            f"shipping: {claim.shipping_cents} asked, {books.shipping_captured_cents} captured, "
            f"{books.shipping_refunded_cents} already refunded"
        )
    if not lines:
        lines.append(f"the lines together ask for more than the edit freed ({books.unapportioned_cents})")
    return (
        f"amount_cents: {claim.amount_cents} {claim.currency} is more than may go back ({'; '.join(lines)}); order: "
        f"{books.captured_cents} captured, {books.refunded_cents} refunded before"
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """The ledger's next entry for a refund."""

    state: RefundState
    kind: Literal["succeeded", "failed"]
    detail: str


def settle(known: Refund | None, answer: RefundSucceeded | RefundFailed) -> Settled | Repeated | Rejected:
    """What the channel's answer makes of a refund. Money that has moved has moved: success is final, also after a failure was reported."""
    if known is None:
        return Rejected(f"refund_id: {answer.refund_id} is not in the ledger, so nobody asked for this money to move")
    claim = known.claim
    if (answer.order_id, answer.amount_cents, answer.currency) != (claim.order_id, claim.amount_cents, claim.currency):
        return Rejected(
            f"amount_cents: the channel speaks of {answer.amount_cents} {answer.currency} for order {answer.order_id}, the ledger of "
            f"{claim.amount_cents} {claim.currency} for order {claim.order_id}; find out what was moved"
        )
    if known.state == "succeeded" or (known.state == "failed" and isinstance(answer, RefundFailed)):
        return Repeated()
    if isinstance(answer, RefundSucceeded):
        return Settled("succeeded", "succeeded", answer.provider_reference)
    return Settled("failed", "failed", answer.reason)

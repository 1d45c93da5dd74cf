"""Money that goes back: claims enter the ledger, the channel moves the money, its answers are booked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from services.returns.decide.books import OrderBooks
from services.returns.decide.inspection import ReturnBooks, close_when_settled
from services.returns.decide.refunds import Claim, Claimed, Refund, Rejected, Settled, TooEarly, decide_claim, settle
from services.returns.handlers.loading import lock_books, read_refunds, read_returns, save_books, save_returns
from services.returns.queries import refunds as queries
from services.returns.queries.refunds import LedgerEntry, RefundState
from shared.contracts.returns import RefundExecutionRequested, RefundFailed, RefundRequested, RefundSucceeded, ReturnClosed
from shared.messaging.message import Outgoing, Received, Transaction


def execution_request(claim: Claim, books: OrderBooks) -> RefundExecutionRequested:
    """Asks sync to have the channel move the money. The key is the refund's id, always: a second request is the same movement."""
    return RefundExecutionRequested(
        refund_id=claim.refund_id,
        order_id=claim.order_id,
        channel=books.channel,
        external_id=books.external_id,
        amount_cents=claim.amount_cents,
        currency=claim.currency,
        idempotency_key=str(claim.refund_id),
    )


async def save_refunds(tx: Transaction, refunds: Sequence[Refund]) -> None:
    """Writes new refunds, what they pay for, and the first entry of each in the ledger."""
    if not refunds:
        return
    await queries.insert_refunds(tx.connection, refunds, tx.now)
    lines = [(refund.claim.refund_id, line) for refund in refunds for line in refund.claim.lines]
    if lines:
        await queries.insert_refund_lines(tx.connection, lines)
    entries = [LedgerEntry(tx.new_id(), item.claim.refund_id, "requested", item.claim.amount_cents, item.claim.cause) for item in refunds]
    entries += [
        LedgerEntry(tx.new_id(), item.claim.refund_id, "succeeded", 0, "nothing to pay") for item in refunds if item.state == "succeeded"
    ]
    await queries.insert_ledger_entries(tx.connection, entries, tx.now)


async def book_requested_refunds(tx: Transaction, messages: Sequence[Received[RefundRequested]]) -> Sequence[Outgoing]:
    """Refunds of cancellations and edits, decided one after the other; what exceeds the captured money is parked with the figures."""
    before = await lock_books(tx.connection, (message.data.order_id for message in messages))
    known = await read_refunds(tx.connection, (message.data.refund_id for message in messages))
    after = dict(before)
    claimed: list[tuple[Received[RefundRequested], Refund]] = []
    for message in messages:
        request = message.data
        decision = decide_claim(after.get(request.order_id), known.get(request.refund_id), request)
        if isinstance(decision, Claimed):
            after[request.order_id] = decision.books
            known[request.refund_id] = decision.refund
            claimed.append((message, decision.refund))
        elif isinstance(decision, TooEarly):
            tx.defer(message, decision.reason)
        elif isinstance(decision, Rejected):
            tx.park(message, decision.reason)
    await save_refunds(tx, [refund for _, refund in claimed])
    await save_books(tx.connection, before, after)
    return [
        Outgoing(execution_request(refund.claim, after[refund.claim.order_id]), str(refund.claim.order_id), message)
        for message, refund in claimed
        if refund.state == "sent"
    ]


async def settle_succeeded_refunds(tx: Transaction, messages: Sequence[Received[RefundSucceeded]]) -> Sequence[Outgoing]:
    """The money has moved; a return whose last refund this was is closed."""
    settled = await _settle(tx, messages)
    return await _close_returns(tx, settled)


async def settle_failed_refunds(tx: Transaction, messages: Sequence[Received[RefundFailed]]) -> Sequence[Outgoing]:
    """The channel refused for good: the refund stays owed and waits, visibly, for an operator to have it tried again."""
    await _settle(tx, messages)
    return []


Answer = Received[RefundSucceeded] | Received[RefundFailed]


async def _settle(tx: Transaction, messages: Sequence[Answer]) -> list[tuple[Answer, Refund]]:
    """Books the channel's answers and returns the refunds that have moved on because of them."""
    refund_ids = [message.data.refund_id for message in messages]
    orders = await queries.read_orders_of_refunds(tx.connection, refund_ids)
    await lock_books(tx.connection, orders.values())
    known = await read_refunds(tx.connection, refund_ids)
    entries: list[LedgerEntry] = []
    states: dict[UUID, RefundState] = {}
    moved: list[tuple[Answer, Refund]] = []
    for message in messages:
        answer = message.data
        refund = known.get(answer.refund_id)
        decision = settle(refund, answer)
        if isinstance(decision, Rejected):
            tx.park(message, decision.reason)
        elif isinstance(decision, Settled) and refund is not None:
            known[answer.refund_id] = replace(refund, state=decision.state)
            entries.append(LedgerEntry(tx.new_id(), answer.refund_id, decision.kind, refund.claim.amount_cents, decision.detail))
            succeeded = decision.state == "succeeded"
            states[answer.refund_id] = RefundState(
                refund_id=answer.refund_id,
                state=decision.state,
                settled_at=tx.now,
                provider_reference=decision.detail if succeeded else None,
                failure_reason=None if succeeded else decision.detail,
            )
            moved.append((message, known[answer.refund_id]))
    if entries:
        await queries.insert_ledger_entries(tx.connection, entries, tx.now)
        await queries.update_states(tx.connection, list(states.values()))
    return moved


async def _close_returns(tx: Transaction, settled: Sequence[tuple[Answer, Refund]]) -> list[Outgoing]:
    caused: dict[UUID, Answer] = {}
    for message, refund in settled:
        if refund.claim.return_id is not None:
            caused[refund.claim.return_id] = message
    if not caused:
        return []
    before = await read_returns(tx.connection, caused)
    after: dict[UUID, ReturnBooks] = {return_id: close_when_settled(returned, tx.now) for return_id, returned in before.items()}
    await save_returns(tx.connection, before, after)
    return [
        Outgoing(closing(returned), str(returned.order_id), caused[return_id])
        for return_id, returned in after.items()
        if returned is not before[return_id]
    ]


def closing(returned: ReturnBooks) -> ReturnClosed:
    """What is told when nothing more will come of a return.

    Raises:
        ValueError: the return is not closed.
    """
    if returned.closed_at is None:
        raise ValueError(f"return {returned.return_id} is {returned.status}, not closed")
    return ReturnClosed(
        return_id=returned.return_id,
        order_id=returned.order_id,
        refunded_cents=returned.succeeded_cents,
        closed_at=returned.closed_at,
    )


async def retry_refund(tx: Transaction, refund_id: UUID) -> tuple[Refund | None, Sequence[Outgoing]]:
    """An operator has a failed refund tried again, under the same key. Returns the refund as it was; only a failed one is sent again."""
    orders = await queries.read_orders_of_refunds(tx.connection, [refund_id])
    books = await lock_books(tx.connection, orders.values())
    refund = (await read_refunds(tx.connection, [refund_id])).get(refund_id)
    if refund is None or refund.state != "failed":
        return refund, []
    entry = LedgerEntry(tx.new_id(), refund_id, "retried", refund.claim.amount_cents, "by an operator")
    await queries.insert_ledger_entries(tx.connection, [entry], tx.now)
    await queries.update_states(tx.connection, [RefundState(refund_id, "sent", None, None, None)])
    return refund, [Outgoing(execution_request(refund.claim, books[orders[refund_id]]), str(orders[refund_id]))]

"""Requests to send something back: approved with a label and a quote, or declined with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.returns.decide.authorisation import Approval, Declined, authorise, return_number
from services.returns.decide.books import OrderBooks
from services.returns.decide.inspection import ReturnLineBooks
from services.returns.handlers.loading import lock_books, save_books
from services.returns.queries import returns as queries
from services.returns.queries.orders import read_known_shipments
from shared.contracts.returns import ApprovedLine, ReturnApproved, ReturnAuthorisationRequested, ReturnDeclined
from shared.messaging.message import Outgoing, Received, Transaction

Request = Received[ReturnAuthorisationRequested]


async def authorise_returns(tx: Transaction, messages: Sequence[Request]) -> Sequence[Outgoing]:
    """Decides about requests one after the other, each on the books the one before has left.

    A request for an order that has not arrived waits for it: declining it would make a return of an order that does not exist. One for a
    certain parcel waits for the shipment's message.
    """
    parcels = {message.data.fulfillment_id for message in messages if message.data.fulfillment_id is not None}
    # Before the books: shipments take no lock of the order, and one that is recorded in between must be in the books if it is known here.
    left = await read_known_shipments(tx.connection, sorted(parcels)) if parcels else set()
    before = await lock_books(tx.connection, (message.data.order_id for message in messages))
    known = await _known_requests(tx, messages)
    after = dict(before)
    approved: list[tuple[Request, Approval]] = []
    declined: list[tuple[Request, Declined]] = []
    for message in messages:
        request = message.data
        content = _content(request)
        if request.return_id in known:
            if known[request.return_id] != content:
                tx.park(message, f"return_id: {request.return_id} was used for other content; use a fresh return_id for another return")
            continue
        books = after.get(request.order_id)
        if books is None:
            tx.defer(message, f"order_id: order {request.order_id} has not arrived here; ask again with the id of an order that was placed")
            continue
        if request.fulfillment_id is not None and request.fulfillment_id not in left:
            tx.defer(message, f"fulfillment_id: nothing was heard yet of parcel {request.fulfillment_id} having left")
            continue
        known[request.return_id] = content
        decision = authorise(books, request.return_id, request.lines, tx.now, cancelled_in_time=request.fulfillment_id is not None)
        if isinstance(decision, Approval):
            after[request.order_id] = decision.books
            approved.append((message, decision))
        else:
            declined.append((message, decision))
    await _save(tx, approved, declined, after)
    await save_books(tx.connection, before, after)
    return [
        *(Outgoing(_approval(message.data, decision), str(message.data.order_id), message) for message, decision in approved),
        *(Outgoing(_refusal(message.data, decision), str(message.data.order_id), message) for message, decision in declined),
    ]


def _content(request: ReturnAuthorisationRequested) -> tuple[UUID, list[dict[str, Any]]]:
    """What makes two requests the same one."""
    return request.order_id, [line.model_dump(mode="json") for line in request.lines]


async def _known_requests(tx: Transaction, messages: Sequence[Request]) -> dict[UUID, tuple[UUID, list[dict[str, Any]]]]:
    rows = await queries.read_returns(tx.connection, [message.data.return_id for message in messages])
    return {row["return_id"]: (row["order_id"], row["requested_lines"]) for row in rows}


async def _save(
    tx: Transaction,
    approved: Sequence[tuple[Request, Approval]],
    declined: Sequence[tuple[Request, Declined]],
    books: dict[UUID, OrderBooks],
) -> None:
    if approved:
        await queries.insert_approved(
            tx.connection,
            [
                (
                    message.data.return_id,
                    message.data.order_id,
                    message.data.actor.kind,
                    _content(message.data)[1],
                    books[message.data.order_id].currency,
                    tx.now,
                    decision,
                )
                for message, decision in approved
            ],
        )
        await queries.insert_return_lines(
            tx.connection,
            [
                (message.data.return_id, ReturnLineBooks(line.line_id, line.sku, line.units, line.quote_cents))
                for message, decision in approved
                for line in decision.lines
            ],
        )
    if declined:
        await queries.insert_declined(
            tx.connection,
            [
                (
                    message.data.return_id,
                    return_number(message.data.return_id),
                    message.data.order_id,
                    message.data.actor.kind,
                    _content(message.data)[1],
                    tx.now,
                    decision,
                )
                for message, decision in declined
            ],
        )


def _approval(request: ReturnAuthorisationRequested, approval: Approval) -> ReturnApproved:
    return ReturnApproved(
        return_id=request.return_id,
        order_id=request.order_id,
        lines=[
            ApprovedLine(line_id=line.line_id, sku=line.sku, quantity=line.units, refund_cents=line.quote_cents) for line in approval.lines
        ],
        refund_quote_cents=approval.quote_cents,
        currency=approval.books.currency,
        label_carrier=approval.label.carrier,
        label_tracking_number=approval.label.tracking_number,
        expires_at=approval.label.expires_at,
        fulfillment_id=request.fulfillment_id,
    )


def _refusal(request: ReturnAuthorisationRequested, declined: Declined) -> ReturnDeclined:
    return ReturnDeclined(return_id=request.return_id, order_id=request.order_id, reason=declined.reason, detail=declined.detail)

"""Parcels that came back: dispositions, the refund for what was in them, and returns whose time is over."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.returns.decide.books import OrderBooks
from services.returns.decide.inspection import (
    LATE_PARCEL_GRACE,
    BookedScan,
    Inspection,
    ScanInvalid,
    ScanRefused,
    ScanTooEarly,
    expire,
    inspect,
    scan_content,
)
from services.returns.decide.refunds import Claim, Refund
from services.returns.handlers.loading import lock_books, read_returns, save_books, save_returns
from services.returns.handlers.refunds import closing, execution_request, save_refunds
from services.returns.queries import returns as queries
from services.returns.queries.locations import read_known_locations
from shared.contracts.returns import ReturnInspected, ReturnScanRejected, ReturnScanRequested
from shared.messaging.message import Outgoing, Received, Transaction

Scan = Received[ReturnScanRequested]
EXPIRED_AT_A_TIME = 200


async def book_scans(tx: Transaction, messages: Sequence[Scan]) -> Sequence[Outgoing]:
    """Judges scans one after the other, each on what the one before has left, so that two scanners can not book the same units."""
    return_ids = [message.data.return_id for message in messages]
    orders = await queries.read_orders_of_returns(tx.connection, return_ids)
    books_before = await lock_books(tx.connection, orders.values())
    returns_before = await read_returns(tx.connection, return_ids)
    booked = await _booked_scans(tx, messages)
    locations = await read_known_locations(tx.connection, [message.data.location for message in messages])
    books, returns = dict(books_before), dict(returns_before)
    inspections: list[tuple[Scan, Inspection]] = []
    refused: list[Outgoing] = []
    for message in messages:
        scan = message.data
        returned = returns.get(scan.return_id)
        order = None if returned is None else books.get(returned.order_id)
        decision = inspect(order, returned, scan, booked.get(scan.scan_id), tx.now, location_known=scan.location in locations)
        if isinstance(decision, Inspection):
            books[decision.books.order_id] = decision.books
            returns[scan.return_id] = decision.returned
            booked[scan.scan_id] = scan_content(scan)
            inspections.append((message, decision))
        elif isinstance(decision, ScanRefused):
            subject = None if returned is None else str(returned.order_id)
            refused.append(Outgoing(_rejection(scan, decision), subject, message))
        elif isinstance(decision, ScanTooEarly):
            tx.defer(message, decision.reason)
        elif isinstance(decision, ScanInvalid):
            tx.park(message, decision.reason)
    await _save(tx, inspections)
    await save_books(tx.connection, books_before, books)
    await save_returns(tx.connection, returns_before, returns)
    return [*refused, *(outgoing for message, inspection in inspections for outgoing in _told(tx, message, inspection))]


async def _booked_scans(tx: Transaction, messages: Sequence[Scan]) -> dict[UUID, BookedScan]:
    rows = await queries.read_scans(tx.connection, [message.data.scan_id for message in messages])
    return {
        row["scan_id"]: BookedScan(
            row["scan_id"],
            row["return_id"],
            row["location"],
            tuple(sorted((unit["line_id"], unit["condition"], unit["quantity"]) for unit in row["units"])),
            row["closes"],
        )
        for row in rows
    }


async def _save(tx: Transaction, inspections: Sequence[tuple[Scan, Inspection]]) -> None:
    if not inspections:
        return
    scans = [(message.data, [unit.model_dump(mode="json") for unit in message.data.units]) for message, _ in inspections]
    await queries.insert_scans(tx.connection, scans, tx.now)
    dispositions = [
        (message.data.scan_id, message.data.return_id, line) for message, inspection in inspections for line in inspection.dispositions
    ]
    if dispositions:
        await queries.insert_dispositions(tx.connection, dispositions)
    await save_refunds(tx, [Refund(claim, "sent") for claim in _claims(inspections)])


def _claims(inspections: Sequence[tuple[Scan, Inspection]]) -> list[Claim]:
    return [inspection.claim for _, inspection in inspections if inspection.claim is not None]


def _told(tx: Transaction, message: Scan, inspection: Inspection) -> list[Outgoing]:
    scan, returned, books = message.data, inspection.returned, inspection.books
    subject = str(books.order_id)
    told = []
    if inspection.dispositions:
        inspected = ReturnInspected(
            return_id=scan.return_id,
            scan_id=scan.scan_id,
            order_id=books.order_id,
            location=scan.location,
            dispositions=list(inspection.dispositions),
            inspected_at=tx.now,
        )
        told.append(Outgoing(inspected, subject, message))
    if inspection.claim is not None:
        told.append(Outgoing(execution_request(inspection.claim, books), subject, message))
    if returned.closed_at is not None:
        told.append(Outgoing(closing(returned), subject, message))
    return told


def _rejection(scan: ReturnScanRequested, refused: ScanRefused) -> ReturnScanRejected:
    return ReturnScanRejected(return_id=scan.return_id, scan_id=scan.scan_id, reason=refused.reason, detail=refused.detail)


async def expire_returns(tx: Transaction) -> Sequence[Outgoing]:
    """Gives up returns whose parcel never came; their units may be authorised again and the money held for them is free."""
    found = await queries.find_expired(tx.connection, tx.now - LATE_PARCEL_GRACE, EXPIRED_AT_A_TIME)
    if not found:
        return []
    books_before = await lock_books(tx.connection, (row["order_id"] for row in found))
    returns_before = await read_returns(tx.connection, (row["return_id"] for row in found))
    books: dict[UUID, OrderBooks] = dict(books_before)
    returns = dict(returns_before)
    for return_id, returned in returns_before.items():
        books[returned.order_id], returns[return_id] = expire(books[returned.order_id], returned, tx.now)
    await save_books(tx.connection, books_before, books)
    await save_returns(tx.connection, returns_before, returns)
    return [
        Outgoing(closing(returned), str(returned.order_id))
        for return_id, returned in returns.items()
        if returned.closed_at is not None and returns_before[return_id].closed_at is None
    ]

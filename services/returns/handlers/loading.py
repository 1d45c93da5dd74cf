"""From rows to books and back. Everything that decides locks its orders here first, in one global order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from asyncpg import Record

from services.returns.decide.books import LineBooks, OrderBooks, Policy, ShippedUnits, default_policy
from services.returns.decide.inspection import ReturnBooks, ReturnLineBooks
from services.returns.decide.refunds import Claim, ClaimedLine, Refund
from services.returns.queries import orders as order_queries
from services.returns.queries import refunds as refund_queries
from services.returns.queries import returns as return_queries
from shared.messaging.message import Connection


def policy_of(row: Record) -> Policy:
    """A segment's policy from its row; the default where nobody has set one."""
    if row["window_days"] is None:
        return default_policy(row["segment"])
    return Policy(row["segment"], row["window_days"], row["label_days"], row["label_carrier"], row["return_address"])


async def lock_books(connection: Connection, order_ids: Iterable[UUID]) -> dict[UUID, OrderBooks]:
    """Locks orders and opens their books; orders that have not arrived are left out.

    The lines are read after the lock is held, so that they show what the transaction before us has done.
    """
    rows = await order_queries.lock_orders(connection, sorted(set(order_ids)))
    return await _open(connection, rows)


async def read_books(connection: Connection, order_id: UUID) -> OrderBooks | None:
    """The books of one order for a page, not locked."""
    rows = await order_queries.read_order(connection, order_id)
    return (await _open(connection, rows)).get(order_id)


async def _open(connection: Connection, rows: Sequence[Record]) -> dict[UUID, OrderBooks]:
    if not rows:
        return {}
    order_ids = [row["order_id"] for row in rows]
    shipped: dict[tuple[UUID, str], list[ShippedUnits]] = {}
    for unit in await order_queries.read_shipped_units(connection, order_ids):
        parcel = ShippedUnits(unit["quantity"], unit["shipped_at"], unit["delivered_at"])
        shipped.setdefault((unit["order_id"], unit["line_id"]), []).append(parcel)
    lines: dict[UUID, dict[str, LineBooks]] = {order_id: {} for order_id in order_ids}
    for line in await order_queries.read_lines(connection, order_ids):
        values = {name: value for name, value in line.items() if name != "order_id"}
        parcels = tuple(shipped.get((line["order_id"], line["line_id"]), ()))
        lines[line["order_id"]][line["line_id"]] = LineBooks(**values, shipped=parcels)
    changes: dict[UUID, set[UUID]] = {order_id: set() for order_id in order_ids}
    for change in await order_queries.read_changes(connection, order_ids):
        changes[change["order_id"]].add(change["change_id"])
    return {
        row["order_id"]: OrderBooks(
            order_id=row["order_id"],
            channel=row["channel"],
            external_id=row["external_id"],
            currency=row["currency"],
            policy=policy_of(row),
            placed_at=row["placed_at"],
            lines_version=row["lines_version"],
            captured_cents=row["captured_cents"],
            shipping_captured_cents=row["shipping_captured_cents"],
            lines=lines[row["order_id"]],
            shipping_refunded_cents=row["shipping_refunded_cents"],
            unapportioned_cents=row["unapportioned_cents"],
            cancelled_at=row["cancelled_at"],
            changes=frozenset(changes[row["order_id"]]),
        )
        for row in rows
    }


async def save_books(connection: Connection, before: Mapping[UUID, OrderBooks], after: Mapping[UUID, OrderBooks]) -> None:
    """Writes what has changed between two states of the same orders."""
    changed = [books for order_id, books in after.items() if books is not before[order_id]]
    if not changed:
        return
    await order_queries.update_orders(connection, changed)
    lines = [
        (books.order_id, line)
        for books in changed
        for line_id, line in books.lines.items()
        if line is not before[books.order_id].lines.get(line_id)
    ]
    if lines:
        await order_queries.upsert_lines(connection, lines)


async def read_returns(connection: Connection, return_ids: Iterable[UUID]) -> dict[UUID, ReturnBooks]:
    """Returns as they stand; call with their orders locked when something is decided about them."""
    wanted = sorted(set(return_ids))
    rows = await return_queries.read_returns(connection, wanted)
    lines: dict[UUID, dict[str, ReturnLineBooks]] = {row["return_id"]: {} for row in rows}
    for line in await return_queries.read_return_lines(connection, wanted):
        values = {name: value for name, value in line.items() if name != "return_id"}
        lines[line["return_id"]][line["line_id"]] = ReturnLineBooks(**values)
    return {
        row["return_id"]: ReturnBooks(
            return_id=row["return_id"],
            order_id=row["order_id"],
            status=row["status"],
            expires_at=row["expires_at"],
            lines=lines[row["return_id"]],
            succeeded_cents=row["succeeded_cents"],
            unsettled_refunds=row["unsettled_refunds"],
            inspected_at=row["inspected_at"],
            closed_at=row["closed_at"],
        )
        for row in rows
    }


async def save_returns(connection: Connection, before: Mapping[UUID, ReturnBooks], after: Mapping[UUID, ReturnBooks]) -> None:
    """Writes what has changed between two states of the same returns."""
    changed = [returned for return_id, returned in after.items() if returned is not before[return_id]]
    if not changed:
        return
    await return_queries.update_returns(connection, changed)
    lines = [
        (returned.return_id, line)
        for returned in changed
        for line_id, line in returned.lines.items()
        if line is not before[returned.return_id].lines[line_id]
    ]
    if lines:
        await return_queries.update_return_lines(connection, lines)


async def read_refunds(connection: Connection, refund_ids: Iterable[UUID]) -> dict[UUID, Refund]:
    """Refunds as they stand; call with their orders locked when something is decided about them."""
    wanted = sorted(set(refund_ids))
    lines: dict[UUID, list[ClaimedLine]] = {}
    for line in await refund_queries.read_refund_lines(connection, wanted):
        lines.setdefault(line["refund_id"], []).append(ClaimedLine(line["line_id"], line["quantity"], line["amount_cents"]))
    return {
        row["refund_id"]: Refund(
            Claim(
                refund_id=row["refund_id"],
                order_id=row["order_id"],
                cause=row["cause"],
                cause_id=row["cause_id"],
                lines=tuple(sorted(lines.get(row["refund_id"], ()), key=lambda line: line.line_id)),
                shipping_cents=row["shipping_cents"],
                currency=row["currency"],
                return_id=row["return_id"],
            ),
            row["state"],
        )
        for row in await refund_queries.read_refunds(connection, wanted)
    }

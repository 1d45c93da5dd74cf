"""Operators decide about what the auditor found: its compensation is applied, or it is dismissed (feature A11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.books import Books
from services.allocation.decide.compensating import STATES, LineRow, restate_rows
from services.allocation.decide.defects import Defect, Site
from services.allocation.decide.evidence import Written
from services.allocation.decide.stock import Assignment, Cause, HeldUnits, Movement
from services.allocation.handlers.investigating import investigate, key_of, record
from services.allocation.handlers.loading import add_held_rows, open_books, place_of
from services.allocation.handlers.promising import date_later
from services.allocation.handlers.settling import settle
from services.allocation.queries import auditing, feeds, holds, supplies
from services.allocation.queries import books as book_sql
from services.allocation.queries import findings as sql
from shared.contracts.envelope import new_id
from shared.contracts.stock import (
    StockCompensationRequested,
    StockFindingDecided,
    StockFindingDismissalRequested,
    StockFindingRefused,
)
from shared.errors import Refused
from shared.messaging.message import Connection, Outgoing, Received, Transaction

Decision = StockCompensationRequested | StockFindingDismissalRequested
RULED_BALANCES = ("fenced", "ruled")
"""What a pool says of channels' rules: the books derive it from those, and add differences to the row."""
Reason = Literal["unknown_finding", "already_closed", "vanished", "stale_expectation"]


async def dismiss_findings(tx: Transaction, messages: Sequence[Received[StockFindingDismissalRequested]]) -> list[Outgoing]:
    """An operator lets findings be, with a reason. The same decision told twice is taken once and answered the same."""
    outgoing: list[Outgoing] = []
    for message in _in_order(messages):
        finding, answer = await _open_finding(tx, message)
        if answer is None and finding is not None:
            answer = _stale(message.data, finding["found"]) if message.data.expected_found != finding["found"] else None
            answer = answer or await _decide(tx, message.data, finding, "dismissed")
        outgoing.append(Outgoing(_given(answer), message.data.finding_id.hex, message))
    return outgoing


async def apply_compensations(tx: Transaction, messages: Sequence[Received[StockCompensationRequested]]) -> list[Outgoing]:
    """Mends what the auditor found, if it is still as the operator was shown it: entries are written, rows are set, the pool is settled.

    What is wrong is looked at once more under the SKU's lock. The same decision told twice is taken once and answered the same.
    """
    findings = await sql.lock_findings(tx.connection, sorted({message.data.finding_id for message in messages}))
    places = await feeds.share_locations(tx.connection, sorted({row["location"] for row in findings if row["location"]}))
    orders = {row["order_id"] for row in findings if row["order_id"]}
    causes = sorted({row["cause_id"] for row in findings if row["cause_id"]})
    if causes:
        await supplies.lock_supplies(tx.connection, causes)
    if orders:
        await book_sql.lock_orders(tx.connection, sorted(orders))
    if causes:
        await holds.lock_holds(tx.connection, causes)
    await book_sql.lock_pools(tx.connection, sorted({row["sku"] for row in findings}))
    outgoing: list[Outgoing] = []
    for message in _in_order(messages):
        finding, answer = await _open_finding(tx, message)
        if answer is None and finding is not None:
            answer, told = await _compensate(tx, message, finding, places)
            outgoing += told
        outgoing.append(Outgoing(_given(answer), message.data.finding_id.hex, message))
    return outgoing


def _in_order(messages: Sequence[Received[Any]]) -> list[Received[Any]]:
    return sorted(messages, key=lambda message: (message.data.finding_id, message.event_id))


def _given(answer: StockFindingDecided | StockFindingRefused | None) -> StockFindingDecided | StockFindingRefused:
    assert answer is not None
    return answer


async def _open_finding(tx: Transaction, message: Received[Any]) -> tuple[Record | None, StockFindingDecided | StockFindingRefused | None]:
    """The finding, if something may still be decided about it; otherwise the answer."""
    command: Decision = message.data
    rows = await sql.lock_findings(tx.connection, [command.finding_id])
    if not rows:
        return None, _refusal(command, "unknown_finding", f"finding_id: there is no finding {command.finding_id}: look at the list again")
    finding = rows[0]
    for made in await sql.read_decisions(tx.connection, [command.finding_id]):
        if made["decision_id"] == command.decision_id:
            return finding, _decided(command, finding["sku"], made["decision"], made["decided_at"])
        detail = f"finding_id: {made['operator']} has decided already ({made['decision']}): look at the list again"
        return finding, _refusal(command, "already_closed", detail)
    if finding["status"] != "open":
        return finding, _refusal(command, "vanished", "finding_id: what was found is not there any more: nothing needs to be done")
    return finding, None


def _refusal(command: Decision, reason: Reason, detail: str) -> StockFindingRefused:
    return StockFindingRefused(decision_id=command.decision_id, finding_id=command.finding_id, reason=reason, detail=detail[:500])


def _stale(command: Decision, found: int) -> StockFindingRefused:
    detail = f"expected_found: {command.expected_found} was expected, the balance says {found} now: look again and decide anew"
    return _refusal(command, "stale_expectation", detail)


def _decided(command: Decision, sku: str, status: Literal["applied", "dismissed"], decided_at: Any) -> StockFindingDecided:
    return StockFindingDecided(
        decision_id=command.decision_id, finding_id=command.finding_id, sku=sku, status=status, decided_at=decided_at
    )


async def _decide(tx: Transaction, command: Decision, finding: Record, status: Literal["applied", "dismissed"]) -> StockFindingDecided:
    await sql.close_finding(tx.connection, command.finding_id, status, tx.now)
    await sql.insert_decision(
        tx.connection,
        command.decision_id,
        command.finding_id,
        status,
        command.operator,
        command.reason,
        command.expected_found,
        tx.now,
    )
    return _decided(command, finding["sku"], status, tx.now)


async def _compensate(
    tx: Transaction, message: Received[StockCompensationRequested], finding: Record, places: Sequence[Record]
) -> tuple[StockFindingDecided | StockFindingRefused, list[Outgoing]]:
    command, sku = message.data, finding["sku"]
    defects = (await investigate(tx.connection, [sku]))[sku]
    defect = next((each for each in defects if key_of(sku, each) == finding["key"]), None)
    if defect is None:
        await sql.close_finding(tx.connection, command.finding_id, "vanished", tx.now)
        return _refusal(command, "vanished", "finding_id: what was found is not there any more: nothing needs to be done"), []
    if defect.leading.found != command.expected_found:
        return _stale(command, defect.leading.found), []
    # The row must be closed before the rest is recorded: it would be taken for vanished.
    answer = await _decide(tx, command, finding, "applied")
    told = await _mend(tx, message, sku, defect, places)
    left = await investigate(tx.connection, [sku])
    if any(key_of(sku, each) == finding["key"] for each in left[sku]):
        raise Refused(
            f"finding_id: the compensation of finding {command.finding_id} would not mend it: dismiss it and correct the shelf by hand"
        )
    await record(tx.connection, left, tx.now)
    if not left[sku]:
        await auditing.note_examined(tx.connection, [sku], [sku], tx.now)
    return answer, told


async def _mend(
    tx: Transaction, message: Received[StockCompensationRequested], sku: str, defect: Defect, places: Sequence[Record]
) -> list[Outgoing]:
    """Rows first, then the books are opened on them, then entries; the end is that of every batch: queue, shortage, save, say."""
    await _restate_rows(tx.connection, sku, defect)
    books = await open_books(tx.connection, [sku])
    books.places.update({row["location"]: place_of(row) for row in places})
    cause = Cause(message.event_id, tx.now, message.data.finding_id)
    if defect.mends == "both":
        add_held_rows(books, await holds.read_held_units(tx.connection, [sku]))
        for entry in defect.entries:
            _book(books, sku, entry, message.data.finding_id, cause)
    pool = books.touch(sku, cause)
    books.restated.add(sku)
    for restatement in defect.restatements:
        site = restatement.site
        if site.row == "pool" and site.balance not in ("assignable", *RULED_BALANCES):
            setattr(pool, site.balance, restatement.value)
        elif site.row == "shelf" and site.balance == "counts" and site.location is not None:
            books.set_counts(books.shelf(sku, site.location), bool(restatement.value), cause)
    if any(restatement.site.row in ("line", "pool", "rule", "supply") for restatement in defect.restatements):
        # The books do not see what rows said before: whoever waits may have come nearer to his goods, or farther from them.
        await date_later(tx, [sku])
    told = await settle(tx, books, [message])
    if defect.mends == "ledger":
        await _write(tx, sku, message.data.finding_id, defect.entries)
    return told


def _book(books: Books, sku: str, entry: Written, finding_id: UUID, otherwise: Cause) -> None:
    """Writes an entry that moves its balances, as of when the units moved; what a count has shown already moves the shelf no more."""
    cause = Cause(entry.event_id or otherwise.event_id, entry.happened_at or otherwise.happened_at, entry.cause_id, entry.sequence)
    before = len(books.movements)
    if entry.kind == "unheld" and entry.cause_id is not None:
        # Nothing is known of a hold that is lost but its id.
        kept = books.held_units.get((entry.cause_id, sku))
        kept = kept or HeldUnits(entry.cause_id, "", sku, otherwise.happened_at, 0, 0, 0)
        books.unhold(kept, -entry.quantity, cause)
    elif entry.location is None:
        books.touch(sku, cause).reserved += entry.quantity
        books.movements.append(Movement(entry.kind, entry.quantity, sku, cause, None, entry.order_id, entry.line_id))
    else:
        owner = None
        if entry.fulfillment_id is not None and entry.order_id is not None and entry.line_id is not None:
            owner = Assignment(entry.fulfillment_id, entry.order_id, entry.line_id, sku, entry.location, 0, 0)
        shelf = books.shelf(sku, entry.location)
        already_counted = entry.kind in ("received", "returned") and shelf.shows(cause)
        books.book(shelf, entry.kind, entry.quantity, cause, owner)
        if already_counted:
            books.book(shelf, "adjusted", -entry.quantity, cause, owner)
    books.movements[before:] = [movement._replace(compensates=finding_id) for movement in books.movements[before:]]


async def _restate_rows(connection: Connection, sku: str, defect: Defect) -> None:
    """Sets rows that the books only add to; the pool's own counters are set in the books, where they may lead to a shortage."""
    values: dict[Site, dict[str, int]] = {}
    for restatement in defect.restatements:
        values.setdefault(restatement.site._replace(balance=""), {})[restatement.site.balance] = restatement.value
    for site, right in values.items():
        if site.row == "shelf" and site.location is not None:
            balances = [right.get(balance) for balance in ("on_shelf", "assigned", "damaged", "quality_control", "missed")]
            await sql.restate_shelf(connection, sku, site.location, *balances)
        elif site.row == "assignment" and site.fulfillment_id is not None and site.line_id is not None:
            await sql.restate_assignment(connection, site.fulfillment_id, site.line_id, right.get("open"), right.get("shipped"))
        elif site.row == "pool" and not right.keys().isdisjoint(RULED_BALANCES):
            ruled = right.get("ruled")
            await sql.restate_pool(connection, sku, right.get("fenced"), None if ruled is None else bool(ruled))
        elif site.row == "rule" and site.channel is not None:
            await sql.restate_rule(connection, sku, site.channel, right.get("open"), right.get("queued"))
        elif site.row == "hold" and site.cause_id is not None:
            await sql.restate_hold(connection, site.cause_id, sku, right["held"])
        elif site.row == "supply" and site.cause_id is not None:
            expected = right.get("open")
            await sql.restate_supply(connection, site.cause_id, sku, right.get("received"), None if expected is None else bool(expected))
        elif site.row == "line" and site.order_id is not None and site.line_id is not None:
            await _restate_line(connection, sku, site.order_id, site.line_id, right)


async def _restate_line(connection: Connection, sku: str, order_id: UUID, line_id: str, right: Mapping[str, int]) -> None:
    rows = [LineRow(*row.values()) for row in await sql.read_demand_of_line(connection, order_id, line_id, sku)]
    if not rows:
        demand_id = await sql.restore_demand(connection, order_id, line_id, sku, new_id())
        rows = [LineRow(demand_id, 0, 0, 0, 0, 0, 0)]
    for row in restate_rows(rows, right):
        if row not in rows:
            await sql.restate_demand(connection, row.demand_id, order_id, line_id, *(getattr(row, state) for state in STATES))


async def _write(tx: Transaction, sku: str, finding_id: UUID, entries: Sequence[Written]) -> None:
    """Writes entries that no balance moves by. One that was lost gets its own id back."""
    rows = sql.CompensatingRows(
        movement_ids=[entry.entry_id or tx.new_id() for entry in entries],
        kinds=[entry.kind for entry in entries],
        quantities=[entry.quantity for entry in entries],
        locations=[entry.location for entry in entries],
        order_ids=[entry.order_id for entry in entries],
        line_ids=[entry.line_id for entry in entries],
        fulfillment_ids=[entry.fulfillment_id for entry in entries],
        cause_ids=[entry.cause_id for entry in entries],
        event_ids=[entry.event_id for entry in entries],
        happened_at=[entry.happened_at or (None if entry.is_first else tx.now) for entry in entries],
        sequences=[entry.sequence for entry in entries],
    )
    await sql.insert_compensating_entries(tx.connection, sku, finding_id, rows)

"""The continuous auditor (feature A11): every few seconds it looks at some of the books, at one instant and without locking any of them.

Cheap statements say which SKUs deserve a closer look; only those are investigated. Several processes share the duties.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Record

from services.allocation.handlers.investigating import investigate, record
from services.allocation.queries import auditing as sql
from services.allocation.queries import examining
from services.allocation.queries import findings as store
from services.allocation.queries.auditing import DutyState
from shared.messaging.message import Connection, Outgoing, Transaction

DUTIES = ("ledger", "stock", "rules", "orders", "supplies", "receipts", "scans", "recount")
FIRST_ID = UUID(int=0)

DUTIES_PER_LOOK = 1
"""Beside the ledger, which is read in every look."""
ENTRIES_PER_PAGE = 5_000
PAGES_PER_LOOK = 4
RECOUNTED_PAGES_PER_LOOK = 2
SKUS_PER_LOOK = 200
WAITING_ROWS_PER_LOOK = 20_000
ORDERS_PER_LOOK = 250
CAUSES_PER_LOOK = 100
RULED_SKUS_PER_LOOK = 20
"""SKUs of which channels have rules: what those have open is counted over all units that are on their way through."""
INVESTIGATED_PER_LOOK = 5
"""SKUs whose whole ledger is read in one look."""
CONFIRMED_PER_LOOK = 2
OLD_SUMS_PER_LOOK = 2_000
RECOUNT_PAUSE = timedelta(minutes=10)
CONFIRMATION_PAUSE = timedelta(minutes=1)
LATENESS = timedelta(seconds=30)
"""How much later than its id's time an entry usually may be committed: lock waits, and clocks that differ a little."""


@dataclass
class Look:
    """What is to be examined in this look."""

    skus: set[str] = field(default_factory=set)
    order_ids: set[UUID] = field(default_factory=set)
    receipt_ids: set[UUID] = field(default_factory=set)
    scan_ids: set[UUID] = field(default_factory=set)
    supply_ids: set[UUID] = field(default_factory=set)
    ruled_skus: set[str] = field(default_factory=set)
    suspicious: set[str] = field(default_factory=set)
    states: dict[str, DutyState] = field(default_factory=dict)


async def audit_some(tx: Transaction) -> Sequence[Outgoing]:
    """One look: adds up what is new in the ledger, goes on with the duty that has waited longest, examines what both have come upon."""
    connection = tx.connection
    await sql.take_one_snapshot(connection)
    duties = await _claim(connection, tx.now)
    if not duties:
        return ()
    look = Look()
    for duty in duties:
        await WORK[duty["duty"]](connection, duty, look)
    if {"ledger", "recount"} <= look.states.keys():
        await _take_over(connection, look.states)
    for state in look.states.values():
        await sql.save_duty(connection, state, tx.now)
    await _examine(connection, look, tx.now)
    return ()


async def _claim(connection: Connection, now: datetime) -> list[Record]:
    """The ledger, if nobody else reads it at the moment, and the duty that has waited longest."""
    if await sql.read_sums_state(connection) is None:
        await sql.found_duties(connection, DUTIES, now)
    recounted_before = now - RECOUNT_PAUSE
    ledger = await sql.claim_duties(connection, ["ledger"], recounted_before, 1)
    return ledger + await sql.claim_duties(connection, DUTIES[1:], recounted_before, DUTIES_PER_LOOK)


async def _read_ledger(connection: Connection, duty: Record, look: Look) -> None:
    """Adds up what was written since the last look; what it speaks of is examined first, as much of it as one look can bear."""
    look.states["ledger"] = await _add_up(connection, duty, look, PAGES_PER_LOOK)
    for found, limit in (
        (look.skus, SKUS_PER_LOOK),
        (look.order_ids, ORDERS_PER_LOOK),
        (look.receipt_ids, CAUSES_PER_LOOK),
        (look.scan_ids, CAUSES_PER_LOOK),
    ):
        _shorten(found, limit, duty["cycles"])


def _shorten(found: set[Any], limit: int, cycle: int) -> None:
    """Keeps as many as a look can bear, others in each cycle; the rest comes round with its own duty."""
    for surplus in sorted(found, key=lambda each: hash((each, cycle)))[limit:]:
        found.discard(surplus)


async def _recount(connection: Connection, duty: Record, look: Look) -> None:
    """Adds the ledger up anew, beside the sums in use. What it comes upon was examined before, unless its order is not there any more."""
    before = UUID(duty["position"]) if duty["position"] else FIRST_ID
    look.states["recount"] = await _add_up(connection, duty, Look(), RECOUNTED_PAGES_PER_LOOK)
    if duty["seen"] is None:
        look.suspicious.update(await examining.skus_of_lost_lines(connection, before, ENTRIES_PER_PAGE * RECOUNTED_PAGES_PER_LOOK))
    in_use = await sql.read_sums_state(connection)
    assert in_use is not None
    await sql.forget_old_sums(connection, [in_use["round"], duty["round"]], OLD_SUMS_PER_LOOK)


async def _add_up(connection: Connection, duty: Record, look: Look, pages: int) -> DutyState:
    """Some pages of the ledger, up to what could be seen when the first of them was begun."""
    seen, seen_at, target, target_at = duty["seen"], duty["seen_at"], duty["target"], duty["target_at"]
    position = UUID(duty["position"]) if duty["position"] else FIRST_ID
    cycles = duty["cycles"]
    if target is None:
        current = await sql.current_snapshot(connection)
        target, target_at = current["snapshot"], current["taken_at"]
        position = FIRST_ID if seen is None else first_id_of(seen_at - LATENESS)
    for _ in range(pages):
        page = await sql.add_page(connection, duty["round"], position, seen, target, ENTRIES_PER_PAGE)
        look.skus.update(page["skus"])
        look.order_ids.update(page["order_ids"])
        look.receipt_ids.update(page["receipt_ids"])
        look.scan_ids.update(page["scan_ids"])
        if page["entries"] < ENTRIES_PER_PAGE:
            seen, seen_at, target, target_at = target, target_at, None, None
            position, cycles = FIRST_ID, cycles + 1
            break
        position = page["last_id"]
    return DutyState(duty["duty"], str(position), cycles, duty["round"], seen, seen_at, target, target_at)


def first_id_of(instant: datetime) -> UUID:
    """The smallest UUIDv7 of an instant."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


async def _take_over(connection: Connection, states: dict[str, DutyState]) -> None:
    """A recount that is through and up to date replaces the sums; the next one begins after a pause."""
    ledger, recount = states["ledger"], states["recount"]
    if recount.target is not None or recount.seen_at is None:
        return
    current = await sql.current_snapshot(connection)
    if current["taken_at"] - recount.seen_at > LATENESS:
        return
    states["ledger"] = recount._replace(duty="ledger", position=str(FIRST_ID), cycles=ledger.cycles)
    states["recount"] = DutyState("recount", str(FIRST_ID), recount.cycles, recount.round + 1)


async def _read_stock(connection: Connection, duty: Record, look: Look) -> None:
    rows = await sql.next_skus(connection, duty["position"], SKUS_PER_LOOK, WAITING_ROWS_PER_LOOK)
    look.skus.update(row["sku"] for row in rows)
    ends = not rows
    look.states["stock"] = DutyState(
        "stock",
        "" if ends else rows[-1]["sku"],
        duty["cycles"] + ends,
        skus_examined=len(rows),
        oldest_look_at=min((row["looked_at"] for row in rows), default=None),
    )


async def _read_rules(connection: Connection, duty: Record, look: Look) -> None:
    rows = await sql.next_ruled_skus(connection, duty["position"], RULED_SKUS_PER_LOOK)
    ends = len(rows) < RULED_SKUS_PER_LOOK
    look.ruled_skus.update(row["sku"] for row in rows)
    look.states["rules"] = DutyState("rules", "" if ends else rows[-1]["sku"], duty["cycles"] + ends)


Pages = Callable[[Connection, UUID, int], Awaitable[list[Record]]]


async def _next(connection: Connection, duty: Record, look: Look, pages: Pages, limit: int) -> set[UUID]:
    rows = await pages(connection, UUID(duty["position"]) if duty["position"] else FIRST_ID, limit)
    ends = len(rows) < limit
    look.states[duty["duty"]] = DutyState(duty["duty"], "" if ends else str(rows[-1]["id"]), duty["cycles"] + ends)
    return {row["id"] for row in rows}


async def _read_orders(connection: Connection, duty: Record, look: Look) -> None:
    look.order_ids |= await _next(connection, duty, look, sql.next_orders, ORDERS_PER_LOOK)


async def _read_supplies(connection: Connection, duty: Record, look: Look) -> None:
    look.supply_ids |= await _next(connection, duty, look, sql.next_supplies, CAUSES_PER_LOOK)


async def _read_receipts(connection: Connection, duty: Record, look: Look) -> None:
    look.receipt_ids |= await _next(connection, duty, look, sql.next_receipts, CAUSES_PER_LOOK)


async def _read_scans(connection: Connection, duty: Record, look: Look) -> None:
    look.scan_ids |= await _next(connection, duty, look, sql.next_scans, CAUSES_PER_LOOK)


WORK: dict[str, Callable[[Connection, Record, Look], Awaitable[None]]] = {
    "ledger": _read_ledger,
    "stock": _read_stock,
    "rules": _read_rules,
    "orders": _read_orders,
    "supplies": _read_supplies,
    "receipts": _read_receipts,
    "scans": _read_scans,
    "recount": _recount,
}


async def _examine(connection: Connection, look: Look, now: datetime) -> None:
    """Looks more closely at what does not balance, and again at what did not."""
    sums = await sql.read_sums_state(connection)
    assert sums is not None
    position = UUID(sums["position"]) if sums["position"] else FIRST_ID
    suspicious, unbalanced = set(look.suspicious), set[str]()
    if look.skus:
        skus = sorted(look.skus)
        found = await examining.skus_that_differ_from_their_copies(connection, skus)
        if sums["seen"] is not None:
            found += await examining.skus_that_differ_from_the_ledger(
                connection,
                skus,
                round_=sums["round"],
                floor=sums["seen_at"] - LATENESS,
                seen=sums["seen"],
                target=sums["target"],
                position=position,
            )
        suspicious.update(found)
        unbalanced.update(found)
    if look.order_ids:
        suspicious.update(await examining.skus_of_orders_that_do_not_balance(connection, sorted(look.order_ids)))
    if look.receipt_ids or look.scan_ids:
        suspicious.update(await examining.skus_of_causes_that_do_not_fit(connection, sorted(look.receipt_ids), sorted(look.scan_ids)))
    if look.supply_ids:
        suspicious.update(await examining.skus_of_supplies_that_do_not_fit(connection, sorted(look.supply_ids)))
    if look.ruled_skus:
        suspicious.update(await examining.skus_of_rules_that_do_not_fit(connection, sorted(look.ruled_skus)))
    again = await store.skus_to_confirm(connection, now - CONFIRMATION_PAUSE, CONFIRMED_PER_LOOK)
    known = await store.skus_confirmed_since(connection, sorted(suspicious), now - CONFIRMATION_PAUSE) if suspicious else set()
    # In no fixed order, so that those that stay wrong do not keep the others out.
    others = sorted(suspicious - known, key=lambda sku: hash((sku, now)))
    chosen = list(dict.fromkeys([*again, *others]))[:INVESTIGATED_PER_LOOK]
    defects = await investigate(connection, chosen)
    await record(connection, defects, now)
    false_alarms = sorted(unbalanced & {sku for sku, found_there in defects.items() if not found_there})
    if false_alarms and sums["seen"] is not None:
        await sql.correct_sums(connection, false_alarms, sums["round"], sums["seen"], sums["target"], position)
    right = look.skus - suspicious | {sku for sku, found_there in defects.items() if not found_there}
    examined = look.skus | set(defects)
    if examined:
        await sql.note_examined(connection, sorted(examined), sorted(right), now)

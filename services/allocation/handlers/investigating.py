"""A closer look at SKUs whose books may not balance: gathers the evidence, has it explained, writes the findings down."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.auditing import explain
from services.allocation.decide.defects import Defect
from services.allocation.decide.evidence import (
    Break,
    ChannelUnits,
    Evidence,
    KeptUnits,
    LedgerSums,
    OrderLine,
    Part,
    StockOfPool,
    StockOfShelf,
    SupplyUnits,
    Suspect,
    Written,
    WrongCause,
)
from services.allocation.queries import evidence as sql
from services.allocation.queries import findings as store
from shared.contracts.envelope import new_id
from shared.messaging.message import Connection

ROWS_LIMIT = 500
"""Wrong lines, assignments or entries that are looked at together; what is wrong beyond them is found when these are mended."""


async def investigate(connection: Connection, skus: Collection[str]) -> dict[str, list[Defect]]:
    """What is wrong with the books of each of these SKUs; nothing, mostly. Reads one snapshot, or runs under the SKUs' pool locks."""
    asked = sorted(skus)
    if not asked:
        return {}
    stock = _by_sku(await sql.read_stock(connection, asked))
    sums = _by_sku(await sql.sum_ledger(connection, asked))
    demand = _by_sku(await sql.sum_demand(connection, asked))
    lines = _by_sku(await sql.read_wrong_lines(connection, asked, ROWS_LIMIT))
    parts = _by_sku(await sql.read_wrong_assignments(connection, asked, ROWS_LIMIT))
    suspects = _by_sku(await sql.read_suspects(connection, asked, ROWS_LIMIT))
    breaks = _by_sku(await sql.read_breaks(connection, asked, ROWS_LIMIT))
    causes = _by_sku(await sql.read_wrong_causes(connection, asked))
    first = _by_sku(await sql.read_first_entries(connection, asked))
    holds = _by_sku(await sql.read_wrong_holds(connection, asked, ROWS_LIMIT))
    rules = _by_sku(await sql.read_rules(connection, asked))
    supplies = _by_sku(await sql.read_wrong_supply_lines(connection, asked, ROWS_LIMIT))
    return {
        sku: explain(
            Evidence(
                sku=sku,
                pool=_pool_of(stock.get(sku, ())),
                shelves=_shelves_of(stock.get(sku, ())),
                ledger_reserved=sum(row["reserved"] for row in sums.get(sku, ())),
                ledger_shelves=_ledger_of(sums.get(sku, ())),
                demand_reserved=sum(row["reserved"] for row in demand.get(sku, ())),
                demand_queued=sum(row["queued"] for row in demand.get(sku, ())),
                lines=tuple(_line_of(row) for row in lines.get(sku, ())),
                parts=tuple(_part_of(row) for row in parts.get(sku, ())),
                suspects=tuple(_suspect_of(row) for row in suspects.get(sku, ())),
                breaks=tuple(_break_of(row) for row in breaks.get(sku, ())),
                causes=tuple(WrongCause(row["is_missing"], _written_of(row)) for row in causes.get(sku, ())),
                ledger_held=sum(row["held"] for row in sums.get(sku, ())),
                holds=tuple(_hold_of(row) for row in holds.get(sku, ())),
                rules=tuple(_rule_of(row) for row in rules.get(sku, ())),
                supplies=tuple(_supply_of(row) for row in supplies.get(sku, ())),
                verified_at=next((row["verified_at"] for row in stock.get(sku, ())), None),
                first_since=next((_written_of(row) for row in first.get(sku, ())), None),
            )
        )
        for sku in asked
    }


def _by_sku(rows: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for row in rows:
        found.setdefault(row["sku"], []).append(row)
    return found


def _pool_of(rows: Sequence[Record]) -> StockOfPool | None:
    if not rows:
        return None
    row = rows[0]
    assignable = tuple(zip(row["locations"], row["assignable"], strict=False))
    return StockOfPool(
        row["version"],
        row["pool_sellable"],
        row["pool_pending"],
        row["reserved"],
        row["queued"],
        assignable,
        row["held"],
        row["pool_safety"],
        row["sku_safety"],
        row["fenced"],
        row["ruled"],
    )


def _shelves_of(rows: Sequence[Record]) -> tuple[StockOfShelf, ...]:
    return tuple(
        StockOfShelf(
            row["location"],
            row["counts"],
            row["may_count"],
            row["on_shelf"],
            row["assigned"],
            row["damaged"],
            row["quality_control"],
            row["pending_shortage"],
            row["missed"],
            row["told_missed"],
            row["safety"],
        )
        for row in rows
        if row["location"] is not None
    )


def _ledger_of(rows: Sequence[Record]) -> dict[str, LedgerSums]:
    return {
        row["location"]: LedgerSums(row["on_shelf"], row["assigned"], row["damaged"], row["quality_control"])
        for row in rows
        if row["location"] is not None
    }


def _line_of(row: Record) -> OrderLine:
    return OrderLine(
        row["order_id"],
        row["line_id"],
        row["known"],
        row["order_known"],
        row["cancelled_order"],
        row["units"],
        row["queued"],
        row["reserved"],
        row["assigned"],
        row["shipped"],
        row["cancelled"],
        row["ledger_reserved"],
        row["assignments_open"],
        row["assignments_shipped"],
        row["unwritten_demand_id"],
        row["unwritten_event_id"],
        row["channel"],
    )


def _part_of(row: Record) -> Part:
    return Part(
        row["fulfillment_id"],
        row["line_id"],
        row["order_id"],
        row["location"],
        row["known"],
        row["open"],
        row["shipped"],
        row["ledger_open"],
        row["ledger_shipped"],
        row["plan_id"],
        row["shipped_at"],
    )


def _hold_of(row: Record) -> KeptUnits:
    ended = row["state"] is not None and row["state"] != "held"
    return KeptUnits(row["hold_id"], row["channel"], row["known"], ended, row["held"], int(row["ledger_held"]), row["opened_at"])


def _rule_of(row: Record) -> ChannelUnits:
    return ChannelUnits(row["channel"], row["fence"], row["open"], row["queued"], int(row["right_open"]), int(row["right_queued"]))


def _supply_of(row: Record) -> SupplyUnits:
    right_received = int(row["right_received"])
    return SupplyUnits(row["supply_id"], row["received"], right_received, row["open"], row["stands"] and right_received < row["wanted"])


def _written_of(row: Record) -> Written:
    return Written(
        row["movement_id"],
        row["kind"],
        int(row["quantity"]),
        row["location"],
        row.get("order_id"),
        row.get("line_id"),
        row.get("fulfillment_id"),
        row["cause_id"],
        row["event_id"],
        row["happened_at"],
        row["sequence"],
    )


def _suspect_of(row: Record) -> Suspect:
    return Suspect(_written_of(row), row["has_twin"], row["is_stray"], row["is_altered"], row["is_unfounded"])


def _break_of(row: Record) -> Break:
    return Break(
        row["balance"],
        row["location"],
        int(row["by"]),
        row["after_entry_id"],
        written_at(row["after_entry_id"]),
        row["before_entry_id"],
        written_at(row["before_entry_id"]),
        row["before_event_id"],
    )


def written_at(entry_id: UUID | None) -> datetime | None:
    """When an entry was written: a UUIDv7 starts with its milliseconds."""
    if entry_id is None or entry_id.version != 7:
        return None
    return datetime.fromtimestamp((entry_id.int >> 80) / 1000, UTC)


async def record(connection: Connection, defects: Mapping[str, Sequence[Defect]], now: datetime) -> None:
    """Opens findings, confirms those that are still there, and closes those about these SKUs that are not."""
    told = [(sku, defect) for sku in sorted(defects) for defect in defects[sku]]
    if told:
        events = {event_id for _, defect in told if (event_id := _event_of(defect)) is not None}
        types = {row["event_id"]: row["type"] for row in await sql.read_types_of_events(connection, sorted(events))}
        await store.record_findings(connection, _finding_rows(told, types), now)
    await store.close_vanished(connection, sorted(defects), [key_of(sku, defect) for sku, defect in told], now)


def key_of(sku: str, defect: Defect) -> str:
    """Names a defect as long as it is there."""
    return f"{sku}: {defect.key}"


def _event_of(defect: Defect) -> UUID | None:
    if defect.entry is not None and defect.entry.event_id is not None:
        return defect.entry.event_id
    return defect.interval.before_event_id if defect.interval else None


def _finding_rows(told: Sequence[tuple[str, Defect]], types: Mapping[UUID, str]) -> store.FindingRows:
    rows = store.FindingRows(*([] for _ in store.FindingRows._fields))
    for sku, defect in told:
        leading, entry, interval = defect.leading, defect.entry, defect.interval
        event_id = _event_of(defect)
        rows.finding_ids.append(new_id())
        rows.keys.append(key_of(sku, defect))
        rows.skus.append(sku)
        rows.locations.append(leading.site.location or (entry.location if entry else None))
        rows.order_ids.append(leading.site.order_id or (entry.order_id if entry else None))
        rows.line_ids.append(leading.site.line_id or (entry.line_id if entry else None))
        rows.fulfillment_ids.append(leading.site.fulfillment_id or (entry.fulfillment_id if entry else None))
        rows.about_ids.append(leading.site.cause_id or (entry.cause_id if entry else None))
        rows.balances_first.append(f"{leading.site.row}.{leading.site.balance}")
        rows.found.append(leading.found)
        rows.expected.append(leading.expected)
        balances = [{"balance": str(each.site), "found": each.found, "expected": each.expected} for each in defect.imbalances]
        rows.balances.append(json.dumps(balances))
        rows.culprits.append(defect.culprit)
        rows.entry_ids.append(entry.entry_id if entry else None)
        rows.event_ids.append(event_id)
        rows.event_types.append(types.get(event_id) if event_id else None)
        rows.after_entry_ids.append(interval.after_entry_id if interval else None)
        rows.after_at.append(interval.after_at if interval else None)
        rows.before_entry_ids.append(interval.before_entry_id if interval else None)
        rows.before_at.append(interval.before_at if interval else None)
        rows.explanations.append(defect.explanation)
        rows.mends.append(defect.mends)
        rows.compensations.append(json.dumps(_compensation(defect)))
    return rows


def _compensation(defect: Defect) -> list[dict[str, Any]]:
    """What an operator is asked to agree to, one step after the other."""
    steps: list[dict[str, Any]] = [
        {
            "write": entry.kind,
            "quantity": entry.quantity,
            "location": entry.location,
            "order_id": str(entry.order_id) if entry.order_id else None,
            "line_id": entry.line_id,
        }
        for entry in defect.entries
    ]
    steps += [
        {"set": f"{each.site.row}.{each.site.balance}", "of": str(each.site), "to": each.value, "location": each.site.location}
        for each in defect.restatements
    ]
    return steps

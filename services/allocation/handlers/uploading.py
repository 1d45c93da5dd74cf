"""Counts that a person uploads: a preview first, then, only if asked, set-wise and against the numbers that the preview showed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.counting import set_counted
from services.allocation.decide.stock import Cause, Shelf
from services.allocation.decide.uploads import CountRow
from services.allocation.handlers.counting import Adjustment, open_shelves, save_adjustments
from services.allocation.handlers.settling import settle
from services.allocation.queries import uploads as sql
from shared.contracts.stock import StockAdjustmentRequested
from shared.messaging.message import Connection, Outgoing, Received, Transaction

PREVIEW_KEPT = timedelta(hours=24)
"""How long a preview can be applied, and the report of a refused file be read."""

REPORT_KEPT = timedelta(days=30)
"""How long the report of an applied file can be read."""

CHUNK_ROWS = 500
"""Rows that are applied in one transaction: their SKUs wait for no longer than that takes."""

MOST_ROWS_AT_ONCE = 5_000
"""Rows that can be applied all or nothing, which takes one transaction."""


async def keep_rows(connection: Connection, upload_id: UUID, rows: Sequence[CountRow]) -> None:
    """Adds rows of a file to its preview."""
    await sql.insert_rows(
        connection,
        upload_id,
        sql.UploadRows(
            [row.row_number for row in rows],
            [row.sku for row in rows],
            [row.location for row in rows],
            [row.on_hand for row in rows],
            [row.damaged for row in rows],
            [row.quality_control for row in rows],
            [row.problem.column if row.problem else None for row in rows],
            [row.problem.problem if row.problem else None for row in rows],
            [row.problem.remedy if row.problem else None for row in rows],
        ),
    )


class Refusal(NamedTuple):
    """Why an upload is not applied, and the way out."""

    code: str
    problem: str
    remedy: str


async def start(tx: Transaction, upload: Record, counts: Record, *, all_or_nothing: bool, reason: str, operator: str) -> Refusal | None:
    """An operator wants an upload applied. Whoever asks again changes nothing and learns how far it is.

    Args:
        tx: the transaction; the upload is locked in it.
        upload: the upload's row.
        counts: how many rows are in which state.
        all_or_nothing: nothing of the file is applied unless every row is valid and every shelf still holds what the preview showed.
        reason: why the counts are right.
        operator: who says so.
    """
    if upload["status"] in ("applying", "applied"):
        return None
    if upload["status"] == "refused":
        return Refusal("upload_refused", upload["problem"], counts["remedy"])
    if upload["status"] == "reading":
        return Refusal("not_read_yet", "the file has not been read to its end", "wait, or upload it again")
    if all_or_nothing and counts["invalid"]:
        remedy = "correct them and upload the file again, or apply the valid rows only"
        return Refusal("invalid_rows", f"{counts['invalid']} rows are invalid", remedy)
    if all_or_nothing and counts["changed"] > MOST_ROWS_AT_ONCE:
        remedy = "split the file, or apply the valid rows, which are set one portion after the other"
        return Refusal(
            "too_many_rows", f"all or nothing takes at most {MOST_ROWS_AT_ONCE} changed rows, here are {counts['changed']}", remedy
        )
    await sql.start_applying(tx.connection, upload["upload_id"], reason, operator, all_or_nothing, tx.now + REPORT_KEPT)
    return None


async def apply_next(tx: Transaction, upload: Record) -> tuple[list[Outgoing], bool]:
    """Applies the next portion of a locked upload that is being applied; returns what to say and whether more is left."""
    everything = bool(upload["all_or_nothing"])
    limit = MOST_ROWS_AT_ONCE if everything else CHUNK_ROWS
    rows = await sql.read_rows_to_apply(tx.connection, upload["upload_id"], limit)
    outgoing = await _apply(tx, upload, rows) if rows else []
    more = len(rows) == limit and not everything
    if not more and not (everything and await _was_refused(tx, upload["upload_id"])):
        await sql.finish_applying(tx.connection, upload["upload_id"], tx.now)
    return outgoing, more


async def _was_refused(tx: Transaction, upload_id: UUID) -> bool:
    upload = await sql.lock_upload(tx.connection, upload_id)
    return upload is not None and upload["status"] == "refused"


async def apply_uploads(tx: Transaction) -> Sequence[Outgoing]:
    """Goes on with an upload that is being applied, one portion at a time."""
    upload = await sql.claim_applying(tx.connection)
    if upload is None:
        return ()
    outgoing, _ = await apply_next(tx, upload)
    return outgoing


async def forget_uploads(tx: Transaction) -> Sequence[Outgoing]:
    """Drops uploads whose time is over."""
    await sql.forget_uploads(tx.connection, tx.now)
    return ()


async def _apply(tx: Transaction, upload: Record, rows: Sequence[Record]) -> list[Outgoing]:
    """Sets shelves that still hold what the preview showed; the others are marked with what they hold now."""
    books = await open_shelves(tx, (row["location"] for row in rows), (row["sku"] for row in rows))
    shelves = [(row, books.shelf(row["sku"], row["location"])) for row in rows]
    moved = [(row, shelf) for row, shelf in shelves if not _holds(shelf, row)]
    remedy = "look again: upload the file anew for these rows"
    await sql.mark_rows(
        tx.connection,
        upload["upload_id"],
        [row["row_number"] for row, _ in moved],
        "moved",
        [f"{row['old_on_hand']} were on hand in the preview, {shelf.on_hand} are now" for row, shelf in moved],
        remedy,
    )
    if moved and upload["all_or_nothing"]:
        problem = f"{len(moved)} shelves have changed since the preview, so nothing was applied"
        await sql.refuse_upload(tx.connection, upload["upload_id"], problem, "upload the file again and look at the new preview")
        return []
    unmoved = [(row, shelf) for row, shelf in shelves if _holds(shelf, row)]
    if not unmoved:
        return []
    occasion = _occasion(tx, upload, unmoved[0][0])
    made = []
    for row, shelf in unmoved:
        adjustment_id, before = tx.new_id(), shelf.on_hand
        cause = Cause(occasion.event_id, tx.now, adjustment_id)
        set_counted(books, shelf, row["on_hand"], row["damaged"], row["quality_control"], cause)
        made.append(Adjustment(adjustment_id, row["sku"], row["location"], before, shelf.on_hand, upload["reason"], upload["operator"]))
    await save_adjustments(tx, made)
    numbers = [row["row_number"] for row, _ in unmoved]
    await sql.mark_rows(tx.connection, upload["upload_id"], numbers, "applied", [None] * len(numbers), None)
    return await settle(tx, books, [occasion])


def _holds(shelf: Shelf, row: Record) -> bool:
    held = (shelf.on_hand, shelf.damaged, shelf.quality_control)
    return held == (row["old_on_hand"], row["old_damaged"], row["old_quality_control"])


def _occasion(tx: Transaction, upload: Record, row: Record) -> Received[StockAdjustmentRequested]:
    """What the portion's effects are told because of: the operator's word, as if it had come as a message for the first of its shelves."""
    command = StockAdjustmentRequested(
        adjustment_id=upload["upload_id"],
        sku=row["sku"],
        location=row["location"],
        new_on_hand=row["on_hand"],
        expected_on_hand=row["old_on_hand"],
        reason=upload["reason"],
        operator=upload["operator"],
    )
    return Received(event_id=tx.new_id(), source="ordermesh/allocation", data=command)

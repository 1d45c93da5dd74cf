"""Counts as CSV over HTTP: upload and preview, read rows and report, apply."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from aiohttp import web
from asyncpg import Record
from pydantic import BaseModel, ConfigDict, ValidationError

from services.allocation.decide.uploads import CountFile, CountRow, FileRefused, safe_cell
from services.allocation.handlers import uploading
from services.allocation.queries import uploads as sql
from shared.contracts.base import ShortText
from shared.contracts.channels import FieldProblem
from shared.contracts.envelope import new_id
from shared.http import error_response
from shared.json_document import model_in
from shared.messaging.reading import problems_of
from shared.service import Environment, get, post

ROWS_AT_A_TIME = 2_000
PORTIONS_AT_ONCE = 4
"""Portions that are applied while the operator waits; what is left goes on by itself."""

ROWS_SHOWN = 1_000
PIECE_BYTES = 64 * 1024
STATES = ("invalid", "same", "changed", "applied", "moved")
REPORT_COLUMNS = (
    "row",
    "sku",
    "location",
    "on_hand",
    "damaged",
    "quality_control",
    "old_on_hand",
    "old_damaged",
    "old_quality_control",
    "difference",
    "result",
    "column",
    "problem",
    "remedy",
)


class ApplyUpload(BaseModel):
    """What of a file is to be applied, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: Literal["valid", "all"]
    reason: ShortText
    operator: ShortText = "operator"


async def upload_counts(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /count-uploads?file_name=&operator=``: the body is the CSV file. Nothing is applied; the answer is the preview."""
    upload_id, now = new_id(), environment.now()
    name, operator = request.query.get("file_name", "counts.csv")[:200], request.query.get("operator", "operator")[:120]
    async with environment.database.acquire(timeout=10) as connection:
        await sql.insert_upload(connection, upload_id, name or "counts.csv", operator or "operator", now, now + uploading.PREVIEW_KEPT)
    file = CountFile()
    refused = None
    try:
        async for rows in _read(file, request):
            async with environment.database.acquire(timeout=10) as connection:
                await uploading.keep_rows(connection, upload_id, rows)
    except FileRefused as error:
        refused = error
    async with environment.database.acquire(timeout=10) as connection, connection.transaction():
        if refused is None:
            await sql.mark_repeated_rows(connection, upload_id)
        problem, remedy = (refused.problem, refused.remedy) if refused else (None, None)
        await sql.finish_reading(connection, upload_id, file.encoding, file.delimiter, problem, remedy)
    document = await _document(environment, upload_id)
    assert document is not None
    return web.json_response({**document, "ignored_columns": file.ignored_columns}, status=422 if refused else 201)


async def _read(file: CountFile, request: web.Request) -> AsyncIterator[list[CountRow]]:
    """The rows of a file in portions, as its bytes come in."""
    waiting: list[CountRow] = []
    async for piece in request.content.iter_chunked(PIECE_BYTES):
        file.feed(piece)
        waiting.extend(file.rows())
        while len(waiting) >= ROWS_AT_A_TIME:
            yield waiting[:ROWS_AT_A_TIME]
            del waiting[:ROWS_AT_A_TIME]
    file.end()
    rest = file.rows()
    while waiting := waiting + list(islice(rest, ROWS_AT_A_TIME - len(waiting))):
        yield waiting
        waiting = []


async def list_uploads(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /count-uploads``: the newest files."""
    async with environment.database.acquire(timeout=10) as connection:
        rows = await sql.list_uploads(connection, 50)
    return web.json_response(
        {
            "uploads": [
                {
                    "upload_id": str(row["upload_id"]),
                    "file_name": row["file_name"],
                    "operator": row["operator"],
                    "status": row["status"],
                    "created_at": row["created_at"].isoformat(),
                    "applied_at": _iso(row["applied_at"]),
                }
                for row in rows
            ]
        }
    )


async def read_upload(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /count-uploads/{upload_id}``: how many rows are in which state."""
    document = await _document(environment, _id_of(request))
    return _unknown() if document is None else web.json_response(document)


async def list_rows(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /count-uploads/{upload_id}/rows?status=&after=&limit=``: row by row, old and new number, difference and what is wrong."""
    upload_id, status = _id_of(request), request.query.get("status") or None
    if status is not None and status not in STATES:
        problem = FieldProblem(field="status", problem=f"{status[:40]!r} is unknown", remedy=f"one of {', '.join(STATES)}, or leave it out")
        return error_response(422, "invalid_query", "unknown status", [problem])
    after, limit = _number(request, "after", 0), min(ROWS_SHOWN, _number(request, "limit", 100))
    async with environment.database.acquire(timeout=10) as connection:
        if upload_id is None or await sql.read_upload(connection, upload_id) is None:
            return _unknown()
        rows = await sql.list_rows(connection, upload_id, status, after, limit)
    next_after = rows[-1]["row_number"] if limit and len(rows) == limit else None
    return web.json_response({"rows": [_row_as_json(row) for row in rows], "next_after": next_after})


async def read_report(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /count-uploads/{upload_id}/report.csv``: every row with what became of it, for a spreadsheet."""
    upload_id = _id_of(request)
    async with environment.database.acquire(timeout=10) as connection:
        if upload_id is None or await sql.read_upload(connection, upload_id) is None:
            return _unknown()
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="count-report-{upload_id}.csv"',
        }
    )
    await response.prepare(request)
    await response.write(b"\xef\xbb\xbf" + _csv_of([REPORT_COLUMNS]))
    after = 0
    while True:
        async with environment.database.acquire(timeout=10) as connection:
            rows = await sql.list_rows(connection, upload_id, None, after, ROWS_AT_A_TIME)
        if not rows:
            break
        await response.write(_csv_of(_report_line(row) for row in rows))
        after = rows[-1]["row_number"]
    await response.write_eof()
    return response


async def apply_upload(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /count-uploads/{upload_id}/apply``: sets the shelves, each only while it holds what the preview showed. Asked again it does
    nothing more."""
    try:
        wanted = model_in(ApplyUpload, await request.read())
    except ValidationError as error:
        return error_response(422, "invalid", "the body does not match the schema", problems_of(error, "ApplyCounts in /openapi.json"))
    upload_id = _id_of(request)
    document = await _document(environment, upload_id)
    if upload_id is None or document is None:
        return _unknown()
    async with environment.transaction() as tx:
        upload = await sql.lock_upload(tx.connection, upload_id)
        counts = await sql.read_upload(tx.connection, upload_id)
        if upload is None or counts is None:
            return _unknown()
        refusal = await uploading.start(
            tx, upload, counts, all_or_nothing=wanted.rows == "all", reason=wanted.reason, operator=wanted.operator
        )
    if refusal is not None:
        problem = FieldProblem(field="rows", problem=refusal.problem, remedy=refusal.remedy)
        return error_response(409, refusal.code, f"{refusal.problem}: {refusal.remedy}", [problem])
    for _ in range(PORTIONS_AT_ONCE):
        async with environment.transaction() as tx:
            upload = await sql.lock_upload(tx.connection, upload_id)
            if upload is None or upload["status"] != "applying":
                break
            outgoing, _ = await uploading.apply_next(tx, upload)
            tx.publish(*outgoing)
    document = await _document(environment, upload_id)
    if document is not None and document["status"] == "refused":
        problem = FieldProblem(field="rows", problem=document["problem"], remedy=document["remedy"])
        return error_response(409, "stock_moved", f"{document['problem']}: {document['remedy']}", [problem])
    return web.json_response(document, status=202 if document and document["status"] == "applying" else 200)


def _id_of(request: web.Request) -> UUID | None:
    try:
        return UUID(request.match_info["upload_id"])
    except ValueError:
        return None


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _unknown() -> web.Response:
    return error_response(404, "unknown_upload", "there is no such upload; uploads that nobody applies are forgotten after a day")


async def _document(environment: Environment, upload_id: UUID | None) -> dict[str, Any] | None:
    if upload_id is None:
        return None
    async with environment.database.acquire(timeout=10) as connection:
        row = await sql.read_upload(connection, upload_id)
    if row is None:
        return None
    return {
        "upload_id": str(row["upload_id"]),
        "file_name": row["file_name"],
        "operator": row["operator"],
        "status": row["status"],
        "problem": row["problem"],
        "remedy": row["remedy"],
        "encoding": row["encoding"],
        "delimiter": row["delimiter"],
        "reason": row["reason"],
        "created_at": row["created_at"].isoformat(),
        "expires_at": row["expires_at"].isoformat(),
        "applied_at": _iso(row["applied_at"]),
        "rows": row["rows"],
        **{f"{state}_rows": row[state] for state in STATES},
    }


def _row_as_json(row: Record) -> dict[str, Any]:
    return {
        "row": row["row_number"],
        "sku": row["sku"],
        "location": row["location"],
        "on_hand": row["on_hand"],
        "damaged": row["damaged"],
        "quality_control": row["quality_control"],
        "old_on_hand": row["old_on_hand"],
        "old_damaged": row["old_damaged"],
        "old_quality_control": row["old_quality_control"],
        "difference": _difference(row),
        "status": row["status"],
        "column": row["column_name"],
        "problem": row["problem"],
        "remedy": row["remedy"],
    }


def _difference(row: Record) -> int | None:
    if row["on_hand"] is None or row["status"] == "invalid":
        return None
    difference: int = row["on_hand"] - row["old_on_hand"]
    return difference


def _report_line(row: Record) -> list[object]:
    told = _row_as_json(row)
    names = ("row", *REPORT_COLUMNS[1:10], "status", "column", "problem", "remedy")
    text = ("sku", "location", "problem", "remedy")
    return [safe_cell(told[name]) if name in text else told[name] for name in names]


def _csv_of(lines: Iterable[Iterable[object]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(lines)
    return written.getvalue().encode()


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


ROUTES = (
    post("/count-uploads", upload_counts),
    get("/count-uploads", list_uploads),
    get("/count-uploads/{upload_id}", read_upload),
    get("/count-uploads/{upload_id}/rows", list_rows),
    get("/count-uploads/{upload_id}/report.csv", read_report),
    post("/count-uploads/{upload_id}/apply", apply_upload),
)

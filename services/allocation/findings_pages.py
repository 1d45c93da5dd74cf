"""What operators read about the continuous auditor: what it found, what was decided, how far it is; and its gauges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from asyncpg import Record

from services.allocation.queries import findings as sql
from shared.contracts.channels import FieldProblem
from shared.http import error_response, get
from shared.messaging.message import Connection
from shared.service import Environment, Gauges
from shared.telemetry import Measured

STATUSES = ("open", "applied", "dismissed", "vanished")
FIRST_ID = UUID(int=0)
LARGEST_PAGE = 200


def _invalid(field: str, problem: str, remedy: str) -> web.Response:
    return error_response(422, "invalid_query", f"{field} is wrong", [FieldProblem(field=field, problem=problem, remedy=remedy)])


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _text(value: UUID | None) -> str | None:
    return str(value) if value is not None else None


def _as_json(row: Record) -> dict[str, Any]:
    return {
        "finding_id": str(row["finding_id"]),
        "status": row["status"],
        "sku": row["sku"],
        "location": row["location"],
        "order_id": _text(row["order_id"]),
        "line_id": row["line_id"],
        "fulfillment_id": _text(row["fulfillment_id"]),
        "cause_id": _text(row["cause_id"]),
        "balance": row["balance"],
        "found": row["found"],
        "expected": row["expected"],
        "balances": row["balances"],
        "culprit": row["culprit"],
        "explanation": row["explanation"],
        "entry_id": _text(row["entry_id"]),
        "event_id": _text(row["event_id"]),
        "event_type": row["event_type"],
        "after_entry_id": _text(row["after_entry_id"]),
        "after_at": _iso(row["after_at"]),
        "before_entry_id": _text(row["before_entry_id"]),
        "before_at": _iso(row["before_at"]),
        "mends": row["mends"],
        "compensation": row["compensation"],
        "found_at": row["found_at"].isoformat(),
        "confirmed_at": row["confirmed_at"].isoformat(),
        "closed_at": _iso(row["closed_at"]),
        "decision": {
            "decision": row["decision"],
            "operator": row["operator"],
            "reason": row["reason"],
            "decided_at": _iso(row["decided_at"]),
        }
        if row["decision"]
        else None,
    }


async def list_findings(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /findings?status=&after=&limit=``: findings of one status (open by default), oldest first, and how many there are of each."""
    status = request.query.get("status", "open")
    if status not in STATUSES:
        return _invalid("status", f"{status[:40]!r} is unknown", ", ".join(STATUSES))
    limit = request.query.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= LARGEST_PAGE):
        return _invalid("limit", "is no number from 1 to 200", "leave it out for 50")
    try:
        after = UUID(request.query["after"]) if "after" in request.query else FIRST_ID
    except ValueError:
        return _invalid("after", "is no UUID", "next_after of the page before")
    async with environment.database.acquire(timeout=10) as connection:
        rows = await sql.list_findings(connection, status, after, int(limit))
        counts = {row["status"]: row["findings"] for row in await sql.count_findings(connection)}
        progress = await sql.read_progress(connection)
    return web.json_response(
        {
            "findings": [_as_json(row) for row in rows],
            "next_after": str(rows[-1]["finding_id"]) if len(rows) == int(limit) else None,
            "counts": {name: counts.get(name, 0) for name in STATUSES},
            "progress": [
                {
                    "duty": row["duty"],
                    "looked_at": row["looked_at"].isoformat(),
                    "cycles": row["cycles"],
                    "skus_examined": row["skus_examined"],
                }
                for row in progress
            ],
        }
    )


async def read_finding(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /findings/{finding_id}``: one finding with the decision about it and the entries that were written for it."""
    try:
        finding_id = UUID(request.match_info["finding_id"])
    except ValueError:
        return error_response(404, "unknown_finding", "finding ids are UUIDs")
    async with environment.database.acquire(timeout=10) as connection:
        row = await sql.read_finding(connection, finding_id)
        if row is None:
            return error_response(404, "unknown_finding", f"there is no finding {finding_id}")
        entries = await sql.list_entries_of_finding(connection, finding_id)
    written = [{"entry_id": str(entry["movement_id"]), "kind": entry["kind"], "quantity": entry["quantity"]} for entry in entries]
    return web.json_response({**_as_json(row), "entries": written})


async def measure(connection: Connection, now: datetime) -> Sequence[Measured]:
    """How many findings are open, how old the oldest look at a SKU is, and how many SKUs were looked at so far."""
    counts = {row["status"]: row["findings"] for row in await sql.count_findings(connection)}
    stock = next((row for row in await sql.read_progress(connection) if row["duty"] == "stock"), None)
    measured = [Measured("audit_open_findings", {}, float(counts.get("open", 0)))]
    if stock is not None:
        oldest = stock["oldest_look_at"] or stock["looked_at"]
        measured.append(Measured("audit_slowest_sku_seconds", {}, max(0.0, (now - oldest).total_seconds())))
        measured.append(Measured("audit_skus_examined", {}, float(stock["skus_examined"])))
    return measured


GAUGES = Gauges(
    {
        "audit_open_findings": "What the auditor found in the books and nobody has decided about",
        "audit_slowest_sku_seconds": "Since the SKU that waited longest was last examined, at the auditor's last look",
        "audit_skus_examined": "SKUs examined by the round since the first look; the same at every process, it only grows",
    },
    (),
    measure,
)

ROUTES = (get("/findings", list_findings), get("/findings/{finding_id}", read_finding))

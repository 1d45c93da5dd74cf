"""Messages that wait, as operators see them: tried again by themselves, parked for a person, or dismissed by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from asyncpg import Record
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from shared.messaging import inbox
from shared.messaging.message import Connection

BODY_PREVIEW_CHARACTERS = 20_000
STATUSES = ("parked", "retry", "dismissed")


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("has a NUL character: leave it out")
    return text


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_storable)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120), AfterValidator(_storable)]


class Dismissal(BaseModel):
    """Why nobody will handle a parked message, and who says so. Both stay on record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Words
    operator: Name = "operator"


@dataclass(frozen=True, slots=True)
class NotParked:
    """A message that can not be dismissed, because it is not parked: how it stands, or None when it is not known here."""

    message: dict[str, Any] | None


def _preview(body: bytes) -> str:
    return body[:BODY_PREVIEW_CHARACTERS].decode("utf-8", "replace")


def _of_inbox(row: Record) -> dict[str, Any]:
    return {
        "event_id": str(row["event_id"]),
        "source": row["source"],
        "type": row["type"],
        "subject": row["subject"],
        "status": row["status"],
        "attempts": row["attempts"],
        "due_at": row["due_at"].isoformat() if row["due_at"] else None,
        "reason": row["reason"],
        "routing_key": row["routing_key"],
        "received_at": row["received_at"].isoformat(),
        "body_bytes": len(row["body"]),
        "body": _preview(row["body"]),
    }


def _of_dismissal(row: Record) -> dict[str, Any]:
    return {
        "event_id": str(row["event_id"]),
        "source": row["source"],
        "type": row["type"],
        "subject": row["subject"],
        "status": "dismissed",
        "attempts": row["attempts"],
        "due_at": None,
        "reason": row["parked_reason"],
        "received_at": row["received_at"].isoformat(),
        "body_bytes": len(row["body"]),
        "body": _preview(row["body"]),
        **_dismissal(row),
    }


def _dismissal(row: Record) -> dict[str, Any]:
    return {"dismissed_at": row["dismissed_at"].isoformat(), "dismissed_by": row["operator"], "dismissed_because": row["reason"]}


async def list_messages(connection: Connection, status: str, limit: int, mentioned: str = "") -> dict[str, Any]:
    """Messages of one status, newest first, and how many wait in all. What was dismissed is a record: it names a message each time that it
    was dismissed."""
    if status == "dismissed":
        messages = [_of_dismissal(row) for row in await inbox.list_dismissals(connection, limit)]
    else:
        messages = [_of_inbox(row) for row in await inbox.list_waiting(connection, status, limit, mentioned)]
    return {"counts": await inbox.count_waiting(connection), "messages": messages}


async def read_message(connection: Connection, event_id: UUID) -> dict[str, Any] | None:
    """One message that waits or was dismissed, with each time that it was dismissed; None when there is none of this id."""
    row = await inbox.read_waiting(connection, event_id)
    dismissals = await inbox.read_dismissals(connection, event_id)
    if row is not None:
        return {**_of_inbox(row), "dismissals": [_dismissal(item) for item in dismissals]}
    if dismissals:
        return {**_of_dismissal(dismissals[0]), "dismissals": [_dismissal(item) for item in dismissals]}
    return None


async def dismiss(connection: Connection, event_id: UUID, dismissal: Dismissal, now: datetime) -> NotParked | None:
    """Closes a parked message for good; None when that is done."""
    if await inbox.dismiss(connection, event_id, dismissal.reason, dismissal.operator, now):
        return None
    return NotParked(await read_message(connection, event_id))

"""Telling the channel what was shipped (feature F8)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from services.sync.channels.protocol import Accepted, Answer, Refused
from services.sync.decide.calls import failure_text, next_call

NoticeState: TypeAlias = Literal["due", "accepted", "refused"]


@dataclass(frozen=True, slots=True)
class ShipmentNotice:
    """One parcel's notice as it stands when the answer to an attempt is recorded."""

    fulfillment_id: UUID
    state: NoticeState
    attempts: int
    due_at: datetime | None
    last_failure: str | None
    settled_at: datetime | None


def settle_notice(notice: ShipmentNotice, attempt: int, answer: Answer, now: datetime, jitter: float) -> ShipmentNotice:
    """A notice after the channel's answer to one attempt. A yes counts of any attempt, a failure only of the newest."""
    if notice.state != "due":
        return notice
    if isinstance(answer, Accepted):
        return replace(notice, state="accepted", due_at=None, last_failure=None, settled_at=now)
    if attempt != notice.attempts:
        return notice
    reason = failure_text(answer)[:500]
    if isinstance(answer, Refused):
        return replace(notice, state="refused", due_at=None, last_failure=reason, settled_at=now)
    return replace(notice, due_at=next_call(answer, notice.attempts, now, jitter), last_failure=reason)

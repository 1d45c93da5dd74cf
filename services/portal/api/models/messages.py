"""Messages that wait, and what operators do about them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from services.portal.api.models.shapes import Response
from shared.messaging.waiting import Dismissal


class ParkedMessage(Response):
    """A message that waits for a person."""

    service: str
    event_id: UUID
    type: str
    source: str
    subject: str | None
    reason: str | None
    attempts: int
    received_at: datetime
    body: str


class ParkedList(Response):
    """Parked messages of all services; ``unavailable`` names those that could not be asked."""

    messages: list[ParkedMessage]
    unavailable: list[str]


class RetryingMessage(ParkedMessage):
    """A message that is tried again by itself: ``reason`` says why the last try failed or what it waits for."""

    next_try_at: datetime


class RetryingList(Response):
    """Messages that are tried again, of all services; ``counts`` says how many there are at each, of which at most 200 are listed."""

    messages: list[RetryingMessage]
    counts: dict[str, int]
    unavailable: list[str]


class DismissedMessage(ParkedMessage):
    """A message that a person has dismissed. ``reason`` says why it was parked."""

    dismissed_at: datetime
    dismissed_by: str
    dismissed_because: str


class DismissedList(Response):
    """What was dismissed at all services. It stays on record, also when the message was re-driven afterwards."""

    messages: list[DismissedMessage]
    unavailable: list[str]


class DismissalRecord(Response):
    """Who dismissed a message, when and why."""

    dismissed_at: datetime
    dismissed_by: str
    dismissed_because: str


class WaitingMessage(ParkedMessage):
    """One message as it stands. ``next_try_at`` is null unless it is tried again by itself."""

    status: Literal["parked", "retry", "dismissed"]
    next_try_at: datetime | None
    dismissals: list[DismissalRecord]


class DismissParked(Dismissal):
    """Why nobody will handle this message, and who says so."""


class Dismissed(Response):
    """The message is no longer open; it stays on record."""

    service: str
    event_id: UUID
    status: Literal["dismissed"]


class Redriven(Response):
    """The message is tried again from the start."""

    service: str
    event_id: UUID
    status: Literal["retry"]

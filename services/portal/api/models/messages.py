"""Messages that wait for a person."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from services.portal.api.models.shapes import Response


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


class Redriven(Response):
    """The message is tried again from the start."""

    service: str
    event_id: UUID
    status: Literal["retry"]

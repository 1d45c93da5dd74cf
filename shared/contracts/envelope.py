"""The envelope around every message: CloudEvents 1.0 attributes in the JSON body.

The same bytes work over AMQP, HTTP, files and SFTP. Source: CloudEvents 1.0.2, JSON event format (structured mode), and its distributed
tracing extension for ``traceparent``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

import uuid_utils
from pydantic import BaseModel, ConfigDict, StringConstraints

from shared.contracts.base import Message, Time

DataT = TypeVar("DataT", bound=Message)

CONTENT_TYPE = "application/json"


class Envelope(BaseModel, Generic[DataT]):
    """One message on its way. ``id`` is unique per ``source``; ours are UUIDv7, so they sort by time."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    type: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    subject: Annotated[str, StringConstraints(max_length=200)] | None = None
    time: Time
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: Annotated[str, StringConstraints(max_length=300)] | None = None
    traceparent: Annotated[str, StringConstraints(pattern=r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")] | None = None
    data: DataT


def new_id() -> UUID:
    """A fresh UUIDv7: random, but sorted by creation time, so that indexes grow at their right edge (RFC 9562)."""
    return UUID(int=uuid_utils.uuid7().int)


def time_of_id(identifier: UUID) -> datetime | None:
    """When a UUIDv7 was made, or ``None`` for any other kind of UUID."""
    if identifier.version != 7:
        return None
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, tz=UTC)

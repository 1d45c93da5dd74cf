"""Talking to the services that own things: the portal shows, asks and tells, it never decides.

What an owner answers to a command is recorded at once, as the events that it has committed; the same events arrive by the broker a moment
later and change nothing more. So whoever has just asked for a change sees it on the next page.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import aiohttp
from aiohttp import ClientTimeout
from pydantic import ValidationError

from services.portal import handlers, queries
from services.portal.decide.facts import fact_of
from services.portal.settings import PortalSettings
from shared.contracts.base import Message
from shared.contracts.envelope import Envelope
from shared.contracts.orders import OrderEdited
from shared.contracts.registry import MESSAGES
from shared.errors import OrdermeshError
from shared.messaging.message import Received
from shared.service import Environment
from shared.telemetry import service_number, traceparent_of

ServiceName = Literal["sync", "allocation", "routing", "returns"]
SERVICES: tuple[ServiceName, ...] = ("sync", "allocation", "routing", "returns")
SOURCE = "ordermesh/portal"
AWAY_STATUSES = frozenset({502, 503, 504})
RETRY_AFTER_SECONDS = 2


class ServiceAway(OrdermeshError):
    """A service did not answer, or answered that it cannot work now: try again later."""

    def __init__(self, service: str, detail: str) -> None:
        super().__init__(f"the {service} service does not answer ({detail}): try again in a moment")
        self.service = service
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer with its JSON document, if it was one."""

    status: int
    document: Any

    @property
    def succeeded(self) -> bool:
        """Whether the service did what it was asked."""
        return self.status < 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command: the runtime's status, and the messages with which the owner answered.

    ``messages`` are those about what was asked for, and not those about an edit that waited for payment and that a cancellation has ended.
    """

    http_status: int
    status: str
    reason: str | None
    messages: Sequence[Message]
    document: Mapping[str, Any]


def base_url(settings: PortalSettings, service: ServiceName) -> str:
    """Where a service listens."""
    urls: dict[ServiceName, str] = {
        "sync": settings.sync_url,
        "allocation": settings.allocation_url,
        "routing": settings.routing_url,
        "returns": settings.returns_url,
    }
    return urls[service].rstrip("/")


async def call(
    environment: Environment,
    service: ServiceName,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: bytes | AsyncIterator[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Reply:
    """One HTTP call to another service with the operator's token. ``body`` may be passed on while it comes in.

    Raises:
        ServiceAway: no answer in time, no connection, or an answer that says so.
    """
    settings: PortalSettings = environment.settings
    all_headers = {"Authorization": f"Bearer {settings.operator_token}", "Content-Type": "application/json", **(headers or {})}
    try:
        async with environment.http.request(
            method,
            base_url(settings, service) + path,
            params=query,
            data=body,
            headers=all_headers,
            timeout=ClientTimeout(total=timeout_seconds or settings.service_timeout_seconds),
            allow_redirects=False,
        ) as response:
            raw = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ServiceAway(service, type(error).__name__) from error
    if response.status in AWAY_STATUSES:
        raise ServiceAway(service, f"HTTP {response.status}")
    try:
        document = json.loads(raw) if raw else None
    except ValueError as error:
        raise ServiceAway(service, f"HTTP {response.status} without JSON") from error
    return Reply(response.status, document)


@asynccontextmanager
async def download(environment: Environment, service: ServiceName, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A file of another service, to be passed on piece by piece.

    Raises:
        ServiceAway: no answer in time or no connection.
    """
    settings: PortalSettings = environment.settings
    try:
        async with environment.http.get(
            base_url(settings, service) + path,
            headers={"Authorization": f"Bearer {settings.operator_token}"},
            timeout=ClientTimeout(total=None, sock_connect=settings.service_timeout_seconds, sock_read=settings.service_timeout_seconds),
            allow_redirects=False,
        ) as response:
            yield response
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ServiceAway(service, type(error).__name__) from error


async def read(environment: Environment, service: ServiceName, path: str, **query: str) -> Reply:
    """A ``GET``."""
    return await call(environment, service, "GET", path, query=query)


def envelope_of(command: Message, *, event_id: UUID, now: datetime, subject: str | None, traceparent: str | None) -> bytes:
    """A command in its CloudEvents envelope."""
    return (
        Envelope[Message](id=event_id, source=SOURCE, type=command.type, subject=subject, time=now, traceparent=traceparent, data=command)
        .model_dump_json(serialize_as_any=True, exclude_none=True)
        .encode()
    )


def _messages_of(service: ServiceName, document: Mapping[str, Any]) -> list[tuple[UUID, Message]]:
    """The messages of an answer that we know; a newer service may say more."""
    known = []
    for item in document.get("messages", ()):
        model = MESSAGES.get(item.get("type", ""))
        if model is not None:
            try:
                known.append((UUID(item["id"]), model.model_validate(item["data"])))
            except (ValidationError, KeyError, ValueError) as error:
                raise ServiceAway(service, f"an answer of type {item.get('type')} that breaks its contract") from error
    return known


def _about(command: Message, messages: Sequence[Message]) -> Sequence[Message]:
    """The answers about the change that was asked for, without those about another one that this change has ended."""
    asked = getattr(command, "change_id", None)
    if asked is None:
        return messages
    return [message for message in messages if getattr(message, "change_id", None) == asked] or messages


async def ask(environment: Environment, service: ServiceName, command: Message, *, event_id: UUID, order_id: UUID | None = None) -> Answer:
    """Has the owning service handle a command now, in the order's own trace, and records the events it answers with.

    Args:
        service: who owns what the command is about.
        command: the question.
        event_id: makes it safe to ask again.
        order_id: the order it is about, where there is one.

    Raises:
        ServiceAway: the service did not answer; whether it acted is unknown, asking again with the same ``event_id`` is safe.
    """
    trace_id = None
    if order_id is not None:
        async with environment.database.acquire(timeout=10) as connection:
            trace_id = await queries.read_trace_id(connection, order_id)
    number = service_number("portal")
    given = None if trace_id is None else f"00-{trace_id.hex}-{'0' * 15}1-01"
    traceparent = traceparent_of(given, event_id, number)
    body = envelope_of(
        command,
        event_id=event_id,
        now=environment.now(),
        subject=None if order_id is None else str(order_id),
        traceparent=traceparent,
    )
    reply = await call(environment, service, "POST", "/messages", body=body)
    document = reply.document if isinstance(reply.document, dict) else {}
    if "status" not in document and reply.status >= 500:
        raise ServiceAway(service, f"HTTP {reply.status}")
    # Whatever is not done was rolled back there: its messages were never said.
    messages = _messages_of(service, document) if document.get("status") == "done" else []
    await _record(environment, service, messages, traceparent)
    return Answer(
        http_status=reply.status,
        status=str(document.get("status", "refused")),
        reason=document.get("reason"),
        messages=_about(command, [message for _, message in messages]),
        document=document,
    )


async def _record(environment: Environment, service: str, messages: Sequence[tuple[UUID, Message]], traceparent: str) -> None:
    committed = [
        Received(event_id=event_id, source=f"ordermesh/{service}", data=message, time=environment.now(), traceparent=traceparent)
        for event_id, message in messages
        if type(message) in fact_of.registry
    ]
    if not committed:
        return
    async with environment.transaction() as transaction:
        edits = [message.data for message in committed if isinstance(message.data, OrderEdited)]
        if edits:
            await queries.record_versions(transaction.connection, edits)
        await handlers.record_progress(transaction, committed)


async def fetch_document(environment: Environment, service: ServiceName, path: str) -> bytes | None:
    """A file that another service makes, or None when it says that there is none.

    Raises:
        ServiceAway: no answer in time, or not the file.
    """
    settings: PortalSettings = environment.settings
    try:
        async with environment.http.get(
            base_url(settings, service) + path,
            headers={"Authorization": f"Bearer {settings.operator_token}"},
            timeout=ClientTimeout(total=settings.service_timeout_seconds),
            allow_redirects=False,
        ) as response:
            content = await response.read()
            if response.status == 404:
                return None
            if response.status != 200:
                raise ServiceAway(service, f"HTTP {response.status}")
            return content
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ServiceAway(service, type(error).__name__) from error

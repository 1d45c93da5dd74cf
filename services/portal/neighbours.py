"""What the other services show about an order, a SKU or themselves. The one place that knows their addresses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from aiohttp import web

from services.portal.asking import SERVICES, Reply, ServiceAway, ServiceName, call, download, read
from services.portal.decide.traces import Span, trace_tree
from shared.contracts.base import Message
from shared.contracts.orders import OrderEditRequested
from shared.http import error_body, error_response, why_not_parked
from shared.messaging import inbox, outbox, waiting
from shared.messaging.waiting import Dismissal
from shared.service import Environment

WAITING_LIMIT = 200
SHOPPER_PATIENCE_SECONDS = 2.0
"""How long a shopper's page waits for what it can do without."""
STOCK_ROWS = 100
UPLOAD_TIMEOUT_SECONDS = 600.0
"""A million rows take a minute or two."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A service's document about something; None when it knows nothing of it or does not answer (then ``away`` says so)."""

    document: Any = None
    away: str | None = None


async def returnable_of(environment: Environment, order_id: UUID) -> Shown:
    """What of the order may come back now, and until when."""
    try:
        reply = await call(environment, "returns", "GET", f"/orders/{order_id}/returnable", timeout_seconds=SHOPPER_PATIENCE_SECONDS)
    except ServiceAway as error:
        return Shown(away=error.detail)
    return Shown(document=reply.document if reply.succeeded else None)


async def _shown(environment: Environment, service: ServiceName, path: str, **query: str) -> Shown:
    try:
        reply = await read(environment, service, path, **query)
    except ServiceAway as error:
        return Shown(away=error.detail)
    return Shown(document=reply.document if reply.succeeded else None)


async def routing_of(environment: Environment, order_id: UUID) -> Shown:
    """The order's journey: its fulfillments and why they were planned so."""
    return await _shown(environment, "routing", f"/orders/{order_id}")


async def list_delays(environment: Environment, after: str) -> Reply:
    """Orders that wait for their customer's answer about a delay."""
    return await read(environment, "routing", "/delays", **({"after": after} if after else {}))


async def stock_of(environment: Environment, order_id: UUID) -> Shown:
    """What the order holds and what it waits for."""
    return await _shown(environment, "allocation", f"/orders/{order_id}/stock")


async def channel_order(environment: Environment, order_id: UUID) -> Shown:
    """The order as its channel sent it, with what the channel was told about it."""
    return await _shown(environment, "sync", f"/orders/{order_id}")


async def read_return(environment: Environment, return_id: UUID) -> Reply:
    """One return with its lines, scans and refunds."""
    return await read(environment, "returns", f"/returns/{return_id}")


async def read_stock(environment: Environment, sku: str) -> Reply:
    """One SKU at every location."""
    return await read(environment, "allocation", f"/stock/{quote(sku, safe='')}")


async def read_shortage_policy(environment: Environment) -> Reply:
    """Whose units a shortage takes first."""
    return await read(environment, "allocation", "/shortage-policy")


async def list_stock(environment: Environment, after: str) -> Reply:
    """SKU by SKU in the order of their names, from behind ``after``."""
    return await read(environment, "allocation", "/stock", after=after, limit=str(STOCK_ROWS))


async def read_supplies(environment: Environment, sku: str) -> Shown:
    """Goods of one SKU on their way."""
    return await _shown(environment, "allocation", "/supplies", sku=sku)


async def list_feeds(environment: Environment) -> Reply:
    """The feeds of all locations."""
    return await read(environment, "allocation", "/feeds")


async def read_feed(environment: Environment, location: str) -> Reply:
    """The feed of one location with what was decided about it."""
    return await read(environment, "allocation", f"/feeds/{quote(location, safe='')}")


async def upload_counts(environment: Environment, file_name: str, operator: str, pieces: AsyncIterator[bytes]) -> Reply:
    """Passes a file of counts on while it comes in; the answer is its preview."""
    return await call(
        environment,
        "allocation",
        "POST",
        "/count-uploads",
        query={"file_name": file_name, "operator": operator},
        body=pieces,
        headers={"Content-Type": "text/csv"},
        timeout_seconds=UPLOAD_TIMEOUT_SECONDS,
    )


async def list_uploads(environment: Environment) -> Reply:
    """The newest files of counts."""
    return await read(environment, "allocation", "/count-uploads")


async def read_upload(environment: Environment, upload_id: UUID) -> Reply:
    """One file of counts."""
    return await read(environment, "allocation", f"/count-uploads/{upload_id}")


async def list_upload_rows(environment: Environment, upload_id: UUID, query: Mapping[str, str]) -> Reply:
    """Rows of a file of counts."""
    return await read(environment, "allocation", f"/count-uploads/{upload_id}/rows", **query)


async def apply_upload(environment: Environment, upload_id: UUID, rows: str, reason: str, operator: str) -> Reply:
    """Has allocation set the shelves of a file of counts."""
    body = json.dumps({"rows": rows, "reason": reason, "operator": operator}).encode()
    return await call(environment, "allocation", "POST", f"/count-uploads/{upload_id}/apply", body=body, timeout_seconds=60.0)


async def pass_on_report(environment: Environment, request: web.Request, upload_id: UUID) -> web.StreamResponse:
    """The report of a file of counts, piece by piece."""
    async with download(environment, "allocation", f"/count-uploads/{upload_id}/report.csv") as report:
        if report.status != 200:
            return error_response(404, "not_found", "there is no such upload")
        answer = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="count-report-{upload_id}.csv"',
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            }
        )
        await answer.prepare(request)
        async for piece in report.content.iter_chunked(64 * 1024):
            await answer.write(piece)
        await answer.write_eof()
    return answer


async def list_supplies(environment: Environment, query: Mapping[str, str]) -> Reply:
    """Goods on their way, page by page."""
    return await read(environment, "allocation", "/supplies", **query)


async def list_preorders(environment: Environment, query: Mapping[str, str]) -> Reply:
    """SKUs that are sold before their release, page by page."""
    return await read(environment, "allocation", "/preorders", **query)


async def list_findings(environment: Environment, **query: str) -> Reply:
    """What the continuous auditor found in allocation's books."""
    return await read(environment, "allocation", "/findings", **query)


async def read_finding(environment: Environment, finding_id: UUID) -> Reply:
    """One finding with what was decided about it."""
    return await read(environment, "allocation", f"/findings/{finding_id}")


async def read_product(environment: Environment, sku: str) -> Reply:
    """One product of the product master."""
    return await read(environment, "sync", f"/products/{quote(sku, safe='')}")


async def find_listings(environment: Environment, channel: str, search: str, limit: int) -> Reply:
    """What one channel sells whose title or SKU holds these words, a SKU of this name first."""
    return await read(environment, "sync", "/listings", channel=channel, search=search, limit=str(limit))


async def read_locations(environment: Environment, **query: str) -> Reply:
    """Every location, or those near a postal code."""
    return await read(environment, "routing", "/locations", **query)


async def list_routing_rules(environment: Environment, before: int | None = None) -> Reply:
    """Versions of the routing rules and who put which in force."""
    return await read(environment, "routing", "/rules", **({} if before is None else {"before": str(before)}))


async def read_routing_rules(environment: Environment, version: int) -> Reply:
    """One version, as written and in words."""
    return await read(environment, "routing", f"/rules/{version}")


async def try_routing_rules(environment: Environment, body: bytes) -> Reply:
    """How an order would ship by a draft; nothing is changed."""
    return await call(environment, "routing", "POST", "/rules/try", body=body)


async def list_stock_prices(environment: Environment, sku: str) -> Reply:
    """What scarce stock is worth to later orders: of one SKU, or where it is dearest."""
    return await read(environment, "routing", "/stock-prices", **({"sku": sku} if sku else {}))


async def read_channels(environment: Environment) -> Reply:
    """Every channel with its health."""
    return await read(environment, "sync", "/channels")


async def attention(environment: Environment) -> Shown:
    """Orders that routing cannot bring forward alone."""
    return await _shown(environment, "routing", "/attention")


async def read_attention(environment: Environment) -> Reply:
    """The same, for who must know when routing does not answer."""
    return await read(environment, "routing", "/attention")


async def retry_order(environment: Environment, order_id: UUID) -> Reply:
    """Has routing try an order again whose trouble a person has dealt with."""
    return await call(environment, "routing", "POST", f"/orders/{order_id}/retry")


async def preview_edit(environment: Environment, command: OrderEditRequested, stock: Mapping[str, Mapping[str, int]]) -> Reply:
    """What routing says an edit would do; ``stock`` is what allocation has free, per SKU and location."""
    body = json.dumps({"request": command.model_dump(mode="json"), "stock": stock}).encode()
    return await call(environment, "routing", "POST", f"/orders/{command.order_id}/edit/preview", body=body)


async def failed_refunds(environment: Environment) -> Shown:
    """Refunds that the channel refused for good."""
    return await _shown(environment, "returns", "/refunds", state="failed")


async def retry_refund(environment: Environment, refund_id: UUID) -> Reply:
    """Has the channel try a failed refund again, under the same idempotency key."""
    return await call(environment, "returns", "POST", f"/refunds/{refund_id}/retry")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages of one service that wait, or that were dismissed."""

    service: str
    messages: Sequence[dict[str, Any]]
    counts: Mapping[str, int]
    """How many wait there in all: ``parked`` for a person, ``retry`` to be tried again by themselves."""
    away: str | None = None


async def _waiting_at(environment: Environment, service: ServiceName, status: str) -> Waiting:
    shown = await _shown(environment, service, "/operations/parked", status=status, limit=str(WAITING_LIMIT))
    document = shown.document or {}
    return Waiting(service, document.get("messages", []), document.get("counts", {}), shown.away)


async def list_waiting(environment: Environment, status: str) -> list[Waiting]:
    """Messages of all services that wait for a person (``parked``), are tried again (``retry``), or were ``dismissed``."""
    others = await asyncio.gather(*(_waiting_at(environment, service, status) for service in SERVICES))
    async with environment.database.acquire(timeout=10) as connection:
        own = await waiting.list_messages(connection, status, WAITING_LIMIT)
    return [*others, Waiting("portal", own["messages"], own["counts"])]


async def is_under_way(environment: Environment, service: ServiceName, announcement: type[Message], name: str) -> bool:
    """Whether a message that announces this id, SKU or code came to a service and is tried again there."""
    mentioned = json.dumps(name, ensure_ascii=False)
    reply = await read(environment, service, "/operations/parked", status="retry", mentioned=mentioned, limit=str(WAITING_LIMIT))
    return reply.succeeded and any(message["type"] == announcement.type for message in reply.document["messages"])


def _named(service: str) -> ServiceName:
    for name in SERVICES:
        if name == service:
            return name
    raise ValueError(f"{service!r} is no service: one of {', '.join((*SERVICES, 'portal'))}")


async def read_waiting(environment: Environment, service: str, event_id: UUID) -> Reply:
    """One message that waits or was dismissed.

    Raises:
        ServiceAway: the service does not answer.
        ValueError: there is no such service.
    """
    if service != "portal":
        return await read(environment, _named(service), f"/operations/parked/{event_id}")
    async with environment.database.acquire(timeout=10) as connection:
        found = await waiting.read_message(connection, event_id)
    return Reply(404 if found is None else 200, found)


async def redrive(environment: Environment, service: str, event_id: UUID) -> Reply:
    """Gives a parked or dismissed message a fresh start.

    Raises:
        ServiceAway: the service does not answer.
        ValueError: there is no such service.
    """
    if service != "portal":
        return await call(environment, _named(service), "POST", f"/operations/parked/{event_id}/redrive")
    async with environment.database.acquire(timeout=10) as connection:
        found = await inbox.redrive(connection, event_id, environment.now())
    return Reply(202 if found else 404, {"event_id": str(event_id), "status": "retry"} if found else None)


async def dismiss(environment: Environment, service: str, event_id: UUID, dismissal: Dismissal) -> Reply:
    """Closes a parked message that nobody will handle; who did it and why stays on record.

    Raises:
        ServiceAway: the service does not answer.
        ValueError: there is no such service.
    """
    if service != "portal":
        body = dismissal.model_dump_json().encode()
        return await call(environment, _named(service), "POST", f"/operations/parked/{event_id}/dismiss", body=body)
    async with environment.database.acquire(timeout=10) as connection, connection.transaction():
        refused = await waiting.dismiss(connection, event_id, dismissal, environment.now())
    if refused is None:
        return Reply(200, {"event_id": str(event_id), "status": "dismissed"})
    return Reply(404, None) if refused.message is None else Reply(409, error_body(*why_not_parked(refused.message)))


@dataclass(frozen=True, slots=True)
class Trace:
    """The tree of everything said and heard about a subject, and which services could not be asked."""

    roots: Sequence[Span]
    away: Sequence[str]


async def read_trace(environment: Environment, order_id: UUID) -> Trace:
    """The messages of all services about one order as one tree."""
    subject = str(order_id)
    others = await asyncio.gather(*(_shown(environment, service, "/operations/messages", subject=subject) for service in SERVICES))
    async with environment.database.acquire(timeout=10) as connection:
        said = await outbox.about_subject(connection, subject)
        heard = await outbox.heard_about_subject(connection, subject)
    own = {
        "service": "portal",
        "said": [
            {
                "event_id": str(row["event_id"]),
                "type": row["type"],
                "created_at": row["created_at"].isoformat(),
                "sent_at": row["sent_at"].isoformat() if row["sent_at"] else None,
                "traceparent": row["traceparent"],
                "partner": row["partner"],
            }
            for row in said
        ],
        "heard": [
            {
                "event_id": str(row["event_id"]),
                "source": row["source"],
                "type": row["type"],
                "status": row["status"],
                "attempts": row["attempts"],
                "reason": row["reason"],
                "received_at": row["received_at"].isoformat(),
                "handled_at": row["handled_at"].isoformat() if row["handled_at"] else None,
                "traceparent": row["traceparent"],
            }
            for row in heard
        ],
    }
    reports = [shown.document for shown in others if shown.document] + [own]
    return Trace(trace_tree(reports), [service for service, shown in zip(SERVICES, others, strict=True) if shown.away])

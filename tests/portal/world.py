"""The portal's HTTP side in this process, on a real database, among small services that speak the other services' HTTP contract."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.portal.__main__ import SERVICE
from services.portal.links import signer_of
from services.portal.settings import PortalSettings
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.database import Pool
from shared.http import build_application
from shared.messaging.batching import Processor, Surroundings
from shared.running import Environment
from shared.telemetry import Metrics
from tests.portal.stories import NOON

OPERATOR_TOKEN = "operator-token-of-the-tests"
LINK_SECRET = "link-secret-of-the-tests-0123456789"


@dataclass
class Neighbour:
    """A service beside the portal: remembers what it was asked, answers as the test says."""

    name: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    replies: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    away: bool = False

    def replies_with(self, status: str, *messages: Message, http_status: int = 200, reason: str | None = None) -> None:
        """What ``POST /messages`` answers from now on."""
        document = {
            "status": status,
            "reason": reason,
            "messages": [{"id": str(new_id()), "type": message.type, "data": message.model_dump(mode="json")} for message in messages],
        }
        self.replies["POST", "/messages"] = (http_status, document)

    def shows(self, path: str, document: Any, *, method: str = "GET", status: int = 200) -> None:
        """What another path answers from now on."""
        self.replies[method, path] = (status, document)

    @staticmethod
    async def _read(request: web.Request) -> bytes:
        """A file as it comes in, however large it is."""
        return b"".join([piece async for piece in request.content.iter_chunked(65_536)])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        if self.away:
            return web.Response(status=503)
        if request.headers.get("Authorization") != f"Bearer {OPERATOR_TOKEN}":
            return web.json_response({"error": {"code": "unauthorised", "message": "no", "problems": []}}, status=401)
        self.paths.append(f"{request.method} {request.path_qs}")
        self.headers.append(dict(request.headers))
        if request.content_type == "text/csv":
            self.files.append(await self._read(request))
        elif request.can_read_body:
            self.asked.append(json.loads(await request.read()))
        status = request.query.get("status", "parked")
        # What waits otherwise than parked is told by a path of its own.
        path = request.path if request.path != "/operations/parked" or status == "parked" else f"{request.path}?status={status}"
        known = self.replies.get((request.method, path))
        if known is None:
            nothing: dict[str, Any] = {"counts": {"parked": 0, "retry": 0}, "messages": []}
            defaults: dict[str, Any] = {
                "/operations/parked": nothing,
                "/operations/messages": {"service": self.name, "said": [], "heard": []},
                "/locations": {"locations": [{"location": "reno"}]},
                "/channels": {"channels": [{"code": "shop"}, {"code": "market"}]},
            }
            if request.path in defaults:
                return web.json_response(defaults[request.path])
            return web.json_response({"error": {"code": "not_found", "message": "nothing here", "problems": []}}, status=404)
        http_status, document = known
        if isinstance(document, bytes):
            kind = "text/csv" if request.path.endswith(".csv") else "application/pdf"
            return web.Response(body=document, content_type=kind, status=http_status)
        return web.json_response(document, status=http_status)


@dataclass
class World:
    """The portal and its neighbours."""

    client: TestClient[web.Request, web.Application]
    environment: Environment
    neighbours: dict[str, Neighbour]
    settings: PortalSettings

    def __getattr__(self, name: str) -> Neighbour:
        if name in ("sync", "allocation", "routing", "returns"):
            return self.neighbours[name]
        raise AttributeError(name)

    def key(self, order_id: UUID, now: datetime = NOON) -> str:
        """The key that opens an order."""
        return signer_of(self.settings).key_for(order_id, now)

    def page_of(self, order_id: UUID) -> str:
        """The address in the e-mails, without the host."""
        return f"/orders/{order_id}?key={self.key(order_id)}"


async def no_problem() -> dict[str, str]:
    """A probe that finds nothing."""
    return {}


async def build_world(pool: Pool, **changes: Any) -> tuple[World, Sequence[Callable[[], Awaitable[None]]]]:
    """Starts everything; the second value closes it again."""
    neighbours, servers, urls = {}, [], {}
    for name in ("sync", "allocation", "routing", "returns"):
        neighbour = Neighbour(name)
        application = web.Application()
        application.router.add_route("*", "/{anything:.*}", neighbour.answer)
        server = TestServer(application)
        await server.start_server()
        neighbours[name], urls[f"{name}_url"] = neighbour, str(server.make_url("")).rstrip("/")
        servers.append(server)
    values = {
        "database_url": "given by the test",
        "amqp_url": "not used",
        "operator_token": OPERATOR_TOKEN,
        "link_secret": LINK_SECRET,
        "public_base_url": "http://portal.test",
        "service_timeout_seconds": 2.0,
        **urls,
        **changes,
    }
    settings = PortalSettings(**values)
    clock = {"now": NOON}
    around = Surroundings(
        service="portal",
        pool=pool,
        settings=settings,
        metrics=Metrics("portal"),
        now=lambda: clock["now"],
        committed=lambda: None,
    )
    session = aiohttp.ClientSession()
    processors = {item.message.type: Processor(item, around) for item in SERVICE.consumes}
    environment = Environment(around, session, processors)
    application = build_application(environment, SERVICE.routes, live=no_problem, ready=no_problem)
    client = TestClient(TestServer(application), cookie_jar=aiohttp.CookieJar(unsafe=True))
    await client.start_server()
    return World(client, environment, neighbours, settings), [client.close, session.close, *(server.close for server in servers)]

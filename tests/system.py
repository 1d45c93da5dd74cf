"""The whole system as its users see it: the operator's API, an adapter's and a 3PL's broker users, the simulators of the outside world.

Journeys and fault tests drive real processes through this and nothing else; they look into databases only to audit them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aio_pika
import aiohttp

from deploy.local.processes import Processes
from deploy.local.stack import Stack
from shared.audit import Report
from shared.audit.running import audit_until_settled
from shared.contracts.base import INBOUND_EXCHANGE, PartnerMessage
from shared.contracts.envelope import new_id
from shared.contracts.registry import partner_kind_of, routing_key_of
from shared.messaging.topology.names import partner_user_of
from shared.migrate import AUDITOR

Json = dict[str, Any]

SETTLE_SECONDS = 60.0

RENO = {"location": "reno", "name": "Reno", "partner": "west", "postal_code": "89506", "country": "US", "time_zone": "America/Los_Angeles"}
NEWARK = {"location": "newark", "name": "Newark", "partner": "east", "postal_code": "07114", "country": "US"}
DALLAS = {
    "location": "dallas",
    "name": "Dallas",
    "partner": "west",
    "postal_code": "75236",
    "country": "US",
    "time_zone": "America/Chicago",
}

QUICK = {"accept_delay_seconds": 0.02, "label_delay_seconds": 0.02, "ship_delay_seconds": 0.02, "deliver_delay_seconds": 0.05}
"""A 3PL that does everything at once."""

HESITANT = {"accept_delay_seconds": 3_600.0}
"""A 3PL that has the pick list and does not start."""

HONEST = {
    "reject_rate": 0.0,
    "short_pick_rate": 0.0,
    "silent_rate": 0.0,
    "duplicate_rate": 0.0,
    "cancel_until": "accepted",
    "interceptions": "succeed",
    "stock": "unlimited",
}


@dataclass(frozen=True)
class Answer:
    """What the API said."""

    status: int
    body: Any


def an_order(external_id: str, lines: Mapping[str, int], **changes: Any) -> Json:
    """The content of a plausible paid order to Sacramento."""
    order: Json = {
        "channel": "webshop",
        "external_id": external_id,
        "paid_at": datetime.now(UTC).isoformat(),
        "currency": "USD",
        "lines": [
            {"external_line_id": str(number), "sku": sku, "quantity": quantity, "unit_price_cents": 2_000, "tax_cents": 160 * quantity}
            for number, (sku, quantity) in enumerate(lines.items(), start=1)
        ],
        "shipping_paid_cents": 599,
        "ship_to": {
            "name": "Ada Shopper",
            "line1": "1 Capitol Mall",
            "city": "Sacramento",
            "region": "CA",
            "postal_code": "95814",
            "country": "US",
        },
        "customer": {"email": f"{external_id}@example.com"},
    }
    return {**order, **changes}


def _is_not_yet(answer: Answer) -> bool:
    """Whether what was asked about is on its way to the service that is to do it: the answer says to ask again in a moment."""
    return answer.status == 409 and answer.body.get("error", {}).get("code") == "not_yet"


class System:
    """A running system."""

    def __init__(self, stack: Stack, processes: Processes, http: aiohttp.ClientSession) -> None:
        self.stack = stack
        self.processes = processes
        self.http = http
        self._token = processes.environment()["ORDERMESH_OPERATOR_TOKEN"]
        self._seen = 0

    def fresh(self, what: str) -> str:
        """A name that no other test uses."""
        return f"{what}-{new_id().hex[-10:]}"

    async def api(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """One call of the operator's API; trouble on the way is tried again, as an operator would."""
        headers = self.operator_headers(token)
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        for attempt in range(20):
            try:
                async with self.http.request(method, self.processes.url("portal") + path, json=body, headers=headers) as response:
                    answer = Answer(response.status, await response.json())
                    if attempt == 19 or not (answer.status == 503 or _is_not_yet(answer)):
                        return answer
                await asyncio.sleep(0.5)
            except aiohttp.ClientError:
                await asyncio.sleep(0.5)
        raise AssertionError(f"{method} {path}: the API did not answer")

    def operator_headers(self, token: str | None = None) -> dict[str, str]:
        """What a request of an operator carries; the same at every service."""
        return {"Authorization": f"Bearer {token or self._token}"}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call that must succeed."""
        answer = await self.api(method, path, body)
        assert answer.status < 300, f"{method} {path}: {answer.status} {json.dumps(answer.body)[:800]}"
        return answer.body

    async def simulator(self, name: str, method: str, path: str, body: Any = None) -> Any:
        """A call of a simulator's admin side."""
        async with self.http.request(method, self.processes.url(name) + path, json=body) as response:
            assert response.status < 300, f"{name} {method} {path}: {response.status} {(await response.text())[:500]}"
            return await response.json()

    async def behave(self, **behaviour: Any) -> None:
        """How all 3PLs act from now on."""
        for partner in ("east", "west"):
            await self.simulator("third_party_logistics", "POST", "/behaviour", {"partner": partner, **QUICK, **HONEST, **behaviour})

    async def register(self, *skus: str, hazmat: bool = False, channels: Iterable[str] = ("webshop", "marketplace")) -> None:
        """Products that both channels sell."""
        products = [
            {"sku": sku, "title": f"Thing {sku}", "unit_price_cents": 2_000, "unit_weight_grams": 700, "hazmat": hazmat} for sku in skus
        ]
        for start in range(0, len(products), 1_000):
            await self.ask("POST", "/api/products", {"products": products[start : start + 1_000]})
            for channel in channels:
                listings = [{"sku": sku, "external_listing_id": f"L-{sku}"} for sku in skus[start : start + 1_000]]
                await self.ask("POST", "/api/listings", {"channel": channel, "listings": listings})
        await self.eventually(lambda: self._stock_is_known(skus[-1]), f"allocation knows {skus[-1]}")

    async def _stock_is_known(self, sku: str) -> bool:
        return (await self.api("GET", f"/api/stock/{quote(sku)}")).status == 200

    async def stock(self, sku: str) -> Json:
        """What allocation says about a SKU."""
        document: Json = await self.ask("GET", f"/api/stock/{quote(sku)}")
        return document

    async def until_stock(self, sku: str, **units: int) -> None:
        """Waits until a SKU's numbers, named without ``_units``, are these: allocation hears of what 3PLs say when it hears of it."""
        found: Json = {}

        async def reached() -> bool:
            found.update(await self.stock(sku))
            return all(found[f"{name}_units"] == count for name, count in units.items())

        try:
            await self.eventually(reached, f"{sku} has {units}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it has {found}") from error

    async def put(self, sku: str, location: str, units: int) -> None:
        """Sets what is on a shelf."""
        await self.ask("PUT", f"/api/stock/{quote(sku)}/{location}", {"new_on_hand": units, "reason": "count"})

    async def place(self, order: Json) -> UUID:
        """Places an order through the operator's API."""
        return UUID((await self.ask("POST", "/api/orders", order))["order_id"])

    async def order(self, order_id: UUID) -> Json:
        """The order as all services together know it; empty until the portal has heard of it."""
        answer = await self.api("GET", f"/api/orders/{order_id}")
        return answer.body if answer.status == 200 else {}

    async def until_status(self, order_id: UUID, *statuses: str) -> Json:
        """Waits until the order is in one of these states."""
        found: Json = {}

        async def reached() -> bool:
            nonlocal found
            found = await self.order(order_id)
            return found.get("status") in statuses

        try:
            await self.eventually(reached, f"order {order_id} is {' or '.join(statuses)}")
        except AssertionError as error:
            steps = [entry["type"] for entry in found.get("timeline", [])]
            raise AssertionError(f"{error}; it is {found.get('status')} after {steps}; routing: {found.get('routing')}") from error
        return found

    async def eventually(
        self, check: Callable[[], Awaitable[bool]], what: str, *, timeout_seconds: float = SETTLE_SECONDS, pause_seconds: float = 0.1
    ) -> None:
        """Waits for something that the system promises to happen."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not await check():  # noqa: ASYNC110 - it asks servers, which set no asyncio.Event
                    await asyncio.sleep(pause_seconds)
        except TimeoutError as error:
            raise AssertionError(f"not within {timeout_seconds:.0f} s: {what}") from error

    async def channel_state(self, channel: str) -> Json:
        """What a channel was told."""
        state: Json = await self.simulator("channels", "GET", f"/{channel}/state")
        return state

    async def mails(self, recipient: str) -> list[Json]:
        """What a customer got."""
        return list(await self.simulator("mail", "GET", f"/messages?to={quote(recipient)}&limit=100"))

    def partner_url(self, kind: str, code: str) -> str:
        """The broker as one partner's limited user sees it."""
        assert kind in ("3pl", "channel")
        return self.processes.surroundings.amqp_url(partner_user_of("3pl" if kind == "3pl" else "channel", code))

    async def say(self, message: PartnerMessage, partner: str, *, event_id: UUID | None = None, **envelope: Any) -> UUID:
        """Publishes an inbound message as that partner's own user."""
        identifier = event_id or new_id()
        document = {
            "specversion": "1.0",
            "id": str(identifier),
            "source": f"test/{partner}",
            "type": message.type,
            "time": datetime.now(UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": message.model_dump(mode="json"),
            **envelope,
        }
        await self.say_bytes(json.dumps(document).encode(), partner_kind_of(type(message)), partner, routing_key_of(type(message), partner))
        return identifier

    async def say_bytes(
        self, body: bytes, kind: str, partner: str, routing_key: str, *, content_type: str = "application/json", reply_to: str | None = None
    ) -> None:
        """Publishes anything as a partner's own user."""
        connection = await aio_pika.connect(self.partner_url(kind, partner))
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(INBOUND_EXCHANGE, ensure=False)
            message = aio_pika.Message(body, content_type=content_type, reply_to=reply_to, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await exchange.publish(message, routing_key)

    async def heard_by(self, kind: str, partner: str) -> list[Json]:
        """Takes everything out of a partner's queue, with its own user."""
        connection = await aio_pika.connect(self.partner_url(kind, partner))
        found = []
        async with connection:
            channel = await connection.channel()
            queue = await channel.get_queue(f"{kind}.{partner}.commands", ensure=False)
            while (message := await queue.get(fail=False, no_ack=True)) is not None:
                found.append(json.loads(message.body))
        return found

    async def parked(self, *, containing: str) -> list[Json]:
        """Parked messages of all services whose reason or body has this text."""
        document = await self.ask("GET", "/api/parked")
        return [message for message in document["messages"] if containing in f"{message['reason']} {message['body']}"]

    async def until_parked(self, containing: str) -> Json:
        """Waits for a message to be parked."""
        found: list[Json] = []

        async def one() -> bool:
            found[:] = await self.parked(containing=containing)
            return bool(found)

        await self.eventually(one, f"a parked message with {containing!r}")
        return found[0]

    async def audit(self, *, wait_seconds: float = 60.0) -> Report:
        """What ``make audit`` does once the system has come to rest: the books must balance."""
        report = await audit_until_settled(self.processes.surroundings.database_url(AUDITOR), wait_seconds=wait_seconds)
        assert report.violation_count == 0, "the audit found violations:\n" + "\n".join(report.lines())
        return report


def log_tail(path: Path, lines: int = 30) -> str:
    """The end of a log, for a failing test."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"

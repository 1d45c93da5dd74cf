"""Whom the demo talks to: the operator's API of the portal, and the admin side of the simulators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp

from deploy.local.failure import LocalStackError

REQUEST_TIMEOUT_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
"""How long something may take to arrive at the service that must know it."""
PAUSE_SECONDS = 0.2

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API. ``code`` is its error code, empty when it did what was asked."""

    status: int
    body: Json

    @property
    def code(self) -> str:
        """The reason of a refusal."""
        error = self.body.get("error")
        return str(error.get("code")) if isinstance(error, dict) else ""

    @property
    def did_it(self) -> bool:
        """Whether it was done."""
        return self.status < 300


class Operator:
    """An operator at the portal's API. What has not arrived yet, or is away for a moment, is asked for again with the same key."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = None, query: Mapping[str, str] | None = None
    ) -> Reply:
        """One request; repeated while the answer is ``not_yet`` or 503.

        Raises:
            LocalStackError: the API does not answer at all.
        """
        headers = dict(self._headers)
        if key is not None:
            headers["Idempotency-Key"] = key
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                reply = await self._once(method, path, body, headers, query)
            except (aiohttp.ClientError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise LocalStackError(f"the operator's API does not answer: {method} {path}: {error!r}") from error
            else:
                if (reply.status != 503 and reply.code != "not_yet") or time.monotonic() > deadline:
                    return reply
            await asyncio.sleep(PAUSE_SECONDS)

    async def must(self, method: str, path: str, body: object, *, key: str) -> Reply:
        """A request that the demo cannot go on without.

        Raises:
            LocalStackError: it was refused.
        """
        reply = await self.ask(method, path, body, key=key)
        if not reply.did_it:
            raise LocalStackError(f"the operator's API refused {method} {path}: {reply.status} {str(reply.body)[:1_000]}")
        return reply

    async def find_order(self, external_id: str, channel: str) -> UUID | None:
        """The id of an order, once the portal has heard of it; None when it never does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            reply = await self.ask("GET", "/api/orders", query={"query": external_id})
            for order in reply.body.get("orders", []):
                if (order["channel"], order["external_id"]) == (channel, external_id):
                    return UUID(order["order_id"])
            await asyncio.sleep(PAUSE_SECONDS)
        return None

    async def _once(self, method: str, path: str, body: object, headers: Mapping[str, str], query: Mapping[str, str] | None) -> Reply:
        async with self._session.request(
            method,
            f"{self._url}{path}",
            json=body,
            headers=headers,
            params=query,
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS),
        ) as answer:
            content = await answer.json()
            return Reply(answer.status, content if isinstance(content, dict) else {"content": content})


class Simulators:
    """The outside world: the 3PLs' and the channels' own admin pages."""

    def __init__(self, session: aiohttp.ClientSession, *, third_parties_url: str, channels_url: str) -> None:
        self._session = session
        self._third_parties_url = third_parties_url
        self._channels_url = channels_url

    async def behave(self, **behaviour: object) -> None:
        """How all 3PLs act from now on."""
        await self._call("POST", f"{self._third_parties_url}/behaviour", behaviour)

    async def shelve(self, partner: str, location: str, units: Sequence[tuple[str, int]]) -> None:
        """Units that stand there from now on and that the merchant knows of."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units]
        await self._call("POST", f"{self._third_parties_url}/stock", {"partner": partner, "location": location, "lines": lines})

    async def deliver_supply(self, partner: str, location: str, supply_id: UUID, units: Sequence[tuple[str, int]]) -> None:
        """A truck arrives: the 3PL shelves the goods and reports the receipt."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units]
        body = {"partner": partner, "location": location, "supply_id": str(supply_id), "lines": lines}
        await self._call("POST", f"{self._third_parties_url}/receipt", body)

    async def count(self, partner: str, location: str) -> None:
        """The 3PL counts a location and reports the snapshot."""
        await self._call("POST", f"{self._third_parties_url}/snapshot", {"partner": partner, "location": location})

    async def adjust(self, partner: str, location: str, sku: str, quantity_delta: int, reason: str) -> None:
        """The 3PL finds or misses units, and says so."""
        body = {"partner": partner, "location": location, "sku": sku, "quantity_delta": quantity_delta, "reason": reason}
        await self._call("POST", f"{self._third_parties_url}/adjustment", body)

    async def sequence(self, partner: str, location: str) -> int:
        """The number of the last message by which the 3PL said that stock of a location moved."""
        sequences: dict[str, int] = (await self.third_party_state())[partner]["sequences"]
        return sequences.get(location, 0)

    async def shelves(self) -> list[Json]:
        """Every shelf row of every 3PL."""
        rows: list[Json] = (await self._call("GET", f"{self._third_parties_url}/stock"))["rows"]
        return rows

    async def fulfillments(self) -> list[Json]:
        """Every pick list of every 3PL."""
        rows: list[Json] = (await self._call("GET", f"{self._third_parties_url}/fulfillments"))["fulfillments"]
        return rows

    async def third_party_state(self) -> Json:
        """The 3PLs' own totals."""
        return await self._call("GET", f"{self._third_parties_url}/state")

    async def channel_behaves(self, channel: str, **behaviour: object) -> None:
        """How a channel's API acts from now on."""
        await self._call("POST", f"{self._channels_url}/{channel}/behaviour", behaviour)

    async def channel_state(self, channel: str) -> Json:
        """What a channel was told."""
        return await self._call("GET", f"{self._channels_url}/{channel}/state?parts=")

    async def _call(self, method: str, url: str, body: object = None) -> Json:
        async with self._session.request(method, url, json=body, timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)) as answer:
            if answer.status >= 300:
                raise LocalStackError(f"a simulator refused {method} {url}: {answer.status} {(await answer.text())[:500]}")
            content: Json = await answer.json()
            return content

"""The HTTP API that a simulated channel offers to its partners, and the admin's side of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from simulators.channels.behaviour import Behaviour, Call, Fate
from simulators.channels.shop import BookFull, KeyReused, Shop

BODY_LIMIT_BYTES = 1024 * 1024
CHANNELS_LIMIT = 100
STATE_PARTS = ("listings", "refunds", "fulfillments")

_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

Id = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Count = Annotated[int, Field(ge=0, strict=True)]
BodyT = TypeVar("BodyT", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")


class ListingBody(_Body):
    """One listing of ``PUT /stock``."""

    external_listing_id: Id
    available: Count
    mode: Literal["in_stock", "backorder", "preorder", "sold_out"]
    next_ship_at: AwareDatetime | None = None
    stock_version: Count


class StockBody(_Body):
    """``PUT /stock``."""

    listings: Annotated[list[ListingBody], Field(min_length=1, max_length=1_000)]


class RefundBody(_Body):
    """``POST /orders/{order}/refunds``."""

    refund_id: Id
    amount_cents: Annotated[int, Field(gt=0, strict=True)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class FulfillmentLine(_Body):
    """Units in a parcel."""

    line_id: Id
    sku: Id
    quantity: Annotated[int, Field(gt=0, strict=True)]


class FulfillmentBody(_Body):
    """``POST /orders/{order}/fulfillments``. A parcel that carries only a part of a kit has no lines of this channel."""

    fulfillment_id: Id
    tracking_number: Id
    carrier: Id
    lines: list[FulfillmentLine]


class Simulator:
    """Any number of channels, each under ``/{code}``; a channel comes into being with its first call."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._shops: dict[str, tuple[Shop, Fate]] = {}

    def application(self) -> web.Application:
        """The whole process's HTTP side."""
        application = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_tell_errors])
        application.router.add_get("/livez", _alive)
        application.router.add_get("/readyz", _alive)
        application.router.add_put("/{code}/stock", self.show_stock)
        application.router.add_post("/{code}/orders/{order}/refunds", self.refund)
        application.router.add_get("/{code}/refunds/{key}", self.find_refund)
        application.router.add_post("/{code}/orders/{order}/fulfillments", self.hear_fulfillment)
        application.router.add_get("/{code}/state", self.read_state)
        application.router.add_get("/{code}/behaviour", self.read_behaviour)
        application.router.add_post("/{code}/behaviour", self.set_behaviour)
        application.router.add_post("/{code}/reset", self.reset)
        return application

    def _channel(self, request: web.Request) -> tuple[Shop, Fate]:
        code = request.match_info["code"]
        if code not in self._shops:
            if not _CODE.fullmatch(code) or len(self._shops) >= CHANNELS_LIMIT:
                raise web.HTTPNotFound(text="no such channel")
            self._shops[code] = (Shop(code), Fate(f"{self._seed}:{code}"))
        return self._shops[code]

    async def _behave(self, request: web.Request, call: Call, act: Callable[[Shop], web.Response]) -> web.StreamResponse:
        """Acts as the behaviour of the day has it: late, not at all, or without letting anybody know."""
        shop, fate = self._channel(request)
        shop.counters["calls"] += 1
        behaviour, fails, loses_answer = fate.draw(call)
        if behaviour.latency_seconds:
            await asyncio.sleep(behaviour.latency_seconds)
        if fails:
            shop.counters[f"answered_{behaviour.status}"] += 1
            headers = {"Retry-After": f"{behaviour.retry_after_seconds:g}"} if behaviour.status in (429, 503) else {}
            return web.json_response({"error": f"told to answer {behaviour.status}"}, status=behaviour.status, headers=headers)
        answer = act(shop)
        if loses_answer:
            shop.counters["answers_lost"] += 1
            await asyncio.sleep(behaviour.hold_seconds)
            if request.transport is not None:
                request.transport.abort()
        return answer

    async def show_stock(self, request: web.Request) -> web.StreamResponse:
        """Shows numbers of listings; an older version than the one shown changes nothing."""
        body = await _read(request, StockBody)

        def act(shop: Shop) -> web.Response:
            now = _now()
            for listing in body.listings:
                shop.show_stock(listing.external_listing_id, listing.model_dump(mode="json", exclude={"external_listing_id"}), now)
            return web.json_response({"refused": []})

        return await self._behave(request, "stock", act)

    async def refund(self, request: web.Request) -> web.StreamResponse:
        """Moves money, once per idempotency key."""
        body = await _read(request, RefundBody)
        key = _idempotency_key(request)

        def act(shop: Shop) -> web.Response:
            moved, new = shop.refund(key, request.match_info["order"], body.model_dump(mode="json"), _now())
            return web.json_response({"reference": moved.reference}, status=201 if new else 200)

        return await self._behave(request, "refunds", act)

    async def find_refund(self, request: web.Request) -> web.StreamResponse:
        """What moved under an idempotency key."""

        def act(shop: Shop) -> web.Response:
            shop.counters["refund_look_ups"] += 1
            moved = shop.refunds.get(request.match_info["key"])
            if moved is None:
                return web.json_response({"error": "nothing moved under this key"}, status=404)
            return web.json_response({"reference": moved.reference, "amount_cents": moved.amount_cents})

        return await self._behave(request, "refunds", act)

    async def hear_fulfillment(self, request: web.Request) -> web.StreamResponse:
        """Notes a parcel, once per idempotency key."""
        body = await _read(request, FulfillmentBody)
        key = _idempotency_key(request)

        def act(shop: Shop) -> web.Response:
            new = shop.hear_fulfillment(key, request.match_info["order"], body.model_dump(mode="json"), _now())
            return web.json_response({"status": "noted"}, status=201 if new else 200)

        return await self._behave(request, "fulfillments", act)

    async def read_state(self, request: web.Request) -> web.StreamResponse:
        """Everything a channel was told; ``?parts=refunds,fulfillments`` for less."""
        shop, _ = self._channel(request)
        parts = request.query.get("parts", ",".join(STATE_PARTS)).split(",")
        if unknown := set(parts) - {*STATE_PARTS, ""}:
            return web.json_response({"error": f"parts: {sorted(unknown)} unknown, use {', '.join(STATE_PARTS)}"}, status=422)
        return web.json_response(shop.as_json(parts))

    async def read_behaviour(self, request: web.Request) -> web.StreamResponse:
        """How the channel behaves now."""
        _, fate = self._channel(request)
        return web.json_response(fate.behaviour.model_dump(mode="json"))

    async def set_behaviour(self, request: web.Request) -> web.StreamResponse:
        """How the channel behaves from now on."""
        _, fate = self._channel(request)
        fate.behave(await _read(request, Behaviour))
        return web.json_response(fate.behaviour.model_dump(mode="json"))

    async def reset(self, request: web.Request) -> web.StreamResponse:
        """A new channel under the old code: nothing known, good behaviour, chance from its start."""
        shop, fate = self._channel(request)
        fate.reset()
        self._shops[shop.code] = (Shop(shop.code), fate)
        return web.json_response({"status": "reset"})


def _now() -> datetime:
    return datetime.now(UTC)


async def _alive(_: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


async def _read(request: web.Request, model: type[BodyT]) -> BodyT:
    return model.model_validate_json(await request.read())


def _idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= 120:
        raise web.HTTPBadRequest(text="send an Idempotency-Key of 1 to 120 characters")
    return key


@web.middleware
async def _tell_errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Says what is wrong with a call, as a channel would."""
    try:
        return await handler(request)
    except ValidationError as error:
        problems: list[dict[str, Any]] = [
            {"field": ".".join(str(part) for part in problem["loc"]) or "body", "problem": problem["msg"]} for problem in error.errors()
        ]
        return web.json_response({"error": "; ".join(f"{item['field']}: {item['problem']}" for item in problems)}, status=422)
    except KeyReused as error:
        return web.json_response({"error": f"Idempotency-Key {error} was used for something else"}, status=409)
    except BookFull as error:
        return web.json_response({"error": f"the simulator keeps no more than {error}: reset it"}, status=507)
    except web.HTTPException as error:
        return web.json_response({"error": error.text or error.reason}, status=error.status)

"""The simulator's own HTTP side: what is on the shelves, how the work stands, and levers for tests and demonstrations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.contracts.base import Code, ShortText, Sku
from shared.contracts.stock import SupplyLine
from simulators.third_party_logistics.answers import Reaction
from simulators.third_party_logistics.link import PartnerLink
from simulators.third_party_logistics.settings import Behaviour
from simulators.third_party_logistics.warehouse import Fulfillment

MAX_BODY_BYTES = 8 * 1024 * 1024


class _Wish(BaseModel):
    """What one POST asks for. ``partner`` may be left out when one 3PL is played, or when only one knows the location."""

    model_config = ConfigDict(extra="forbid")

    partner: Code | None = None


class _AtLocation(_Wish):
    location: Code


class _Goods(_AtLocation):
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=5_000)]
    supply_id: UUID | None = None


class _Adjustment(_AtLocation):
    sku: Sku
    quantity_delta: int
    reason: ShortText = "count"


WishT = TypeVar("WishT", bound=_Wish)


def _refusal(status: type[web.HTTPException], detail: str) -> web.HTTPException:
    return status(text=detail, content_type="text/plain")


async def _read(request: web.Request, model: type[WishT]) -> WishT:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}" for problem in error.errors())
        raise _refusal(web.HTTPBadRequest, problems) from error


class Admin:
    """The routes, over the links of all 3PLs that this process plays."""

    def __init__(self, links: Mapping[str, PartnerLink], clock: Callable[[], datetime]) -> None:
        self._links = links
        self._clock = clock

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.add_routes(
            [
                web.get("/livez", self.live),
                web.get("/readyz", self.ready),
                web.get("/state", self.state),
                web.get("/stock", self.stock),
                web.get("/fulfillments", self.fulfillments),
                web.get("/fulfillments/{fulfillment_id}", self.fulfillment),
                web.post("/behaviour", self.behave),
                web.post("/stock", self.put_on_shelf),
                web.post("/receipt", self.receive),
                web.post("/adjustment", self.adjust),
                web.post("/snapshot", self.count),
                web.post("/repeat", self.repeat),
            ]
        )
        return application

    async def live(self, _: web.Request) -> web.Response:
        """The process answers."""
        return web.json_response({"status": "alive"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 once every 3PL consumes its queue, else 503 with the codes of those that do not."""
        waiting = [code for code, link in self._links.items() if not link.ready.is_set()]
        return web.json_response({"waiting_for_broker": waiting}, status=503 if waiting else 200)

    async def state(self, _: web.Request) -> web.Response:
        """Totals per 3PL: work by status, what was heard and said, units oversold by its own count."""
        return web.json_response({code: _totals(link) for code, link in self._links.items()})

    async def stock(self, _: web.Request) -> web.Response:
        """Every shelf row of every 3PL."""
        rows = [
            {
                "partner": code,
                "location": location,
                "sku": sku,
                "received": count.received,
                "adjusted": count.adjusted,
                "missing": count.missing,
                "shipped": count.shipped,
                "on_hand": count.on_hand,
            }
            for code, link in self._links.items()
            for (location, sku), count in sorted(link.warehouse.shelf.counts.items())
        ]
        return web.json_response({"rows": rows})

    async def fulfillments(self, _: web.Request) -> web.Response:
        """Every pick list of every 3PL."""
        rows = [
            _fulfillment_row(code, fulfillment)
            for code, link in self._links.items()
            for fulfillment in link.warehouse.fulfillments.values()
        ]
        return web.json_response({"fulfillments": rows})

    async def fulfillment(self, request: web.Request) -> web.Response:
        """One pick list with everything that was said about it."""
        try:
            fulfillment_id = UUID(request.match_info["fulfillment_id"])
        except ValueError as error:
            raise _refusal(web.HTTPBadRequest, "fulfillment_id: not a UUID") from error
        for code, link in self._links.items():
            fulfillment = link.warehouse.fulfillments.get(fulfillment_id)
            if fulfillment is not None:
                said = [{"type": answer.data.type, "said_at": answer.said_at.isoformat()} for answer in fulfillment.said]
                return web.json_response({**_fulfillment_row(code, fulfillment), "said": said})
        raise _refusal(web.HTTPNotFound, f"fulfillment {fulfillment_id} was never requested here")

    async def behave(self, request: web.Request) -> web.Response:
        """Changes some fields of the behaviour, of one 3PL or of all."""
        try:
            wish = await request.json()
        except ValueError as error:
            raise _refusal(web.HTTPBadRequest, f"body: no JSON ({error})") from error
        if not isinstance(wish, dict):
            raise _refusal(web.HTTPBadRequest, "body: a JSON object of behaviour fields is needed")
        partner = wish.pop("partner", None)
        links = self._links if partner is None else {partner: self._named(partner)}
        for link in links.values():
            try:
                link.warehouse.behaviour = Behaviour.model_validate({**link.warehouse.behaviour.model_dump(), **wish})
            except ValidationError as error:
                raise _refusal(web.HTTPBadRequest, str(error)) from error
        return web.json_response({code: link.warehouse.behaviour.model_dump() for code, link in links.items()})

    async def put_on_shelf(self, request: web.Request) -> web.Response:
        """Units stand there that the merchant knows of already: nothing is said about them."""
        goods = await _read(request, _Goods)
        link = self._at(goods)
        link.warehouse.put_on_shelf(goods.location, goods.lines)
        link.say(Reaction())
        return web.json_response({"units": sum(line.quantity for line in goods.lines)})

    async def receive(self, request: web.Request) -> web.Response:
        """Goods arrive at the 3PL: a 3pl.receipt is said."""
        goods = await _read(request, _Goods)
        link = self._at(goods)
        link.say(link.warehouse.receive(goods.location, goods.lines, goods.supply_id, self._clock()))
        return web.json_response({"sequence": link.warehouse.shelf.sequences[goods.location]})

    async def adjust(self, request: web.Request) -> web.Response:
        """Units are found, lost or broken: a 3pl.stock_adjusted is said."""
        wish = await _read(request, _Adjustment)
        link = self._at(wish)
        link.say(link.warehouse.adjust(wish.location, wish.sku, wish.quantity_delta, wish.reason, self._clock()))
        return web.json_response({"sequence": link.warehouse.shelf.sequences[wish.location]})

    async def count(self, request: web.Request) -> web.Response:
        """The location is counted: a 3pl.stock_snapshot is said."""
        wish = await _read(request, _AtLocation)
        link = self._at(wish)
        reaction = link.warehouse.snapshot(wish.location, self._clock())
        link.say(reaction)
        return web.json_response({"messages": len(reaction.answers), "watermark": link.warehouse.shelf.sequences[wish.location]})

    async def repeat(self, request: web.Request) -> web.Response:
        """Says everything again under the same event ids, for a broker that lost its data."""
        wish = await _read(request, _Wish)
        links = self._links.values() if wish.partner is None else [self._named(wish.partner)]
        messages = 0
        for link in links:
            reaction = link.warehouse.repeat_everything()
            messages += len(reaction.answers)
            link.say(reaction)
        return web.json_response({"messages": messages})

    def _named(self, partner: str) -> PartnerLink:
        link = self._links.get(partner)
        if link is None:
            raise _refusal(web.HTTPNotFound, f"partner: {partner} is not played here; there are {', '.join(self._links)}")
        return link

    def _at(self, wish: _AtLocation) -> PartnerLink:
        if wish.partner is not None:
            return self._named(wish.partner)
        if len(self._links) == 1:
            return next(iter(self._links.values()))
        working = [link for link in self._links.values() if wish.location in link.warehouse.shelf.locations()]
        if len(working) != 1:
            raise _refusal(web.HTTPBadRequest, f"partner: name the 3PL that works at {wish.location} ({', '.join(self._links)})")
        return working[0]


def _totals(link: PartnerLink) -> dict[str, Any]:
    warehouse = link.warehouse
    counts = warehouse.shelf.counts.values()
    return {
        "ready": link.ready.is_set(),
        "fulfillments": dict(Counter(fulfillment.status for fulfillment in warehouse.fulfillments.values())),
        "statistics": dict(warehouse.statistics),
        "unsaid": link.unsaid,
        "behaviour": warehouse.behaviour.model_dump(),
        "sequences": dict(warehouse.shelf.sequences),
        "units": {
            "received": sum(count.received for count in counts),
            "adjusted": sum(count.adjusted for count in counts),
            "missing": sum(count.missing for count in counts),
            "shipped": sum(count.shipped for count in counts),
            "oversold": warehouse.shelf.units_oversold(),
        },
    }


def _fulfillment_row(code: str, fulfillment: Fulfillment) -> dict[str, Any]:
    return {
        "partner": code,
        "fulfillment_id": str(fulfillment.fulfillment_id),
        "order_number": fulfillment.order_number,
        "subject": fulfillment.subject,
        "location": fulfillment.location,
        "carrier": fulfillment.carrier,
        "service": fulfillment.service,
        "service_level": fulfillment.service_level,
        "postal_code": fulfillment.postal_code,
        "status": fulfillment.status,
        "attempts": fulfillment.attempts,
        "first_requested_at": fulfillment.first_requested_at.isoformat(),
        "tracking_number": fulfillment.tracking_number,
        "lines": [line.model_dump() for line in fulfillment.lines],
        "picked": [line.model_dump() for line in fulfillment.picked],
    }

"""Whether the things that a request names exist, or may be on their way.

A service that does not know what a command is about can not tell whether it will ever come, so it says "not yet". Here it is told apart:
whoever owns the thing is asked, and messages that wait are looked through. What nobody knows and nothing announces does not exist.

An order is accepted by sync before the others hear of it; everything else that is accepted by the API is known to its owner when the API
answers. So "not yet" is said while an order that sync has accepted, or a message that is being retried, is on its way to the service that
was asked. Both end: messages that are retried are parked after ORDERMESH_DEFERRAL_SECONDS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from services.portal import asking, neighbours
from services.portal.api.operation import Call, Problem, invalid, unknown_in_address
from services.portal.asking import Reply, ServiceAway, ServiceName
from services.portal.reading import read_order_view
from shared.contracts.base import Message
from shared.contracts.channels import FieldProblem, ProductRegistrationRequested
from shared.contracts.fulfillment import LocationRegistrationRequested
from shared.contracts.stock import SupplyScheduled

Kind = Literal["order", "return", "supply", "product", "location"]


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that a request names.

    Args:
        kind: what it is.
        field: where the request names it.
        value: its id, SKU or code.
        in_address: whether it is part of the address (then it is not found) or of the body (then the field is wrong).
    """

    kind: Kind
    field: str
    value: str
    in_address: bool = False


def in_address(call: Call, kind: Kind, name: str) -> Named:
    """What a part of the address names."""
    return Named(kind, name, str(call.values[name]), in_address=True)


def skus_of_lines(skus: Iterable[str]) -> list[Named]:
    """What the lines of a body name."""
    return [Named("product", f"lines.{number}.sku", sku) for number, sku in enumerate(skus)]


WAYS_OUT: dict[Kind, str] = {
    "order": "GET /api/orders?query= finds orders",
    "return": "GET /api/orders/{order_id} lists the returns of an order",
    "supply": "GET /api/supplies lists supplies; POST /api/supplies schedules one",
    "product": "register the product first, a component of a kit at the latest together with it: POST /api/products",
    "location": "GET /api/locations lists the locations; POST /api/locations registers one",
}


def fault_of(named: Named) -> FieldProblem:
    """What is wrong with naming something that does not exist, and the way out."""
    if named.in_address:
        return unknown_in_address(named.field, named.value)
    return FieldProblem(field=named.field, problem=f"{named.value[:100]!r} is not known here", remedy=WAYS_OUT[named.kind])


def unknown(faults: Sequence[Named], *, decided: bool = False) -> Problem:
    """404 when the address names what does not exist, 422 when the body does."""
    problems = [fault_of(named) for named in faults]
    missing = next((named for named in faults if named.in_address), None)
    if missing is not None:
        return Problem(404, "not_found", f"there is no such {missing.kind}", problems, decided=decided)
    first = faults[0]
    return Problem(422, f"unknown_{first.kind}", f"{first.field}: there is no {first.kind} {first.value!r:.110}", problems, decided=decided)


async def missing_among(call: Call, names: Sequence[Named]) -> list[Named]:
    """Those things that nobody knows and no message announces.

    Raises:
        ServiceAway: an owner does not answer.
    """
    return [named for named in names if not await _is_known(call, named) and not await _is_announced(call, named)]


def _answered(service: ServiceName, reply: Reply) -> Reply:
    """An answer that says whether there is such a thing."""
    if not reply.succeeded and reply.status != 404:
        raise ServiceAway(service, f"HTTP {reply.status}")
    return reply


async def _is_known(call: Call, named: Named) -> bool:
    """Whether the owner has it. A supply and a return have no other owner than whom the command was sent to, who knows nothing of them."""
    environment = call.environment
    if named.kind == "order":
        return await _is_order(call, UUID(named.value))
    if named.kind == "product":
        return _answered("sync", await neighbours.read_product(environment, named.value)).succeeded
    if named.kind == "location":
        reply = await neighbours.read_locations(environment)
        if not reply.succeeded:
            raise ServiceAway("routing", f"HTTP {reply.status}")
        return any(row["location"] == named.value for row in reply.document["locations"])
    return False


ANNOUNCEMENTS: dict[Kind, tuple[ServiceName, type[Message]]] = {
    "supply": ("allocation", SupplyScheduled),
    "product": ("sync", ProductRegistrationRequested),
    "location": ("routing", LocationRegistrationRequested),
}
"""Which message brings a thing, and to whom."""


async def _is_announced(call: Call, named: Named) -> bool:
    if named.kind not in ANNOUNCEMENTS:
        return False
    return await neighbours.is_under_way(call.environment, *ANNOUNCEMENTS[named.kind], named.value)


async def _is_order(call: Call, order_id: UUID) -> bool:
    """Whether the portal has heard of an order, or sync has accepted it, so that everybody will."""
    async with call.environment.database.acquire(timeout=10) as connection:
        view = await read_order_view(connection, order_id)
    if view is not None and view.identity is not None:
        return True
    return _answered("sync", await asking.read(call.environment, "sync", f"/orders/{order_id}")).succeeded


async def want_order(call: Call, order_id: UUID) -> None:
    """Of an order whose owner would remember a request about any.

    Raises:
        Problem: there is no such order (404).
    """
    missing = await missing_among(call, [Named("order", "order_id", str(order_id), in_address=True)])
    if missing:
        raise unknown(missing)


async def want_location(call: Call, field: str, location: str) -> None:
    """Of a location in a body whose owner would take any.

    Raises:
        Problem: there is no such location (422).
    """
    missing = await missing_among(call, [Named("location", field, location)])
    if missing:
        raise unknown(missing)


async def want_channel(call: Call, channel: str) -> None:
    """Of a channel that allocation takes as it is told: units that are kept for a misspelt one would be off sale.

    Raises:
        Problem: there is no such channel (422).
    """
    known = await known_channels(call)
    if channel not in known:
        raise invalid("channel", f"there is no channel {channel!r}", one_of_channels(known))


async def known_channels(call: Call) -> list[str]:
    """Codes of the channels that are set up.

    Raises:
        ServiceAway: sync does not answer.
    """
    reply = await neighbours.read_channels(call.environment)
    if not reply.succeeded:
        raise ServiceAway("sync", f"HTTP {reply.status}")
    return sorted(row["code"] for row in reply.document["channels"])


def one_of_channels(known: Sequence[str]) -> str:
    """The way out of a channel that there is not."""
    return f"use one of: {', '.join(known) or 'none is set up'}"[:500]

"""What the warehouse of a case does and says: the case speaks in the 3PL's name, message by message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from shared.contracts.fulfillment import (
    ThirdPartyAccepted,
    ThirdPartyDelivered,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import LineUnits
from tests.cases.world import World
from tests.system import Json


async def pick_lists(world: World) -> list[Json]:
    """The fulfillments of the order that the 3PL has been asked for, once everything that is reserved has been handed over."""
    found: list[Json] = []

    async def handed_over() -> bool:
        routing = (await world.document()).get("routing") or {"fulfillments": []}
        found[:] = [item for item in routing["fulfillments"] if item["state"] == "submitted"]
        handed = sum(line["planned"] for item in found for line in item["lines"])
        return bool(handed > 0 and handed == await world.units("reserved"))

    await world.until(handed_over, "the 3PL has the pick lists")
    return found


async def reject(world: World) -> None:
    """The 3PL refuses every pick list of the order."""
    for item in await pick_lists(world):
        await world.speak(ThirdPartyRejected(fulfillment_id=item["fulfillment_id"], reason="capacity", rejected_at=datetime.now(UTC)))


async def ship(world: World, *, missing: int = 0, deliver: bool = True) -> None:
    """The 3PL picks, packs and sends; some units it does not find (of the first line)."""
    for item in await pick_lists(world):
        own, now = UUID(item["fulfillment_id"]), datetime.now(UTC)
        await world.speak(ThirdPartyAccepted(fulfillment_id=own, accepted_at=now))
        lines = _lines_of(item)
        if missing:
            gone = lines[0].model_copy(update={"quantity": missing})
            await world.speak(ThirdPartyShortPicked(fulfillment_id=own, missing=[gone], picked_at=now))
            lines[0] = lines[0].model_copy(update={"quantity": lines[0].quantity - missing})
        left = [line for line in lines if line.quantity > 0]
        if left:
            parcel = ThirdPartyShipped(fulfillment_id=own, carrier="carrier", tracking_number=f"T{own.hex}", lines=left, shipped_at=now)
            await world.speak(parcel)
            await world.until(_has_shipped(world, sum(line.quantity for line in left)), "the parcel has left")
            if deliver:
                await world.speak(ThirdPartyDelivered(fulfillment_id=own, delivered_at=now))


async def say_short_picked(world: World, units: int) -> None:
    """The 3PL says, after a parcel has left, that it did not find units of it."""
    routing = (await world.document())["routing"]
    (item,) = routing["fulfillments"]
    gone = _lines_of(item)[0].model_copy(update={"quantity": units})
    words = ThirdPartyShortPicked(fulfillment_id=UUID(item["fulfillment_id"]), missing=[gone], picked_at=datetime.now(UTC))
    await world.speak(words)
    url = f"{world.system.processes.url('routing')}/operations/messages?subject={world.own_order}"

    async def heard() -> bool:
        async with world.system.http.get(url, headers=world.system.operator_headers()) as answer:
            heard = (await answer.json())["heard"]
        return any(message["type"] == words.type and message["status"] in ("done", "parked") for message in heard)

    await world.until(heard, "routing has heard it")


def _lines_of(item: Json) -> list[LineUnits]:
    return [LineUnits(line_id=line["line_id"], sku=line["sku"], quantity=line["planned"]) for line in item["lines"]]


def _has_shipped(world: World, units: int) -> Callable[[], Awaitable[bool]]:
    async def shipped() -> bool:
        return await world.units("shipped") >= units

    return shipped

"""The words of ``when``: what is done."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.cases.givens import FIRST_PLACE
from tests.cases.holds_words import buy
from tests.cases.interpreter import WHEN
from tests.cases.tables import ANY_QUANTITY, Quantity
from tests.cases.warehouse import reject, say_short_picked, ship
from tests.cases.world import ITEM, World


def _lines(world: World, document: dict[str, Any]) -> dict[str, int]:
    return {name: world.case.units(value) for name, value in document.items()}


# Asking and ordering.


@WHEN.word("request", areas=("source selection",))
async def request_from_places(world: World, lines: dict[str, Any]) -> None:
    """An order, of which what is there is taken and the rest waits."""
    await world.order(_lines(world, lines))


@WHEN.word("request", areas=("reservation", "safety stock", "backorder"))
async def request(world: World, lines: dict[str, Any]) -> None:
    """May this be sold? First the number that every channel shows is asked, then an order puts it to the test."""
    wanted = _lines(world, lines)
    world.remembered["shown"] = all([await world.available(name) >= units for name, units in wanted.items()])
    await world.order(wanted)


@WHEN.word("order|place order")
async def order(world: World, lines: dict[str, Any]) -> None:
    """A customer buys. A shop without backorders asks for a hold first and takes no money for what it does not get."""
    wanted = _lines(world, lines)
    for name in wanted:
        await world.product(name)
    if world.scene.backorders:
        await world.order(wanted)
    else:
        await buy(world, wanted)


@WHEN.word("policy")
async def policy(_world: World, name: str) -> None:
    """How routing chooses: the system of the cases runs under this objective."""
    if name != "closest":
        raise ValueError("only the objective closest is known")


@WHEN.word("ask available")
async def ask_available(world: World, name: str) -> None:
    """What may be sold of a product, also of one that stands nowhere."""
    await world.product(name)


@WHEN.word("skus", areas=("eligible stock",))
async def list_skus(world: World, names: list[Any]) -> None:
    """Which shelves have what, product by product."""
    flat = [name for entry in names for name in (entry if isinstance(entry, list) else [entry])]
    world.remembered["listed"] = flat
    for name in flat:
        await world.product(name)


@WHEN.word("available at|on hand at|promised at", areas=("availability",))
async def ask_at_places(world: World, place_names: list[str]) -> None:
    """A figure over some of the places."""
    world.asked_places = place_names


@WHEN.word("can supply")
async def can_supply(world: World, units: int) -> None:
    """Is there enough that nobody else has?"""
    world.remembered["can supply"] = await world.available(ITEM) >= units


# Changing and cancelling.


@WHEN.word("reserve (SKU-.+)")
async def reserve(world: World, value: Any, name: str) -> None:
    """An order of one product."""
    await world.order({name: world.case.units(value)})


@WHEN.word("then cancel part")
async def cancel_part(world: World, value: Any) -> None:
    """The line gets smaller."""
    left = await world.units("reserved") - world.case.units(value)
    answer = await world.edit([{"line_id": "1", "quantity": left}])
    assert answer.status < 300, answer.body


@WHEN.word("order then cancel")
async def order_then_cancel(world: World, words: str) -> None:
    """Nothing comes of it."""
    if words != "any qty":
        raise ValueError("only any quantity is known")
    await world.order({ITEM: ANY_QUANTITY - 1})
    await world.available_becomes(ITEM, 1, when=" while ordered")
    answer = await world.cancel()
    assert answer.status < 300, answer.body


@WHEN.word("refund", areas=("refund",))
async def refund(world: World, words: str) -> None:
    """The order is cancelled and paid back; the request is told twice, as a channel does that saw no answer."""
    if words != "once, then the same refund saved again":
        raise ValueError("no such refund is known")
    key = world.sku("refund")
    first = await world.cancel(key=key)
    assert first.status < 300, first.body

    async def released() -> bool:
        return bool((await world.document())["status"] == "cancelled")

    await world.until(released, "the order is cancelled")
    again = await world.cancel(key=key)
    assert again.status < 300, again.body
    assert again.body["result"] == "already_handled"


@WHEN.word("hold ->")
async def change_promise(world: World, value: Any) -> None:
    """The line gets another quantity."""
    answer = await world.edit([{"line_id": "1", "quantity": world.case.units(value)}])
    assert answer.status < 300, answer.body


@WHEN.word("delete holds of line X")
async def remove_line(world: World, _times: int) -> None:
    """The line is taken off the order."""
    answer = await world.edit([{"line_id": "1", "quantity": 0}])
    assert answer.status < 300, answer.body


@WHEN.word("restore", areas=("release undo",))
async def restore_line(world: World, _times: int) -> None:
    """What was taken off is put on the order again: a new line, reserved anew."""
    units = sum(world.case.given["deleted holds of line X"])
    answer = await world.edit([{"sku": world.sku(ITEM), "quantity": units, "unit_price_cents": 0}])
    assert answer.status < 300, answer.body


@WHEN.word("delete holds at (.+)")
async def close_place(world: World, _times: int, place_name: str) -> None:
    """The place is closed and its 3PL gives back what it was to ship."""
    await world.close(place_name)
    await reject(world)


@WHEN.word("set", areas=("order edit",))
async def set_quantity(world: World, units: int) -> None:
    """The customer changes the line."""
    answer = await world.edit([{"line_id": "1", "quantity": units}])
    world.refusal = None if answer.status < 300 else answer


# What moves on the shelf.


@WHEN.word("adjust")
async def adjust(world: World, delta: int) -> None:
    """The 3PL corrects its count."""
    await world.adjust(ITEM, FIRST_PLACE, world.case.units(delta))


@WHEN.word("deduct")
async def deduct(world: World, value: int) -> None:
    """Goods leave the shelf; less than nothing leaves it when goods come back."""
    if world.remembered.get("quality control first"):
        await world.put(ITEM, FIRST_PLACE, Quantity(-world.case.units(value), sellable=False))
    else:
        await world.adjust(ITEM, FIRST_PLACE, -world.case.units(value))


@WHEN.word("set at unknown location")
async def set_at_unknown_place(world: World, units: int) -> None:
    """An operator sets a shelf of a location that does not exist."""
    wish = {"new_on_hand": units, "reason": "count"}
    world.refusal = await world.system.api("PUT", f"/api/stock/{quote(world.sku(ITEM))}/nowhere-{world.sku('')}", wish)


@WHEN.word("create level")
async def create_level(world: World, values: dict[str, int]) -> None:
    """An operator sets a shelf and, what nobody may, how much of it is promised."""
    sku, location = await world.product(ITEM), await world.place("near")
    path = f"/api/stock/{quote(sku)}/{location}"
    wish = {"new_on_hand": values["on_hand"], "reason": "count"}
    world.refusal = await world.system.api("PUT", path, wish | {"promised": values["promised"]})
    assert world.refusal.status == 422, "the field that nobody may set is refused"
    assert "promised" in str(world.refusal.body), world.refusal.body
    await world.put(ITEM, "near", Quantity(values["on_hand"]))
    world.asked_places = ["near"]


@WHEN.word("qty")
async def quantity(_world: World, _value: int) -> None:
    """Read by the word that it belongs to."""


# Parcels that hold less than was ordered.


@WHEN.word("short ship( 1 unit)?")
async def short_ship(world: World, units: int, _one: str | None) -> None:
    """The picker does not find units, there are none elsewhere, and the merchant gives them up."""
    ordered = world.remembered.get("units", max(units, 2 if world.case.given.get("order total") else units))
    await world.put(ITEM, FIRST_PLACE, Quantity(ordered))
    await world.order({ITEM: ordered})
    world.remembered["total"] = (await world.document())["total_cents"]
    if world.remembered.get("shipped before"):
        await ship(world)
        await say_short_picked(world, units)
        world.refusal = await world.cancel()
        return
    await ship(world, missing=units, deliver=False)

    async def queued() -> bool:
        return await world.units("queued") == units

    await world.until(queued, "the units that were not found wait for stock")
    answer = await world.cancel()
    assert answer.status < 300, answer.body


# Maps.


@WHEN.word("nearest")
async def nearest(world: World, order: str) -> None:
    """An operator asks which places are around a point. They are told nearest first; whoever wants it otherwise turns it round."""
    around, names = world.scene.around, {await world.place(name): name for name in sorted(world.scene.own_places)}
    assert around is not None
    asked = f"near={around.postal_code}&country={around.country}&within_miles={world.scene.within_miles}"

    async def all_known() -> bool:
        found = (await world.system.api("GET", "/api/locations")).body["locations"]
        return names.keys() <= {row["location"] for row in found}

    await world.until(all_known, "the places are known to routing")
    found = (await world.system.api("GET", f"/api/locations?{asked}")).body["locations"]
    places = [names[row["location"]] for row in found if row["location"] in names]
    world.remembered["places"] = {"any order": sorted(places), "distance asc": places, "distance desc": places[::-1]}[order]

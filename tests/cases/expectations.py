"""The words of ``expect``: what must be so afterwards."""

from __future__ import annotations

import re
from typing import Any

from tests.cases.givens import FIRST_PLACE, ledger_entries_of, ledger_kinds_of
from tests.cases.interpreter import EXPECT
from tests.cases.verdicts import Differs
from tests.cases.warehouse import pick_lists
from tests.cases.world import ITEM, World

# What was taken from where.


@EXPECT.word("take|alloc")
async def take(world: World, shelves: Any) -> None:
    """Units per place and product; a place from which nothing is taken may be named."""
    if not isinstance(shelves, dict) or any(not isinstance(shelf, dict) for shelf in shelves.values()):
        raise ValueError("no units per place and product")
    wanted = {
        place_name: {name: world.case.units(value) for name, value in shelf.items() if value}
        for place_name, shelf in shelves.items()
        if any(shelf.values())
    }
    world.measure("taken", await world.taken(), wanted)


@EXPECT.word("take order")
async def take_in_order(world: World, places: list[list[Any]]) -> None:
    """The same for one product, the nearest place first."""
    taken = await world.taken()
    got = [[place_name, sum(taken.get(place_name, {}).values())] for place_name, _ in places]
    world.measure("taken", got, [[place_name, world.case.units(value)] for place_name, value in places])


@EXPECT.word("shippable")
async def shippable(world: World, wanted: bool) -> None:
    """Whether everything can ship now."""
    world.measure("shippable", await world.units("queued") == 0, wanted)


@EXPECT.word("short")
async def short(world: World, numbers: dict[str, Any]) -> None:
    """Units that could not be had: they wait."""
    for name, value in numbers.items():
        world.measure(f"waiting {name}", await world.units("queued", name), world.case.units(value))


@EXPECT.word("units allocated")
async def units_allocated(world: World, units: int) -> None:
    """Units tied to places, all places together."""
    world.measure("allocated", sum(sum(shelf.values()) for shelf in (await world.taken()).values()), world.case.units(units))


@EXPECT.word("no unit twice")
async def no_unit_twice(world: World, _wanted: bool) -> None:
    """No place promises more than stands there."""
    for place_name, shelf in (await world.taken()).items():
        for name, units in shelf.items():
            there = world.scene.shelves[place_name][name].units
            if units > there:
                raise Differs(f"{units} of {name} are taken from {place_name}, where {there} stand")


@EXPECT.word("packages")
async def packages(world: World, count: int) -> None:
    """Parcels of the order."""
    await world.taken()
    world.measure("parcels", len(await pick_lists(world)), count)


@EXPECT.word("leftover")
async def leftover(world: World, units: int) -> None:
    """Units that found no place."""
    world.measure("waiting", await world.units("queued"), world.case.units(units))


@EXPECT.word("backordered")
async def backordered(world: World, value: Any) -> None:
    """Units that wait. They belong to no place until they come in, so the place that a peer names is not compared."""
    by_product: dict[str, int] = {}
    for shelf in value.values() if isinstance(value, dict) else []:
        for name, units in shelf.items():
            by_product[name] = by_product.get(name, 0) + world.case.units(units)
    for name, units in by_product.items():
        world.measure(f"waiting {name}", await world.units("queued", name), units)
    if not isinstance(value, dict):
        world.measure("waiting", await world.units("queued"), world.case.units(value))


# Whether it was taken at all.


@EXPECT.word("accepted", areas=("reservation", "safety stock", "order"))
async def accepted(world: World, wanted: bool) -> None:
    """What the channels are shown and what the order got must both say so."""
    if "shown" in world.remembered:
        world.measure("shown as enough", world.remembered["shown"], wanted)
    if world.order_id is None:
        world.measure("sold", False, wanted)
    else:
        world.measure("reserved in full", await world.units("queued") == 0, wanted)


@EXPECT.word("accepted", areas=("backorder", "untracked"))
async def accepted_to_wait(world: World, wanted: bool) -> None:
    """The order is taken: every unit is reserved, or waits with the date of what is on its way when there is something on its way."""
    world.measure("taken", world.refusal is None, wanted)
    if "backorder_limit" in world.case.given:
        lines = ((await world.document())["stock"])["lines"]
        world.measure("promised a date", all(line["promised_ship_at"] for line in lines if line["queued_units"]), wanted)
    else:
        queued = await world.units("queued")
        world.measure("reserved or waiting", queued + await world.units("reserved") > 0, wanted)


@EXPECT.word("error")
async def error(world: World, wanted: str | None) -> None:
    """Whether it was refused, and why."""
    if wanted is None:
        if world.refusal is not None:
            problems = world.refusal.body["error"]["problems"]
            raise Differs(f"refused: {'; '.join(problem['problem'] for problem in problems)}")
        return
    if wanted != "not stocked at that location":
        raise ValueError("no such refusal is known")
    if world.refusal is None:
        raise Differs("it was not refused")
    problems = world.refusal.body["error"]["problems"]
    world.measure("refused with", (world.refusal.status, [problem["field"] for problem in problems]), (404, ["location"]))


# Figures of a product.


@EXPECT.word("available", areas=("reservation", "availability"))
async def available(world: World, value: Any) -> None:
    """What may be sold, of one product or several, everywhere or at the places asked for."""
    if isinstance(value, dict):
        for name, units in value.items():
            await world.available_becomes(name, world.case.units(units))
        return
    wanted = world.case.units(value)
    if world.asked_places:
        world.measure("available there", await world.sum_of(ITEM, world.asked_places, "assignable_units"), wanted)
    else:
        name = world.case.when["ask available"]
        world.measure(f"available {name}", await world.available(name), wanted)


@EXPECT.word("available after cancel")
async def available_after(world: World, value: str) -> None:
    """As many as before."""
    await world.available_becomes(ITEM, world.remembered[value], when=" after cancel")


@EXPECT.word("reserved")
async def reserved(world: World, value: Any) -> None:
    """Units that belong to an order."""
    for name, units in value.items() if isinstance(value, dict) else []:
        world.measure(f"reserved {name}", (await world.stock(name))["reserved_units"], world.case.units(units))
    if not isinstance(value, dict):
        (name,) = world.case.when["order"]
        world.measure("reserved", (await world.stock(name))["reserved_units"], world.case.units(value))


@EXPECT.word("promised")
async def promised(world: World, value: Any) -> None:
    """Units that belong to orders, everywhere or at the places asked for."""
    wanted = world.case.units(value)
    if world.asked_places and world.case.area == "availability":
        world.measure("promised there", await world.sum_of(ITEM, world.asked_places, "assigned_units"), wanted)
        return

    async def in_all() -> int:
        return int((await world.stock(ITEM))["reserved_units"])

    await world.becomes("promised", in_all, wanted)


@EXPECT.word("promised at (.+)")
async def promised_at(world: World, value: Any, place_name: str) -> None:
    """Units promised from one place. When it is closed they move, they do not vanish."""
    await world.becomes(f"promised at {place_name}", lambda: world.sum_of(ITEM, [place_name], "assigned_units"), world.case.units(value))
    moved = world.case.units(world.case.given[f"promised at {place_name}"])
    await world.becomes("promised elsewhere", lambda: world.sum_of(ITEM, ["elsewhere"], "assigned_units"), moved)


@EXPECT.word("holds of line X")
async def holds_of_line(world: World, parts: list[int]) -> None:
    """The units of the line, however many reservations they are in."""
    await world.becomes("reserved for it", lambda: world.units("reserved", ITEM), sum(parts))


@EXPECT.word("peer|ours")
async def told_apart(world: World, words: str) -> None:
    """A contrast: what the peer does is noted, what the table says of ours is measured."""
    found = re.fullmatch(r"(\d+) accepted, (\d+) refused", words)
    if not found:
        return
    all_of_it, too_much = int(found.group(1)), int(found.group(2))
    world.measure(f"of {all_of_it} reserved", await world.units("reserved"), all_of_it)
    answer = await world.edit([{"line_id": "1", "quantity": too_much}])
    assert answer.status < 300, answer.body
    world.measure(f"of {too_much} reserved", await world.units("reserved"), all_of_it)
    world.measure("waiting", await world.units("queued"), too_much - all_of_it)


@EXPECT.word("answer")
async def answer(world: World, wanted: bool) -> None:
    """Whether there is enough."""
    world.measure("enough", world.remembered["can supply"], wanted)


@EXPECT.word("list", areas=("eligible stock",))
async def listed(world: World, rows: Any) -> None:
    """Shelves that may be shipped from. A shelf that is listed with nothing on it must be shown."""
    if isinstance(rows, str):
        for name in world.remembered["listed"]:
            stock = await world.stock(name)
            shelf = world.scene.shelves["eu-1"][name].units
            world.measure(name, [stock["sku"], stock["available_units"]], [world.sku(name), shelf])
        return
    got = []
    for place_name in world.scene.ranking:
        for name in world.remembered["listed"]:
            units = await world.sum_of(name, [place_name], "assignable_units")
            shown = any(row[0] == place_name and row[1] == name for row in rows)
            if units or (shown and await has_shelf(world, name, place_name)):
                got.append([place_name, name, units])
    world.measure("listed", got, [[place_name, name, world.case.units(value)] for place_name, name, value in rows])


async def has_shelf(world: World, name: str, place_name: str) -> bool:
    """Whether the product is known at the place, with whatever number."""
    location = await world.place(place_name)
    return any(shelf["location"] == location for shelf in (await world.stock(name))["locations"])


@EXPECT.word("on_hand")
async def on_hand(world: World, value: Any) -> None:
    """Good units at the place of the case, or at the places asked for."""
    if value == "n + 1":
        wanted = world.scene.shelves[FIRST_PLACE][ITEM].units + 1
    else:
        wanted = world.case.units(value)
    places = world.asked_places or [FIRST_PLACE]

    async def good() -> int:
        return sum([await world.good_on_hand(ITEM, place_name) for place_name in places])

    await world.becomes("on hand", good, wanted)


@EXPECT.word("on_hand at (.+)")
async def on_hand_at(world: World, value: Any, place_name: str) -> None:
    """Good units at one place."""
    await world.becomes(f"on hand at {place_name}", lambda: world.good_on_hand(ITEM, place_name), world.case.units(value))


@EXPECT.word("on_hand unchanged")
async def on_hand_unchanged(world: World, _wanted: bool) -> None:
    """Promising moves nothing on the shelf; what stands at a closed place is nobody's to sell."""
    if world.remembered.get("returns only"):
        world.measure("available", await world.available(ITEM), 0)
        return
    for name in {name for shelf in world.scene.shelves.values() for name in shelf}:
        before = sum(shelf[name].units for shelf in world.scene.shelves.values() if name in shelf)
        world.measure(f"on hand {name}", (await world.stock(name))["on_hand_units"], before)


@EXPECT.word("in_stock")
async def in_stock(world: World, wanted: bool) -> None:
    """Whether channels may sell it."""
    world.measure("in stock", await world.available(ITEM) > 0, wanted)


@EXPECT.word("ledger")
async def ledger(world: World, words: str) -> None:
    """What is written down about the order."""
    if words != "one entry, type order_placed":
        raise ValueError("no such ledger is known")
    world.measure("ledger", await ledger_kinds_of(world), ["reserved placed"])


@EXPECT.word("ledger entries after refund|after second save", areas=("refund",))
async def ledger_entries(world: World, count: int) -> None:
    """How many entries there are."""
    await world.becomes("ledger entries", lambda: ledger_entries_of(world), count)


@EXPECT.word("locations")
async def locations(world: World, names: list[str]) -> None:
    """Places around a point, in the order that was asked for."""
    world.measure("places", world.remembered["places"], names)


# Money.


async def refunded(world: World) -> int:
    """What went back to the customer."""
    return int((await world.document())["refunded_cents"])


@EXPECT.word("order total", areas=("short ship",))
async def order_total(world: World, words: str) -> None:
    """By how much the customer pays less, in whole dollars."""
    found = re.fullmatch(r"(?:T - |-)(\d+)", words)
    if not found:
        raise ValueError("no difference in it")
    await world.becomes("paid back (cents)", lambda: refunded(world), int(found.group(1)) * 100)


@EXPECT.word("event", areas=("short ship",))
async def event(world: World, words: str) -> None:
    """What is told about the parcel."""
    if words != "order short shipped":
        raise ValueError("no such event is known")
    causes = [entry["data"].get("cause") for entry in (await world.document())["timeline"] if entry["type"] == "fulfillment.cancelled.v1"]
    world.measure("told as", causes, ["short_picked"])


@EXPECT.word("customer told", areas=("short ship",))
async def customer_told(world: World, wanted: bool) -> None:
    """Whether a mail says so."""

    async def mailed() -> bool:
        return any(item["kind"] == "cancelled" for item in (await world.document())["notifications"])

    await world.becomes("customer told", mailed, wanted)


@EXPECT.word("fulfilment", areas=("short ship",))
async def fulfilment(world: World, words: str) -> None:
    """What has become of the parcel."""
    wanted = {"canceled": ("cancelled",), "stays shipped": ("shipped", "delivered")}
    if words not in wanted:
        raise ValueError("no such state is known")
    status = ""

    async def reached() -> bool:
        nonlocal status
        status = (await world.document())["status"]
        return status in wanted[words]

    await world.becomes(f"the order is {' or '.join(wanted[words])}", reached, True)
    if words == "stays shipped":
        assert world.refusal is not None
        world.measure("cancelling is refused with", world.refusal.body["error"]["code"], "already_shipped")


@EXPECT.word("totals unchanged", areas=("order edit",))
async def totals_unchanged(world: World, _wanted: bool) -> None:
    """The order costs what it cost, and nothing is paid back."""
    document = await world.document()
    world.measure("total (cents)", document["total_cents"], world.remembered["total"])
    world.measure("paid back (cents)", document["refunded_cents"], 0)


@EXPECT.word("amount due", areas=("order edit",))
async def amount_due(world: World, words: str) -> None:
    """How much more the change costs, in whole dollars. Until it is paid the change is not made."""
    found = re.fullmatch(r"\+(\d+)", words)
    if not found or world.refusal is None:
        raise ValueError("no amount in it, or the change was made")
    said = re.search(r"costs (\d+) cents", world.refusal.body["error"]["message"])
    world.measure("refused with", world.refusal.body["error"]["code"], "payment_required")
    world.measure("amount due (cents)", int(said.group(1)) if said else None, int(found.group(1)) * 100)


@EXPECT.word("line removed", areas=("order edit",))
async def line_removed(world: World, _wanted: bool) -> None:
    """Nothing of the line is ordered any more."""
    lines = {line["line_id"]: line["ordered"] for line in (await world.document())["lines"]}
    world.measure("ordered of the line", lines.get("1", 0), 0)


@EXPECT.word("refund due", areas=("order edit",))
async def refund_due(world: World, _wanted: bool) -> None:
    """The customer gets the line's price back."""
    await world.becomes("paid back (cents)", lambda: refunded(world), world.case.given["line"] * world.scene.price_cents)

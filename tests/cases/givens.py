"""The words of ``given``: how things stand before the case does anything."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cases.atlas import KILOMETRES_PER_MILE, address_of_place, address_of_point
from tests.cases.interpreter import GIVEN
from tests.cases.tables import ANY_QUANTITY, Quantity
from tests.cases.warehouse import ship
from tests.cases.world import ITEM, REST, World

FIRST_PLACE = "L1"


def shelve(world: World, place_name: str, name: str, quantity: Quantity) -> None:
    """Notes that goods stand somewhere."""
    if place_name not in world.scene.ranking and place_name not in world.scene.closed and place_name not in world.scene.own_places:
        world.scene.ranking.append(place_name)
    world.scene.shelves.setdefault(place_name, {})[name] = quantity


def quantity_on_shelf(world: World) -> int:
    """What stands at the first place before the case begins."""
    shelf = world.scene.shelves.get(FIRST_PLACE, {})
    return shelf[ITEM].units if ITEM in shelf else 0


# Whole networks.


@GIVEN.word("fixture")
async def a_fixture(world: World, _name: str) -> None:
    """A shared set-up. Places that are not of the case's pool, or not enabled, hold their goods and do not sell them."""
    case = world.case
    fixture = case.fixture
    enabled = [name for name, facts in fixture["locations"].items() if facts["enabled"]]
    by_priority = fixture["pools"].get(case.given.get("pool"), {})
    wanted = case.given.get("order") if isinstance(case.given.get("order"), list) else None
    ranking = wanted or sorted(by_priority, key=lambda name: by_priority[name]) or enabled
    world.scene.ranking = [name for name in ranking if name in enabled]
    for place_name, shelf in fixture["stock"].items():
        if place_name not in world.scene.ranking:
            world.scene.closed.add(place_name)
        for name, value in shelf.items():
            if case.mentions(name):
                shelve(world, place_name, name, case.quantity(value))


@GIVEN.word("pool")
async def a_pool(world: World, name: str) -> None:
    """Which places sell: read by the fixture."""
    if name not in world.case.fixture["pools"]:
        raise ValueError("the fixture has no such pool")


@GIVEN.word("order", areas=("source selection", "eligible stock"))
async def an_order_of_places(world: World, ranking: list[str]) -> None:
    """Which place is asked first: the nearer one, under the objective ``closest``. Read by the fixture."""
    assert world.scene.ranking == [name for name in ranking if name not in world.scene.closed]


@GIVEN.word("stock")
async def stock(world: World, shelves: Any) -> None:
    """What stands where."""
    if shelves == "no record at RET":
        world.scene.own_places.add("RET")
        return
    if not isinstance(shelves, dict):
        raise ValueError("neither shelves nor a sentence that is known")
    for place_name, shelf in shelves.items():
        if " " in place_name:
            world.scene.own_places.add(place_name)
        for name, value in shelf.items() if isinstance(shelf, dict) else {ITEM: shelf}.items():
            if name.endswith(" (untracked)"):
                world.lacks("untracked")
            quantity = world.case.quantity(value)
            if value == ">0":  # so that one product can be told from another by its quantity
                quantity = Quantity(ANY_QUANTITY + len(world.scene.shelves.get(place_name, {})))
            shelve(world, place_name, name, quantity)


@GIVEN.word("ship_to")
async def an_address(world: World, words: str) -> None:
    """Where the customer lives."""
    if words != "a Texas address (Austin)":
        raise ValueError("no such address is known")
    world.scene.ship_to_postal_code = "78701"


@GIVEN.word("candidate locations")
async def candidates(world: World, names: list[str]) -> None:
    """Places of the fixture, where it says that they are."""
    world.scene.own_places.update(names)
    world.scene.addresses.update((name, address_of_place(name, world.case.fixture["locations"][name])) for name in names)


@GIVEN.word("point")
async def a_point(world: World, point: dict[str, Any]) -> None:
    """The middle of a search."""
    world.scene.around = address_of_point(point)


@GIVEN.word("radius_km")
async def radius(world: World, kilometres: int) -> None:
    """How far a search goes."""
    world.scene.within_miles = int(kilometres / KILOMETRES_PER_MILE)


# Numbers that the case begins with.


@GIVEN.word("on_hand")
async def on_hand(world: World, value: Any) -> None:
    """Goods of one product at one place."""
    shelve(world, FIRST_PLACE, ITEM, world.case.quantity(value))


@GIVEN.word("available")
async def available(world: World, numbers: dict[str, Any]) -> None:
    """A check of the set-up."""

    async def as_said() -> None:
        for name, value in numbers.items():
            await world.available_becomes(name, world.case.units(value), when=" before")

    world.scene.then.append(as_said)


@GIVEN.word("available before order")
async def available_before(world: World, value: str) -> None:
    """Some number, which the case calls A."""
    shelve(world, FIRST_PLACE, ITEM, Quantity(ANY_QUANTITY))

    async def remember() -> None:
        world.remembered[value] = await world.available(ITEM)

    world.scene.then.append(remember)


@GIVEN.word("reserved")
async def reserved(world: World, numbers: dict[str, Any]) -> None:
    """Units already promised to somebody."""

    async def promise() -> None:
        for name, value in numbers.items():
            await world.order({name: world.case.units(value)})

    world.scene.then.append(promise)


@GIVEN.word("backorders")
async def backorders(world: World, allowed: bool) -> None:
    """Whether an order may wait for stock. A paid order always may; a shop that does not want it asks before it takes the money."""
    world.scene.backorders = allowed


@GIVEN.word("backorderable")
async def backorderable(world: World, allowed: Any) -> None:
    """The same, place by place. Units that wait belong to no place until they come in."""
    world.scene.backorders = bool(allowed)


@GIVEN.word("backorder_limit")
async def backorder_limit(world: World, value: Any) -> None:
    """How many units may be promised beyond what is there: what is on its way."""
    wish = {"location": "near-1", "expected_at": (datetime.now(UTC) + timedelta(days=5)).isoformat()}

    async def schedule() -> None:
        for name in {name for shelf in world.scene.shelves.values() for name in shelf}:
            lines = [{"sku": world.sku(name), "quantity": world.case.units(value)}]
            await world.system.ask("POST", "/api/supplies", wish | {"lines": lines})

    world.scene.then.insert(0, schedule)


@GIVEN.word("tracked")
async def tracked(world: World, counted: bool) -> None:
    """Whether a SKU is counted at all."""
    if not counted:
        world.lacks("untracked")


@GIVEN.word("auto_back_in_stock")
async def back_in_stock_by_itself(world: World, by_itself: bool) -> None:
    """Whether goods that come back may be sold at once; else they stay under quality control until somebody has looked at them."""
    world.remembered["quality control first"] = not by_itself


# Promises.


@GIVEN.word("hold")
async def a_promise(world: World, value: Any) -> None:
    """Units promised to an order line, at the places named."""
    if not isinstance(value, dict):

        async def promise() -> None:
            await world.order({ITEM: world.case.units(value)}, price_cents=0)

        world.scene.then.append(promise)
        return
    shelves, world.scene.shelves = world.scene.shelves, {}
    for words in value:
        place_name = words.rsplit(" ", 1)[-1]
        if place_name not in world.scene.ranking:
            world.scene.ranking.append(place_name)
    world.scene.ranking.sort()

    async def promise_place_by_place() -> None:
        # One shelf after the other, so that each promise can only be kept from the place that the case names.
        for words, units in value.items():
            name, place_name = ("OTHER" if words.startswith("other SKU ") else ITEM), words.rsplit(" ", 1)[-1]
            on_shelf = shelves.get(place_name, {}).get(name, Quantity(world.case.units(units)))
            await world.put(name, place_name, on_shelf)
            await world.order({name: world.case.units(units)})
            await world.taken()
            shelves.get(place_name, {}).pop(name, None)
        for place_name, shelf in shelves.items():
            for name, quantity in shelf.items():
                await world.put(name, place_name, quantity)

    world.scene.then.append(promise_place_by_place)


@GIVEN.word("other holds")
async def other_promises(_world: World, value: int) -> None:
    """How many others there are."""
    if value:
        raise ValueError("only none is known")


@GIVEN.word("promised")
async def promised_in_all(world: World, value: Any) -> None:
    """All promises of the product together; those of the line are told beside."""
    world.remembered["promised in all"] = world.case.units(value)


@GIVEN.word("holds of line X|deleted holds of line X")
async def promises_of_a_line(world: World, parts: list[int]) -> None:
    """A line that holds its units in parts: as placed, and once more for each time it grew."""
    deleted = "promised" not in world.case.given
    others = max(1, world.remembered.get("promised in all", 0) - sum(parts))
    shelve(world, FIRST_PLACE, ITEM, Quantity(sum(parts) + others))

    async def promise() -> None:
        await world.product(ITEM)
        await world.order({ITEM: parts[0], REST: others} if deleted else {ITEM: parts[0]}, price_cents=0)
        if not deleted:
            answer = await world.edit([{"sku": world.sku(ITEM), "quantity": others, "unit_price_cents": 0}])
            assert answer.status < 300, answer.body
        for part in range(1, len(parts)):
            answer = await world.edit([{"line_id": "1", "quantity": sum(parts[: part + 1])}])
            assert answer.status < 300, answer.body
        if deleted:
            answer = await world.edit([{"line_id": "1", "quantity": 0}])
            assert answer.status < 300, answer.body

    world.scene.then.append(promise)


@GIVEN.word("promised at (.+)")
async def promised_at(world: World, value: Any, place_name: str) -> None:
    """Units promised from a place that the case is going to close; another place has as many."""
    units = world.case.units(value)
    world.scene.own_places.add(place_name)
    shelve(world, place_name, ITEM, Quantity(units))

    async def promise() -> None:
        await world.order({ITEM: units})
        await world.taken()
        world.scene.ranking.append("elsewhere")
        await world.put(ITEM, "elsewhere", Quantity(units))

    world.scene.then.append(promise)


# Orders and what became of them.


@GIVEN.word("order", areas=("refund",))
async def a_placed_order(world: World, lines: dict[str, Any]) -> None:
    """An order that is reserved in full."""
    for name, value in lines.items():
        shelve(world, FIRST_PLACE, name, world.case.quantity(value))

    async def happen() -> None:
        await world.order({name: world.case.units(value) for name, value in lines.items()})

    world.scene.then.append(happen)


@GIVEN.word("order", areas=("return",))
async def a_delivered_order(world: World, words: str) -> None:
    """An order that has arrived."""
    found = re.fullmatch(r"delivered, qty (\d+)", words)
    if not found:
        raise ValueError("no such order is known")
    world.scene.then.append(lambda: deliver(world, int(found.group(1))))


async def deliver(world: World, units: int) -> None:
    """An order that has arrived; the shelf is left as the case wants it."""
    await world.put(ITEM, FIRST_PLACE, Quantity(quantity_on_shelf(world) + units))
    await world.order({ITEM: units})
    await ship(world)

    async def returnable() -> bool:
        return bool((await world.document())["status"] == "delivered")

    await world.until(returnable, "the parcel has arrived")


@GIVEN.word("line", areas=("order edit",))
async def a_line(world: World, units: int) -> None:
    """An order with this line and another one."""
    shelve(world, FIRST_PLACE, ITEM, Quantity(units + ANY_QUANTITY))
    shelve(world, FIRST_PLACE, REST, Quantity(ANY_QUANTITY))

    async def happen() -> None:
        await world.order({ITEM: units, REST: 1})
        world.remembered["total"] = (await world.document())["total_cents"]

    world.scene.then.append(happen)


@GIVEN.word("order total", areas=("short ship",))
async def an_order_total(world: World, words: str) -> None:
    """The price of a unit; the total is whatever the order costs."""
    found = re.fullmatch(r"T, unit price (\d+)", words)
    if not found:
        raise ValueError("no price in it")
    world.scene.price_cents = int(found.group(1)) * 100


@GIVEN.word("unit price", areas=("short ship",))
async def a_unit_price(world: World, value: int) -> None:
    """In whole dollars."""
    world.scene.price_cents = value * 100


@GIVEN.word("units", areas=("short ship",))
async def ordered_units(world: World, units: int) -> None:
    """How many units the order has."""
    world.remembered["units"] = units


@GIVEN.word("fulfilment", areas=("short ship",))
async def a_fulfilment(world: World, state: str) -> None:
    """How far the warehouse has come."""
    if state != "shipped":
        raise ValueError("no such state is known")
    world.remembered["shipped before"] = True


@GIVEN.word("ledger entries after order", areas=("refund",))
async def ledger_entries(world: World, count: int) -> None:
    """A check of the set-up."""

    async def as_said() -> None:
        await world.becomes("ledger entries after order", lambda: ledger_entries_of(world), count)

    world.scene.then.append(as_said)


async def ledger_entries_of(world: World) -> int:
    """What allocation has said about the order's reservation: one statement for each entry in the pool's ledger."""
    return len(await ledger_kinds_of(world))


async def ledger_kinds_of(world: World) -> list[str]:
    """The same by kind and cause, in the order in which it happened."""
    entries = (await world.document())["timeline"]
    kinds = ("stock.reserved.v1", "stock.reservation_released.v1")
    return [f"{entry['type'].split('.')[1]} {entry['data']['cause']}" for entry in entries if entry["type"] in kinds]

"""The words about checkout holds and safety stock: what a shop asks before it takes the money, and what an operator keeps back."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote
from uuid import UUID

from shared.contracts.envelope import new_id
from tests.cases.interpreter import EXPECT, GIVEN, WHEN
from tests.cases.tables import Quantity
from tests.cases.verdicts import Differs
from tests.cases.world import ITEM, World
from tests.system import Answer, Json

HTTP = ("HTTP",)
FIRST_PLACE = "L1"


async def ask_for_hold(world: World, lines: Mapping[str, int], *, hold_id: UUID | None = None, **more: str) -> Json:
    """A shop asks for units, all of them or none, and hears what it holds. A refusal is kept in ``refusal``."""
    own = hold_id or new_id()
    request = {
        "hold_id": str(own),
        "channel": "webshop",
        "lines": [{"sku": world.sku(name), "quantity": units} for name, units in lines.items()],
        "policy": "all_or_nothing",
        **more,
    }
    answer = await world.system.api("POST", "/api/holds", request)
    world.remembered["hold"] = answer
    if answer.status >= 300:
        world.refusal = answer
        return {}
    world.hold_id = own
    return said_in(answer)


def said_in(answer: Answer) -> Json:
    """What the answer to a request for a hold says."""
    data: Json = next(message["data"] for message in answer.body["messages"] if message["type"] == "stock.hold_answered.v1")
    return data


async def buy(world: World, lines: Mapping[str, int]) -> None:
    """A shop without backorders: it asks first, and takes no money unless it holds everything."""
    held = await ask_for_hold(world, lines)
    world.remembered["held"] = held
    if held["outcome"] != "held":
        world.hold_id = None
        return
    await world.order(lines)


@GIVEN.word("hold", areas=HTTP)
async def a_hold(world: World, units: int) -> None:
    """Units that a shop holds."""
    if "on_hand" not in world.case.given:
        world.scene.ranking.append(FIRST_PLACE)
        world.scene.shelves[FIRST_PLACE] = {ITEM: Quantity(units)}

    async def happen() -> None:
        held = await ask_for_hold(world, {ITEM: units})
        assert held["outcome"] == "held", held

    world.scene.then.append(happen)


@GIVEN.word("safety_stock")
async def safety_stock(world: World, value: float) -> None:
    """Units of each product that an operator keeps from sale."""
    if not value:
        return

    async def keep_back() -> None:
        for name in {name for shelf in world.scene.shelves.values() for name in shelf}:
            wish = {"safety_units": world.case.units(value), "reason": "buffer"}
            answer = await world.system.api("PUT", f"/api/safety-stock/{quote(world.sku(name))}", wish)
            assert answer.status == 200, answer.body

    world.scene.then.insert(0, keep_back)


@WHEN.word("POST reservation", areas=HTTP)
async def post_reservation(world: World, units: int) -> None:
    """A shop asks for units."""
    await ask_for_hold(world, {ITEM: units})


@WHEN.word("POST update", areas=HTTP)
async def post_update(world: World, units: int) -> None:
    """It asks for another number under the same name: what was agreed stays, another number needs another name."""
    await ask_for_hold(world, {ITEM: units}, hold_id=world.hold_id)


@WHEN.word("DELETE then GET", areas=HTTP)
async def delete_then_get(world: World, _times: int) -> None:
    """The shopper leaves; then somebody looks."""
    path = f"/api/holds/{world.hold_id}"
    world.remembered["released"] = await world.system.api("POST", f"{path}/release")
    world.remembered["looked at"] = await world.system.api("GET", path)


@WHEN.word("reserve at", areas=("reservation",))
async def reserve_at(world: World, place_name: str) -> None:
    """A shop wants units from a place of its own choice. Nobody may choose: which place ships is found when the order is planned."""
    await ask_for_hold(world, {ITEM: world.case.units(world.case.when["qty"])}, location=place_name.lower())


@EXPECT.word("error", areas=("reservation",))
async def place_is_refused(world: World, wanted: str) -> None:
    """The wish for a place is refused by the name of its field, and nothing is held."""
    if wanted != "item is not stocked at that location":
        raise ValueError("no such refusal is known")
    answer: Answer = world.remembered["hold"]
    fields = [problem["field"] for problem in answer.body["error"]["problems"]] if answer.status >= 300 else []
    world.measure("refused fields", fields, ["location"])
    there = sum(quantity.units for shelf in world.scene.shelves.values() for quantity in shelf.values())
    world.measure("free", await world.available(ITEM), there)


@EXPECT.word("status", areas=HTTP)
async def status(world: World, wanted: int) -> None:
    """Whether it was done. A shop that asks for more than there is gets an answer that says so, not an error."""
    answer: Answer = world.remembered["hold"]
    if wanted == 200 or answer.status >= 300:
        world.measure("answered with", answer.status, 200 if wanted == 200 else answer.status)
        return
    world.measure("held", said_in(answer)["outcome"], "nothing_held")


@EXPECT.word("quantity", areas=HTTP)
async def quantity(world: World, units: int) -> None:
    """What the shop holds."""
    world.measure("held", [line["held"] for line in said_in(world.remembered["hold"])["lines"]], [units])


@EXPECT.word("hold", areas=HTTP)
async def hold_is_unchanged(world: World, units: int) -> None:
    """What is held after a request that was refused."""
    world.measure("refused with", world.refusal is not None, True)
    world.measure("free", await world.available(ITEM), world.case.units(world.case.given["on_hand"]) - units)


@EXPECT.word("message names item and location", areas=HTTP)
async def names_item(world: World, _wanted: bool) -> None:
    """Which product is short, and by how much. A hold belongs to no place: the goods are chosen when it becomes an order."""
    lines = [(line["sku"], line["held"]) for line in said_in(world.remembered["hold"])["lines"]]
    world.measure("short of", lines, [(world.sku(ITEM), 0)])


@EXPECT.word("delete status", areas=HTTP)
async def delete_status(world: World, wanted: int) -> None:
    """The release is done."""
    world.measure("release answered with", world.remembered["released"].status, wanted)


@EXPECT.word("get status", areas=HTTP)
async def get_status(world: World, wanted: int) -> None:
    """The hold is gone. For some days it is still shown to whoever asks for it, as released and with nothing in it."""
    answer: Answer = world.remembered["looked at"]
    if answer.status != wanted:
        world.measure("shown as", answer.body["state"], "released")
        world.measure("still held", sum(line["held_units"] for line in answer.body["lines"]), 0)
    world.measure("free", await world.available(ITEM), world.case.given["hold"])


@EXPECT.word("error", areas=("allocation",))
async def insufficient(world: World, wanted: str) -> None:
    """The shop holds nothing, so it sells nothing."""
    if wanted != "insufficient stock":
        raise ValueError("no such refusal is known")
    if world.order_id is not None:
        raise Differs("the order was taken")
    world.measure("held", world.remembered["held"]["outcome"], "nothing_held")


@EXPECT.word("names SKU", areas=("allocation",))
async def names_sku(world: World, name: str) -> None:
    """The answer says of which product there is too little."""
    short = [line["sku"] for line in world.remembered["held"]["lines"] if line["held"] < line["asked"]]
    world.measure("short of", short, [world.sku(name)])


@EXPECT.word("order created", areas=("order",))
async def order_created(world: World, wanted: bool) -> None:
    """Whether there is an order at all."""
    world.measure("order created", world.order_id is not None, wanted)

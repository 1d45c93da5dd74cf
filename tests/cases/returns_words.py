"""The words about returns: what may come back, what is scanned, what becomes of it."""

from __future__ import annotations

from typing import Any

from tests.cases.givens import FIRST_PLACE, deliver
from tests.cases.interpreter import EXPECT, GIVEN, WHEN
from tests.cases.verdicts import Differs
from tests.cases.warehouse import ship
from tests.cases.world import ITEM, World
from tests.system import Answer

RETURNS = ("return",)
RETURNED_SEGMENT = "retail"
"""The segment whose return window a case changes; no other case uses it."""


async def ask_for_return(world: World, units: int) -> Answer:
    """The customer wants to send units back."""
    path = f"/api/orders/{world.own_order}/returns"
    wish = {"lines": [{"line_id": "1", "quantity": units, "reason": "changed_mind"}]}
    answer = await world.system.api("POST", path, wish)
    world.refusal = None if answer.status < 300 else answer
    if answer.status < 300:
        world.return_id = answer.body["id"]
    return answer


async def approved_return(world: World, units: int) -> None:
    """A parcel on its way back. Returns hears of a delivery a moment after the portal does."""
    await deliver(world, units)

    async def approved() -> bool:
        return (await ask_for_return(world, units)).status < 300

    await world.until(approved, "the return is approved")


async def scan(world: World, *, sellable: int = 0, damaged: int = 0, at: str = FIRST_PLACE, key: str | None = None) -> Answer:
    """The warehouse opens the parcel."""
    found = [{"line_id": "1", "quantity": sellable, "condition": "sellable"}] if sellable else []
    found += [{"line_id": "1", "quantity": damaged, "condition": "damaged"}] if damaged else []
    wish = {"location": await world.place(at), "units": found}
    answer = await world.system.api("POST", f"/api/returns/{world.return_id}/scan", wish, idempotency_key=key)
    world.refusal = None if answer.status < 300 else answer
    return answer


async def own_return(world: World) -> Any:
    """The return as its owner keeps it."""
    return await world.system.ask("GET", f"/api/returns/{world.return_id}")


# Given.


@GIVEN.word("return requested", areas=RETURNS)
async def a_requested_return(world: World, units: int) -> None:
    """Units on their way back."""
    world.scene.then.append(lambda: approved_return(world, units))


@GIVEN.word("return", areas=RETURNS)
async def a_return(world: World, state: str) -> None:
    """How far a return has come."""
    if state in ("cancelled", "being prepared", "received"):
        world.needs("return cancellation")
    if state == "awaiting":
        world.needs("return exceptions")
    raise ValueError("how it comes to that is not written down yet")


@GIVEN.word("unit", areas=RETURNS)
async def a_unit(world: World, state: str) -> None:
    """What has become of the only unit of the order."""

    async def not_shipped() -> None:
        await world.put(ITEM, FIRST_PLACE, world.case.quantity(1))
        await world.order({ITEM: 1})

    async def came_back() -> None:
        await approved_return(world, 1)
        answer = await scan(world, sellable=1)
        assert answer.status < 300, answer.body
        await world.becomes("on hand after the first scan", lambda: world.good_on_hand(ITEM, FIRST_PLACE), 1)

    states = {"not shipped": not_shipped, "already received once": came_back, "already refunded": came_back}
    if state not in states:
        raise ValueError("no such state is known")
    world.scene.then.append(states[state])


@GIVEN.word("earlier return", areas=RETURNS)
async def an_earlier_return(world: World, words: str) -> None:
    """A return that ended without the unit: the parcel was empty."""
    if words != "cancelled or expired":
        raise ValueError("no such end is known")

    async def happen() -> None:
        await approved_return(world, 1)
        answer = await scan(world)
        assert answer.status < 300, answer.body

    world.scene.then.append(happen)


@GIVEN.word("days since order", areas=RETURNS)
async def days_since_order(world: World, words: str) -> None:
    """The last moment of the window has passed: a window of no days ends with the delivery."""
    if words != "= window":
        raise ValueError("only the end of the window is known")
    world.scene.segment = RETURNED_SEGMENT
    policy = {"window_days": 0, "label_days": 30, "label_carrier": "carrier", "return_address": "1 Dock Road"}
    headers = world.system.operator_headers()
    url = f"{world.system.processes.url('returns')}/policies/{RETURNED_SEGMENT}"
    async with world.system.http.put(url, json=policy, headers=headers) as answer:
        assert answer.status == 200, await answer.text()

    world.scene.then.append(lambda: deliver(world, 1))


@GIVEN.word("location restocks", areas=RETURNS)
async def a_place_that_restocks(world: World, restocks: bool) -> None:
    """A place that only takes goods back is registered as inactive: nothing there is sold."""
    if not restocks:
        world.scene.closed.add(FIRST_PLACE)
        world.remembered["returns only"] = True


@GIVEN.word("eligible|needs person", areas=("return inspection",))
async def eligibility(world: World, _value: bool) -> None:
    """Whether what came back is accepted, and by whom."""
    world.needs("return approval")


# When.


@WHEN.word("request", areas=RETURNS)
async def request(world: World, units: int) -> None:
    """The customer asks."""

    async def answered() -> bool:
        answer = await ask_for_return(world, units)
        # Returns may not have heard of the parcel yet, of which the portal knows.
        too_early = answer.status == 409 and answer.body["error"]["code"] == "not_shipped" and await world.units("shipped") > 0
        return not too_early

    await world.until(answered, "returns has answered")


@WHEN.word("scan return", areas=RETURNS)
async def scan_return(world: World, units: int) -> None:
    """A parcel comes back and is opened."""
    if world.remembered.get("returns only"):
        await returned_to_a_closed_place(world, units)
        return
    await approved_return(world, units)
    await scan(world, sellable=units)


async def returned_to_a_closed_place(world: World, units: int) -> None:
    """The goods were sold elsewhere."""
    world.scene.ranking.append("shop")
    await world.put(ITEM, "shop", world.case.quantity(units))
    await world.order({ITEM: units})
    await ship(world)

    async def approved() -> bool:
        return (await ask_for_return(world, units)).status < 300

    await world.until(approved, "the return is approved")
    answer = await scan(world, sellable=units)
    assert answer.status < 300, answer.body

    async def arrived() -> bool:
        return await world.good_on_hand(ITEM, FIRST_PLACE) == units

    await world.until(arrived, "the goods stand at the closed place")


@WHEN.word("scan return at (.+)", areas=RETURNS)
async def scan_return_at(world: World, units: int, place_name: str) -> None:
    """A parcel comes back to another place than it left."""
    world.scene.ranking.append(FIRST_PLACE)
    await approved_return(world, units)
    await scan(world, sellable=units, at=place_name)


@WHEN.word("scan return again", areas=RETURNS)
async def scan_return_again(world: World, units: int) -> None:
    """The same parcel is scanned once more, by another scanner."""
    world.remembered["refunded"] = (await own_return(world))["refunds"]
    await scan(world, sellable=units)


@WHEN.word("receive ok", areas=RETURNS)
async def receive_ok(world: World, units: int) -> None:
    """Good units were found."""
    damaged = world.case.when.get("dismiss (damaged)", 0)
    answer = await scan(world, sellable=units, damaged=damaged)
    assert answer.status < 300, answer.body


@WHEN.word(r"dismiss \(damaged\)", areas=RETURNS)
async def receive_damaged(world: World, _units: int) -> None:
    """Broken units were found: told with the good ones, in one scan."""
    assert world.return_id is not None


@WHEN.word("receive", areas=RETURNS)
async def receive(world: World, units: int) -> None:
    """A scan of so many units, whatever that means."""
    wish = {"location": await world.place(FIRST_PLACE), "units": [{"line_id": "1", "quantity": units, "condition": "sellable"}]}
    answer = await world.system.api("POST", f"/api/returns/{world.return_id}/scan", wish)
    world.refusal = None if answer.status < 300 else answer


@WHEN.word("cancel return|cancel, then read", areas=RETURNS)
async def cancel_return(world: World, _times: int) -> None:
    """The return is called off."""
    world.needs("return cancellation")


@WHEN.word("mark", areas=RETURNS)
async def mark(world: World, _words: str) -> None:
    """A unit that will not come back."""
    world.needs("return exceptions")


@WHEN.word("assess", areas=RETURNS)
async def assess(world: World, _times: int) -> None:
    """Somebody, or a rule, judges what came back."""
    world.needs("return approval")


# Expect.


@EXPECT.word("accepted", areas=("return eligibility",))
async def accepted(world: World, wanted: bool) -> None:
    """Whether the units may come back."""
    if world.refusal is not None:
        world.measure("declined because of", world.refusal.body["error"]["code"], world.refusal.body["error"]["code"])
    world.measure("accepted", world.refusal is None, wanted)


@EXPECT.word("return_requested", areas=RETURNS)
async def return_requested(world: World, units: int) -> None:
    """How many units may come back."""
    world.measure("return requested", sum(line["approved_units"] for line in (await own_return(world))["lines"]), units)


@EXPECT.word("status", areas=RETURNS)
async def status(world: World, wanted: str) -> None:
    """How far the return has come. Here a request is approved with its label in one step."""
    own = {"requested": "approved"}
    if wanted not in own:
        raise ValueError("no such status is known")
    world.measure("status", (await own_return(world))["status"], own[wanted])


@EXPECT.word("received", areas=RETURNS)
async def received(world: World, units: int) -> None:
    """Units that came back in good condition."""
    world.measure("received", sum(line["restocked_units"] for line in (await own_return(world))["lines"]), units)


@EXPECT.word("dismissed|written_off", areas=RETURNS)
async def dismissed(world: World, units: int) -> None:
    """Units that came back and can not be sold."""
    world.measure("damaged", sum(line["damaged_units"] for line in (await own_return(world))["lines"]), units)


@EXPECT.word("unit", areas=RETURNS)
async def unit(world: World, wanted: str) -> None:
    """What has become of the unit."""
    if wanted != "returned":
        raise ValueError("no such state is known")
    scans = (await own_return(world))["scans"]
    world.measure("scans booked", len(scans), 1)


@EXPECT.word("restock|refund", areas=RETURNS)
async def nothing_more(world: World, wanted: int) -> None:
    """How much more a repeated scan has moved."""
    refunds = len((await own_return(world))["refunds"]) - len(world.remembered["refunded"])
    world.measure("more refunds", refunds, wanted)
    world.measure("more on hand", await world.good_on_hand(ITEM, FIRST_PLACE) - 1, wanted)


@EXPECT.word("return", areas=("return exception",))
async def return_state(world: World, _wanted: str) -> None:
    """How far the return has come without its unit."""
    world.needs("return exceptions")
    raise ValueError("how it comes to that is not written down yet")


@EXPECT.word("error", areas=RETURNS)
async def error(world: World, wanted: str) -> None:
    """Why it was refused."""
    codes = {"already received": "already_closed", "refused": "invalid_request"}
    if wanted not in codes:
        raise ValueError("no such refusal is known")
    if world.refusal is None:
        raise Differs("it was not refused")
    code = world.refusal.body["error"]["code"]
    world.measure("refused with", code, code if wanted == "refused" and world.refusal.status == 422 else codes[wanted])

"""Scenes about where orders ship from and what becomes of changes, played after the others: what 3PLs do is switched for them.

Like those they go through the ways that everybody has, and each has one right outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from deploy.local.demo.counterparts import Json
from deploy.local.demo.scenery import announce_supply, fill_shelves, receive
from deploy.local.demo.scenes import EXACT_CHANNEL, EXACT_THIRD_PARTY, SceneOutcome, play_one
from deploy.local.demo.stage import PRICE_CENTS, Stage, check
from simulators.adapter.opening_stock import StockLine, Warehouse

RULED, HERE, THERE, EDITED = "SCENE-RULED", "SCENE-HERE", "SCENE-THERE", "SCENE-EDITED"
CAUGHT, GONE, NOT_FOUND = "SCENE-CAUGHT", "SCENE-GONE", "SCENE-NOT-FOUND"
PRODUCTS = (RULED, HERE, THERE, EDITED, CAUGHT, GONE, NOT_FOUND)
RULE = "closed for the scene"

SLOW_ACCEPTANCE_SECONDS = 3.0
"""Where an order is edited while its pick list lies there unanswered."""
SLOW_SHIPPING_SECONDS = 4.0
"""Where parcels with a label wait for the carrier, and can still be held back."""
BEFORE_THE_CARRIER = ("labelled", "shipped")


class RoutingScenes:
    """The second act: rules, splits, short picks, edits and interceptions."""

    def __init__(self, stage: Stage, warehouses: Sequence[Warehouse]) -> None:
        self._stage = stage
        self._slow = warehouses[0]
        self._hesitant = next(place for place in warehouses if place.partner != self._slow.partner)

    async def set_up(self) -> None:
        """Registers the scenes' products and their stock.

        Raises:
            LocalStackError: the API refused something.
        """
        operator, stage = self._stage.operator, self._stage
        products = [{"sku": sku, "title": sku.title(), "unit_price_cents": PRICE_CENTS, "unit_weight_grams": 500} for sku in PRODUCTS]
        await operator.must("POST", "/api/products", {"products": products}, key="routing scenes' products")
        channel = stage.adapter.code
        listings = [{"sku": sku, "external_listing_id": f"{channel}-{sku}"} for sku in PRODUCTS]
        await operator.must("POST", "/api/listings", {"channel": channel, "listings": listings}, key="routing scenes' listings")
        slow, hesitant = self._slow.code, self._hesitant.code
        opening = [
            *(StockLine(place, RULED, 4) for place in (slow, hesitant)),
            *(StockLine(slow, sku, 2) for sku in (HERE, CAUGHT, GONE)),
            *(StockLine(hesitant, sku, 2) for sku in (THERE, EDITED)),
            StockLine(slow, NOT_FOUND, 1),
        ]
        await fill_shelves(operator, stage.simulators, (self._slow, self._hesitant), opening)

    async def play(self) -> list[SceneOutcome]:
        """Plays all scenes: those for which one 3PL changes its ways one after the other, the rest beside them."""
        simulators = self._stage.simulators
        await simulators.behave(**EXACT_THIRD_PARTY)
        await simulators.behave(partner=self._hesitant.partner, accept_delay_seconds=SLOW_ACCEPTANCE_SECONDS)
        await simulators.behave(partner=self._slow.partner, ship_delay_seconds=SLOW_SHIPPING_SECONDS, interceptions="succeed")
        await simulators.channel_behaves(self._stage.adapter.code, **EXACT_CHANNEL)
        one_after_the_other: Mapping[str, Callable[[], Awaitable[str]]] = {
            "interception": self.interception,
            "interception too late": self.interception_too_late,
            "short pick": self.short_pick,
        }
        beside: Mapping[str, Callable[[], Awaitable[str]]] = {"rule": self.rule, "split": self.split, "edit": self.edit}

        async def chain() -> list[SceneOutcome]:
            return [await play_one(name, scene) for name, scene in one_after_the_other.items()]

        chained, *others = await asyncio.gather(chain(), *(_alone(name, scene) for name, scene in beside.items()))
        return [outcome for outcomes in (*others, chained) for outcome in outcomes]

    async def rule(self) -> str:
        """Two orders of one household, between them a rule: the second ships from elsewhere, and its record names the rule."""
        stage = self._stage
        first = await stage.place("scene-rule-1", [(RULED, 1)], household="scene-rule")
        usual = _locations(await stage.until_shipped("the first order ships", first, RULED, 1))[0]
        was = (await stage.operator.ask("GET", "/api/routing-rules")).body["in_force"]
        rules = [{"name": RULE, "why": "shown in the demo", "action": "forbid", "items": f"item.sku == '{RULED}'", "ranking": [usual]}]
        saved = await stage.operator.must("POST", "/api/routing-rules", {"rules": rules, "reason": "demo"}, key="scene rule saved")
        version = next(said["data"]["version"] for said in saved.body["messages"] if "version" in said["data"])
        await self._publish(version, was)
        second = await stage.place("scene-rule-2", [(RULED, 1)], household="scene-rule")
        shipped = await stage.until_shipped("the second order ships", second, RULED, 1)
        await self._publish(was, version)
        other = _locations(shipped)[0]
        reasons = [
            entry[3] for decision in shipped["routing"]["decisions"] for entry in decision["record"]["excluded"] if entry[0] == usual
        ]
        check(other != usual, f"the rule forbids {usual}, and the order shipped from there")
        check(any(RULE in reason for reason in reasons), f"the decision must name the rule that keeps {usual} out; it says {reasons}")
        return f"a rule kept {usual} out ({reasons[0]}): the second order of a household shipped from {other}"

    async def _publish(self, version: int, expected: int) -> None:
        body = {"expected_version": expected, "reason": "demo"}
        await self._stage.operator.must("POST", f"/api/routing-rules/{version}/publish", body, key=f"scene rule {version} for {expected}")

    async def split(self) -> str:
        """No place has both products: two parcels, and the customer's order is one."""
        stage = self._stage
        order = await stage.place("scene-split-1", [(HERE, 1), (THERE, 1)])
        await stage.until_shipped("the first parcel leaves", order, HERE, 1)
        shipped = await stage.until_shipped("the second parcel leaves", order, THERE, 1)
        check(
            sorted(_locations(shipped)) == sorted([self._slow.code, self._hesitant.code]), f"two places must ship it: {_locations(shipped)}"
        )
        return f"one order left as two parcels, from {self._slow.code} and {self._hesitant.code}"

    async def short_pick(self) -> str:
        """The picker does not find the unit: it ships from a place that has another one."""
        stage = self._stage
        await stage.simulators.behave(partner=self._slow.partner, short_pick_rate=1.0)
        order = await stage.place("scene-short-1", [(NOT_FOUND, 1)])
        await stage.until("the picker finds nothing", lambda: self._status("scene-short-1"), lambda status: status == "nothing_found")
        await stage.simulators.behave(partner=self._slow.partner, short_pick_rate=0.0)
        truck = (await announce_supply(stage.operator, [self._hesitant], [StockLine(self._hesitant.code, NOT_FOUND, 1)], timedelta()))[0]
        await receive(stage.operator, stage.simulators, truck, truck.units)
        shipped = await stage.until_shipped("the order ships from elsewhere", order, NOT_FOUND, 1)
        check(_locations(shipped) == [self._hesitant.code], f"it must ship from {self._hesitant.code}, not {_locations(shipped)}")
        return f"{self._slow.code} did not find the unit; the order was planned anew and shipped from {self._hesitant.code}"

    async def edit(self) -> str:
        """Until the 3PL has accepted its pick list an order may be changed, afterwards not."""
        stage = self._stage
        order = await stage.place("scene-edit-1", [(EDITED, 2)])
        await stage.until("the 3PL has the pick list", lambda: self._status("scene-edit-1"), lambda status: status == "requested")
        line_id = (await stage.order(order))["lines"][0]["line_id"]
        fewer = {"line_changes": [{"line_id": line_id, "quantity": 1}]}
        early = await stage.operator.ask("POST", f"/api/orders/{order}/edit", fewer, key="scene edit early")
        check(early.did_it, f"the edit before the cutoff must be taken: {early.status} {early.code}")
        await stage.until(
            "the 3PL has accepted", lambda: self._status("scene-edit-1"), lambda status: status in ("accepted", *BEFORE_THE_CARRIER)
        )
        moved = {**(await stage.order(order))["ship_to"], "line1": "2 Stage Road"}
        address = {name: value for name, value in moved.items() if value is not None}
        late = await stage.operator.ask("POST", f"/api/orders/{order}/edit", {"ship_to": address}, key="scene edit late")
        check(late.status == 409, f"the edit after the cutoff must be refused: {late.status} {late.body}")
        shipped = await stage.until_shipped("the order ships as it was edited", order, EDITED, 1)
        check(shipped["refunded_cents"] > 0, "what was taken off must be paid back")
        return f"a unit taken off before the cutoff was paid back; the edit after it was refused ({late.code})"

    async def interception(self) -> str:
        """Cancelled when the label is printed: the 3PL holds the parcel back, the customer is paid back, the goods are for sale again."""
        stage = self._stage
        order = await self._cancel_with_label("scene-caught-1", CAUGHT)
        await stage.until_order(
            "the parcel is held back and paid back", order, lambda said: said["status"] == "cancelled" and _is_repaid(said)
        )
        await stage.until("its units are for sale again", lambda: stage.stock(CAUGHT), lambda stock: stock["for_sale_units"] == 2)
        return "cancelled after the label was printed: held back, paid back, and for sale again"

    async def interception_too_late(self) -> str:
        """Cancelled when the label is printed, but the parcel leaves all the same: it comes back with a prepaid label."""
        stage = self._stage
        await stage.simulators.behave(partner=self._slow.partner, interceptions="too_late")
        order = await self._cancel_with_label("scene-gone-1", GONE)
        told = await stage.until_order("a return is opened for what left", order, lambda said: bool(said.get("returns")))
        check(not _is_repaid(told), "what has left is paid back when it comes back, not before")
        await stage.simulators.behave(partner=self._slow.partner, interceptions="succeed")
        return (
            f"cancelled too late: the parcel left, a prepaid return is {told['returns'][0]['status']}, nothing is paid back before it comes"
        )

    async def _cancel_with_label(self, external_id: str, sku: str) -> UUID:
        stage = self._stage
        order = await stage.place(external_id, [(sku, 2)])
        await stage.until("the label is printed", lambda: self._status(external_id), lambda status: status in BEFORE_THE_CARRIER)
        status = await self._status(external_id)
        check(status == "labelled", f"the order was to be cancelled while the parcel waits with its label, but it is {status}")
        await stage.until_order("routing has heard of the label", order, _is_started)
        reply = await stage.operator.ask(
            "POST", f"/api/orders/{order}/cancel", {"reason": "changed their mind"}, key=f"cancel {external_id}"
        )
        check(reply.did_it, f"the cancellation must be taken: {reply.status} {reply.code}")
        return order

    async def _status(self, external_id: str) -> str:
        """The state of the newest pick list of an order at its 3PL."""
        found = [row["status"] for row in await self._stage.simulators.fulfillments() if row["order_number"] == external_id]
        return str(found[-1]) if found else ""


async def _alone(name: str, scene: Callable[[], Awaitable[str]]) -> list[SceneOutcome]:
    return [await play_one(name, scene)]


def _locations(order: Json) -> list[str]:
    """Where its parcels left from."""
    return [parcel["location"] for parcel in order["parcels"]]


def _is_repaid(order: Json) -> bool:
    return any(refund["status"] == "succeeded" for refund in order.get("refunds", ()))


def _is_started(order: Json) -> bool:
    return any(item["state"] not in ("planned", "submitted") for item in (order.get("routing") or {}).get("fulfillments", ()))

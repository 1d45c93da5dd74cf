"""The day itself: orders come in, a preorder is released, customers change their minds, a truck is late, parcels come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

from deploy.local.demo.counterparts import Json, Operator, Reply, Simulators
from deploy.local.demo.scenery import Truck
from deploy.local.demo.wishes import ReturnWish, Wish, Wishes, choose_units, condition_of, is_scanned_twice
from simulators.adapter.geography import draw_place
from simulators.adapter.opening_stock import Warehouse
from simulators.adapter.publisher import Adapters, Sent
from simulators.adapter.replay import SourceOrder

WISHES_AT_ONCE = 6
SUPPLY_AFTER_SHARE = 0.7
"""When the trucks arrive, as a share of the day."""
RELEASE_AFTER_SHARE = 0.4
"""When the preorder is released, as a share of the day."""
DELAY_AFTER_SHARE = 0.6
"""When a purchase order gets another date: scarce products open with half of what the day wants, so by then orders wait."""
DELAY = timedelta(days=3)
RETURN_REASONS = ("wrong_size", "changed_mind", "defective", "damaged_in_transit", "wrong_item", "late", "other")


@dataclass(slots=True)
class DayLog:
    """What was done during the day and what was answered."""

    sent: list[Sent] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """How often each wish was answered in each way."""

    def note(self, wish: str, reply: Reply) -> None:
        """Counts an answer."""
        self.outcomes[f"{wish}: {reply.body.get('result') if reply.did_it else 'refused, ' + (reply.code or str(reply.status))}"] += 1


@dataclass(slots=True)
class Day:
    """One replay under way."""

    operator: Operator
    simulators: Simulators
    adapters: Adapters
    warehouses: Sequence[Warehouse]
    seed: int
    log: DayLog = field(default_factory=DayLog)
    _order_ids: dict[tuple[str, str], UUID] = field(default_factory=dict)
    _busy: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WISHES_AT_ONCE))

    async def replay(self, orders: Sequence[SourceOrder], wishes: Wishes, trucks: Sequence[Truck], duration: timedelta) -> None:
        """Publishes the orders at their time, with the wishes that follow them and the supply in the afternoon.

        Raises:
            NotPublishedError: the broker does not take orders.
            LocalStackError: the operator's API or a simulator does not answer.
        """
        by_order = {(wish.channel, wish.external_id): wish for wish in wishes.changes}
        async with asyncio.TaskGroup() as tasks:

            def follow_up(sent: Sequence[Sent]) -> None:
                self.log.sent += sent
                for item in sent:
                    wish = by_order.pop((item.order.channel, item.order.external_id), None) if item.order.label == "good" else None
                    if wish is not None:
                        tasks.create_task(self._fulfil(wish))

            tasks.create_task(self._delay_largest(trucks, duration * DELAY_AFTER_SHARE))
            tasks.create_task(self._receive_trucks(trucks, duration * SUPPLY_AFTER_SHARE))
            await self.adapters.publish_all(orders, paced=True, on_sent=follow_up)

    async def open_preorder(self, sku: str, duration: timedelta) -> None:
        """A product is sold from the first minute, and ships from a later one on: its orders wait although goods are on the shelf."""
        release_at = datetime.now(UTC) + duration * RELEASE_AFTER_SHARE
        path = f"/api/preorders/{quote(sku, safe='')}"
        await self.operator.must("PUT", path, {"release_at": release_at.isoformat()}, key=f"preorder {sku}")

    async def _delay_largest(self, trucks: Sequence[Truck], after: timedelta) -> None:
        """The supplier of the largest truck says that it comes days later: who waits for it is told once. It comes today all the same."""
        await asyncio.sleep(after.total_seconds())
        largest = max(trucks, key=lambda truck: sum(quantity for _, quantity in truck.units), default=None)
        if largest is not None:
            body = {"expected_at": (datetime.now(UTC) + DELAY).isoformat()}
            path = f"/api/supplies/{largest.supply_id}/reschedule"
            await self.operator.must("POST", path, body, key=f"delay {largest.supply_id}")

    async def _receive_trucks(self, trucks: Sequence[Truck], after: timedelta) -> None:
        """The supply arrives at the 3PLs, which report it and count every shelf, in the middle of the business."""
        await asyncio.sleep(after.total_seconds())
        for truck in trucks:
            await self.simulators.deliver_supply(truck.warehouse.partner, truck.warehouse.code, truck.supply_id, truck.units)
        for warehouse in self.warehouses:
            await self.simulators.count(warehouse.partner, warehouse.code)

    async def _order_id(self, channel: str, external_id: str) -> UUID | None:
        known = self._order_ids.get((channel, external_id))
        if known is None:
            known = await self.operator.find_order(external_id, channel)
            if known is not None:
                self._order_ids[(channel, external_id)] = known
        return known

    async def _fulfil(self, wish: Wish) -> None:
        """Asks for one change, as support would for a customer on the phone."""
        await asyncio.sleep(wish.after_seconds)
        async with self._busy:
            order_id = await self._order_id(wish.channel, wish.external_id)
            if order_id is None:
                self.log.outcomes[f"{wish.kind}: the portal never heard of the order"] += 1
                return
            path = f"/api/orders/{order_id}"
            key = f"{wish.kind} {order_id}"
            if wish.kind == "cancel":
                reply = await self.operator.ask("POST", f"{path}/cancel", {"reason": "customer changed their mind"}, key=key)
            elif wish.kind == "new_address":
                reply = await self.operator.ask("POST", f"{path}/edit", {"ship_to": await self._moved_house(path)}, key=key)
            else:
                order = await self.operator.ask("GET", path)
                reply = await self.operator.ask("POST", f"{path}/edit", {"line_changes": _one_unit_less(order.body)}, key=key)
            self.log.note(wish.kind, reply)

    async def _moved_house(self, path: str) -> Json:
        """The customer's address with another real town."""
        order = (await self.operator.ask("GET", path)).body
        place = draw_place(Random(f"moving {self.seed} {order.get('external_id')}"))
        address = {name: value for name, value in order["ship_to"].items() if value is not None}
        return {**address, "city": place.city, "region": place.state, "postal_code": place.postal_code}

    async def bring_back(self, wishes: Sequence[ReturnWish]) -> None:
        """Everything that comes back: asked for, labelled, scanned, and put back on the shelf where it is still good."""
        async with asyncio.TaskGroup() as tasks:
            for wish in wishes:
                tasks.create_task(self._return(wish))

    async def _return(self, wish: ReturnWish) -> None:
        async with self._busy:
            order_id = await self._order_id(wish.channel, wish.external_id)
            if order_id is None:
                self.log.outcomes["return: the portal never heard of the order"] += 1
                return
            order = (await self.operator.ask("GET", f"/api/orders/{order_id}")).body
            units = choose_units(wish, _returnable(order))
            if not units:
                self.log.outcomes["return: nothing of it has shipped"] += 1
                return
            random = Random(f"reason {wish.external_id}")
            lines = [{"line_id": line_id, "quantity": quantity, "reason": random.choice(RETURN_REASONS)} for line_id, quantity in units]
            reply = await self.operator.ask("POST", f"/api/orders/{order_id}/returns", {"lines": lines}, key=f"return {order_id}")
            self.log.note("return", reply)
            if reply.did_it:
                await self._scan(wish, UUID(reply.body["id"]), order, units)

    async def _scan(self, wish: ReturnWish, return_id: UUID, order: Json, units: Sequence[tuple[str, int]]) -> None:
        """The parcel is opened where the order had shipped from; sometimes two people scan it."""
        location = order["parcels"][0]["location"]
        found = [(line_id, quantity, condition_of(wish, line_id)) for line_id, quantity in units]
        body = {
            "location": location,
            "operator": "returns desk",
            "units": [
                {"line_id": line_id, "quantity": quantity, "condition": condition}
                for line_id, quantity, condition in found
                if condition != "missing"
            ],
        }
        for _ in range(2 if is_scanned_twice(wish) else 1):
            reply = await self.operator.ask("POST", f"/api/returns/{return_id}/scan", body, key=f"scan {return_id}")
            self.log.note("scan", reply)
            if reply.body.get("result") == "done":
                await self._shelve_again(
                    order, location, [(line_id, quantity) for line_id, quantity, state in found if state == "sellable"]
                )

    async def _shelve_again(self, order: Json, location: str, units: Sequence[tuple[str, int]]) -> None:
        sku_of = {line["line_id"]: line["sku"] for line in order["lines"]}
        partner = next(warehouse.partner for warehouse in self.warehouses if warehouse.code == location)
        if units:
            await self.simulators.shelve(partner, location, [(sku_of[line_id], quantity) for line_id, quantity in units])


def _one_unit_less(order: Json) -> list[dict[str, Any]]:
    """A change that takes one unit off the first line that has more than one."""
    line = next((line for line in order["lines"] if line["ordered"] > 1), order["lines"][0])
    return [{"line_id": line["line_id"], "quantity": max(0, line["ordered"] - 1)}]


def _returnable(order: Json) -> list[tuple[str, int]]:
    """Lines of which something has shipped, with how many units."""
    return [(line["line_id"], line["shipped"]) for line in order["lines"] if line["shipped"] > 0]

"""Six short scenes after the day, on products of their own, each with its outcome checked: a random day shows them by chance only.

Everything goes through the ways that everybody has: the operator's API, the channel's and the 3PL's own queues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from deploy.local.demo.counterparts import Json
from deploy.local.demo.scenery import Truck, announce_supply, fill_shelves, receive
from deploy.local.demo.stage import PRICE_CENTS, Stage, UnexpectedOutcomeError, check, delay_mails, queued_units
from deploy.local.failure import LocalStackError
from shared.contracts.stock import SnapshotLine, ThirdPartyStockSnapshot
from simulators.adapter.opening_stock import StockLine, Warehouse
from simulators.adapter.publisher import NotPublishedError, say_as_partner

PREORDER, DELAYED, RESTOCKED, COUNTED = "SCENE-PREORDER", "SCENE-DELAYED", "SCENE-RESTOCKED", "SCENE-COUNTED"
SHORT, MISSING, HELD, EXPIRING = "SCENE-SHORT", "SCENE-MISSING", "SCENE-HELD", "SCENE-EXPIRING"
KIT = "SCENE-KIT"
"""Made of one SHORT and one MISSING."""
OPENING: Mapping[str, int] = {PREORDER: 3, DELAYED: 0, RESTOCKED: 0, COUNTED: 10, SHORT: 4, MISSING: 0, HELD: 2, EXPIRING: 1}
"""The scenes' own products, and how many units of each are there when they begin."""

SHORTEST_HOLD_SECONDS = 10
EXACT_THIRD_PARTY: Mapping[str, object] = {
    "accept_delay_seconds": 0.2,
    "label_delay_seconds": 0.1,
    "ship_delay_seconds": 0.2,
    "deliver_delay_seconds": 0.2,
    "jitter": 0.0,
    "reject_rate": 0.0,
    "short_pick_rate": 0.0,
    "silent_rate": 0.0,
    "duplicate_rate": 0.0,
}
"""The 3PLs make no mistakes while scenes are played, so that each has one right outcome."""
SLOW_SHIPPING_SECONDS = 3.0
"""Where a count is taken while a pick list is under way: long enough to take it in."""
EXACT_CHANNEL: Mapping[str, object] = {"error_rate": 0.0, "timeout_after_success_rate": 0.0}
NOT_SHIPPED = ("requested", "accepted", "labelled")


@dataclass(frozen=True, slots=True)
class SceneOutcome:
    """How a scene ended: what was shown, or what was wrong."""

    name: str
    passed: bool
    told: str


class Scenes:
    """The scenes on one stage: set beforehand, played together, because none touches another's products."""

    def __init__(self, stage: Stage, warehouses: Sequence[Warehouse], partner_urls: Mapping[str, str]) -> None:
        self._stage = stage
        self._slow = warehouses[0]
        self._place = next(place for place in warehouses if place.partner != self._slow.partner)
        self._partner_urls = partner_urls
        self._expiring: UUID | None = None

    async def set_up(self) -> None:
        """Registers the scenes' products and their stock, and opens the hold that will be over by the time its scene is played.

        Raises:
            LocalStackError: the API refused something.
            NotPublishedError: the broker did not take the channel's request.
            UnexpectedOutcomeError: the channel is not answered.
        """
        operator, stage = self._stage.operator, self._stage
        products = [{"sku": sku, "title": sku.title(), "unit_price_cents": PRICE_CENTS, "unit_weight_grams": 500} for sku in OPENING]
        await operator.must("POST", "/api/products", {"products": products}, key="scenes' products")
        components = [{"sku": sku, "quantity": 1} for sku in (SHORT, MISSING)]
        kit = {"sku": KIT, "title": KIT.title(), "unit_price_cents": PRICE_CENTS, "components": components}
        await operator.must("POST", "/api/products", {"products": [kit]}, key="scenes' kit")
        channel = stage.adapter.code
        listings = [{"sku": sku, "external_listing_id": f"{channel}-{sku}"} for sku in (*OPENING, KIT)]
        await operator.must("POST", "/api/listings", {"channel": channel, "listings": listings}, key="scenes' listings")
        opening = [StockLine(self._location_of(sku).code, sku, units) for sku, units in OPENING.items() if units]
        await fill_shelves(operator, stage.simulators, (self._slow, self._place), opening)
        self._expiring = await self._hold(EXPIRING, 1, SHORTEST_HOLD_SECONDS)

    async def play(self) -> list[SceneOutcome]:
        """Plays all scenes at the same time."""
        channel = self._stage.adapter.code
        await self._stage.simulators.behave(**EXACT_THIRD_PARTY)
        await self._stage.simulators.behave(partner=self._slow.partner, ship_delay_seconds=SLOW_SHIPPING_SECONDS)
        await self._stage.simulators.channel_behaves(channel, **EXACT_CHANNEL)
        scenes: Mapping[str, Callable[[], Awaitable[str]]] = {
            "preorder": self.preorder,
            "delay": self.delay,
            "restock": self.restock,
            "feed in flight": self.feed_in_flight,
            "shortage": self.shortage,
            "checkout hold": self.checkout_hold,
        }
        return list(await asyncio.gather(*(play_one(name, scene) for name, scene in scenes.items())))

    async def preorder(self) -> str:
        """A product is sold before its release: an order waits although goods are there, and ships when the day has come."""
        stage = self._stage
        await self._release(datetime.now(UTC) + timedelta(days=1))
        order = await stage.place("scene-preorder-1", [(PREORDER, 1)])
        await stage.until_waiting("the order waits for the release", order, PREORDER, 1)
        there = (await stage.stock(PREORDER)).get("on_hand_units")
        check(there == OPENING[PREORDER], f"{OPENING[PREORDER]} units must stand on the shelf, {there} do")
        await self._release(datetime.now(UTC) + timedelta(seconds=1))
        await stage.until_shipped("the order ships once the release has come", order, PREORDER, 1)
        return "an order waited for the release with goods on the shelf, then shipped"

    async def _release(self, at: datetime) -> None:
        body = {"release_at": at.isoformat()}
        await self._stage.operator.must("PUT", f"/api/preorders/{PREORDER}", body, key=f"scene preorder {at.isoformat()}")

    async def delay(self) -> str:
        """A purchase order comes later than promised: each customer who waits for it gets one mail about it, however often it is said."""
        stage = self._stage
        truck = await self._announce(DELAYED, 3, timedelta(days=2))
        numbers = ("scene-delay-1", "scene-delay-2", "scene-delay-3")
        orders = await asyncio.gather(*(stage.place(number, [(DELAYED, 1)]) for number in numbers))
        for order in orders:
            await stage.until_order("the order is promised a date, and its customer told", order, _is_promised)
        body = {"expected_at": (datetime.now(UTC) + timedelta(days=6)).isoformat()}
        for _ in range(2):
            path = f"/api/supplies/{truck.supply_id}/reschedule"
            await stage.operator.must("POST", path, body, key=f"scene delay {truck.supply_id}")
        for order in orders:
            await stage.until_order("the customer is told of the delay", order, lambda said: delay_mails(said) > 1)
        await stage.simulators.deliver_supply(truck.warehouse.partner, truck.warehouse.code, truck.supply_id, truck.units)
        for order in orders:
            told = await stage.until_shipped("the order ships when the goods have come", order, DELAYED, 1)
            check(delay_mails(told) == 2, f"one mail about the wait and one about the delay were due, {delay_mails(told)} were sent")
        return f"{len(orders)} customers got one mail each about a purchase order that was delayed and said so twice"

    async def restock(self) -> str:
        """Goods come in two parts: the first who waits is served first, the second when the rest has come."""
        stage = self._stage
        truck = await self._announce(RESTOCKED, 3, timedelta(days=1))
        first = await stage.place("scene-restock-1", [(RESTOCKED, 2)])
        await stage.until_waiting("the first order waits", first, RESTOCKED, 2)
        second = await stage.place("scene-restock-2", [(RESTOCKED, 1)])
        await stage.until_waiting("the second order waits", second, RESTOCKED, 1)
        await self._receive(truck, 2)
        await stage.until_shipped("the first order ships what came first", first, RESTOCKED, 2)
        await stage.still_waiting("the second order", second, RESTOCKED, 1)
        await self._receive(truck, 1, part=2)
        await stage.until_shipped("the second order ships when the rest has come", second, RESTOCKED, 1)
        return "two waiting orders were released in their turn, as goods were received"

    async def feed_in_flight(self) -> str:
        """A 3PL counts while its pick list is under way. The count that arrives at once and the one that arrives after the parcel has left
        both show units that are gone or about to go: neither may bring them back or take them off twice."""
        stage, there = self._stage, self._slow
        order = await stage.place("scene-feed-1", [(COUNTED, 3)])
        await stage.until("the 3PL has the pick list", self._pick_list_status, lambda status: status in NOT_SHIPPED)
        await stage.simulators.count(there.partner, there.code)
        watermark = await stage.simulators.sequence(there.partner, there.code)
        on_shelf = await self._on_shelf(COUNTED)
        late = ThirdPartyStockSnapshot(
            location=there.code, as_of=datetime.now(UTC), watermark=watermark, lines=[SnapshotLine(sku=COUNTED, on_hand=on_shelf)]
        )
        status = await self._pick_list_status()
        check(status in NOT_SHIPPED, f"the count was to be taken before the parcel left, but the pick list is {status}")
        await stage.until_shipped("the parcel leaves", order, COUNTED, 3)
        await say_as_partner(self._partner_urls[there.partner], there.partner, late)

        def has_come(stock: Json) -> bool:
            counted = [row["counted_as_of"] for row in stock.get("locations", ()) if row["location"] == there.code]
            return any(said is not None and datetime.fromisoformat(said) == late.as_of for said in counted)

        stock = await stage.until("the late count is in the books", lambda: stage.stock(COUNTED), has_come)
        left = OPENING[COUNTED] - 3
        found = (stock["on_hand_units"], stock["for_sale_units"], await self._on_shelf(COUNTED))
        check(found == (left, left, left), f"{left} units must be there, for sale and on the 3PL's shelf; {found} are")
        return f"a count of {on_shelf} taken before 3 units left and heard after it: {left} in the books and on the shelf"

    async def _pick_list_status(self) -> str:
        found = [row["status"] for row in await self._stage.simulators.fulfillments() if row["order_number"] == "scene-feed-1"]
        return found[0] if found else ""

    async def _on_shelf(self, sku: str) -> int:
        return sum(int(row["on_hand"]) for row in await self._stage.simulators.shelves() if row["sku"] == sku)

    async def shortage(self) -> str:
        """A shelf holds less than is reserved: the policy that is in force picks who waits, here wholesale although it came first."""
        stage, there = self._stage, self._place
        before = (await stage.operator.ask("GET", "/api/shortage-policy")).body.get("policy", "newest_first")
        await self._choose_policy("wholesale_first")
        # No parcel leaves with half a kit, so nothing of these orders has left when units turn out to be gone; and unlike orders that hold
        # all, they give nothing up by rank, which would hide what the policy decides.
        wholesale = await stage.place("scene-shortage-1", [(KIT, 2)], segment="wholesale")
        shopper = await stage.place("scene-shortage-2", [(KIT, 2)])
        for order in (wholesale, shopper):
            await stage.until_waiting("the order has the first component", order, SHORT, 0)
            await stage.until_waiting("the order waits for the second component", order, MISSING, 2)
        await stage.simulators.adjust(there.partner, there.code, SHORT, -2, "lost")
        await stage.until_waiting("the wholesale order queues again", wholesale, SHORT, 2)
        await stage.still_waiting("the shopper's order keeps its units", shopper, SHORT, 0)
        await self._receive(await self._announce(MISSING, 4, timedelta(days=1)), 4)
        await stage.until_shipped("the shopper's order ships", shopper, SHORT, 2)
        await stage.still_waiting("the wholesale order", wholesale, SHORT, 2)
        await stage.simulators.adjust(there.partner, there.code, SHORT, 2, "found")
        await stage.until_shipped("the wholesale order ships when the units are found", wholesale, SHORT, 2)
        await self._choose_policy(before)
        return "2 of 4 reserved units were lost: the policy let the wholesale order wait, the later shopper shipped"

    async def _choose_policy(self, policy: str) -> None:
        await self._stage.operator.must("PUT", "/api/shortage-policy", {"policy": policy}, key=f"scene shortage {policy}")

    async def checkout_hold(self) -> str:
        """Units kept for a shopper are nobody else's: the order that names the hold gets them. A hold that is over gives them back."""
        stage = self._stage
        held = await self._hold(HELD, 2, 120)
        rival = await stage.place("scene-hold-1", [(HELD, 2)])
        await stage.until_waiting("an order without the hold waits", rival, HELD, 2)
        buyer = await stage.place("scene-hold-2", [(HELD, 2)], hold_id=held)
        await stage.until_shipped("the order that names the hold ships", buyer, HELD, 2)
        await stage.still_waiting("the order without the hold", rival, HELD, 2)
        await stage.until("the other hold is over", lambda: stage.stock(EXPIRING), lambda stock: stock.get("for_sale_units") == 1)
        late = await stage.place("scene-hold-3", [(EXPIRING, 1)], hold_id=self._expiring)
        await stage.until_shipped("an order gets what an expired hold gave back", late, EXPIRING, 1)
        await self._receive(await self._announce(HELD, 2, timedelta(days=1)), 2)
        await stage.until_shipped("the order that waited ships from the next goods", rival, HELD, 2)
        return "one hold became its order's while a rival waited; another expired and its unit was sold"

    async def _hold(self, sku: str, units: int, ttl_seconds: int) -> UUID:
        answer = await self._stage.hold(sku, units, ttl_seconds)
        check(answer.outcome == "held", f"{units} units of {sku} must be held, the channel was told {answer.outcome}")
        left = (await self._stage.stock(sku)).get("for_sale_units")
        check(left == 0, f"nothing of {sku} may be for sale while it is held, {left} are")
        return answer.hold_id

    def _location_of(self, sku: str) -> Warehouse:
        return self._slow if sku == COUNTED else self._place

    async def _announce(self, sku: str, units: int, after: timedelta) -> Truck:
        line = StockLine(self._place.code, sku, units)
        return (await announce_supply(self._stage.operator, [self._place], [line], after))[0]

    async def _receive(self, truck: Truck, units: int, *, part: int = 1) -> None:
        await receive(self._stage.operator, self._stage.simulators, truck, [(truck.units[0][0], units)], part=part)


async def play_one(name: str, scene: Callable[[], Awaitable[str]]) -> SceneOutcome:
    """Plays one scene; one that goes wrong does not keep the others from being shown."""
    try:
        return SceneOutcome(name, passed=True, told=await scene())
    except (UnexpectedOutcomeError, LocalStackError, NotPublishedError) as error:
        return SceneOutcome(name, passed=False, told=str(error))


def _is_promised(order: Json) -> bool:
    dated = [line["promised_ship_at"] for line in order.get("lines", ()) if line["sku"] == DELAYED]
    return queued_units(order, DELAYED) == 1 and all(dated) and bool(dated) and delay_mails(order) == 1

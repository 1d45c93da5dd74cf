"""One case's own part of the running system: its SKUs, places and orders, reached by what partners and operators have, nothing else.

Cases run beside one another in one system, because no two of them share a SKU. The 3PL is slow on purpose: it has the pick lists and waits
until the case itself speaks in its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from shared.contracts.base import PartnerMessage
from shared.contracts.envelope import new_id
from shared.contracts.stock import SnapshotLine, ThirdPartyStockAdjusted, ThirdPartyStockSnapshot
from tests.cases.standing import COMING, Feature
from tests.cases.tables import Case, Quantity
from tests.cases.verdicts import Differs, NotOurs, WaitsFor
from tests.system import Answer, Json, System, an_order

PARTNER = "west"
NEAREST_FIRST = ("95814", "89502", "84104", "80216", "64120", "40213")
"""ZIP codes of the shared places as the customer in Sacramento sees them: a case's own order of places becomes their distance."""

CLOSED_PLACES = 4
PATIENCE_SECONDS = 90.0
LOOK_AGAIN_SECONDS = 0.25
ITEM, REST = "ITEM", "REST"
DEFAULT_PRICE_CENTS = 2_500


class Address(NamedTuple):
    """Where a place or a point of a case is."""

    country: str
    postal_code: str


@dataclass
class Scene:
    """What the givens of a case ask for before anything happens."""

    ranking: list[str] = field(default_factory=list)
    shelves: dict[str, dict[str, Quantity]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Places that hold goods but do not sell them: they are registered as inactive."""
    own_places: set[str] = field(default_factory=set)
    """Places that the case changes, so that it needs them for itself."""
    addresses: dict[str, Address] = field(default_factory=dict)
    """Where places lie of which the case says it."""
    around: Address | None = None
    within_miles: int | None = None
    """A search around a point."""
    backorders: bool = False
    price_cents: int = DEFAULT_PRICE_CENTS
    segment: str = "dtc"
    ship_to_postal_code: str = "95814"
    then: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What has happened before the case begins, once the shelves stand."""


async def register_shared_places(system: System) -> None:
    """Places that all cases use, near to far, and some that are closed."""
    for number, postal_code in enumerate(NEAREST_FIRST, start=1):
        await system.ask("POST", "/api/locations", place(f"near-{number}", postal_code))
    for number in range(1, CLOSED_PLACES + 1):
        await system.ask("POST", "/api/locations", place(f"closed-{number}", "89502", active=False))


def place(code: str, postal_code: str, *, country: str = "US", active: bool = True) -> Json:
    """A location of the 3PL in whose name the cases speak."""
    return {"location": code, "name": code, "partner": PARTNER, "postal_code": postal_code, "country": country, "active": active}


class World:
    """The system as one case sees it."""

    def __init__(self, system: System, case: Case, prefix: str) -> None:
        self.system = system
        self.case = case
        self.scene = Scene()
        self.order_id: UUID | None = None
        self.refusal: Answer | None = None
        self.hold_id: UUID | None = None
        self.return_id: UUID | None = None
        self.asked_places: list[str] = []
        self.remembered: dict[str, Any] = {}
        self._prefix = prefix
        self._places: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._measured: dict[str, Any] = {}
        self._orders = 0

    # What the case is told, and what it may not be asked.

    @property
    def told(self) -> str:
        """What was measured, for people."""
        return ", ".join(f"{what} {value}" for what, value in self._measured.items())

    def needs(self, feature: Feature) -> None:
        """Says that from here on a feature is used that may still be to come.

        Raises:
            WaitsFor: it is.
        """
        if feature in COMING:
            raise WaitsFor(feature)

    def lacks(self, notion: str) -> None:
        """Says that the case speaks of something that no feature of ours has.

        Raises:
            NotOurs: always.
        """
        raise NotOurs(notion)

    def measure(self, what: str, got: Any, wanted: Any) -> None:
        """Compares an answer.

        Raises:
            Differs: it is another.
        """
        self._measured[what] = got
        if got != wanted:
            raise Differs(f"{what}: {got}, not {wanted}")

    async def becomes(self, what: str, look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
        """Waits until something is as expected.

        Raises:
            Differs: it did not become so in time.
        """
        got: Any = None

        async def as_wanted() -> bool:
            nonlocal got
            got = await look()
            return bool(got == wanted)

        with suppress(AssertionError):  # what it is instead is told by the comparison
            await self.system.eventually(as_wanted, what, timeout_seconds=PATIENCE_SECONDS / 3, pause_seconds=LOOK_AGAIN_SECONDS)
        self.measure(what, got, wanted)

    async def until(self, check: Callable[[], Awaitable[bool]], what: str) -> None:
        """Waits for a step of the case to have been done."""
        await self.system.eventually(check, f"{self.case.id}: {what}", timeout_seconds=PATIENCE_SECONDS, pause_seconds=LOOK_AGAIN_SECONDS)

    # SKUs and places.

    def sku(self, name: str) -> str:
        """The SKU under which a product of the case is registered: digits in front keep all-digit SKUs all-digit."""
        return f"{self._prefix}{name}"

    async def product(self, name: str) -> str:
        """Registers a product of the case at first use; not when its name differs from a known one in case alone: a shopper wrote that."""
        sku = self.sku(name)
        if sku in self._known or sku.lower() in {known.lower() for known in self._known}:
            return sku
        self._known[sku] = name
        product = {"sku": sku, "title": name, "unit_price_cents": self.scene.price_cents, "unit_weight_grams": 700}
        await self.system.ask("POST", "/api/products", {"products": [product]})
        await self.system.ask("POST", "/api/listings", {"channel": "webshop", "listings": [{"sku": sku, "external_listing_id": sku}]})

        async def known() -> bool:
            return (await self.system.api("GET", f"/api/stock/{quote(sku)}")).status == 200

        await self.until(known, f"{name} is known to allocation")
        return sku

    async def place(self, name: str) -> str:
        """The location that stands for a place of the case."""
        if name not in self._places:
            self._places[name] = await self._find_place(name)
        return self._places[name]

    async def _find_place(self, name: str) -> str:
        if name in self.scene.closed:
            return f"closed-{1 + sorted(self.scene.closed).index(name)}"
        if name in self.scene.own_places or name not in self.scene.ranking:
            return await self._own_place(name)
        return f"near-{1 + self.scene.ranking.index(name)}"

    async def _own_place(self, name: str) -> str:
        code = f"c{self._prefix}-{1 + len(self._places)}"
        words = name.split()
        abroad = words[-1] if len(words) > 1 and len(words[-1]) == 2 else "US"
        stated = Address(abroad, words[-1] if words[-1].isdecimal() else NEAREST_FIRST[0])
        country, postal_code = self.scene.addresses.get(name, stated)
        await self.system.ask("POST", "/api/locations", place(code, postal_code, country=country))
        return code

    async def close(self, name: str) -> None:
        """Nothing more is sold from a place of the case's own."""
        code = await self.place(name)
        await self.system.ask("POST", "/api/locations", place(code, NEAREST_FIRST[0], active=False))

    async def speak(self, message: PartnerMessage) -> None:
        """Says something in the 3PL's name, with its own broker user; about the order, when there is one."""
        about: dict[str, Any] = {"subject": str(self.order_id)} if self.order_id else {}
        await self.system.say(message, PARTNER, **about)

    # Stock.

    async def open(self) -> None:
        """Puts the goods on the shelves and then lets happen what has happened before the case begins."""
        for place_name, shelf in self.scene.shelves.items():
            for name, quantity in shelf.items():
                await self.put(name, place_name, quantity)
        for happen in self.scene.then:
            await happen()

    async def put(self, name: str, place_name: str, quantity: Quantity) -> None:
        """Sets a shelf. Goods that must not be sold are counted by the 3PL as under quality control; a negative stock is a queue."""
        sku, location = await self.product(name), await self.place(place_name)
        if not quantity.sellable:
            await self._count_as_unsellable(sku, location, quantity.units)
            return
        wish = {"new_on_hand": max(0, quantity.units), "reason": "count"}

        async def done() -> bool:
            answer = await self.system.api("PUT", f"/api/stock/{quote(sku)}/{location}", wish)
            # A location that was registered a moment ago may not have reached allocation yet.
            assert answer.status < 300 or answer.status == 409, answer.body
            return answer.status < 300

        await self.until(done, f"{name} stands at {place_name}")
        if quantity.units < 0:
            await self.order({name: -quantity.units})

    async def _count_as_unsellable(self, sku: str, location: str, units: int) -> None:
        counted = SnapshotLine(sku=sku, on_hand=units, quality_control=units)
        await self.speak(ThirdPartyStockSnapshot(location=location, as_of=datetime.now(UTC), watermark=0, lines=[counted]))

        async def known() -> bool:
            return await self.shelf_value(sku, location, "quality_control_units") == units

        await self.until(known, f"{units} units are counted as unsellable")

    async def stock(self, name: str) -> Json:
        """What the operators' API says about a product of the case."""
        return await self.system.stock(self.sku(name))

    async def available(self, name: str) -> int:
        """What channels may sell."""
        return int((await self.stock(name))["available_units"])

    async def available_becomes(self, name: str, wanted: int, *, when: str = "") -> None:
        """Waits until channels may sell so many.

        Raises:
            Differs: it did not become so in time.
        """

        async def look() -> int:
            return await self.available(name)

        await self.becomes(f"available {name}{when}", look, wanted)

    async def shelf_value(self, sku: str, location: str, value: str) -> int:
        """One figure of one shelf; zero when there is no such shelf."""
        shelves = (await self.system.stock(sku))["locations"]
        return sum(int(shelf[value]) for shelf in shelves if shelf["location"] == location)

    async def sum_of(self, name: str, place_names: list[str], value: str) -> int:
        """A figure summed over some shelves of a product."""
        return sum([await self.shelf_value(self.sku(name), await self.place(place_name), value) for place_name in place_names])

    async def good_on_hand(self, name: str, place_name: str) -> int:
        """Units that stand there and may be sold or are promised. Peers do not count damaged ones as stock, so neither do their cases."""
        sku, location = self.sku(name), await self.place(place_name)
        return await self.shelf_value(sku, location, "on_hand_units") - await self.shelf_value(sku, location, "damaged_units")

    async def adjust(self, name: str, place_name: str, delta: int) -> None:
        """The 3PL finds or loses units and says so."""
        before = await self.good_on_hand(name, place_name)
        message = ThirdPartyStockAdjusted(
            location=await self.place(place_name), adjustment_id=new_id(), sku=self.sku(name), quantity_delta=delta, reason="counted"
        )
        await self.speak(message)

        async def applied() -> bool:
            return await self.good_on_hand(name, place_name) == before + delta

        await self.until(applied, f"the shelf has {before + delta} units")

    # Orders.

    async def order(self, lines: Mapping[str, int], *, price_cents: int | None = None, split_policy: str = "ship_available") -> UUID | None:
        """Places a paid order and waits until allocation has decided about every unit of it; None and ``refusal`` when it is not taken."""
        self._orders += 1
        skus = {name: await self.product(name) for name in lines}
        order = an_order(f"{self.case.id.lower()}-{self._prefix}-{self._orders}", {skus[name]: units for name, units in lines.items()})
        for line in order["lines"]:
            line |= {"unit_price_cents": self.scene.price_cents if price_cents is None else price_cents, "tax_cents": 0}
        order["ship_to"] |= {"postal_code": self.scene.ship_to_postal_code}
        if self.hold_id is not None:
            order["hold_id"] = str(self.hold_id)
        order |= {"shipping_paid_cents": 0, "segment": self.scene.segment, "split_policy": split_policy}
        answer = await self.system.api("POST", "/api/orders", order)
        if answer.status >= 300:
            self.refusal = answer
            return None
        self.order_id = UUID(answer.body["order_id"])
        wanted = sum(lines.values())

        async def decided() -> bool:
            return await self.units("reserved") + await self.units("queued") == wanted

        await self.until(decided, "allocation has decided about the order")
        return self.order_id

    @property
    def own_order(self) -> UUID:
        """The order that the case is about."""
        assert self.order_id is not None, f"the case has placed no order: {self.refusal.body if self.refusal else 'nobody tried'}"
        return self.order_id

    async def document(self) -> Json:
        """The order as all services together know it."""
        return await self.system.order(self.own_order)

    async def units(self, state: str, name: str | None = None, *, line_id: str | None = None) -> int:
        """The order's units in one state, as allocation counts them: of all products or one, of all lines or one."""
        stock = (await self.document()).get("stock") or {"lines": []}
        return sum(
            int(line[f"{state}_units"])
            for line in stock["lines"]
            if name in (None, self._known.get(line["sku"])) and line_id in (None, line["line_id"])
        )

    async def taken(self) -> dict[str, dict[str, int]]:
        """Which places the order's units are tied to, once routing has planned all that is reserved."""

        async def planned() -> bool:
            return await self.units("reserved") == await self.units("assigned")

        await self.until(planned, "routing has planned what is reserved")
        names = {code: name for name, code in self._places.items()}
        taken: dict[str, dict[str, int]] = {}
        for item in ((await self.document())["stock"])["assignments"]:
            if item["open_units"]:
                shelf = taken.setdefault(names[item["location"]], {})
                product = self._known[item["sku"]]
                shelf[product] = shelf.get(product, 0) + item["open_units"]
        return taken

    async def edit(self, changes: list[Json]) -> Answer:
        """Asks for a change of the order and waits for the warehouse's word."""
        before = (await self.document())["order_version"]
        answer = await self.system.api("POST", f"/api/orders/{self.own_order}/edit", {"line_changes": changes})
        if answer.status < 300:

            async def made() -> bool:
                stock = (await self.document()).get("stock") or {"order_version": 0}
                return bool(stock["order_version"] > before)

            await self.until(made, "the change is made")
        return answer

    async def cancel(self, *, key: str | None = None) -> Answer:
        """Asks for a cancellation and waits until it has taken effect."""
        path, wish = f"/api/orders/{self.own_order}/cancel", {"reason": "the case asks for it"}
        answer = await self.system.api("POST", path, wish, idempotency_key=key)
        if answer.status < 300:

            async def released() -> bool:
                return await self.units("reserved") + await self.units("queued") == 0

            await self.until(released, "nothing is held for the order any more")
        return answer

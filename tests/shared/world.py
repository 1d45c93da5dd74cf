"""A small living world: all five services, a channel and a 3PL, and a day on which something of everything happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from aiohttp import web

from services.allocation.__main__ import SERVICE as ALLOCATION
from services.portal.__main__ import SERVICE as PORTAL
from services.returns.__main__ import SERVICE as RETURNS
from services.routing.__main__ import SERVICE as ROUTING
from services.sync.__main__ import SERVICE as SYNC
from shared.audit import Report, audit
from shared.contracts.base import Message
from shared.contracts.channels import (
    ChannelOrderLine,
    ChannelOrderReceived,
    KitComponent,
    Listing,
    ListingRegistrationRequested,
    Product,
    ProductRegistrationRequested,
)
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentCancelRequested,
    FulfillmentRequested,
    LocationRegistrationRequested,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyDelivered,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.holds import ChannelHoldRequested, HoldLine
from shared.contracts.orders import (
    Actor,
    Address,
    Customer,
    LineChange,
    LineUnits,
    OrderCancelRequested,
    OrderDelayAnswered,
    OrderEditRequested,
)
from shared.contracts.returns import (
    ReturnApproved,
    ReturnAuthorisationRequested,
    ReturnLine,
    ReturnScanRequested,
    ScannedUnits,
)
from shared.contracts.rules import ChannelPoolRequested, StockSafetyRequested
from shared.contracts.stock import SupplyLine, SupplyReceived, SupplyRescheduled, SupplyScheduled
from shared.messaging.message import Connection
from simulators.channels.api import Simulator
from tests.conftest import Databases
from tests.shared.loopback import Loopback, open_loopback

CHANNEL, PARTNER = "shop", "fastship"
SKUS = ("MUG", "LAMP", "CHAIR", "RUG")
SHOPPER = Actor(kind="shopper", name="shopper")


@dataclass
class World:
    """All services on one database, and what a test needs to plant corruptions in it."""

    loopback: Loopback
    url: str
    admin: Connection
    orders: dict[str, UUID] = field(default_factory=dict)

    async def audit(self, *, strict: bool = True) -> Report:
        """One audit of everything; nothing should be under way."""
        return await audit(self.url, strict=strict)

    async def ask(self, service: str, message: Message) -> None:
        """A command that must be done, and all that follows from it."""
        handled = await self.loopback.ask(service, message)
        assert handled.status == "done", handled
        await self.loopback.settle()

    async def open_shop(self, units: dict[str, dict[str, int]]) -> None:
        """Products, listings, two locations, and stock by location and SKU."""
        products = [Product(sku=sku, title=sku.title(), unit_price_cents=1_999, unit_weight_grams=700) for sku in SKUS]
        await self.ask("sync", ProductRegistrationRequested(products=products))
        listings = [Listing(sku=sku, external_listing_id=f"listing-{sku}") for sku in SKUS]
        await self.ask("sync", ListingRegistrationRequested(channel=CHANNEL, listings=listings))
        for location, postal_code in (("reno", "89501"), ("newark", "07102")):
            await self.ask(
                "routing",
                LocationRegistrationRequested(
                    location=location, name=location.title(), partner=PARTNER, postal_code=postal_code, country="US"
                ),
            )
        for location, by_sku in units.items():
            lines = [SupplyLine(sku=sku, quantity=count) for sku, count in by_sku.items()]
            await self.ask("allocation", SupplyReceived(receipt_id=new_id(), location=location, lines=lines))

    async def sell_kits(self, kit_sku: str, **units_per_kit: int) -> None:
        """A kit of what the shop sells, for 44.99."""
        components = [KitComponent(sku=sku, quantity=count) for sku, count in units_per_kit.items()]
        kit = Product(sku=kit_sku, title=f"The {kit_sku}", unit_price_cents=4_499, components=components)
        await self.ask("sync", ProductRegistrationRequested(products=[kit]))
        listing = Listing(sku=kit_sku, external_listing_id=f"listing-{kit_sku}")
        await self.ask("sync", ListingRegistrationRequested(channel=CHANNEL, listings=[listing]))

    async def hold(self, units: dict[str, int]) -> UUID:
        """The channel keeps units for a shopper; returns the hold's id."""
        lines = [HoldLine(sku=sku, quantity=count) for sku, count in units.items()]
        wish = ChannelHoldRequested(hold_id=new_id(), channel=CHANNEL, lines=lines, ttl_seconds=3_600)
        await self.loopback.hear_from_partner(CHANNEL, wish)
        await self.loopback.settle()
        return wish.hold_id

    async def buy(self, name: str, units: dict[str, int], *, hold_id: UUID | None = None) -> UUID:
        """A paid order comes in from the channel; returns its id with us."""
        order = ChannelOrderReceived(
            channel=CHANNEL,
            external_id=name,
            paid_at=self.loopback.now() - timedelta(minutes=1),
            currency="USD",
            lines=[
                ChannelOrderLine(external_line_id=str(number), sku=sku, quantity=count, unit_price_cents=1_999, tax_cents=137)
                for number, (sku, count) in enumerate(units.items(), start=1)
            ],
            shipping_paid_cents=595,
            ship_to=Address(name="A. Shopper", line1="1 Main St", city="Reno", region="NV", postal_code="89502", country="US"),
            customer=Customer(email=f"{name}@example.com"),
            hold_id=hold_id,
        )
        await self.loopback.hear_from_partner(CHANNEL, order)
        await self.loopback.settle()
        order_id: UUID = await self.admin.fetchval("SELECT order_id FROM sync.channel_orders WHERE external_id = $1", name)
        assert order_id is not None, f"{name} was not placed: {await self.waiting()}"
        self.orders[name] = order_id
        return order_id

    async def waiting(self) -> list[tuple[str, str, str]]:
        """Messages that wait anywhere, with their reasons."""
        found = []
        for service in self.loopback.stations:
            rows = await self.admin.fetch(f"SELECT type, reason FROM {service}.inbox WHERE status <> 'done'")  # noqa: S608
            found += [(service, row["type"], row["reason"]) for row in rows]
        return found

    def picks(self) -> list[FulfillmentRequested]:
        """What the 3PL has been asked since it was last looked at."""
        found = [mail.message for mail in self.loopback.partner_mail if isinstance(mail.message, FulfillmentRequested)]
        self.loopback.partner_mail.clear()
        return found

    async def from_warehouse(self, message: Message) -> None:
        """The 3PL answers."""
        await self.loopback.hear_from_partner(PARTNER, message)
        await self.loopback.settle()

    async def ship_everything(self, picks: Sequence[FulfillmentRequested]) -> None:
        """The 3PL does as it is asked."""
        for pick in picks:
            await self.from_warehouse(ThirdPartyAccepted(fulfillment_id=pick.fulfillment_id, accepted_at=self.loopback.now()))
            await self.from_warehouse(
                ThirdPartyShipped(
                    fulfillment_id=pick.fulfillment_id,
                    carrier=pick.carrier,
                    tracking_number=f"1Z{pick.fulfillment_id.hex[:12]}",
                    lines=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in pick.lines],
                    shipped_at=self.loopback.now(),
                )
            )
            await self.from_warehouse(ThirdPartyDelivered(fulfillment_id=pick.fulfillment_id, delivered_at=self.loopback.now()))

    async def send_back(self, name: str, units: dict[str, int]) -> UUID:
        """A return that must be approved; units by line."""
        request = ReturnAuthorisationRequested(
            return_id=new_id(),
            order_id=self.orders[name],
            actor=SHOPPER,
            lines=[ReturnLine(line_id=line_id, quantity=count, reason="changed_mind") for line_id, count in units.items()],
        )
        handled = await self.loopback.ask("returns", request)
        assert [type(item.data) for item in handled.messages] == [ReturnApproved], handled
        await self.loopback.settle()
        return request.return_id

    async def scan(self, return_id: UUID, sellable: dict[str, int], damaged: dict[str, int]) -> None:
        """The warehouse opens the parcel."""
        units = [ScannedUnits(line_id=line_id, quantity=count, condition="sellable") for line_id, count in sellable.items()]
        units += [ScannedUnits(line_id=line_id, quantity=count, condition="damaged") for line_id, count in damaged.items()]
        await self.ask(
            "returns", ReturnScanRequested(return_id=return_id, scan_id=new_id(), location="reno", operator="scanner-1", units=units)
        )

    async def live_a_day(self) -> None:
        """Shipped, split, short-picked, cancelled, edited, backordered, delayed, returned, and bought in a kit: something of everything."""
        await self.open_shop({"reno": {"MUG": 40, "LAMP": 10}, "newark": {"MUG": 10, "LAMP": 20, "CHAIR": 5, "RUG": 4}})
        await self.buy("plain", {"MUG": 3, "LAMP": 1})
        await self.buy("split", {"MUG": 2, "CHAIR": 1})
        await self.sell_kits("SET", MUG=2, LAMP=1)
        await self.buy("kit", {"SET": 2})
        await self.work_at_the_warehouse()

        await self.buy("cancelled", {"MUG": 2})
        await self.ask(
            "routing", OrderCancelRequested(order_id=self.orders["cancelled"], change_id=new_id(), actor=SHOPPER, reason="changed my mind")
        )
        await self.work_at_the_warehouse()
        await self.buy("waiting", {"CHAIR": 9})
        chairs = new_id()
        await self.ask(
            "allocation",
            SupplyScheduled(
                supply_id=chairs,
                location="newark",
                expected_at=self.loopback.now() + timedelta(days=9),
                lines=[SupplyLine(sku="CHAIR", quantity=50)],
            ),
        )
        await self.buy("edited", {"CHAIR": 3, "MUG": 4})
        await self.edit("edited", "1", 1)
        await self.work_at_the_warehouse()
        await self.delay(chairs)
        await self.buy("short", {"LAMP": 2})
        await self.short_pick(self.picks()[0])

        plain = await self.send_back("plain", {"1": 3})
        await self.scan(plain, {"1": 1}, {"1": 1})
        await self.send_back("split", {"2": 1})
        await self.keep_units()

    async def keep_units(self) -> None:
        """Safety stock, a fence for the channel, a hold that became an order and one that stands, and an order beyond the cap."""
        operator = {"reason": "campaign", "operator": "kim"}
        await self.ask("allocation", StockSafetyRequested(change_id=new_id(), sku="LAMP", location="reno", safety_units=2, **operator))
        await self.ask(
            "allocation", ChannelPoolRequested(change_id=new_id(), sku="LAMP", channel=CHANNEL, fence_units=6, cap_units=8, **operator)
        )
        await self.buy("held", {"LAMP": 2}, hold_id=await self.hold({"LAMP": 3}))
        await self.work_at_the_warehouse()
        await self.hold({"LAMP": 1, "MUG": 1})
        await self.ask("allocation", ChannelPoolRequested(change_id=new_id(), sku="RUG", channel=CHANNEL, cap_units=1, **operator))
        await self.buy("capped", {"RUG": 2})

    async def delay(self, supply_id: UUID) -> None:
        """The chairs are late by two months: the customer of ``waiting`` says nothing yet, that of ``declined`` does not want to wait."""
        await self.buy("declined", {"CHAIR": 1})
        later = self.loopback.now() + timedelta(days=70)
        await self.ask("allocation", SupplyRescheduled(supply_id=supply_id, change_id=new_id(), expected_at=later))
        await self.answer_delay("declined", "no")

    async def answer_delay(self, name: str, word: Literal["yes", "no"]) -> None:
        """What a customer says to the newest question."""
        consent_id = await self.admin.fetchval("SELECT consent_id FROM routing.orders WHERE order_id = $1", self.orders[name])
        assert consent_id is not None, f"the customer of {name} was asked nothing"
        answer = OrderDelayAnswered(
            order_id=self.orders[name], consent_id=consent_id, answer=word, actor=SHOPPER, answered_at=self.loopback.now()
        )
        await self.ask("routing", answer)

    async def edit(self, name: str, line_id: str, quantity: int) -> None:
        """The shopper wants fewer."""
        await self.ask(
            "routing",
            OrderEditRequested(
                order_id=self.orders[name],
                change_id=new_id(),
                actor=SHOPPER,
                line_changes=[LineChange(line_id=line_id, quantity=quantity)],
            ),
        )

    async def stop_what_shall_stop(self) -> set[UUID]:
        """The 3PL agrees to every request to stop; returns which fulfillments those were."""
        stopped = {
            mail.message.fulfillment_id for mail in self.loopback.partner_mail if isinstance(mail.message, FulfillmentCancelRequested)
        }
        for fulfillment_id in sorted(stopped):
            await self.from_warehouse(ThirdPartyCancelAccepted(fulfillment_id=fulfillment_id, answered_at=self.loopback.now()))
        return stopped

    async def work_at_the_warehouse(self) -> None:
        """Stops what shall stop, ships what is asked for."""
        stopped = await self.stop_what_shall_stop()
        await self.ship_everything([pick for pick in self.picks() if pick.fulfillment_id not in stopped])

    async def short_pick(self, pick: FulfillmentRequested) -> None:
        """One unit is not on its shelf; the rest ships."""
        await self.from_warehouse(ThirdPartyAccepted(fulfillment_id=pick.fulfillment_id, accepted_at=self.loopback.now()))
        line = pick.lines[0]
        await self.from_warehouse(
            ThirdPartyShortPicked(
                fulfillment_id=pick.fulfillment_id,
                missing=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=1)],
                picked_at=self.loopback.now(),
            )
        )
        await self.from_warehouse(
            ThirdPartyShipped(
                fulfillment_id=pick.fulfillment_id,
                carrier=pick.carrier,
                tracking_number="1Zshort",
                lines=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity - 1)],
                shipped_at=self.loopback.now(),
            )
        )


@asynccontextmanager
async def open_world(databases: Databases, folder: Path) -> AsyncIterator[World]:
    """Opens the services and the channel; nothing has happened yet."""
    runner = web.AppRunner(Simulator("tests").application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    partners = folder / "partners.json"
    shop = {"code": CHANNEL, "base_url": f"http://127.0.0.1:{runner.addresses[0][1]}/{CHANNEL}", "requests_per_second": 1_000}
    partners.write_text(json.dumps({"channels": [shop], "third_party_logistics": [{"code": PARTNER}]}))
    more: dict[str, Any] = {"partners_file": partners, "link_secret": "x" * 32}
    try:
        async with open_loopback(databases, [SYNC, ALLOCATION, ROUTING, RETURNS, PORTAL], **more) as loopback:
            yield World(loopback, databases.admin_url, await databases.connect_as_admin())
    finally:
        await runner.cleanup()

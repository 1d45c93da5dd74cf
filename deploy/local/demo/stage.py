"""What scenes are played with: orders placed by a channel's broker user, and questions asked until the answer is what it must be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

from deploy.local.demo.counterparts import PAUSE_SECONDS, Json, Operator, Simulators
from shared.contracts.channels import ChannelOrderLine, ChannelOrderReceived
from shared.contracts.envelope import new_id
from shared.contracts.holds import ChannelHoldAnswered, ChannelHoldRequested, HoldLine
from shared.contracts.orders import Address, Customer, Segment
from shared.errors import OrdermeshError
from simulators.adapter.geography import draw_place
from simulators.adapter.publisher import ChannelAdapter, Sent, say_as_partner
from simulators.adapter.replay import SourceOrder, order_content

PRICE_CENTS = 2_000
PATIENCE_SECONDS = 30.0
"""How long a scene waits for what must happen before its outcome counts as wrong."""

AnswerT = TypeVar("AnswerT")


class UnexpectedOutcomeError(OrdermeshError):
    """A scene did not end as it must; the text says what did not happen."""


@dataclass(slots=True)
class Stage:
    """Everybody whom a scene needs. ``sent`` are the orders that scenes have placed."""

    operator: Operator
    simulators: Simulators
    adapter: ChannelAdapter
    channel_url: str
    seed: int
    patience_seconds: float = PATIENCE_SECONDS
    sent: list[Sent] = field(default_factory=list)
    _publishing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def place(
        self,
        external_id: str,
        wanted: Sequence[tuple[str, int]],
        *,
        segment: Segment = "dtc",
        hold_id: UUID | None = None,
        household: str | None = None,
    ) -> UUID:
        """A paid order comes in; returns its id once the portal shows it. Orders of one household go to one place."""
        order = self._order(external_id, wanted, segment, hold_id, household or external_id)
        source = SourceOrder(self.adapter.code, external_id, order.paid_at, order_content(order))
        async with self._publishing:
            self.sent += await self.adapter.publish([source])
        order_id = await self.operator.find_order(external_id, self.adapter.code)
        if order_id is None:
            raise UnexpectedOutcomeError(f"order {external_id} never arrived at the portal")
        return order_id

    def _order(
        self,
        external_id: str,
        wanted: Sequence[tuple[str, int]],
        segment: Segment,
        hold_id: UUID | None,
        household: str,
    ) -> ChannelOrderReceived:
        place = draw_place(Random(f"scenes {self.seed} {household}"))
        return ChannelOrderReceived(
            channel=self.adapter.code,
            external_id=external_id,
            paid_at=datetime.now(UTC),
            currency="USD",
            segment=segment,
            lines=[
                ChannelOrderLine(external_line_id=str(number), sku=sku, quantity=quantity, unit_price_cents=PRICE_CENTS)
                for number, (sku, quantity) in enumerate(wanted, start=1)
            ],
            ship_to=Address(
                name="Sam Scene", line1="1 Stage Road", city=place.city, region=place.state, postal_code=place.postal_code, country="US"
            ),
            customer=Customer(email=f"{external_id}@example.com", name=None, locale="en-US"),
            hold_id=hold_id,
        )

    async def hold(self, sku: str, quantity: int, ttl_seconds: int) -> ChannelHoldAnswered:
        """A shopper goes to the checkout: the channel asks over its queue, and is answered in its queue, what is kept."""
        hold_id = new_id()
        request = ChannelHoldRequested(
            hold_id=hold_id, channel=self.adapter.code, lines=[HoldLine(sku=sku, quantity=quantity)], ttl_seconds=ttl_seconds
        )
        await say_as_partner(self.channel_url, self.adapter.code, request)

        async def answers() -> list[ChannelHoldAnswered]:
            return self.adapter.hold_answers.get(hold_id, [])

        return (await self.until("the channel is told what its hold holds", answers, bool))[0]

    async def order(self, order_id: UUID) -> Json:
        """The order as the operator's API shows it."""
        return (await self.operator.ask("GET", f"/api/orders/{order_id}")).body

    async def stock(self, sku: str) -> Json:
        """The stock of a SKU as the operator's API shows it."""
        return (await self.operator.ask("GET", f"/api/stock/{quote(sku, safe='')}")).body

    async def until(self, what: str, ask: Callable[[], Awaitable[AnswerT]], is_right: Callable[[AnswerT], bool]) -> AnswerT:
        """Asks until the answer is right, and returns it.

        Raises:
            UnexpectedOutcomeError: it never was.
        """
        deadline = time.monotonic() + self.patience_seconds
        while not is_right(answer := await ask()):
            if time.monotonic() > deadline:
                raise UnexpectedOutcomeError(f"this did not happen within {self.patience_seconds:.0f} s: {what}")
            await asyncio.sleep(PAUSE_SECONDS)
        return answer

    async def until_order(self, what: str, order_id: UUID, is_right: Callable[[Json], bool]) -> Json:
        """Waits until an order is as it must be."""
        return await self.until(what, lambda: self.order(order_id), is_right)

    async def until_waiting(self, what: str, order_id: UUID, sku: str, units: int) -> Json:
        """Waits until so many units of an order stand in the queue."""
        return await self.until_order(what, order_id, lambda order: queued_units(order, sku) == units)

    async def until_shipped(self, what: str, order_id: UUID, sku: str, units: int) -> Json:
        """Waits until so many units of an order have left."""
        return await self.until_order(what, order_id, lambda order: shipped_units(order, sku) == units)

    async def still_waiting(self, what: str, order_id: UUID, sku: str, units: int) -> None:
        """Checks that so many units of an order stand in the queue now."""
        found = queued_units(await self.order(order_id), sku)
        check(found == units, f"{what}: {units} units of it must wait, {found} do")


def check(is_right: bool, what: str) -> None:
    """Raises UnexpectedOutcomeError with ``what`` unless it is right."""
    if not is_right:
        raise UnexpectedOutcomeError(what)


def queued_units(order: Json, sku: str) -> int | None:
    """Units of an order that wait for stock; None while allocation does not know the order."""
    return _units(order, sku, "queued_units")


def shipped_units(order: Json, sku: str) -> int | None:
    """Units of an order that have left; None while allocation does not know the order."""
    return _units(order, sku, "shipped_units")


def _units(order: Json, sku: str, kind: str) -> int | None:
    lines = [line for line in (order.get("stock") or {}).get("lines", ()) if line["sku"] == sku]
    return sum(line[kind] for line in lines) if lines else None


def delay_mails(order: Json) -> int:
    """Mails about a delay that the customer was sent."""
    return sum(mail["kind"] == "delay" and mail["status"] == "sent" for mail in order.get("notifications", ()))

"""The orders that are measured: three lines of one unit, SKUs drawn evenly from the whole catalogue, real ZIP codes drawn by population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

from benchmarks.catalogue import envelope, for_one, sku_number
from shared.contracts.base import INBOUND_EXCHANGE
from shared.contracts.channels import ChannelOrderReceived
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.registry import routing_key_of
from shared.messaging.pipelining import Publication
from simulators.adapter.geography import draw_place

LINES = 3


def draw_skus(random: Random, skus: int, *, hot: bool) -> list[str]:
    """Three different SKUs; with ``hot`` the first is the one that every order wants."""
    if hot:
        return [sku_number(0), *(sku_number(position) for position in random.sample(range(1, skus), LINES - 1))]
    return [sku_number(position) for position in random.sample(range(skus), LINES)]


def _address(random: Random) -> dict[str, Any]:
    place = draw_place(random)
    return {
        "name": "Ada Shopper",
        "line1": f"{random.randint(1, 9_899)} Main St",
        "city": place.city,
        "region": place.state,
        "postal_code": place.postal_code,
        "country": "US",
    }


def placed_order(random: Random, skus: Sequence[str], external_id: str) -> tuple[UUID, Publication]:
    """One canonical order for allocation's queue, as sync would publish it, with its id."""
    order_id = new_id()
    order = OrderPlaced.model_validate(
        {
            "order_id": order_id,
            "channel": "webshop",
            "external_id": external_id,
            "placed_at": datetime.now(UTC).isoformat(),
            "currency": "USD",
            "segment": "dtc",
            "lines": [
                {
                    "line_id": str(line),
                    "sku": sku,
                    "title": f"Thing number {sku}",
                    "quantity": 1,
                    "unit_price_cents": 2_000,
                    "tax_cents": 145,
                    "unit_weight_grams": 700,
                }
                for line, sku in enumerate(skus, start=1)
            ],
            "shipping_paid_cents": 595,
            "ship_to": _address(random),
            "customer": {"email": f"{external_id}@example.com"},
        }
    )
    return order_id, for_one("allocation", order, subject=str(order_id))


def placed_orders(count: int, skus: int, *, hot: bool, seed: int) -> list[Publication]:
    """Canonical orders of three lines."""
    random = Random(f"placed orders {seed} {hot}")
    return [placed_order(random, draw_skus(random, skus, hot=hot), f"bench-{seed}-{number}")[1] for number in range(count)]


@dataclass(frozen=True, slots=True)
class ChannelOrder:
    """One paid order, ready for the wire."""

    channel: str
    external_id: str
    publication: Publication


def channel_orders(count: int, prefix: str, channels: Sequence[str], skus: int) -> list[ChannelOrder]:
    """Paid orders as the channels' adapters put them on the wire, from the channels in turn."""
    random = Random(f"channel orders {prefix}")
    found = []
    for number in range(count):
        channel, external_id = channels[number % len(channels)], f"{prefix}-{number}"
        order = ChannelOrderReceived.model_validate(
            {
                "channel": channel,
                "external_id": external_id,
                "paid_at": datetime.now(UTC).isoformat(),
                "currency": "USD",
                "lines": [
                    {"external_line_id": str(line), "sku": sku, "quantity": 1, "unit_price_cents": 2_000, "tax_cents": 145}
                    for line, sku in enumerate(draw_skus(random, skus, hot=False), start=1)
                ],
                "shipping_paid_cents": 595,
                "ship_to": _address(random),
                "customer": {"email": f"{external_id}@example.com"},
            }
        )
        body = envelope(order, source=f"channel.{channel}")
        found.append(
            ChannelOrder(channel, external_id, Publication(INBOUND_EXCHANGE, routing_key_of(type(order), channel), body, order.type))
        )
    return found

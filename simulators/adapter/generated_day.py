"""A day of orders that nobody placed, drawn from a seed: real US ZIP codes, a few SKUs that sell most, realistic baskets.

A labelled few per cent are deliberately wrong (unknown SKU, negative quantity, delivered twice, delivered twice with different content), as
adapters do produce them, so that a run shows what becomes of each.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

from shared.contracts.channels import ChannelOrderLine, ChannelOrderReceived, Promise
from shared.contracts.orders import Address, Customer, Segment, ServiceLevel, SplitPolicy
from simulators.adapter.geography import Place, draw_place
from simulators.adapter.replay import CatalogueItem, Label, Replay, SourceOrder, order_content

DEFAULT_ORDERS = 1_500
ORDERS_PER_SKU = 4
"""How many SKUs the shop has: one for so many orders, at least fifty."""
ZIPF_EXPONENT = 0.95
"""The SKU of rank r sells in proportion to 1 / r ** this: a few sell most, most sell a little."""

BASKET_LINES = {1: 0.50, 2: 0.23, 3: 0.12, 4: 0.06, 5: 0.04, 6: 0.025, 7: 0.015, 8: 0.01}
UNITS_OF_A_LINE = {1: 0.80, 2: 0.13, 3: 0.05, 4: 0.02}
SEGMENTS: dict[Segment, float] = {"dtc": 0.89, "wholesale": 0.06, "retail": 0.05}
SERVICE_LEVELS: dict[ServiceLevel, float] = {"standard": 0.80, "two_day": 0.15, "next_day": 0.05}
SPLIT_POLICIES: dict[SplitPolicy, float] = {"ship_available": 0.86, "hold_all": 0.14}
ORDERS_BY_HOUR = (14, 9, 6, 5, 5, 8, 15, 26, 40, 52, 60, 63, 62, 60, 58, 57, 57, 58, 61, 66, 68, 60, 42, 25)
"""How busy each hour (UTC-5) of an ordinary shop's day is, relative to each other."""
WRONG_SHARE: dict[Label, float] = {"unknown_sku": 0.006, "negative_quantity": 0.004, "duplicate": 0.02, "conflicting_duplicate": 0.004}

FIRST_NAMES = (
    "Ana",
    "Ben",
    "Chloe",
    "Dev",
    "Elif",
    "Femi",
    "Grace",
    "Hugo",
    "Iris",
    "Jonas",
    "Kaya",
    "Liam",
    "Mina",
    "Noor",
    "Omar",
    "Pia",
)
LAST_NAMES = (
    "Abbott",
    "Brooks",
    "Castro",
    "Diaz",
    "Evans",
    "Fischer",
    "Gupta",
    "Hughes",
    "Ito",
    "Jensen",
    "Khan",
    "Lopez",
    "Meyer",
    "Novak",
)
STREETS = ("Oak St", "Maple Ave", "2nd St", "Cedar Ln", "Park Ave", "Lake Dr", "Hill Rd", "Main St", "Elm St", "Washington Blvd")
ADJECTIVES = ("Amber", "Basalt", "Cedar", "Dune", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper", "Kelp", "Linen")
NOUNS = ("Mug", "Lamp", "Blanket", "Backpack", "Kettle", "Notebook", "Sneaker", "Speaker", "Candle", "Jacket", "Planter", "Bottle")


@dataclass(frozen=True, slots=True)
class _Shop:
    items: tuple[CatalogueItem, ...]
    popularity: tuple[float, ...]
    """Running sums of the weights, for drawing."""


def generate_day(*, seed: int, channels: Sequence[str], orders: int = DEFAULT_ORDERS, day: datetime | None = None) -> Replay:
    """The same arguments give the same day, order by order.

    Args:
        seed: what everything is drawn from.
        channels: the codes of the channels that sell; the first sells most.
        orders: good orders; the deliberately wrong deliveries come on top.
        day: midnight UTC-5 of the day; the first of March 2026 when not given.
    """
    random = Random(f"generated day {seed}")
    shop = _open_shop(random, max(50, orders // ORDERS_PER_SKU))
    start = day or datetime(2026, 3, 1, 5, tzinfo=UTC)
    arrivals = sorted(_draw_arrival(random, start) for _ in range(orders))
    deliveries: list[SourceOrder] = []
    for number, paid_at in enumerate(arrivals, start=1):
        order = _draw_order(random, shop, channels, f"{seed}-{number:06d}", paid_at)
        deliveries.append(order)
        deliveries += _go_wrong(random, order)
    deliveries.sort(key=lambda order: order.arrives_at)
    return Replay(
        name=f"generated day, seed {seed}",
        currency="USD",
        orders=deliveries,
        withdrawals=[],
        catalogue=shop.items,
        account=None,
        assumptions=["Orders, customers and products are generated; ZIP codes are real."],
    )


def _open_shop(random: Random, skus: int) -> _Shop:
    items = []
    for number in range(1, skus + 1):
        price_cents = min(49_900, max(300, round(random.lognormvariate(3.2, 0.7)) * 100)) - 1
        items.append(
            CatalogueItem(
                sku=f"{random.choice(NOUNS)[:3].upper()}-{number:05d}",
                title=f"{random.choice(ADJECTIVES)} {random.choice(NOUNS)}",
                unit_price_cents=price_cents,
                unit_weight_grams=min(20_000, max(40, round(random.lognormvariate(6.3, 0.8)))),
                hazmat=random.random() < 0.03,
            )
        )
    return _Shop(tuple(items), tuple(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, skus + 1))))


def _draw_arrival(random: Random, start: datetime) -> datetime:
    hour = random.choices(range(24), weights=ORDERS_BY_HOUR)[0]
    return start + timedelta(hours=hour, milliseconds=random.randrange(3_600_000))


def _pick(random: Random, shares: dict[Any, float]) -> Any:
    return random.choices(list(shares), weights=list(shares.values()))[0]


def _draw_order(random: Random, shop: _Shop, channels: Sequence[str], external_id: str, paid_at: datetime) -> SourceOrder:
    channel = random.choices(channels, weights=[1 / (rank + 1) for rank in range(len(channels))])[0]
    segment: Segment = _pick(random, SEGMENTS)
    place = draw_place(random)
    chosen: dict[str, CatalogueItem] = {}
    for item in random.choices(shop.items, cum_weights=shop.popularity, k=_pick(random, BASKET_LINES)):
        chosen[item.sku] = item
    lines = [_draw_line(random, number, item, segment) for number, item in enumerate(chosen.values(), start=1)]
    merchandise_cents = sum(line.quantity * line.unit_price_cents for line in lines)
    level: ServiceLevel = _pick(random, SERVICE_LEVELS) if segment == "dtc" else "standard"
    order = ChannelOrderReceived(
        channel=channel,
        external_id=external_id,
        paid_at=paid_at,
        currency="USD",
        segment=segment,
        lines=lines,
        shipping_paid_cents={"standard": 0 if merchandise_cents >= 5_000 else 595, "two_day": 1_295, "next_day": 2_495}[level],
        promise=Promise(service_level=level),
        ship_to=_draw_address(random, place),
        customer=_draw_customer(random, external_id),
        split_policy=_pick(random, SPLIT_POLICIES),
    )
    return SourceOrder(channel, external_id, paid_at, order_content(order))


def _draw_line(random: Random, number: int, item: CatalogueItem, segment: Segment) -> ChannelOrderLine:
    quantity: int = random.randint(6, 24) if segment == "wholesale" else _pick(random, UNITS_OF_A_LINE)
    price_cents = item.unit_price_cents * 6 // 10 if segment == "wholesale" else item.unit_price_cents
    tax_cents = 0 if segment == "wholesale" else round(price_cents * quantity * 0.0725)
    return ChannelOrderLine(
        external_line_id=str(number), sku=item.sku, quantity=quantity, unit_price_cents=price_cents, tax_cents=tax_cents
    )


def _draw_address(random: Random, place: Place) -> Address:
    return Address(
        name=f"{random.choice(FIRST_NAMES)} {random.choice(LAST_NAMES)}",
        line1=f"{random.randint(1, 9_899)} {random.choice(STREETS)}",
        city=place.city,
        region=place.state,
        postal_code=place.postal_code,
        country="US",
    )


def _draw_customer(random: Random, external_id: str) -> Customer:
    number = random.randrange(100_000)
    return Customer(email=f"customer-{number}@example.com", name=None, locale="en-US" if int(external_id[-1]) else "es-US")


def _go_wrong(random: Random, order: SourceOrder) -> list[SourceOrder]:
    """The wrong deliveries that an adapter makes of, or beside, a good order."""
    later = order.arrives_at + timedelta(minutes=random.randint(1, 90))
    labels = [label for label, share in WRONG_SHARE.items() if random.random() < share]
    return [_spoil(order, label, later) for label in labels]


def _spoil(order: SourceOrder, label: Label, arrives_at: datetime) -> SourceOrder:
    """A second delivery under the same external id, or an order of its own that cannot be taken."""
    content = copy.deepcopy(order.content)
    line = content["lines"][0]
    if label in ("unknown_sku", "negative_quantity"):
        content["external_id"] = f"{order.external_id}-{label.replace('_', '-')}"
    if label == "unknown_sku":
        line["sku"] = f"NO-SUCH-{line['sku']}"
    elif label == "negative_quantity":
        line["quantity"] = -line["quantity"]
    elif label == "conflicting_duplicate":
        line["quantity"] += 1
    return SourceOrder(order.channel, content["external_id"], arrives_at, content, label)

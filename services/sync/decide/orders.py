"""Is this inbound order new, valid, and ours? (feature F1; blueprint section 1)"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

from services.sync.decide.currencies import ACTIVE_CURRENCIES
from services.sync.decide.senders import problems_of_sender
from services.sync.decide.texts import problems_of_address
from shared.contracts.channels import ChannelOrderReceived, ChannelOrderRejected, FieldProblem
from shared.contracts.orders import ComponentProduct, OrderLine, OrderPlaced
from shared.kits import Kit, lines_of, oversized_component, price_units
from shared.text import is_storable

PROBLEMS_LIMIT = 100
"""As many as ``channel.order_rejected`` can carry."""

EARLIEST_PAID_AT = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_DATE = datetime(2200, 1, 1, tzinfo=UTC)
CLOCK_TOLERANCE = timedelta(days=1)
"""How far ahead of ours a channel's clock may be."""

MOST_LINES = 2_000
"""As many as ``order.placed`` can carry."""

LARGEST_ORDER_CENTS = 100_000_000_00
"""The largest amount that a refund message can carry; an order worth more could not be paid back."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US_ZIP_CODE = re.compile(r"[0-9]{5}(-[0-9]{4})?")
_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

OrderKey: TypeAlias = tuple[str, str]
"""(channel, external id): what makes an order one order for ever."""


@dataclass(frozen=True, slots=True)
class Article:
    """What the product master knows of a SKU, and whether one channel lists it. A kit has components."""

    title: str
    unit_weight_grams: int
    hazmat: bool
    listed: bool
    components: Sequence[ComponentProduct] = ()
    unit_volume_cubic_centimetres: int = 0


Catalogue: TypeAlias = Mapping[tuple[str, str], Article]
"""By (channel, SKU)."""


def key_of(order: ChannelOrderReceived) -> OrderKey:
    """Which order this message speaks of."""
    return (order.channel, order.external_id)


def captured_cents(order: ChannelOrderReceived) -> int:
    """What the customer paid, tax and shipping included: no more than this may ever go back."""
    return order.shipping_paid_cents + sum(line.quantity * line.unit_price_cents + line.tax_cents for line in order.lines)


def _canonical(value: Any) -> Any:
    """Instants as microseconds since 1970, so that the same moment in two offsets is the same content; ids in their one spelling."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def content_digest(order: ChannelOrderReceived) -> bytes:
    """SHA-256 of what the order says, however it was written down.

    The order of lines, the offset of times, and whether a default was spelled out make no difference; neither do fields that a later
    version of the contract adds as optional, as long as they are not used.
    """
    content = order.model_dump(exclude_defaults=True)
    content["lines"] = sorted(content["lines"], key=lambda line: str(line["external_line_id"]))
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_canonical).encode()).digest()


def content_event_id(order: ChannelOrderReceived) -> UUID:
    """The event id of an order that came without one: the same content has the same id, so its repetition is a duplicate."""
    return uuid5(NAMESPACE_URL, f"ordermesh:{order.channel}\n{order.external_id}\n{content_digest(order).hex()}")


def problems_of_order(order: ChannelOrderReceived, *, partner: str | None, catalogue: Catalogue, now: datetime) -> list[FieldProblem]:
    """Everything wrong with an order that its contract cannot see; empty when it may be placed.

    Args:
        order: what the channel sent.
        partner: the code that the broker or the webhook's signature vouches for; None when an operator places the order.
        catalogue: what is known of every SKU of the order on its channel.
        now: our clock.
    """
    problems = problems_of_sender(order, partner, "send")
    if order.currency not in ACTIVE_CURRENCIES:
        problem = f"{order.currency!r} is no currency that is in use (ISO 4217)"
        problems.append(FieldProblem(field="currency", problem=problem, remedy="send the code of the currency that was paid, such as USD"))
    problems += problems_of_address(order.ship_to)
    if order.ship_to.country == "US" and not _US_ZIP_CODE.fullmatch(order.ship_to.postal_code.strip()):
        # The code itself is part of an address and is not repeated: reasons are logged.
        remedy = "send five digits or ZIP+4, such as 89501 or 89501-1234; leading zeros count"
        problems.append(FieldProblem(field="ship_to.postal_code", problem="is no US ZIP code", remedy=remedy))
    problems += _problems_of_dates(order, now)
    if (total := captured_cents(order)) > LARGEST_ORDER_CENTS:
        problem = f"the order is worth {total} cents, the largest amount is {LARGEST_ORDER_CENTS}"
        problems.append(FieldProblem(field="lines", problem=problem, remedy="split the order"))
    problems += _problems_of_lines(order, catalogue)
    return problems[:PROBLEMS_LIMIT]


def _problems_of_dates(order: ChannelOrderReceived, now: datetime) -> list[FieldProblem]:
    problems = []
    if order.paid_at > now + CLOCK_TOLERANCE:
        problem = "lies more than a day in the future"
        problems.append(FieldProblem(field="paid_at", problem=problem, remedy="send the moment the order was paid, with its offset"))
    if order.paid_at < EARLIEST_PAID_AT:
        problem = "lies before the year 2000"
        problems.append(FieldProblem(field="paid_at", problem=problem, remedy="send the moment the order was paid, with its offset"))
    deliver_by = order.promise.deliver_by
    if deliver_by is not None and deliver_by < order.paid_at:
        problem = "lies before paid_at"
        problems.append(FieldProblem(field="promise.deliver_by", problem=problem, remedy="promise a later date, or only a service level"))
    if deliver_by is not None and deliver_by > LATEST_DATE:
        problem = "lies beyond the year 2200"
        problems.append(FieldProblem(field="promise.deliver_by", problem=problem, remedy="promise a real date, or only a service level"))
    return problems


def _problems_of_lines(order: ChannelOrderReceived, catalogue: Catalogue) -> list[FieldProblem]:
    problems = []
    uses = Counter(line.external_line_id for line in order.lines)
    for position, line in enumerate(order.lines):
        if uses[line.external_line_id] > 1:
            problem = f"{line.external_line_id!r} names {uses[line.external_line_id]} lines"
            name = f"lines.{position}.external_line_id"
            problems.append(FieldProblem(field=name, problem=problem, remedy="give every line of an order its own id"))
        article = catalogue.get((order.channel, line.sku))
        if article is None:
            problem, remedy = f"SKU {line.sku!r} is not known", "register the product, then send the order again or re-drive it"
        elif not article.listed:
            problem = f"SKU {line.sku!r} is not listed on channel {order.channel!r}"
            remedy = "register the listing, then send the order again or re-drive it"
        elif (component := oversized_component(article.components, line.quantity)) is not None:
            problem = (
                f"{line.quantity} kits need {line.quantity * component.quantity} units of {component.sku!r}, more than a line may have"
            )
            problems.append(FieldProblem(field=f"lines.{position}.quantity", problem=problem, remedy="split the order"))
            continue
        else:
            continue
        problems.append(FieldProblem(field=f"lines.{position}.sku", problem=problem, remedy=remedy))
    if not problems and (count := _line_count(order, catalogue)) > MOST_LINES:
        problem = f"the kits of the order make it {count} lines, the most are {MOST_LINES}"
        problems.append(FieldProblem(field="lines", problem=problem, remedy="split the order"))
    return problems


def _line_count(order: ChannelOrderReceived, catalogue: Catalogue) -> int:
    """Lines of the canonical order, a kit counted by its components."""
    counts = ((line, catalogue[(order.channel, line.sku)].components) for line in order.lines)
    return sum(len(price_units(line.unit_price_cents, components)) if components else 1 for line, components in counts)


def judge_repetition(
    order: ChannelOrderReceived, problems: list[FieldProblem], digest: bytes, known_digest: bytes | None
) -> list[FieldProblem]:
    """What to say of an order that was not placed: nothing when it repeats one that was, its problems otherwise.

    Args:
        order: what the channel sent.
        problems: what is wrong with it in itself.
        digest: its content.
        known_digest: the content of the order already placed under the same key, if there is one.
    """
    if digest == known_digest:
        return []
    if known_digest is None:
        return problems
    contradiction = FieldProblem(
        field="external_id",
        problem=f"different content for external id {order.external_id!r}, which was already placed",
        remedy="ask for an edit or a cancellation of the placed order, or send a new order under a new external id",
    )
    return [contradiction, *problems][:PROBLEMS_LIMIT]


def canonical_order(order: ChannelOrderReceived, order_id: UUID, catalogue: Catalogue) -> OrderPlaced:
    """The order as everybody else sees it, with what the product master knows of each line; kits as the lines of their components."""
    taken = {line.external_line_id for line in order.lines}
    lines: list[OrderLine] = []
    for line in order.lines:
        article = catalogue[(order.channel, line.sku)]
        if article.components:
            bought = Kit(
                line.external_line_id, line.sku, article.title, line.quantity, line.unit_price_cents, line.tax_cents, article.components
            )
            parts = lines_of(bought, taken)
            taken |= {part.line_id for part in parts}
            lines += parts
            continue
        lines.append(
            OrderLine(
                line_id=line.external_line_id,
                sku=line.sku,
                title=article.title,
                quantity=line.quantity,
                unit_price_cents=line.unit_price_cents,
                tax_cents=line.tax_cents,
                unit_weight_grams=article.unit_weight_grams,
                unit_volume_cubic_centimetres=article.unit_volume_cubic_centimetres,
                hazmat=article.hazmat,
            )
        )
    return OrderPlaced(
        order_id=order_id,
        channel=order.channel,
        external_id=order.external_id,
        placed_at=order.paid_at,
        currency=order.currency,
        segment=order.segment,
        lines=lines,
        shipping_paid_cents=order.shipping_paid_cents,
        service_level=order.promise.service_level,
        deliver_by=order.promise.deliver_by,
        ship_to=order.ship_to,
        customer=order.customer,
        split_policy=order.split_policy,
        priority=order.priority,
        hold_id=order.hold_id,
    )


def rejection(
    *, channel: str | None, external_id: str | None, event_id: UUID | None, problems: list[FieldProblem], now: datetime
) -> ChannelOrderRejected | None:
    """What the adapter is told; None when nobody can be told because the code could not be a channel's."""
    if channel is None or not _CODE.fullmatch(channel):
        return None
    if external_id is not None and not is_storable(external_id):
        external_id = None
    return ChannelOrderRejected(
        channel=channel, external_id=external_id, event_id=event_id, problems=problems[:PROBLEMS_LIMIT], rejected_at=now
    )


def external_id_in(document: Any) -> str | None:
    """The external id of a message that could not be read as an order, as far as it can be made out."""
    data = document.get("data") if isinstance(document, dict) else None
    external_id = data.get("external_id") if isinstance(data, dict) else None
    return external_id if isinstance(external_id, str) and 0 < len(external_id) <= 120 else None

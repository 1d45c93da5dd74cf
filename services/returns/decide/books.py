"""The books of one order: what was paid for each line, and who has a claim on that money or on its units.

Captured money only ever moves between these places; the sum over an order stays what the customer paid:

- a line's ``captured_cents``: what the line's goods, and refunds already claimed from it, need;
- the order's ``unapportioned_cents``: what no line needs any more after an edit, until the refund of that edit takes it;
- ``shipping_captured_cents``: what was paid for shipping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.returns.decide.prices import value_of_first_units_cents
from shared.contracts.orders import OrderLine, OrderPlaced, Segment


@dataclass(frozen=True, slots=True)
class Policy:
    """What a segment's customers may send back. Days are whole days; ``label_days`` is how long a label can be used."""

    segment: Segment
    window_days: int
    label_days: int
    label_carrier: str
    return_address: str


def default_policy(segment: Segment) -> Policy:
    """What holds for a segment until an operator sets something else."""
    return Policy(segment, window_days=30, label_days=30, label_carrier="Prepaid parcel", return_address="Returns department")


@dataclass(frozen=True, slots=True)
class ShippedUnits:
    """Units of one line in one parcel."""

    quantity: int
    shipped_at: datetime
    delivered_at: datetime | None = None

    @property
    def window_starts_at(self) -> datetime:
        """The return window starts when the customer has the parcel; until we hear of that, when it left."""
        return self.delivered_at or self.shipped_at


@dataclass(frozen=True, slots=True)
class LineBooks:
    """One line. ``held_cents`` is quoted to returns that are on their way; the other claims are refunds by their cause.

    A refund that failed keeps its claim, because the money is still owed.
    """

    line_id: str
    sku: str
    title: str
    quantity: int
    unit_price_cents: int
    tax_cents: int
    captured_cents: int
    held_cents: int = 0
    returned_cents: int = 0
    cancelled_cents: int = 0
    edited_cents: int = 0
    open_units: int = 0
    received_units: int = 0
    shipped: tuple[ShippedUnits, ...] = ()

    @property
    def goods_cents(self) -> int:
        """What the line costs as it stands, tax included."""
        return self.value_cents(self.quantity)

    def value_cents(self, units: int) -> int:
        """What the first ``units`` of the line are worth."""
        return value_of_first_units_cents(self.unit_price_cents, self.tax_cents, self.quantity, units)

    @property
    def free_cents(self) -> int:
        """Captured money that nobody has claimed yet."""
        return self.captured_cents - self.held_cents - self.returned_cents - self.cancelled_cents - self.edited_cents

    @property
    def needed_cents(self) -> int:
        """What must stay captured here: the goods (or the claims on them, when those are higher) and what edits have already taken.

        The refund of a cancellation pays for goods that stay on the order as cancelled; the refund of an edit pays for goods that have
        left it.
        """
        return max(self.goods_cents, self.held_cents + self.returned_cents + self.cancelled_cents) + self.edited_cents

    @property
    def shipped_units(self) -> int:
        """Units that left for the customer."""
        return sum(parcel.quantity for parcel in self.shipped)

    @property
    def spoken_for_units(self) -> int:
        """Units that came back or may come back already."""
        return self.open_units + self.received_units


@dataclass(frozen=True, slots=True)
class OrderBooks:
    """One order; its database row is locked while these books are open."""

    order_id: UUID
    channel: str
    external_id: str
    currency: str
    policy: Policy
    placed_at: datetime
    lines_version: int
    captured_cents: int
    shipping_captured_cents: int
    lines: Mapping[str, LineBooks]
    shipping_refunded_cents: int = 0
    unapportioned_cents: int = 0
    cancelled_at: datetime | None = None
    changes: frozenset[UUID] = frozenset()

    def with_lines(self, lines: Iterable[LineBooks]) -> OrderBooks:
        """These books with some lines replaced or added."""
        return replace(self, lines={**self.lines, **{line.line_id: line for line in lines}})

    @property
    def refunded_cents(self) -> int:
        """All refunds asked for so far, whatever became of them."""
        lines = sum(line.returned_cents + line.cancelled_cents + line.edited_cents for line in self.lines.values())
        return lines + self.shipping_refunded_cents


def repeated_line(lines: Iterable[OrderLine]) -> str | None:
    """The first line id that names two lines, if there is one."""
    seen: set[str] = set()
    for line in lines:
        if line.line_id in seen:
            return line.line_id
        seen.add(line.line_id)
    return None


def open_books(order: OrderPlaced) -> OrderBooks:
    """The books of a new order: everything that was paid is captured where it was paid for."""
    lines = {}
    for line in order.lines:
        paid_cents = value_of_first_units_cents(line.unit_price_cents, line.tax_cents, line.quantity, line.quantity)
        lines[line.line_id] = LineBooks(
            line_id=line.line_id,
            sku=line.sku,
            title=line.title,
            quantity=line.quantity,
            unit_price_cents=line.unit_price_cents,
            tax_cents=line.tax_cents,
            captured_cents=paid_cents,
        )
    return OrderBooks(
        order_id=order.order_id,
        channel=order.channel,
        external_id=order.external_id,
        currency=order.currency,
        policy=default_policy(order.segment),
        placed_at=order.placed_at,
        lines_version=order.order_version,
        captured_cents=sum(line.captured_cents for line in lines.values()) + order.shipping_paid_cents,
        shipping_captured_cents=order.shipping_paid_cents,
        lines=lines,
    )

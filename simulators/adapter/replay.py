"""What an order source yields: orders to publish, wishes that follow them, a catalogue, and an account of every input row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.contracts.channels import ChannelOrderReceived

Label = Literal["good", "unknown_sku", "negative_quantity", "duplicate", "conflicting_duplicate"]
"""What is deliberately wrong with a generated order; orders from files are all ``good``: what is wrong there never becomes an order."""

REFUSED_LABELS: frozenset[Label] = frozenset({"unknown_sku", "negative_quantity", "conflicting_duplicate"})
"""The channel must get ``channel.order_rejected`` for these."""


@dataclass(frozen=True, slots=True)
class SourceOrder:
    """One delivery of one order by a channel. ``content`` is the contract's JSON, which is not valid for every label.

    ``arrives_at`` is when it is delivered in the replayed day; sources yield orders in this order.
    """

    channel: str
    external_id: str
    arrives_at: datetime
    content: dict[str, Any]
    label: Label = "good"

    @property
    def units(self) -> Counter[str]:
        """Units per SKU, counting only quantities that can be bought."""
        wanted: Counter[str] = Counter()
        for line in self.content["lines"]:
            if line["quantity"] > 0:
                wanted[line["sku"]] += line["quantity"]
        return wanted


@dataclass(frozen=True, slots=True)
class ReturnedUnits:
    """Units of one line that the file says came back; ``external_line_id`` names the line within its order."""

    external_line_id: str
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A cancellation in the input: all of an order (``whole``), or units of it, which then are a return."""

    channel: str
    external_id: str
    asked_at: datetime
    whole: bool
    units: tuple[ReturnedUnits, ...]
    reference: str


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """A product as far as the input knows it. ``weight_is_assumed`` when the input has no weights."""

    sku: str
    title: str
    unit_price_cents: int
    unit_weight_grams: int
    hazmat: bool = False
    weight_is_assumed: bool = False


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """An input row that is no part of an order: where it stands (as a spreadsheet numbers it), why, and what it says."""

    row: int
    reason: str
    detail: str


@dataclass(slots=True)
class RowAccount:
    """Every input row is in an order, in a withdrawal, or reported with a reason; ``check`` proves it."""

    rows_in: int = 0
    rows_in_orders: int = 0
    rows_in_withdrawals: int = 0
    reported: list[ReportedRow] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    """What was changed or assumed on rows that did become orders, by kind: nothing of it removes a row."""

    def report(self, row: int, reason: str, detail: str) -> None:
        """Sets a row aside."""
        self.reported.append(ReportedRow(row, reason, detail))

    @property
    def reported_by_reason(self) -> dict[str, int]:
        """How many rows each reason set aside, the most frequent first."""
        return dict(Counter(row.reason for row in self.reported).most_common())

    @property
    def unexplained(self) -> int:
        """Rows that nobody accounted for; anything but zero is a defect of the reader."""
        return self.rows_in - self.rows_in_orders - self.rows_in_withdrawals - len(self.reported)


@dataclass(frozen=True, slots=True)
class Replay:
    """One input, ready to be published."""

    name: str
    currency: str
    orders: Sequence[SourceOrder]
    withdrawals: Sequence[Withdrawal]
    catalogue: Sequence[CatalogueItem]
    account: RowAccount | None
    assumptions: Sequence[str]
    """What the input does not hold and was made up, in sentences for the report."""

    @property
    def channels(self) -> list[str]:
        """The channels that have orders, in alphabetical order."""
        return sorted({order.channel for order in self.orders})

    @property
    def good_orders(self) -> list[SourceOrder]:
        """The orders that must be taken."""
        return [order for order in self.orders if order.label == "good"]


def order_content(order: ChannelOrderReceived) -> dict[str, Any]:
    """A valid order as the JSON of its contract."""
    return order.model_dump(mode="json")


def demand_of(orders: Iterable[SourceOrder]) -> Counter[str]:
    """Units wanted per SKU."""
    wanted: Counter[str] = Counter()
    for order in orders:
        wanted.update(order.units)
    return wanted

"""An order as routing keeps it: what was bought, where every unit of it stands, and what it waits for.

Every unit of a line is in one place: shipped, cancelled, in a live fulfillment, unplanned (reserved by allocation and free to plan),
coming back (called off at a 3PL, allocation's word about it pending), or not covered yet. Allocation's messages come in any order, so the
counts of a moment may be below zero; their sum is right once all have come. Values are frozen; rules return changed copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.routing.decide.fulfillment import LIVE, STARTED, Fulfillment
from services.routing.decide.values import replace
from shared.contracts.orders import DelayOutcome, OrderLine, SplitPolicy

AttentionReason = Literal[
    "no_location_can_ship", "too_many_rejections", "third_party_silent", "unknown_postal_code", "overdue", "held_by_rule"
]


@dataclass(frozen=True, slots=True)
class PartOfKit:
    """What a line is of the kit that it was bought in; ``units`` of it are in one kit. All lines of a kit have the same ``line_id``."""

    line_id: str
    sku: str
    title: str
    units: int


@dataclass(frozen=True)
class Line:
    """One order line and where its units are. ``tax_cents`` is for the whole line."""

    line_id: str
    sku: str
    title: str
    quantity: int
    unit_price_cents: int
    tax_cents: int
    unit_weight_grams: int
    hazmat: bool
    unplanned: int = 0
    coming_back: int = 0
    shipped: int = 0
    cancelled: int = 0
    unit_volume_cubic_centimetres: int = 0
    """0: not known, and its weight alone counts."""
    kit: PartOfKit | None = None

    @property
    def open(self) -> int:
        """Units that the customer still expects."""
        return self.quantity - self.shipped - self.cancelled

    @property
    def plannable(self) -> int:
        """Units that may be planned now. A shortage that was told before the reservation it eats into counts against it."""
        return max(0, self.unplanned + min(0, self.coming_back))


@dataclass(frozen=True)
class Payment:
    """What an edit costs more than was paid; ``collected`` once the channel has it."""

    payment_id: UUID
    amount_cents: int
    collected: bool = False


@dataclass(frozen=True)
class Change:
    """The one open change of an order: it waits for its ``payment``, then for the word of these 3PLs. ``request`` is the command as it was
    asked."""

    change_id: UUID
    kind: Literal["cancel", "edit"]
    request: Mapping[str, Any]
    awaiting: frozenset[UUID]
    answer_due_at: datetime
    payment: Payment | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """Why a person must look, and by when."""

    reason: AttentionReason
    detail: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class StockWait:
    """Whom units wait for that no reservation covers: allocation's first word, or supply."""

    waiting_for: Literal["allocation", "stock"]
    until: datetime


@dataclass(frozen=True, slots=True)
class Promised:
    """When the waiting units of a line are to ship, and when allocation said so; None while there is no date."""

    ship_at: datetime | None
    told_at: datetime


@dataclass(frozen=True)
class Question:
    """The newest delay about which a customer may say something. It is open while it has a deadline and no outcome."""

    consent_id: UUID
    new_ship_at: datetime | None
    answer_by: datetime | None
    """None where silence agrees."""
    outcome: DelayOutcome | None = None
    settled_at: datetime | None = None


@dataclass(frozen=True)
class Order:
    """One order; its database row is locked while this value is worked on."""

    order_id: UUID
    order_version: int
    channel: str
    external_id: str
    placed_at: datetime
    currency: str
    segment: str
    service_level: Literal["standard", "two_day", "next_day"]
    deliver_by: datetime | None
    shipping_paid_cents: int
    split_policy: SplitPolicy
    ship_to: Mapping[str, Any]
    """A checked address, as JSON."""
    promise_from: datetime
    """When the promise of a service level began to count: placed, or when stock came for an order that had to wait."""
    lines: tuple[Line, ...]
    stock_wait: StockWait
    fulfillments: tuple[Fulfillment, ...] = ()
    assignable: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What allocation last said it could tie, per SKU with unplanned units, per location."""
    shipping_refunded_cents: int = 0
    """What edits gave back of shipping; ``shipping_paid_cents`` is without it."""
    excluded_locations: frozenset[str] = frozenset()
    rejections: int = 0
    refused_plans: int = 0
    plan_due_at: datetime | None = None
    coming_back_until: datetime | None = None
    """When allocation's word about units that came back is overdue."""
    change: Change | None = None
    attention: Attention | None = None
    promised: Mapping[str, Promised] = field(default_factory=dict)
    """What allocation last said of lines that wait for supply, per line id."""
    original_ship_at: datetime | None = None
    """The first shipping date that the customer was told; None while there was none, then the rule sets one (``decide/consent.py``)."""
    agreed_ship_at: datetime | None = None
    """The latest date that the customer has agreed to since; None before any delay beyond the original."""
    open_ended: bool = False
    """The customer has agreed to wait without a date."""
    question: Question | None = None
    holds_lifted: bool = False
    """An operator has let it go on: no rule holds it again."""
    status: str = "placed"
    waiting_for: str | None = None
    waiting_until: datetime | None = None
    due_at: datetime | None = None

    def line(self, line_id: str) -> Line | None:
        """The line of this id, if the order has it."""
        return next((line for line in self.lines if line.line_id == line_id), None)

    def fulfillment(self, fulfillment_id: UUID) -> Fulfillment:
        """The fulfillment of this id.

        Raises:
            KeyError: the order has none of this id.
        """
        for found in self.fulfillments:
            if found.fulfillment_id == fulfillment_id:
                return found
        raise KeyError(fulfillment_id)

    def with_fulfillment(self, changed: Fulfillment) -> Order:
        """The order with one fulfillment replaced."""
        return replace(
            self,
            fulfillments=tuple(changed if known.fulfillment_id == changed.fulfillment_id else known for known in self.fulfillments),
        )

    def with_lines(self, change: Callable[[Line, int], Line], units: Mapping[str, int]) -> Order:
        """The order with ``change`` applied to every line that ``units`` names."""
        return replace(self, lines=tuple(change(line, units[line.line_id]) if line.line_id in units else line for line in self.lines))

    @property
    def answer_by(self) -> datetime | None:
        """Until when its customer is asked whether to wait; None while nothing is asked that needs a yes."""
        return None if self.question is None or self.question.outcome is not None else self.question.answer_by

    @property
    def gives_up(self) -> bool:
        """Its open change cancels what its customer did not agree to wait for: that is put off by work that has started, never refused."""
        question = self.question
        return (
            self.change is not None
            and question is not None
            and question.consent_id == self.change.change_id
            and question.outcome in ("refused", "lapsed")
        )

    @property
    def is_cancelled(self) -> bool:
        """Nothing of it ships any more, and nothing did."""
        return all(line.open == 0 for line in self.lines) and not any(line.shipped for line in self.lines)

    @property
    def open_units(self) -> int:
        """Units that the customer still expects."""
        return sum(line.open for line in self.lines)


def line_of(ordered: OrderLine) -> Line:
    """A line as it was bought: nothing of it is anywhere yet."""
    kit = ordered.kit
    return Line(
        line_id=ordered.line_id,
        sku=ordered.sku,
        title=ordered.title,
        quantity=ordered.quantity,
        unit_price_cents=ordered.unit_price_cents,
        tax_cents=ordered.tax_cents,
        unit_weight_grams=ordered.unit_weight_grams,
        hazmat=ordered.hazmat,
        kit=None if kit is None else PartOfKit(kit.line_id, kit.sku, kit.title, kit.units_per_kit),
        unit_volume_cubic_centimetres=ordered.unit_volume_cubic_centimetres,
    )


def units_by_line(lines: Iterable[Any]) -> dict[str, int]:
    """Sums quantities per line id: a message may name a line twice."""
    units: dict[str, int] = {}
    for line in lines:
        units[line.line_id] = units.get(line.line_id, 0) + line.quantity
    return units


def live_units(order: Order) -> dict[str, int]:
    """Units per line that live fulfillments still have to ship."""
    units: dict[str, int] = {}
    for fulfillment in order.fulfillments:
        if fulfillment.state in LIVE:
            for line in fulfillment.lines:
                units[line.line_id] = units.get(line.line_id, 0) + line.left
    return units


def started_units(order: Order) -> dict[str, int]:
    """Units per line that a warehouse has started with and that have not left."""
    units: dict[str, int] = {}
    for fulfillment in order.fulfillments:
        if fulfillment.state in STARTED:
            for line in fulfillment.lines:
                units[line.line_id] = units.get(line.line_id, 0) + line.left
    return units


def uncovered_units(order: Order) -> int:
    """Units that no reservation covers, as far as we were told."""
    live = live_units(order)
    return sum(max(0, line.open - max(0, line.coming_back) - line.plannable - live.get(line.line_id, 0)) for line in order.lines)


def add_unplanned(line: Line, units: int) -> Line:
    """Units that may be planned now."""
    return replace(line, unplanned=line.unplanned + units)


def add_coming_back(line: Line, units: int) -> Line:
    """Units that a 3PL does not ship; allocation will say what becomes of them."""
    return replace(line, coming_back=line.coming_back + units)

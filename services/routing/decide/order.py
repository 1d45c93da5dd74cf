"""An order as routing keeps it: what was bought, where every unit of it stands, and what it waits for.

Every unit of a line is in one place: shipped, cancelled, in a live fulfillment, unplanned (reserved by allocation and free to plan),
coming back (called off at a 3PL, allocation's word about it pending), or not covered yet. Allocation's messages come in any order, so the
counts of a moment may be below zero; their sum is right once all have come. Values are frozen; rules return changed copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from services.routing.decide.capacity import SlotKey, keys_of
from services.routing.decide.values import replace
from shared.contracts.base import Message
from shared.contracts.fulfillment import OrderNeedsAttention
from shared.contracts.orders import DelayOutcome, OrderLine, SplitPolicy

AttentionReason = Literal[
    "no_location_can_ship", "too_many_rejections", "third_party_silent", "unknown_postal_code", "overdue", "held_by_rule"
]


class State(Enum):
    """Where a fulfillment order stands. The words of blueprint section 5 (status, request status) follow from it, see migrations."""

    PLANNED = "planned"
    """Chosen; allocation's word pending. The 3PL knows nothing of it."""
    SUBMITTED = "submitted"
    """Handed over; the 3PL has not answered."""
    ACCEPTED = "accepted"
    """The 3PL has started: the cutoff."""
    CANCELLING = "cancelling"
    """Asked to be called off, before the 3PL had accepted."""
    CANCEL_REFUSED = "cancel_refused"
    """The 3PL will ship it all the same."""
    INTERCEPTING = "intercepting"
    """Cancelled after the cutoff: its 3PL is asked to hold the parcel back."""
    INTERCEPT_FAILED = "intercept_failed"
    """It leaves although it was cancelled; then it may come back as a prepaid return."""
    INCOMPLETE = "incomplete"
    """Shipped without some units; whether they were missing is still to be told."""
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CALLED_OFF = "called_off"
    """The 3PL's word that it will not ship."""
    INTERCEPTED = "intercepted"
    """The parcel was held back; its units are on the shelf again."""
    REJECTED = "rejected"
    EMPTIED = "emptied"
    """Not one unit was found on the shelf."""
    WITHDRAWN = "withdrawn"
    """Dropped before the 3PL heard of it."""


STARTED = frozenset({State.ACCEPTED, State.CANCEL_REFUSED, State.INTERCEPTING, State.INTERCEPT_FAILED, State.INCOMPLETE})
"""Past the cutoff and still at work: nothing of the order may be changed freely."""
LIVE = STARTED | {State.PLANNED, State.SUBMITTED, State.CANCELLING}
"""States whose unshipped units still belong to the fulfillment."""
LEFT = frozenset({State.SHIPPED, State.INCOMPLETE, State.DELIVERED})
"""A parcel is on its way or has arrived."""

ENDED_UNSHIPPED = frozenset({State.CALLED_OFF, State.INTERCEPTED, State.REJECTED, State.EMPTIED, State.WITHDRAWN})
"""Nothing of it leaves."""


@dataclass(frozen=True)
class Deadlines:
    """How long routing waits for whom before it asks again or calls a person."""

    allocation: timedelta = timedelta(minutes=10)
    """For allocation's word about a new order, a plan, or units that came back."""
    answer: timedelta = timedelta(minutes=5)
    """For a 3PL's answer to the first request; doubles with every repetition."""
    requests: int = 5
    """How often a silent 3PL is asked before a person is."""
    shipment: timedelta = timedelta(hours=24)
    """Beyond ship_by, until somebody should look why an accepted fulfillment has not left."""
    short_pick: timedelta = timedelta(minutes=1)
    """For the short pick that explains an incomplete parcel; its message may have been overtaken by the shipment's."""
    request_life: timedelta = timedelta(hours=48)
    """Beyond ship_by, until a request must not be started any more."""
    delivery: timedelta = timedelta(days=30)
    """After shipping, until an order whose delivery nobody reported counts as closed."""
    stock: timedelta = timedelta(days=30)
    """For supply of a backordered line that has no date."""
    promise: timedelta = timedelta(days=1)
    """Beyond the promised ship date of a backordered line."""
    attention: timedelta = timedelta(hours=4)
    """For a person to decide; then the order is announced again."""
    payment: timedelta = timedelta(0)
    """For the customer to pay what an edit costs more; zero refuses such edits."""
    consent: timedelta = timedelta(hours=72)
    """The least time that a customer has to answer whether to wait, counted from when the question was asked."""
    replan: timedelta = timedelta(seconds=1)
    """Before a plan that allocation refused repeatedly is made again; doubles with every refusal."""
    quick_replans: int = 3
    """Refused plans that are made again at once, with the fresh numbers of the refusal."""
    plans: int = 8
    """Refused plans of one order before a person must look."""
    rejections: int = 3
    """3PL rejections of one order before a person must look."""


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
class FulfillmentLine:
    """Units of one order line in one fulfillment. ``called_off`` units will not ship from there."""

    line_id: str
    sku: str
    planned: int
    called_off: int = 0
    shipped: int = 0

    @property
    def left(self) -> int:
        """Units that are still to ship from there, if the fulfillment is alive."""
        return self.planned - self.called_off - self.shipped


@dataclass(frozen=True, slots=True)
class ShortPick:
    """One report of units that the picker did not find; the same report told twice counts once."""

    picked_at: datetime
    missing: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Fulfillment:
    """What one location ships of an order."""

    fulfillment_id: UUID
    plan_id: UUID
    order_version: int
    location: str
    partner: str
    state: State
    carrier: str
    service: str
    zone: int
    shipping_cost_cents: int
    ship_by: datetime
    arrives_on: date
    planned_at: datetime
    lines: tuple[FulfillmentLine, ...]
    assigned: bool = False
    attempts: int = 0
    due_at: datetime | None = None
    requested_at: datetime | None = None
    accepted_at: datetime | None = None
    tracking_number: str | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    ended_because: str | None = None
    short_picks: tuple[ShortPick, ...] = ()
    return_id: UUID | None = None
    """The prepaid return of a parcel that leaves although it was cancelled."""
    packing: tuple[str, ...] = ()
    """What rules told whoever packs it."""
    slot_day: date | None = None
    """The working day whose slot it took; None where its location did not limit its work."""
    slot_hour: int | None = None

    @property
    def slots(self) -> tuple[SlotKey, ...]:
        """The slots that it holds. They come back when it ends before its 3PL had accepted it: from then on work is spent on it."""
        if self.slot_day is None or (self.state in ENDED_UNSHIPPED and self.accepted_at is None):
            return ()
        return keys_of(self.location, self.slot_day, self.slot_hour)

    @property
    def left(self) -> int:
        """Units that are still to ship from there, if it is alive."""
        return sum(line.left for line in self.lines)


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


@dataclass(frozen=True, slots=True)
class Say:
    """A message to publish, and the partner it goes to, if it goes to one."""

    data: Message
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """The message can never be handled as it is; a person must look."""

    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """The message came before what it builds on."""

    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a rule made of an order. A message that is parked or deferred changes nothing."""

    order: Order
    says: tuple[Say, ...] = ()
    problem: Park | Defer | None = None

    def then(self, rule: Callable[[Order], Outcome]) -> Outcome:
        """This outcome, carried on by another rule."""
        if self.problem is not None:
            return self
        following = rule(self.order)
        return Outcome(following.order, self.says + following.says, following.problem)


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


def call_for_attention(order: Order, reason: AttentionReason, detail: str, now: datetime, deadlines: Deadlines) -> Outcome:
    """A person must look. Said once for the same reason and detail, and again when its deadline has passed."""
    known = order.attention
    if known is not None and known.reason == reason and known.detail == detail and known.due_at > now:
        return Outcome(order)
    attention = Attention(reason, detail, now + deadlines.attention)
    announcement = OrderNeedsAttention(order_id=order.order_id, reason=reason, detail=detail[:500], due_at=attention.due_at)
    return Outcome(replace(order, attention=attention), (Say(announcement),))


def settle_attention(order: Order, *reasons: AttentionReason) -> Order:
    """The order once one of these reasons is gone."""
    if order.attention is not None and order.attention.reason in reasons:
        return replace(order, attention=None)
    return order


def settle_overdue(order: Order) -> Order:
    """The order once nothing of it is overdue any more: every fulfillment that had been given up waiting for has moved on."""
    given_up = any(
        item.state in LIVE and item.due_at is None and not (item.state is State.PLANNED and item.assigned) for item in order.fulfillments
    )
    return order if given_up else settle_attention(order, "third_party_silent", "overdue")

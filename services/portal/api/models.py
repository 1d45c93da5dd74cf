"""What the API takes and gives. Requests are made of the contracts' own types and refuse fields they do not know."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.portal.decide.order import OrderStatus, ReturnStatus
from shared.contracts.base import Code, LineId, ShortText, Time, UnitCount
from shared.contracts.channels import ChannelOrderReceived, FieldProblem, Listing, Product
from shared.contracts.feeds import PatienceSeconds, StaleAfterSeconds
from shared.contracts.fulfillment import LocationRegistrationRequested
from shared.contracts.holds import HoldRequest
from shared.contracts.orders import Address, LineChange, OrderVersion
from shared.contracts.returns import ReturnLine, ScannedUnits
from shared.contracts.rules import RulePercent, RuleUnits, RuleVersion
from shared.contracts.stock import FeedSequence, ShortagePolicy, SupplyChange, SupplyLine


class Request(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(frozen=True)


class ErrorDetail(Response):
    """What went wrong."""

    code: str
    message: str
    problems: list[FieldProblem]


class ErrorAnswer(Response):
    """The one shape of every error."""

    error: ErrorDetail


class PlaceOrder(ChannelOrderReceived):
    """A paid order of one of the channels, as its adapter would publish it."""


class CancelOrder(Request):
    """Why an order is called off, and by whom."""

    reason: ShortText
    operator: ShortText = "operator"
    expected_order_version: OrderVersion | None = None


class AnswerDelay(Request):
    """What the customer said to an operator about a delay. ``consent_id`` names the question; ``delay`` of the order and
    ``GET /api/delays`` have it."""

    consent_id: UUID
    answer: Literal["yes", "no"]
    operator: ShortText = "operator"


class EditOrder(Request):
    """The wished changes. A line without ``line_id`` adds its ``sku``; what is not said of it is taken from the product master.

    A kit changes as a whole: name the line id of the kit, its quantity counts kits.
    """

    operator: ShortText = "operator"
    expected_order_version: OrderVersion | None = None
    ship_to: Address | None = None
    line_changes: Annotated[list[LineChange], Field(max_length=500)] = []


class RequestReturn(Request):
    """Units that the customer wants to send back."""

    operator: ShortText = "operator"
    lines: Annotated[list[ReturnLine], Field(min_length=1, max_length=500)]


class ScanReturn(Request):
    """What was found in the parcel. Approved units that are not listed are recorded as missing when ``closes`` is true."""

    location: Code
    operator: ShortText = "operator"
    units: Annotated[list[ScannedUnits], Field(max_length=500)]
    closes: bool = True


class AdjustStock(Request):
    """What is on the shelf now. With ``expected_on_hand`` it is refused when the shelf has changed meanwhile."""

    new_on_hand: UnitCount
    expected_on_hand: UnitCount | None = None
    reason: ShortText
    operator: ShortText = "operator"


class SetFeed(Request):
    """How the feed of a location is watched. What is left out goes back to the default.

    ``stale_after_seconds``: how old the newest count may be before the location is flagged (default a day). ``patience_seconds``: how long
    a count waits for a message that it shows and that has not come (default an hour).
    """

    stale_after_seconds: StaleAfterSeconds | None = None
    patience_seconds: PatienceSeconds | None = None
    reason: ShortText
    operator: ShortText = "operator"


class CloseGap(Request):
    """Messages that will not come: everything missing up to and including ``up_to_sequence`` is given up."""

    up_to_sequence: FeedSequence
    reason: ShortText
    operator: ShortText = "operator"


class ApplyCounts(Request):
    """Applies an uploaded file. ``valid``: its valid rows; ``all``: every row or none."""

    rows: Literal["valid", "all"] = "valid"
    reason: ShortText
    operator: ShortText = "operator"


class SetShortagePolicy(Request):
    """Whose reserved units queue again first when a shelf holds less than is reserved; in force at once.

    ``newest_first``: who came last. ``lowest_priority_first``: the highest priority number, the newest of it first. ``wholesale_first``:
    wholesale orders, then retail's, then shoppers'; the newest of them first.
    """

    policy: ShortagePolicy
    operator: ShortText = "operator"


class SetSafety(Request):
    """Units to keep back from sale. With ``expected_safety_units`` it is refused when they were changed meanwhile."""

    safety_units: RuleUnits
    expected_safety_units: RuleUnits | None = None
    reason: ShortText
    operator: ShortText = "operator"


class SetChannelPool(Request):
    """What a channel may take of a SKU. What is left out does not apply; with nothing the rule ends.

    ``fence_units`` are set aside for the channel, ``cap_units`` is the most it may have reserved or held and not shipped,
    ``share_percent`` the most it may have of what is free for all. With ``expected_rule_version`` (0: no rule) it is refused when the rule
    was changed meanwhile.
    """

    fence_units: RuleUnits | None = None
    cap_units: RuleUnits | None = None
    share_percent: RulePercent | None = None
    expected_rule_version: RuleVersion | None = None
    reason: ShortText
    operator: ShortText = "operator"


class RequestHold(HoldRequest):
    """Units to keep for a shopper before the payment. Asking again with the same content prolongs the hold."""

    model_config = ConfigDict(extra="forbid")


class ScheduleSupply(Request):
    """Goods that are on the way. ``supply_id`` is chosen here when it is left out; ``purchase_order`` is the number people know it by."""

    supply_id: UUID | None = None
    location: Code
    expected_at: Time
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=1_000)]
    purchase_order: ShortText | None = None


class ReceiveSupply(Request):
    """Goods that arrived and may be sold."""

    location: Code
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=1_000)]


class RescheduleSupply(Request):
    """The new expected date of a supply."""

    expected_at: Time


class ChangeSupply(Request):
    """How many units of some SKUs the supply brings in all, received ones included. Lines that are not listed stay as they are."""

    lines: Annotated[list[SupplyChange], Field(min_length=1, max_length=1_000)]


class OpenPreorder(Request):
    """When a SKU is released, and whether its orders may ship before that when goods are there earlier."""

    release_at: Time
    early_release: bool = False


class RegisterProducts(Request):
    """Products to sell. Registering a SKU again replaces its data. With ``components`` it is a kit of registered products."""

    products: Annotated[list[Product], Field(min_length=1, max_length=1_000)]


class RegisterListings(Request):
    """What one channel sells."""

    channel: Code
    listings: Annotated[list[Listing], Field(min_length=1, max_length=1_000)]


class RegisterLocation(LocationRegistrationRequested):
    """A place that holds stock, and the 3PL that works there. Registering the same code again replaces its data."""

    model_config = ConfigDict(extra="forbid")


class OutcomeMessage(Response):
    """One message with which the owning service answered, as its contract has it."""

    type: str
    data: dict[str, Any]


class Outcome(Response):
    """What became of a request.

    ``result``: ``done``, or what was decided: ``cancelled``, ``pending`` (a 3PL is asked), ``edited``, ``approved``.
    ``already_handled``: this very request was made before and was not done again.
    """

    result: Literal["done", "cancelled", "pending", "edited", "approved", "already_handled"]
    id: UUID
    """Names what was asked for: the change, the return, the scan, the adjustment, the supply or the receipt."""
    messages: list[OutcomeMessage]


class Placed(Response):
    """The order stands; its journey has begun."""

    result: Literal["placed", "already_placed"]
    order_id: UUID


class OrderSummary(Response):
    """One order in a list."""

    order_id: UUID
    channel: str | None
    external_id: str | None
    placed_at: datetime | None
    status: OrderStatus
    units_ordered: int
    units_waiting: int
    units_shipped: int
    total_cents: int
    currency: str | None


class OrderList(Response):
    """Orders that were found, newest first."""

    orders: list[OrderSummary]


class KitShareDocument(Response):
    """The kit that a line was bought in; every line of the kit says the same of it."""

    line_id: LineId
    sku: str
    title: str
    quantity: int
    units_per_kit: int


class LineDocument(Response):
    """Where the units of one line are. Lines of a kit are changed together: name the line id of the kit."""

    line_id: LineId
    sku: str
    title: str
    ordered: int
    waiting: int
    promised_ship_at: datetime | None
    shipped: int
    delivered: int
    cancelled: int
    returning: int
    unit_price_cents: int
    tax_cents: int
    kit: KitShareDocument | None


class ParcelDocument(Response):
    """A fulfillment that was started or has left."""

    fulfillment_id: str
    location: str
    units: dict[str, int]
    started_at: datetime | None
    carrier: str | None
    tracking_number: str | None
    shipped_at: datetime | None
    delivered_at: datetime | None


class ReturnDocument(Response):
    """A return as the portal knows it; ``GET /api/returns/{return_id}`` shows what the returns service knows."""

    return_id: str
    status: ReturnStatus
    units: dict[str, int]
    refund_quote_cents: int
    label_carrier: str | None
    label_tracking_number: str | None
    refunded_cents: int | None


class RefundDocument(Response):
    """Money on its way back, or refused."""

    refund_id: str
    status: Literal["succeeded", "failed"]
    amount_cents: int
    at: datetime
    reason: str | None


class DelayDocument(Response):
    """The newest delay about which the customer may say something.

    ``silence``: who says nothing agrees. ``required``: without a yes by ``answer_by`` what has not shipped is cancelled. ``outcome`` is
    null while nothing was said, or ``consented``; a no is possible until it ships.
    """

    consent_id: UUID
    consent: Literal["silence", "required"]
    old_ship_at: datetime | None
    new_ship_at: datetime | None
    answer_by: datetime | None
    outcome: str | None


class TimelineEntry(Response):
    """One thing that happened, with the trace it belongs to."""

    type: str
    at: datetime
    source: str
    event_id: UUID
    trace_id: str
    data: dict[str, Any]


class NotificationDocument(Response):
    """One thing the customer was or will be told."""

    kind: str
    cause_id: UUID
    status: Literal["due", "sent", "failed"]
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    reason: str | None


class OrderDocument(Response):
    """An order as all services together know it.

    ``routing``, ``stock`` and ``channel_order`` are the owners' own documents; null when the owner knows nothing of the order yet, or
    could not be asked (then ``unavailable`` names it).
    """

    order_id: UUID
    channel: str | None
    external_id: str | None
    placed_at: datetime | None
    currency: str | None
    order_version: int
    status: OrderStatus
    ship_to: dict[str, Any]
    customer_email: str | None
    total_cents: int
    refunded_cents: int
    lines: list[LineDocument]
    parcels: list[ParcelDocument]
    returns: list[ReturnDocument]
    refunds: list[RefundDocument]
    pending_changes: list[str]
    delay: DelayDocument | None
    trace_id: str | None
    timeline: list[TimelineEntry]
    notifications: list[NotificationDocument]
    routing: Any
    stock: Any
    channel_order: Any
    unavailable: list[str]


class Document(Response):
    """A document of the owning service, passed on as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ParkedMessage(Response):
    """A message that waits for a person."""

    service: str
    event_id: UUID
    type: str
    source: str
    subject: str | None
    reason: str | None
    attempts: int
    received_at: datetime
    body: str


class ParkedList(Response):
    """Parked messages of all services; ``unavailable`` names those that could not be asked."""

    messages: list[ParkedMessage]
    unavailable: list[str]


class Redriven(Response):
    """The message is tried again from the start."""

    service: str
    event_id: UUID
    status: Literal["retry"]


class TraceDocument(Response):
    """Everything that was said and heard about an order, as a tree: each message with who handled it and what it caused."""

    order_id: UUID
    trace_ids: list[str]
    messages: list[dict[str, Any]]
    unavailable: list[str]


class AuditViolation(Response):
    """One thing that is wrong: what it is about, and the figures that disagree."""

    subject: str
    detail: str


class AuditCheck(Response):
    """One rule about the books of one service or several."""

    id: str
    service: str
    title: str
    violation_count: int
    counts: dict[str, int]
    violations: list[AuditViolation]


class AuditDocument(Response):
    """The auditor's finding over all services. ``under_way`` messages were on their way when the snapshot was taken."""

    taken_at: datetime
    seconds: float
    under_way: int
    violations: int
    checks: list[AuditCheck]

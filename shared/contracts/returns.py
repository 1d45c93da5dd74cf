"""Returns and refunds: what may come back, what became of it, how much money goes back."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import (
    Cents,
    Code,
    Command,
    Currency,
    Event,
    LineId,
    Part,
    Refusal,
    ShortText,
    Sku,
    Text,
    Time,
    Units,
)
from shared.contracts.orders import Actor

ReturnReason = Literal["wrong_size", "changed_mind", "defective", "damaged_in_transit", "wrong_item", "late", "other"]
Disposition = Literal["restocked", "damaged", "scrapped", "liquidated", "missing"]


class ReturnLine(Part):
    """Units that a shopper wants to send back."""

    line_id: LineId
    quantity: Units
    reason: ReturnReason
    note: Text = ""


class ReturnAuthorisationRequested(Command):
    """May these units come back? portal, routing -> returns. ``return_id`` makes the request safe to repeat.

    ``fulfillment_id`` names a parcel that left although its order had been cancelled: routing asks for its return. The request waits until
    that shipment has been heard of, and no return window stands against it.
    """

    type: ClassVar[str] = "return.authorisation_requested.v1"

    return_id: UUID
    order_id: UUID
    actor: Actor
    lines: Annotated[list[ReturnLine], Field(min_length=1, max_length=500)]
    fulfillment_id: UUID | None = None


class ApprovedLine(Part):
    """Units that may come back, and what is paid for them if they arrive sellable."""

    line_id: LineId
    sku: Sku
    quantity: Units
    refund_cents: Cents


class ReturnApproved(Event):
    """The units may come back with this prepaid label. returns -> portal.

    ``fulfillment_id`` names the parcel where its order had been cancelled and it left all the same.
    """

    type: ClassVar[str] = "return.approved.v1"

    return_id: UUID
    order_id: UUID
    lines: list[ApprovedLine]
    refund_quote_cents: Cents
    currency: Currency
    label_carrier: ShortText
    label_tracking_number: ShortText
    expires_at: Time
    fulfillment_id: UUID | None = None


ReturnRefusal = Literal["not_shipped", "window_closed", "quantity_exceeds_shipped", "unknown_line", "unknown_order"]
"""``unknown_order`` is said no more: a request for an order that has not arrived waits for it, and is parked when it does not come."""


class ReturnDeclined(Event):
    """The units may not come back. returns -> portal."""

    type: ClassVar[str] = "return.declined.v1"

    return_id: UUID
    order_id: UUID
    reason: ReturnRefusal
    detail: Text


class ScannedUnits(Part):
    """What the warehouse found in the parcel for one line."""

    line_id: LineId
    quantity: Units
    condition: Literal["sellable", "damaged"]


class ReturnScanRequested(Command):
    """A parcel was opened and scanned. console, warehouse -> returns. ``scan_id`` makes it safe to repeat.

    Approved units that the scan does not list are recorded as missing when ``closes`` is true. A scan at a ``location`` that is not
    registered waits for its registration, and is parked when that does not come: until then nothing is booked and nothing refunded.
    """

    type: ClassVar[str] = "return.scan_requested.v1"

    return_id: UUID
    scan_id: UUID
    location: Code
    operator: ShortText
    units: Annotated[list[ScannedUnits], Field(max_length=500)]
    closes: bool = True


class ReturnScanRejected(Refusal):
    """The scan was not booked. returns -> the console's answer."""

    type: ClassVar[str] = "return.scan_rejected.v1"

    return_id: UUID
    scan_id: UUID
    reason: Literal["unknown_return", "already_closed", "quantity_exceeds_approved", "unknown_line"]


class DispositionLine(Part):
    """What became of some returned units."""

    line_id: LineId
    sku: Sku
    quantity: Units
    disposition: Disposition


class ReturnInspected(Event):
    """Units arrived and were judged. returns -> allocation (stock), portal."""

    type: ClassVar[str] = "return.inspected.v1"

    return_id: UUID
    scan_id: UUID
    order_id: UUID
    location: Code
    dispositions: Annotated[list[DispositionLine], Field(min_length=1)]
    inspected_at: Time


class ReturnClosed(Event):
    """Nothing more will come of this return. returns -> portal, sync."""

    type: ClassVar[str] = "return.closed.v1"

    return_id: UUID
    order_id: UUID
    refunded_cents: Cents
    closed_at: Time


class RefundLine(Part):
    """Money for some units of one line; zero units for a pure money correction."""

    line_id: LineId
    quantity: Annotated[int, Field(ge=0, strict=True)]
    amount_cents: Cents


class RefundRequested(Command):
    """Give this money back. routing -> returns (which owns the refund ledger and itself requests refunds of returns).

    ``refund_id`` is derived from the cause, so that the same cause never pays twice.
    """

    type: ClassVar[str] = "refund.requested.v1"

    refund_id: UUID
    order_id: UUID
    cause: Literal["cancelled", "edited", "returned"]
    cause_id: UUID
    lines: list[RefundLine]
    shipping_cents: Cents = 0
    amount_cents: Cents
    currency: Currency


class RefundExecutionRequested(Command):
    """Move the money at the channel under this idempotency key. returns -> sync."""

    type: ClassVar[str] = "refund.execution_requested.v1"

    refund_id: UUID
    order_id: UUID
    channel: Code
    external_id: ShortText
    amount_cents: Cents
    currency: Currency
    idempotency_key: ShortText


class RefundSucceeded(Event):
    """The channel moved the money. sync -> returns, portal."""

    type: ClassVar[str] = "refund.succeeded.v1"

    refund_id: UUID
    order_id: UUID
    amount_cents: Cents
    currency: Currency
    provider_reference: ShortText
    succeeded_at: Time


class RefundFailed(Event):
    """The channel refused for good. sync -> returns, portal."""

    type: ClassVar[str] = "refund.failed.v1"

    refund_id: UUID
    order_id: UUID
    amount_cents: Cents
    currency: Currency
    reason: Text
    failed_at: Time

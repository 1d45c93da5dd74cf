"""A fulfillment order: what one location ships of an order, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from uuid import UUID

from services.routing.decide.capacity import SlotKey, keys_of


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

REJECTED_FOR_THE_ADDRESS = "rejected: address_undeliverable"
"""Why a fulfillment ended whose 3PL cannot deliver where the order goes."""


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
    """One report of units that the picker did not find, or that were missing of a parcel that was rejected; the same one told twice counts
    once."""

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

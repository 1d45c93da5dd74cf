"""How long routing waits for others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


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

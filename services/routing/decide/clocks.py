"""When something happened at a 3PL, whatever its clock says.

Return windows, timelines and the netting of counts against shipments are reckoned from the times that 3PLs tell. A clock that stands at
1970 or runs ahead by years would close a window on its first day, or never. The goods have left all the same: nothing is parked for its
clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from services.routing.decide.fulfillment import Fulfillment
from shared.contracts.base import PartnerMessage
from shared.contracts.fulfillment import (
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyDelivered,
    ThirdPartyIntercepted,
    ThirdPartyRejected,
    ThirdPartyShipped,
)

CLOCK_TOLERANCE = timedelta(days=1)
"""How far a 3PL's clock may be off before it is not believed."""

TIMES: Mapping[type[PartnerMessage], str] = {
    ThirdPartyAccepted: "accepted_at",
    ThirdPartyRejected: "rejected_at",
    ThirdPartyShipped: "shipped_at",
    ThirdPartyCancelAccepted: "answered_at",
    ThirdPartyIntercepted: "intercepted_at",
    ThirdPartyDelivered: "delivered_at",
}
"""The times that others are told. Not that of a short pick: by it the same report is known when it comes twice."""

AnswerT = TypeVar("AnswerT", bound=PartnerMessage)


def sound_time(told: datetime, fulfillment: Fulfillment, said_at: datetime | None, now: datetime) -> datetime:
    """When something happened to a fulfillment: not before it was asked for and not after now, give or take a day.

    Args:
        told: when the 3PL says it was.
        fulfillment: what it speaks of.
        said_at: the time of its envelope, which is the next best; then it is now.
        now: our clock.
    """
    earliest, latest = (fulfillment.requested_at or fulfillment.planned_at) - CLOCK_TOLERANCE, now + CLOCK_TOLERANCE
    return next((time for time in (told, said_at) if time is not None and earliest <= time <= latest), now)


def at_sound_time(message: AnswerT, fulfillment: Fulfillment, said_at: datetime | None, now: datetime) -> AnswerT:
    """The answer itself, or with its :func:`sound_time` where it tells one that cannot be."""
    field = TIMES.get(type(message))
    if field is None:
        return message
    told = getattr(message, field)
    sound = sound_time(told, fulfillment, said_at, now)
    return message if sound == told else message.model_copy(update={field: sound})

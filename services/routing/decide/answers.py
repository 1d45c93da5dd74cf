"""The state machine of a fulfillment order: what every answer of a 3PL means in every state.

Answers come in any order, late, twice, or contradicting each other. The matrix has an entry for every pair, so none is left to chance; it
is drawn in this service's README. What a 3PL says about goods that left or were not found is never ignored: when it contradicts what was
settled before, the message is parked for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from services.routing.decide.attention import call_for_attention, settle_overdue
from services.routing.decide.changes import settle_change
from services.routing.decide.clocks import sound_time
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import Fulfillment, FulfillmentLine, ShortPick, State
from services.routing.decide.handover import called_off_units, give_back, take_back
from services.routing.decide.interception import note_failure, note_held_back
from services.routing.decide.order import Order, units_by_line
from services.routing.decide.outcome import Defer, Outcome, Park, Say
from services.routing.decide.values import replace
from shared.contracts.fulfillment import (
    FulfillmentDelivered,
    FulfillmentShipped,
    FulfillmentStarted,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyCancelRejected,
    ThirdPartyDelivered,
    ThirdPartyIntercepted,
    ThirdPartyInterceptFailed,
    ThirdPartyLabelPrinted,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import LineUnits

Answer = (
    ThirdPartyAccepted
    | ThirdPartyRejected
    | ThirdPartyLabelPrinted
    | ThirdPartyShipped
    | ThirdPartyShortPicked
    | ThirdPartyCancelAccepted
    | ThirdPartyCancelRejected
    | ThirdPartyIntercepted
    | ThirdPartyInterceptFailed
    | ThirdPartyDelivered
)

Effect = Literal[
    "start",  # the cutoff
    "reject",  # it will not be done there
    "label",  # note carrier and tracking number; it has evidently started
    "ship",  # units left
    "short",  # units were not found; it has evidently started
    "late_short",  # units that went back were not found: written off after all
    "call_off",  # the word that it will not ship
    "refuse",  # it ships all the same
    "hold_back",  # the parcel was held back after the cutoff
    "let_go",  # it could not be held back
    "deliver",
    "again",  # a second shipment message: harmless if it says the same
    "ignore",  # late, repeated, or overtaken
    "early",  # comes before what it builds on
    "unasked",  # the 3PL never had it
    "conflict",  # goods left although it was called off, or the other way round
]

ANSWERS: tuple[type[Answer], ...] = (
    ThirdPartyAccepted,
    ThirdPartyRejected,
    ThirdPartyLabelPrinted,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
    ThirdPartyCancelAccepted,
    ThirdPartyCancelRejected,
    ThirdPartyIntercepted,
    ThirdPartyInterceptFailed,
    ThirdPartyDelivered,
)

_NEVER_ASKED: tuple[Effect, ...] = tuple("unasked" for _ in ANSWERS)
# fmt: off
_GONE: tuple[Effect, ...] = ("ignore", "late_short", "ignore", "conflict", "late_short", "ignore", "ignore", "ignore", "ignore", "conflict")
"""Its units went back as good ones; whoever looked for some of them before that, and did not find them, may be heard later."""
_ROWS: Mapping[State, tuple[Effect, ...]] = {
    # "not so": the 3PL refuses what it was asked
    #                        accepted  rejected    label     shipped  short         cancelled   not so    held back    not so    delivered
    State.PLANNED:          _NEVER_ASKED,
    State.SUBMITTED:        ("start",  "reject",   "label",  "ship",  "short",      "call_off", "ignore", "hold_back", "ignore", "early"),
    State.ACCEPTED:         ("ignore", "reject",   "label",  "ship",  "short",      "call_off", "ignore", "hold_back", "ignore", "early"),
    State.CANCELLING:       ("start",  "reject",   "label",  "ship",  "short",      "call_off", "refuse", "hold_back", "ignore", "early"),
    State.CANCEL_REFUSED:   ("ignore", "reject",   "label",  "ship",  "short",      "call_off", "ignore", "hold_back", "ignore", "early"),
    State.INTERCEPTING:     ("ignore", "reject",   "label",  "ship",  "short",      "call_off", "ignore", "hold_back", "let_go", "early"),
    State.INTERCEPT_FAILED: ("ignore", "reject",   "label",  "ship",  "short",      "call_off", "ignore", "hold_back", "ignore", "early"),
    State.INCOMPLETE:       ("ignore", "conflict", "ignore", "again", "short",      "conflict", "ignore", "conflict",  "ignore", "early"),
    State.SHIPPED:          ("ignore", "conflict", "ignore", "again", "late_short", "conflict", "ignore", "conflict",  "ignore", "deliver"),
    State.DELIVERED:        ("ignore", "conflict", "ignore", "again", "late_short", "conflict", "ignore", "conflict",  "ignore", "ignore"),
    State.CALLED_OFF:       _GONE,
    State.INTERCEPTED:      _GONE,
    State.REJECTED:         _GONE,
    State.EMPTIED:          ("ignore", "ignore", "ignore", "conflict", "ignore", "ignore", "ignore", "ignore", "ignore", "conflict"),
    State.WITHDRAWN:        _NEVER_ASKED,
}
# fmt: on

MATRIX: Mapping[tuple[State, type[Answer]], Effect] = {
    (state, kind): effect for state, row in _ROWS.items() for kind, effect in zip(ANSWERS, row, strict=True)
}


def answer(order: Order, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """What a 3PL's answer makes of the order.

    Raises:
        KeyError: the order has no such fulfillment.
    """
    fulfillment = order.fulfillment(message.fulfillment_id)
    effect = MATRIX[fulfillment.state, type(message)]
    problem = _other_goods(fulfillment, message) if effect in _COUNTING else None
    if problem is not None:
        return Outcome(order, problem=problem)
    outcome = _EFFECTS[effect](order, fulfillment, message, now, deadlines)
    if outcome.problem is not None or outcome.order is order:
        return outcome
    settled = replace(outcome, order=settle_overdue(outcome.order))
    return settled.then(lambda changed: settle_change(changed, now, deadlines))


def _start(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """The cutoff of blueprint section 5: from here on edits are refused."""
    started_at = message.accepted_at if isinstance(message, ThirdPartyAccepted) else now
    started = replace(fulfillment, state=State.ACCEPTED, accepted_at=started_at, due_at=max(fulfillment.ship_by, now) + deadlines.shipment)
    lines = [LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.left) for line in started.lines if line.left]
    event = FulfillmentStarted(
        fulfillment_id=started.fulfillment_id,
        order_id=order.order_id,
        location=started.location,
        lines=lines,
        started_at=started_at,
    )
    return Outcome(order.with_fulfillment(started), (Say(event),))


def _started(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """The order in which the fulfillment has started: work on it is known although its acceptance has not arrived."""
    if fulfillment.state in (State.SUBMITTED, State.CANCELLING):
        return _start(order, fulfillment, message, now, deadlines)
    return Outcome(order)


def _reject(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """The 3PL will not do it: the units go back, and that location is not asked again for this order."""
    assert isinstance(message, ThirdPartyRejected)
    missing = units_by_line(message.missing)
    problem = _unknown_units(fulfillment, missing, "missing")
    if problem is not None:
        return Outcome(order, problem=problem)
    because = f"rejected: {message.reason}"
    reports = (*fulfillment.short_picks, _report(fulfillment, message)) if missing else fulfillment.short_picks
    rejected = replace(fulfillment, state=State.REJECTED, due_at=None, ended_because=because, short_picks=reports)
    order = order.with_fulfillment(rejected)
    outcome = take_back(order, fulfillment, "rejected", message.rejected_at, missing, now + deadlines.allocation)
    order = replace(
        outcome.order,
        excluded_locations=order.excluded_locations | {fulfillment.location},
        rejections=order.rejections + 1,
    )
    outcome = replace(outcome, order=order)
    if order.rejections <= deadlines.rejections:
        return outcome
    detail = f"{order.rejections} rejections, the last by {fulfillment.partner} at {fulfillment.location}: {message.reason}"
    return outcome.then(lambda changed: call_for_attention(changed, "too_many_rejections", detail, now, deadlines))


def _label(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    assert isinstance(message, ThirdPartyLabelPrinted)
    outcome = _started(order, fulfillment, message, now, deadlines)
    labelled = replace(
        outcome.order.fulfillment(fulfillment.fulfillment_id), carrier=message.carrier, tracking_number=message.tracking_number
    )
    return replace(outcome, order=outcome.order.with_fulfillment(labelled))


def _ship(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """Units left. Whatever was planned and is not listed did not ship; the short pick that explains it may still come."""
    assert isinstance(message, ThirdPartyShipped)
    units = units_by_line(message.lines)
    problem = _unknown_units(fulfillment, units, "lines")
    if problem is not None:
        return Outcome(order, problem=problem)
    lines = tuple(replace(line, shipped=line.shipped + units.get(line.line_id, 0)) for line in fulfillment.lines)
    complete = not any(line.left for line in lines)
    shipped = replace(
        fulfillment,
        state=State.SHIPPED if complete else State.INCOMPLETE,
        carrier=message.carrier,
        tracking_number=message.tracking_number,
        lines=lines,
        accepted_at=fulfillment.accepted_at or message.shipped_at,
        shipped_at=message.shipped_at,
        due_at=now + (deadlines.delivery if complete else deadlines.short_pick),
    )
    order = order.with_fulfillment(shipped).with_lines(lambda line, count: replace(line, shipped=line.shipped + count), units)
    event = FulfillmentShipped(
        fulfillment_id=shipped.fulfillment_id,
        order_id=order.order_id,
        location=shipped.location,
        partner=shipped.partner,
        carrier=message.carrier,
        tracking_number=message.tracking_number,
        lines=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=units[line.line_id]) for line in lines if units.get(line.line_id)],
        shipping_cost_cents=shipped.shipping_cost_cents,
        shipped_at=message.shipped_at,
        partner_sequence=message.sequence,
    )
    return Outcome(order, (Say(event),))


def _short(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """Units were not found: they go back as missing, the rest goes on. The same report told twice counts once."""
    assert isinstance(message, ThirdPartyShortPicked)
    missing = units_by_line(message.missing)
    report = _report(fulfillment, message)
    if report in fulfillment.short_picks:
        return Outcome(order)
    problem = _unknown_units(fulfillment, missing, "missing")
    if problem is not None:
        return Outcome(order, problem=problem)
    outcome = _started(order, fulfillment, message, now, deadlines)
    fulfillment = outcome.order.fulfillment(fulfillment.fulfillment_id)
    lines = _call_off_units(fulfillment, missing)
    reported = replace(fulfillment, lines=lines, short_picks=(*fulfillment.short_picks, report))
    if not any(line.left for line in lines):
        reported = _without_units(reported, now, deadlines)
    order = outcome.order.with_fulfillment(reported)
    picked_at = sound_time(message.picked_at, fulfillment, None, now)
    returned = give_back(order, fulfillment, "short_picked", picked_at, missing, missing, now + deadlines.allocation)
    return Outcome(returned.order, outcome.says + returned.says)


def _report(fulfillment: Fulfillment, message: ThirdPartyShortPicked | ThirdPartyRejected) -> ShortPick:
    """What was not found, as it is told apart from other reports. A parcel is rejected once, whenever that is said."""
    at = message.picked_at if isinstance(message, ThirdPartyShortPicked) else fulfillment.planned_at
    return ShortPick(at, tuple(sorted(units_by_line(message.missing).items())))


def _without_units(fulfillment: Fulfillment, now: datetime, deadlines: Deadlines) -> Fulfillment:
    """A fulfillment that has nothing left to ship: all left already, or nothing was found at all."""
    if any(line.shipped for line in fulfillment.lines):
        return replace(fulfillment, state=State.SHIPPED, due_at=now + deadlines.delivery)
    return replace(fulfillment, state=State.EMPTIED, due_at=None, ended_because="no unit was found")


def close_incomplete(order: Order, fulfillment: Fulfillment, now: datetime, deadlines: Deadlines) -> Outcome:
    """No short pick came for the units that did not ship: they go back all the same, but are not written off."""
    left = {line.line_id: line.left for line in fulfillment.lines if line.left}
    closed = replace(fulfillment, lines=_call_off_units(fulfillment, left), state=State.SHIPPED, due_at=now + deadlines.delivery)
    return give_back(order.with_fulfillment(closed), fulfillment, "short_picked", now, left, {}, now + deadlines.allocation)


def _late_short(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """Units went back as good ones and are written off after all: the short pick that :func:`close_incomplete` waited for in vain, or what
    was not found before the parcel was called off, held back or rejected, and is heard after that.

    They have come back already, so nothing more is awaited of allocation. Units that left or were reported before cannot be missing too.
    """
    assert isinstance(message, ThirdPartyShortPicked | ThirdPartyRejected)
    missing = units_by_line(message.missing)
    report = _report(fulfillment, message)
    if not missing or report in fulfillment.short_picks:
        return Outcome(order)
    if order.change is not None and fulfillment.fulfillment_id in order.change.awaiting:
        # Its units go back only when the change is decided.
        return Outcome(order, problem=Defer(f"fulfillment {fulfillment.fulfillment_id} waits for a change of its order to be decided"))
    unexplained = {line.line_id: line.planned - line.shipped for line in fulfillment.lines}
    for line_id, count in (units for earlier in fulfillment.short_picks for units in earlier.missing):
        unexplained[line_id] -= count
    for line_id, count in missing.items():
        if count > unexplained.get(line_id, 0):
            reason = (
                f"missing: line {line_id} with {count} units, but of fulfillment {fulfillment.fulfillment_id} "
                f"{unexplained.get(line_id, 0)} units are neither shipped nor reported as missing: count the shelf at "
                f"{fulfillment.location} and correct its stock by hand"
            )
            return Outcome(order, problem=Park(reason))
    reported = replace(fulfillment, short_picks=(*fulfillment.short_picks, report))
    at = sound_time(report.picked_at, fulfillment, None, now) if isinstance(message, ThirdPartyShortPicked) else message.rejected_at
    told = called_off_units(order, fulfillment, "short_picked", at, missing, missing)
    return Outcome(order.with_fulfillment(reported), (Say(told),))


def _call_off_units(fulfillment: Fulfillment, units: Mapping[str, int]) -> tuple[FulfillmentLine, ...]:
    return tuple(replace(line, called_off=line.called_off + units.get(line.line_id, 0)) for line in fulfillment.lines)


def _call_off(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """It will not ship. While a change waits for this word the units stay where they are until the change is decided."""
    assert isinstance(message, ThirdPartyCancelAccepted)
    order = order.with_fulfillment(replace(fulfillment, state=State.CALLED_OFF, due_at=None, ended_because="cancel accepted"))
    if order.change is not None and fulfillment.fulfillment_id in order.change.awaiting:
        return Outcome(order)
    return take_back(order, fulfillment, "cancelled", message.answered_at, {}, now + deadlines.allocation)


def _refuse(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    assert isinstance(message, ThirdPartyCancelRejected)
    refused = replace(fulfillment, state=State.CANCEL_REFUSED, due_at=max(fulfillment.ship_by, now) + deadlines.shipment)
    return Outcome(order.with_fulfillment(refused))


def _hold_back(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """It was held back. Without an open cancellation that waits for this word, its units are free to plan again."""
    assert isinstance(message, ThirdPartyIntercepted)
    outcome = note_held_back(order, fulfillment, now)
    if order.change is not None and fulfillment.fulfillment_id in order.change.awaiting:
        return outcome
    at = message.intercepted_at
    return outcome.then(lambda changed: take_back(changed, fulfillment, "cancelled", at, {}, now + deadlines.allocation))


def _let_go(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    assert isinstance(message, ThirdPartyInterceptFailed)
    return note_failure(order, fulfillment, message.reason, now, deadlines)


def _deliver(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    assert isinstance(message, ThirdPartyDelivered)
    delivered = replace(fulfillment, state=State.DELIVERED, delivered_at=message.delivered_at, due_at=None)
    event = FulfillmentDelivered(fulfillment_id=delivered.fulfillment_id, order_id=order.order_id, delivered_at=message.delivered_at)
    return Outcome(order.with_fulfillment(delivered), (Say(event),))


def _again(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """One fulfillment is one parcel: a second shipment message must not list units beyond those that left."""
    assert isinstance(message, ThirdPartyShipped)
    shipped = {line.line_id: line.shipped for line in fulfillment.lines}
    for line_id, count in units_by_line(message.lines).items():
        if count > shipped.get(line_id, 0):
            reason = (
                f"lines: line {line_id} with {count} units, but fulfillment {fulfillment.fulfillment_id} has already shipped with "
                f"{shipped.get(line_id, 0)} of it under {fulfillment.tracking_number}; send one shipped message per fulfillment"
            )
            return Outcome(order, problem=Park(reason))
    return Outcome(order)


def _ignore(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    return Outcome(order)


def _early(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    """A parcel that arrived with fewer units than planned waits for the short pick that explains them, or for the end of its time: closed
    before, the units would go back on sale although nobody found them."""
    awaited = "says not yet what became of units that did not ship" if fulfillment.state is State.INCOMPLETE else "has not shipped yet"
    return Outcome(order, problem=Defer(f"fulfillment {fulfillment.fulfillment_id} {awaited}"))


def _unasked(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    reason = f"fulfillment_id: {fulfillment.fulfillment_id} was never handed over; answer only what was read from your queue"
    return Outcome(order, problem=Park(reason))


def _conflict(order: Order, fulfillment: Fulfillment, message: Answer, now: datetime, deadlines: Deadlines) -> Outcome:
    told = fulfillment.ended_because or f"shipped under {fulfillment.tracking_number}"
    reason = (
        f"{message.type} for fulfillment {fulfillment.fulfillment_id}, which is {fulfillment.state.value} ({told}): find out at "
        f"{fulfillment.location} where the goods are, then correct stock and order by hand"
    )
    return Outcome(order, problem=Park(reason))


def _other_goods(fulfillment: Fulfillment, message: Answer) -> Park | None:
    """Why a line named by a 3PL is not that line: it holds something else."""
    field, named = "missing", tuple[LineUnits, ...]()
    if isinstance(message, ThirdPartyShipped):
        field, named = "lines", tuple(message.lines)
    elif isinstance(message, ThirdPartyShortPicked | ThirdPartyRejected):
        named = tuple(message.missing)
    skus = {line.line_id: line.sku for line in fulfillment.lines}
    for line in named:
        if line.sku != skus.get(line.line_id, line.sku):
            return Park(
                f"{field}: line {line.line_id} of fulfillment {fulfillment.fulfillment_id} is {skus[line.line_id]}, not {line.sku}; "
                f"name the lines as they were asked for, and find out which goods are meant"
            )
    return None


def _unknown_units(fulfillment: Fulfillment, units: Mapping[str, int], field: str) -> Park | None:
    """Why units named by a 3PL cannot be those of this fulfillment."""
    left = {line.line_id: line.left for line in fulfillment.lines}
    for line_id, count in units.items():
        if line_id not in left:
            return Park(f"{field}: line {line_id} is not part of fulfillment {fulfillment.fulfillment_id}; it has {', '.join(left)}")
        if count > left[line_id]:
            return Park(
                f"{field}: line {line_id} with {count} units, but fulfillment {fulfillment.fulfillment_id} "
                f"has only {left[line_id]} of it left to ship"
            )
    return None


_COUNTING: frozenset[Effect] = frozenset({"reject", "ship", "short", "late_short", "again"})
"""Effects of answers that name goods."""

_EFFECTS: Mapping[Effect, Callable[[Order, Fulfillment, Answer, datetime, Deadlines], Outcome]] = {
    "start": _start,
    "reject": _reject,
    "label": _label,
    "ship": _ship,
    "short": _short,
    "late_short": _late_short,
    "call_off": _call_off,
    "refuse": _refuse,
    "hold_back": _hold_back,
    "let_go": _let_go,
    "deliver": _deliver,
    "again": _again,
    "ignore": _ignore,
    "early": _early,
    "unasked": _unasked,
    "conflict": _conflict,
}

"""One 3PL at work: from the pick list to the parcel, with its own word on every cancellation. No I/O and no clock of its own.

requested -> accepted -> labelled -> shipped -> delivered, or rejected, cancelled, nothing_found. The same ``fulfillment_id`` is the
same work: a repeated request is answered by repeating what was said, never by picking twice.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Literal, Protocol
from uuid import UUID

from shared.contracts.base import PartnerMessage
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentCancelRequested,
    FulfillmentInterceptRequested,
    FulfillmentRequested,
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
from shared.contracts.stock import SnapshotLine, SupplyLine, ThirdPartyReceipt, ThirdPartyStockAdjusted, ThirdPartyStockSnapshot
from simulators.third_party_logistics.answers import Answer, Delivery, Reaction
from simulators.third_party_logistics.settings import Behaviour
from simulators.third_party_logistics.shelf import Shelf

SNAPSHOT_LINES = 5_000
"""The contract's most lines in one snapshot message."""

Status = Literal["requested", "accepted", "labelled", "shipped", "delivered", "rejected", "cancelled", "nothing_found"]
Step = Literal["answer", "pick", "ship", "deliver"]

NEXT_STEP: dict[Status, Step] = {"requested": "answer", "accepted": "pick", "labelled": "ship", "shipped": "deliver"}
WILL_NOT_SHIP: frozenset[Status] = frozenset({"rejected", "cancelled", "nothing_found"})


@dataclass(slots=True)
class Fulfillment:
    """One pick list and how far it has come."""

    fulfillment_id: UUID
    order_number: str
    subject: str | None
    traceparent: str | None
    location: str
    carrier: str
    service: str
    service_level: str
    postal_code: str
    lines: list[LineUnits]
    first_requested_at: datetime
    status: Status = "requested"
    attempts: int = 0
    picked: list[LineUnits] = field(default_factory=list)
    said: list[Answer] = field(default_factory=list)
    waiting: list[Delivery] = field(default_factory=list)

    @property
    def tracking_number(self) -> str:
        """The same parcel has the same number however often it is printed."""
        return f"SIM{self.fulfillment_id.hex[-14:].upper()}"


class Memory(Protocol):
    """Where facts are kept that do not follow from what is said."""

    def take(self, fulfillment: Fulfillment) -> None:
        """A pick list was taken."""

    def shelve(self, location: str, units: Iterable[tuple[str, int]]) -> None:
        """Goods were put on a shelf and nothing is said about it."""

    def lose(self, location: str, sku: str, quantity: int) -> None:
        """Units were not found."""


class Warehouse:
    """All the work of one 3PL, at all its locations."""

    def __init__(self, code: str, behaviour: Behaviour, random: Random, memory: Memory | None = None) -> None:
        self.code = code
        self.source = f"3pl.{code}"
        self.behaviour = behaviour
        self.shelf = Shelf()
        self.fulfillments: dict[UUID, Fulfillment] = {}
        self.statistics: Counter[str] = Counter()
        self.stock_messages: list[Answer] = []
        self._random = random
        self._memory = memory
        self._cancelled_before_request: set[UUID] = set()
        self._due: list[tuple[float, int, UUID, Step]] = []
        self._scheduled = 0

    def take_request(
        self, command: FulfillmentRequested, subject: str | None, traceparent: str | None, delivery: Delivery, now: datetime
    ) -> Reaction:
        """A pick list arrives, for the first time or again."""
        self.statistics["requests"] += 1
        if self._random.random() < self.behaviour.silent_rate:
            self.statistics["ignored"] += 1
            return Reaction(settled=[delivery])
        fulfillment = self.fulfillments.get(command.fulfillment_id)
        if fulfillment is None:
            fulfillment = self._begin(command, subject, traceparent, now)
        fulfillment.attempts += 1
        if fulfillment.fulfillment_id in self._cancelled_before_request and fulfillment.status == "requested":
            fulfillment.waiting.append(delivery)
            return self._accept_cancellation(fulfillment, now)
        if fulfillment.status == "requested":
            fulfillment.waiting.append(delivery)
            return Reaction()
        self.statistics["requests_repeated"] += 1
        repeats = [answer.again() for answer in fulfillment.said]
        repeats[-1].deliveries.append(delivery)
        return Reaction(repeats)

    def take_cancellation(
        self, command: FulfillmentCancelRequested, subject: str | None, traceparent: str | None, delivery: Delivery, now: datetime
    ) -> Reaction:
        """Somebody would rather not have it shipped. Until the cutoff it is called off; after it the parcel goes."""
        self.statistics["cancellations"] += 1
        if self._random.random() < self.behaviour.silent_rate:
            self.statistics["ignored"] += 1
            return Reaction(settled=[delivery])
        fulfillment = self.fulfillments.get(command.fulfillment_id)
        if fulfillment is None:
            self.remember_cancellation(command.fulfillment_id)
            word = ThirdPartyCancelAccepted(fulfillment_id=command.fulfillment_id, answered_at=now)
            return Reaction([Answer(word, subject, traceparent, now, deliveries=[delivery])])
        fulfillment.waiting.append(delivery)
        still_open = fulfillment.status == "requested" or (fulfillment.status == "accepted" and self.behaviour.cancel_until == "labelled")
        if still_open or fulfillment.status in WILL_NOT_SHIP:
            return self._accept_cancellation(fulfillment, now)
        refusal = ThirdPartyCancelRejected(
            fulfillment_id=fulfillment.fulfillment_id, reason=f"already {fulfillment.status}", answered_at=now
        )
        return Reaction(self._say(fulfillment, refusal, now))

    def take_interception(
        self, command: FulfillmentInterceptRequested, subject: str | None, traceparent: str | None, delivery: Delivery, now: datetime
    ) -> Reaction:
        """A parcel that was started is wanted back: until the truck it is unpacked, its units go on the shelf again."""
        self.statistics["interceptions"] += 1
        if self.behaviour.interceptions == "silent" or self._random.random() < self.behaviour.silent_rate:
            self.statistics["ignored"] += 1
            return Reaction(settled=[delivery])
        held_back = ThirdPartyIntercepted(fulfillment_id=command.fulfillment_id, intercepted_at=now)
        fulfillment = self.fulfillments.get(command.fulfillment_id)
        if fulfillment is None:
            self.remember_cancellation(command.fulfillment_id)
            return Reaction([Answer(held_back, subject, traceparent, now, deliveries=[delivery])])
        fulfillment.waiting.append(delivery)
        has_left = fulfillment.status in ("shipped", "delivered")
        if has_left or (self.behaviour.interceptions == "too_late" and fulfillment.status not in WILL_NOT_SHIP):
            reason = f"already {fulfillment.status}" if has_left else "already on the truck"
            failed = ThirdPartyInterceptFailed(fulfillment_id=fulfillment.fulfillment_id, reason=reason, answered_at=now)
            return Reaction(self._say(fulfillment, failed, now))
        self._unpack(fulfillment)
        return Reaction(self._say(fulfillment, held_back, now))

    def _unpack(self, fulfillment: Fulfillment) -> None:
        if fulfillment.status == "labelled":
            for line in fulfillment.picked:
                self.shelf.picked[(fulfillment.location, line.sku)] -= line.quantity
        if fulfillment.status not in WILL_NOT_SHIP:
            fulfillment.status = "cancelled"

    def due(self, now: datetime, limit: int = 1_000) -> Reaction:
        """Does the work whose time has come, at most ``limit`` steps."""
        reaction = Reaction()
        while self._due and limit and self._due[0][0] <= now.timestamp():
            _, _, fulfillment_id, step = heapq.heappop(self._due)
            fulfillment = self.fulfillments[fulfillment_id]
            if NEXT_STEP.get(fulfillment.status) != step:
                continue
            limit -= 1
            reaction.answers += self._perform(step, fulfillment, now)
        return reaction

    def next_due(self) -> float | None:
        """When the next step is due, in seconds of the epoch."""
        return self._due[0][0] if self._due else None

    def put_on_shelf(self, location: str, lines: Sequence[SupplyLine]) -> None:
        """Units are there that somebody else has told the merchant about (opening stock, an operator's receipt, returned goods)."""
        units = [(line.sku, line.quantity) for line in lines]
        self.shelf.add(location, units)
        if self._memory is not None:
            self._memory.shelve(location, units)

    def receive(self, location: str, lines: Sequence[SupplyLine], supply_id: UUID | None, now: datetime) -> Reaction:
        """Goods are put on the shelf and the 3PL says so."""
        self.shelf.add(location, ((line.sku, line.quantity) for line in lines))
        receipt = ThirdPartyReceipt(
            location=location,
            receipt_id=new_id(),
            supply_id=supply_id,
            lines=list(lines),
            sequence=self.shelf.next_sequence(location),
        )
        return self._say_about_stock(receipt, now)

    def adjust(self, location: str, sku: str, quantity_delta: int, reason: str, now: datetime) -> Reaction:
        """Units were found, lost or broken, and the 3PL says so."""
        self.shelf.count(location, sku).adjusted += quantity_delta
        adjustment = ThirdPartyStockAdjusted(
            location=location,
            adjustment_id=new_id(),
            sku=sku,
            quantity_delta=quantity_delta,
            reason=reason,
            sequence=self.shelf.next_sequence(location),
        )
        return self._say_about_stock(adjustment, now)

    def snapshot(self, location: str, now: datetime) -> Reaction:
        """The 3PL counts one location. Shelves that are counted below zero are sent as zero, because the contract knows no debts."""
        rows = [
            SnapshotLine(sku=sku, on_hand=max(0, count.on_hand))
            for (place, sku), count in sorted(self.shelf.counts.items())
            if place == location
        ]
        reaction = Reaction()
        for start in range(0, len(rows), SNAPSHOT_LINES):
            part = ThirdPartyStockSnapshot(
                location=location,
                as_of=now,
                watermark=self.shelf.sequences[location],
                lines=rows[start : start + SNAPSHOT_LINES],
            )
            reaction.answers.append(Answer(part, None, None, now))
        self.statistics["snapshots"] += 1
        return reaction

    def repeat_everything(self) -> Reaction:
        """Says all it ever said once more under the same event ids, as a partner does whose messages got lost on the other side."""
        answers = [answer.again(event_id=answer.event_id) for answer in self.stock_messages]
        for fulfillment in self.fulfillments.values():
            answers += [answer.again(event_id=answer.event_id) for answer in fulfillment.said]
        return Reaction(answers)

    def remember_cancellation(self, fulfillment_id: UUID) -> None:
        """A pick list that must not be shipped, should it still arrive."""
        self._cancelled_before_request.add(fulfillment_id)

    def resume(self, fulfillment: Fulfillment, now: datetime) -> None:
        """Takes up work that a former process had begun."""
        self.fulfillments[fulfillment.fulfillment_id] = fulfillment
        if fulfillment.status == "labelled":
            for line in fulfillment.picked:
                self.shelf.picked[(fulfillment.location, line.sku)] += line.quantity
        self._schedule(fulfillment, now)

    def _begin(self, command: FulfillmentRequested, subject: str | None, traceparent: str | None, now: datetime) -> Fulfillment:
        fulfillment = Fulfillment(
            fulfillment_id=command.fulfillment_id,
            order_number=command.order_number,
            subject=subject,
            traceparent=traceparent,
            location=command.location,
            carrier=command.carrier,
            service=command.service,
            service_level=command.service_level,
            postal_code=command.ship_to.postal_code,
            lines=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in command.lines],
            first_requested_at=now,
        )
        self.fulfillments[fulfillment.fulfillment_id] = fulfillment
        if self._memory is not None:
            self._memory.take(fulfillment)
        self._schedule(fulfillment, now)
        return fulfillment

    def _schedule(self, fulfillment: Fulfillment, now: datetime) -> None:
        """Puts the step that follows from the status on the heap."""
        step = NEXT_STEP.get(fulfillment.status)
        if step is None:
            return
        delay_seconds = {
            "answer": self.behaviour.accept_delay_seconds,
            "pick": self.behaviour.label_delay_seconds,
            "ship": self.behaviour.ship_delay_seconds,
            "deliver": self.behaviour.deliver_delay_seconds,
        }[step]
        if delay_seconds is None:
            return
        delay_seconds *= 1 + self.behaviour.jitter * self._random.uniform(-1, 1)
        self._scheduled += 1
        due_at = (now + timedelta(seconds=delay_seconds)).timestamp()
        heapq.heappush(self._due, (due_at, self._scheduled, fulfillment.fulfillment_id, step))

    def _perform(self, step: Step, fulfillment: Fulfillment, now: datetime) -> list[Answer]:
        if step == "answer":
            return self._answer(fulfillment, now)
        if step == "pick":
            return self._pick(fulfillment, now)
        if step == "ship":
            return self._ship(fulfillment, now)
        return self._move(fulfillment, "delivered", ThirdPartyDelivered(fulfillment_id=fulfillment.fulfillment_id, delivered_at=now), now)

    def _answer(self, fulfillment: Fulfillment, now: datetime) -> list[Answer]:
        if self.behaviour.stock == "counted" and all(self.shelf.free(fulfillment.location, line.sku) <= 0 for line in fulfillment.lines):
            word = ThirdPartyRejected(
                fulfillment_id=fulfillment.fulfillment_id,
                reason="out_of_stock",
                detail="nothing of it is on the shelf",
                missing=fulfillment.lines,
                rejected_at=now,
            )
            return self._move(fulfillment, "rejected", word, now)
        if self._random.random() < self.behaviour.reject_rate:
            word = ThirdPartyRejected(
                fulfillment_id=fulfillment.fulfillment_id, reason="capacity", detail="no picker is free today", rejected_at=now
            )
            return self._move(fulfillment, "rejected", word, now)
        return self._move(fulfillment, "accepted", ThirdPartyAccepted(fulfillment_id=fulfillment.fulfillment_id, accepted_at=now), now)

    def _pick(self, fulfillment: Fulfillment, now: datetime) -> list[Answer]:
        missing = self._not_found(fulfillment)
        fulfillment.picked = list(without(fulfillment.lines, missing))
        for line in fulfillment.picked:
            self.shelf.picked[(fulfillment.location, line.sku)] += line.quantity
        answers: list[Answer] = []
        if missing:
            word = ThirdPartyShortPicked(fulfillment_id=fulfillment.fulfillment_id, missing=missing, picked_at=now)
            answers += self._say(fulfillment, word, now)
        if not fulfillment.picked:
            fulfillment.status = "nothing_found"
            return answers
        if not self.behaviour.reports_labels:
            fulfillment.status = "labelled"
            self._schedule(fulfillment, now)
            return answers
        label = ThirdPartyLabelPrinted(
            fulfillment_id=fulfillment.fulfillment_id,
            carrier=fulfillment.carrier,
            tracking_number=fulfillment.tracking_number,
            printed_at=now,
        )
        return answers + self._move(fulfillment, "labelled", label, now)

    def _not_found(self, fulfillment: Fulfillment) -> list[LineUnits]:
        """Units that the picker does not find: those that are not there, or some at random (which are lost for good)."""
        missing: list[LineUnits] = []
        if self.behaviour.stock == "counted":
            taken: Counter[str] = Counter()
            for line in fulfillment.lines:
                found = max(0, min(line.quantity, self.shelf.free(fulfillment.location, line.sku) - taken[line.sku]))
                taken[line.sku] += found
                if found < line.quantity:
                    missing.append(LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity - found))
        if not missing and self._random.random() < self.behaviour.short_pick_rate:
            line = self._random.choice(fulfillment.lines)
            lost = LineUnits(line_id=line.line_id, sku=line.sku, quantity=self._random.randint(1, line.quantity))
            self.shelf.count(fulfillment.location, line.sku).missing += lost.quantity
            if self._memory is not None:
                self._memory.lose(fulfillment.location, line.sku, lost.quantity)
            missing.append(lost)
        return missing

    def _ship(self, fulfillment: Fulfillment, now: datetime) -> list[Answer]:
        for line in fulfillment.picked:
            self.shelf.picked[(fulfillment.location, line.sku)] -= line.quantity
            self.shelf.count(fulfillment.location, line.sku).shipped += line.quantity
        parcel = ThirdPartyShipped(
            fulfillment_id=fulfillment.fulfillment_id,
            carrier=fulfillment.carrier,
            tracking_number=fulfillment.tracking_number,
            lines=fulfillment.picked,
            shipped_at=now,
            sequence=self.shelf.next_sequence(fulfillment.location),
        )
        return self._move(fulfillment, "shipped", parcel, now)

    def _accept_cancellation(self, fulfillment: Fulfillment, now: datetime) -> Reaction:
        if fulfillment.status not in WILL_NOT_SHIP:
            fulfillment.status = "cancelled"
        word = ThirdPartyCancelAccepted(fulfillment_id=fulfillment.fulfillment_id, answered_at=now)
        return Reaction(self._say(fulfillment, word, now))

    def _move(self, fulfillment: Fulfillment, status: Status, word: PartnerMessage, now: datetime) -> list[Answer]:
        fulfillment.status = status
        self._schedule(fulfillment, now)
        return self._say(fulfillment, word, now)

    def _say(self, fulfillment: Fulfillment, word: PartnerMessage, now: datetime) -> list[Answer]:
        answer = Answer(word, fulfillment.subject, fulfillment.traceparent, now, deliveries=fulfillment.waiting)
        fulfillment.waiting = []
        fulfillment.said.append(answer)
        return [answer, *self._twice(answer)]

    def _say_about_stock(self, word: PartnerMessage, now: datetime) -> Reaction:
        answer = Answer(word, None, None, now)
        self.stock_messages.append(answer)
        return Reaction([answer, *self._twice(answer)])

    def _twice(self, answer: Answer) -> Iterator[Answer]:
        if self._random.random() < self.behaviour.duplicate_rate:
            self.statistics["duplicates_said"] += 1
            yield answer.again(event_id=answer.event_id if self._random.random() < 0.5 else None)


def without(lines: Sequence[LineUnits], missing: Sequence[LineUnits]) -> Iterator[LineUnits]:
    """What remains of the lines when the missing units are taken off."""
    gone = {line.line_id: line.quantity for line in missing}
    for line in lines:
        left = line.quantity - gone.get(line.line_id, 0)
        if left:
            yield LineUnits(line_id=line.line_id, sku=line.sku, quantity=left)

"""One 3PL's two connections to the broker, as its own limited user: it declares nothing, reads one queue and writes one exchange.

Answers are pipelined and confirmed in groups; a command is acknowledged only when the answer to it is confirmed. Steps that fall due
come from the warehouse's heap: there is one timer, not one task per order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TypeVar

import aio_pika
import aiormq
from aiormq.channel import Channel
from pydantic import BaseModel, ValidationError

from shared.contracts.base import INBOUND_EXCHANGE, Message
from shared.contracts.envelope import Envelope
from shared.contracts.fulfillment import FulfillmentCancelRequested, FulfillmentInterceptRequested, FulfillmentRequested
from shared.contracts.registry import routing_key_of
from shared.messaging.pipelining import Publication, publish_together
from shared.messaging.trouble import BROKER_TROUBLE, losses_named
from simulators.third_party_logistics.answers import Answer, Delivery, Reaction
from simulators.third_party_logistics.journal import Journal
from simulators.third_party_logistics.warehouse import Warehouse

PUBLISH_BATCH = 500
PUBLISH_TIMEOUT_SECONDS = 10.0
HEARTBEAT_SECONDS = 10
RECONNECT_SECONDS = 0.5
CONSUMER_CHECK_SECONDS = 5.0

log = logging.getLogger(__name__)
DataT = TypeVar("DataT", bound=Message)


class _Head(BaseModel):
    """As much of an envelope as is needed to know what it is."""

    type: str


class BrokerLostError(Exception):
    """The session with the broker is over; a new one is opened."""


class Acknowledgements:
    """Which deliveries of one session may be acknowledged: all below the first that still waits go in one frame."""

    def __init__(self, session: int) -> None:
        self.session = session
        self._done: set[int] = set()
        self._acknowledged = 0

    def settle(self, deliveries: Sequence[Delivery]) -> int | None:
        """The new highest tag below which everything is settled, or None when it has not moved."""
        self._done.update(delivery.tag for delivery in deliveries if delivery.session == self.session)
        top = self._acknowledged
        while top + 1 in self._done:
            top += 1
            self._done.remove(top)
        if top == self._acknowledged:
            return None
        self._acknowledged = top
        return top


class PartnerLink:
    """Keeps one simulated 3PL connected and working until it is stopped."""

    def __init__(
        self, warehouse: Warehouse, url: str, *, prefetch: int, clock: Callable[[], datetime], journal: Journal | None = None
    ) -> None:
        self.warehouse = warehouse
        self.ready = asyncio.Event()
        self._url = url
        self._prefetch = prefetch
        self._clock = clock
        self._journal = journal
        self._pending: deque[Answer] = deque()
        self._settled: list[Delivery] = []
        self._wake = asyncio.Event()
        self._session = 0
        self._routing_keys: dict[type[Message], str] = {}
        if journal is not None:
            self._pending.extend(journal.restore(warehouse, clock()))
            self._wake.set()

    @property
    def unsaid(self) -> int:
        """Answers that the broker has not confirmed yet."""
        return len(self._pending)

    def say(self, reaction: Reaction) -> None:
        """Queues what follows from a command, a due step or the admin's wish."""
        if self._journal is not None:
            self._journal.say(reaction.answers)
        self._pending.extend(reaction.answers)
        self._settled.extend(reaction.settled)
        self._wake.set()

    async def run(self) -> None:
        """Connects, works, and connects again whenever the broker is lost. Ends by being cancelled."""
        while True:
            try:
                with losses_named():
                    await self._work_one_session()
            except (BrokerLostError, *BROKER_TROUBLE) as error:
                log.warning("3PL %s: broker lost (%s: %s)", self.warehouse.code, type(error).__name__, error)
            finally:
                self.ready.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _work_one_session(self) -> None:
        self._session += 1
        acknowledgements = Acknowledgements(self._session)
        lost = asyncio.Event()
        reading = await aio_pika.connect(self._url, timeout=10, heartbeat=HEARTBEAT_SECONDS)
        try:
            writing = await aio_pika.connect(self._url, timeout=10, heartbeat=HEARTBEAT_SECONDS)
            try:
                channel = await reading.channel(publisher_confirms=False)
                await channel.set_qos(prefetch_count=self._prefetch)
                publisher = await _bare(await writing.channel(publisher_confirms=True, on_return_raises=True))
                for closable in (reading, writing, channel):
                    closable.close_callbacks.add(lambda *_: lost.set())
                consumer = await _bare(channel)
                subscribed = await consumer.basic_consume(f"3pl.{self.warehouse.code}.commands", self._take)
                self.ready.set()
                await self._until_lost(lost, publisher, consumer, str(subscribed.consumer_tag), acknowledgements)
            finally:
                await _close(writing)
        finally:
            await _close(reading)

    async def _until_lost(
        self,
        lost: asyncio.Event,
        publisher: Channel,
        consumer: Channel,
        consumer_tag: str,
        acknowledgements: Acknowledgements,
    ) -> None:
        """Runs the speaking, the timer and the watch side by side until one of them sees that the session is over."""
        tasks = [
            asyncio.create_task(self._speak(publisher, consumer, acknowledgements)),
            asyncio.create_task(self._do_due_work()),
            asyncio.create_task(_watch(lost, consumer, consumer_tag)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    raise BrokerLostError("the heartbeat was lost")
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, message: aiormq.abc.DeliveredMessage) -> None:
        """One command from the queue."""
        delivery = Delivery(self._session, message.delivery_tag or 0)
        try:
            reaction = self._react(message.body, delivery)
        except ValidationError as error:
            self.warehouse.statistics["unreadable"] += 1
            log.warning("3PL %s: unreadable command: %s", self.warehouse.code, error.errors(include_input=False, include_url=False))
            reaction = Reaction(settled=[delivery])
        self.say(reaction)

    def _react(self, body: bytes, delivery: Delivery) -> Reaction:
        now = self._clock()
        kind = _Head.model_validate_json(body).type
        if kind == FulfillmentRequested.type:
            request = Envelope[FulfillmentRequested].model_validate_json(body)
            return self.warehouse.take_request(request.data, request.subject, request.traceparent, delivery, now)
        if kind == FulfillmentCancelRequested.type:
            cancel = Envelope[FulfillmentCancelRequested].model_validate_json(body)
            return self.warehouse.take_cancellation(cancel.data, cancel.subject, cancel.traceparent, delivery, now)
        if kind == FulfillmentInterceptRequested.type:
            intercept = Envelope[FulfillmentInterceptRequested].model_validate_json(body)
            return self.warehouse.take_interception(intercept.data, intercept.subject, intercept.traceparent, delivery, now)
        self.warehouse.statistics["unknown_type"] += 1
        log.warning("3PL %s: a %s is nothing for a 3PL", self.warehouse.code, kind)
        return Reaction(settled=[delivery])

    async def _do_due_work(self) -> None:
        """Does the steps whose time has come, looking at the head of the heap when it is due and at least every 50 ms."""
        while True:
            next_due = self.warehouse.next_due()
            pause_seconds = 0.05 if next_due is None else next_due - self._clock().timestamp()
            await asyncio.sleep(min(0.05, max(0.002, pause_seconds)))
            reaction = self.warehouse.due(self._clock())
            if reaction.answers:
                self.say(reaction)

    async def _speak(self, publisher: Channel, consumer: Channel, acknowledgements: Acknowledgements) -> None:
        """Publishes what is pending in groups, then acknowledges the commands that those answers settle."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._flush()
            while self._pending or self._settled:
                self._flush()
                # The group stays at the head of the line until it is confirmed: whatever interrupts this loses nothing.
                group = list(islice(self._pending, PUBLISH_BATCH))
                settled, self._settled = self._settled, []
                outcomes = await publish_together(
                    publisher, [self._publication(answer) for answer in group], timeout_seconds=PUBLISH_TIMEOUT_SECONDS
                )
                said, unsaid = _sort_out(group, outcomes)
                for _ in group:
                    self._pending.popleft()
                self._pending.extendleft(reversed(unsaid))
                self._note_said(said)
                settled += [delivery for answer in said for delivery in answer.deliveries]
                top = acknowledgements.settle(settled)
                if top is not None:
                    await consumer.basic_ack(top, multiple=True)
                if unsaid:
                    problem = next(outcome for outcome in outcomes if isinstance(outcome, BaseException))
                    self._wake.set()
                    raise BrokerLostError(f"{len(unsaid)} answers were not confirmed, the first because of {problem!r}")

    def _flush(self) -> None:
        if self._journal is not None:
            self._journal.flush()

    def _publication(self, answer: Answer) -> Publication:
        kind = type(answer.data)
        return Publication(INBOUND_EXCHANGE, self._routing_key(kind), answer.body(self.warehouse.source), kind.type)

    def _routing_key(self, kind: type[Message]) -> str:
        key = self._routing_keys.get(kind)
        if key is None:
            key = self._routing_keys[kind] = routing_key_of(kind, self.warehouse.code)
        return key

    def _note_said(self, said: Sequence[Answer]) -> None:
        for answer in said:
            self.warehouse.statistics[f"said {answer.data.type}"] += 1
        if self._journal is not None and said:
            self._journal.confirm([answer.event_id for answer in said])


def _sort_out(group: Sequence[Answer], outcomes: Sequence[object]) -> tuple[list[Answer], list[Answer]]:
    """Which answers the broker confirmed, and which it did not."""
    pairs = list(zip(group, outcomes, strict=True))
    unsaid = [answer for answer, outcome in pairs if isinstance(outcome, BaseException)]
    return [answer for answer, outcome in pairs if not isinstance(outcome, BaseException)], unsaid


async def _watch(lost: asyncio.Event, consumer: Channel, consumer_tag: str) -> None:
    """Notices a closed connection at once, and a deleted queue (which cancels the consumer in silence) within seconds.

    Raises:
        BrokerLostError: always; that is how it ends.
    """
    while not lost.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(lost.wait(), CONSUMER_CHECK_SECONDS)
        if consumer_tag not in consumer.consumers:
            raise BrokerLostError("the broker cancelled the consumer: is the queue gone?")
    raise BrokerLostError("connection closed")


async def _bare(channel: aio_pika.abc.AbstractChannel) -> Channel:
    """The protocol channel below: a third less processor time per publish, and it acknowledges many with one frame.

    Raises:
        TypeError: aio-pika stands on something other than aiormq.
    """
    bare = await channel.get_underlay_channel()
    if not isinstance(bare, Channel):
        raise TypeError(f"expected an aiormq channel under aio-pika's, found {type(bare).__name__}")
    return bare


async def _close(connection: aio_pika.abc.AbstractConnection) -> None:
    with suppress(*BROKER_TROUBLE), losses_named():
        await asyncio.wait_for(connection.close(), 3)

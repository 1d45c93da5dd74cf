"""What a channel's adapter does with its broker user: publishes orders to ``oms.inbound`` and reads what it is answered."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import aio_pika
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from aiormq.exceptions import PublishError
from pydantic import BaseModel, ValidationError

from shared.contracts.base import INBOUND_EXCHANGE, PartnerMessage
from shared.contracts.channels import (
    ChannelCancelDecided,
    ChannelOrderChanged,
    ChannelOrderReceived,
    ChannelOrderRejected,
    ChannelPaymentRequested,
    ChannelPaymentVoided,
)
from shared.contracts.envelope import CONTENT_TYPE, Envelope, new_id
from shared.contracts.holds import ChannelHoldAnswered
from shared.contracts.registry import partner_kind_of, routing_key_of
from shared.errors import OrdermeshError
from shared.messaging.pipelining import Publication, publish_together
from shared.messaging.trouble import BROKER_TROUBLE, losses_named
from simulators.adapter.replay import SourceOrder

GROUP = 200
"""Most orders on their way at once."""
CONFIRM_TIMEOUT_SECONDS = 15.0
ATTEMPTS = 8
RETRY_SECONDS = 0.5
HEARTBEAT_SECONDS = 10
PASSED_OVER = frozenset(
    message.type for message in (ChannelOrderChanged, ChannelCancelDecided, ChannelPaymentRequested, ChannelPaymentVoided)
)
"""What a channel's queue carries beside that this adapter has no use for."""


class NotPublishedError(OrdermeshError):
    """The broker does not take what a partner publishes; the text says what it answered and what to look at."""


class _Head(BaseModel):
    """As much of an envelope as is needed to know what it is."""

    type: str


@dataclass(frozen=True, slots=True)
class Sent:
    """An order as it left the adapter. The same event goes out again under the same id when its confirmation is lost."""

    order: SourceOrder
    event_id: UUID
    traceparent: str
    sent_at: datetime

    def body(self) -> bytes:
        """The CloudEvents envelope. Written by hand, because the content of a deliberately wrong order breaks the contract."""
        envelope = {
            "specversion": "1.0",
            "id": str(self.event_id),
            "source": f"channel.{self.order.channel}",
            "type": ChannelOrderReceived.type,
            "time": self.sent_at.isoformat(),
            "datacontenttype": CONTENT_TYPE,
            "traceparent": self.traceparent,
            "data": self.order.content,
        }
        return json.dumps(envelope).encode()


def begin_trace() -> str:
    """A W3C traceparent of a new, sampled trace: the adapter is where an order's trace starts."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


class ChannelAdapter:
    """One channel's connection. Publishing survives a lost broker: unconfirmed orders go out again under the same event id."""

    def __init__(self, code: str, url: str) -> None:
        self.code = code
        self.rejections: dict[str | None, list[ChannelOrderRejected]] = {}
        self.hold_answers: dict[UUID, list[ChannelHoldAnswered]] = {}
        self.unreadable_answers = 0
        self.retries: Counter[str] = Counter()
        self._url = url
        self._routing_key = routing_key_of(ChannelOrderReceived, code)
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: Channel | None = None

    async def publish(self, orders: Sequence[SourceOrder]) -> list[Sent]:
        """Publishes orders, persistent and mandatory, and returns when the broker has confirmed every one.

        Raises:
            NotPublishedError: no queue wants this channel's orders, or the broker stayed away through all attempts.
        """
        sent = [Sent(order, new_id(), begin_trace(), datetime.now(UTC)) for order in orders]
        waiting = sent
        problem: BaseException | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS * attempt)
            try:
                with losses_named():
                    outcomes = await publish_together(
                        await self._open(),
                        [Publication(INBOUND_EXCHANGE, self._routing_key, item.body(), ChannelOrderReceived.type) for item in waiting],
                        timeout_seconds=CONFIRM_TIMEOUT_SECONDS,
                    )
            except BROKER_TROUBLE as error:
                problem = error
                await self.close()
                continue
            failures = [outcome for outcome in outcomes if outcome is not None]
            if not failures:
                return sent
            problem = failures[0]
            self._complain_if_unroutable(failures)
            self.retries[type(problem).__name__] += len(failures)
            waiting = [item for item, outcome in zip(waiting, outcomes, strict=True) if outcome is not None]
            await self.close()
        raise NotPublishedError(f"channel {self.code}: {len(waiting)} orders were not confirmed after {ATTEMPTS} attempts: {problem!r}")

    def _complain_if_unroutable(self, failures: Sequence[BaseException]) -> None:
        if any(isinstance(failure, PublishError) for failure in failures):
            raise NotPublishedError(
                f"channel {self.code}: the broker returned orders: no queue is bound for {self._routing_key} on {INBOUND_EXCHANGE}; "
                "has the topology been applied?"
            )

    async def _open(self) -> Channel:
        if self._channel is None or self._channel.is_closed:
            self._connection = await aio_pika.connect(self._url, timeout=10, heartbeat=HEARTBEAT_SECONDS)
            opened = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            self._channel = await _bare(opened)
        return self._channel

    async def close(self) -> None:
        """Drops the connection; the next publish opens a new one."""
        connection, self._connection, self._channel = self._connection, None, None
        await _close(connection)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Reads the channel's own queue in the background; keeps rejections by external id, and what checkout holds hold by hold id."""
        connection = await aio_pika.connect(self._url, timeout=10, heartbeat=HEARTBEAT_SECONDS)
        try:
            opened = await connection.channel(publisher_confirms=False)
            await opened.set_qos(prefetch_count=500)
            channel = await _bare(opened)

            async def take(message: DeliveredMessage) -> None:
                self._hear(message.body)
                await channel.basic_ack(message.delivery_tag or 0)

            await channel.basic_consume(f"channel.{self.code}.commands", take)
            yield
        finally:
            await _close(connection)

    def _hear(self, body: bytes) -> None:
        try:
            said = _Head.model_validate_json(body).type
            if said in PASSED_OVER:
                return
            if said == ChannelHoldAnswered.type:
                answer = Envelope[ChannelHoldAnswered].model_validate_json(body).data
                self.hold_answers.setdefault(answer.hold_id, []).append(answer)
            else:
                rejection = Envelope[ChannelOrderRejected].model_validate_json(body).data
                self.rejections.setdefault(rejection.external_id, []).append(rejection)
        except ValidationError:
            self.unreadable_answers += 1


@dataclass(slots=True)
class Adapters:
    """The adapters of all channels of a replay."""

    urls: Mapping[str, str]
    by_channel: dict[str, ChannelAdapter] = field(default_factory=dict)

    def adapter(self, channel: str) -> ChannelAdapter:
        """The adapter of one channel, made when it is first needed.

        Raises:
            NotPublishedError: no broker URL is known for it.
        """
        if channel not in self.by_channel:
            if channel not in self.urls:
                raise NotPublishedError(
                    f"channel {channel}: no broker URL; ORDERMESH_PARTNER_AMQP_URLS has {', '.join(self.urls) or 'none'}"
                )
            self.by_channel[channel] = ChannelAdapter(channel, self.urls[channel])
        return self.by_channel[channel]

    async def publish_all(self, orders: Sequence[SourceOrder], *, paced: bool, on_sent: Callable[[Sequence[Sent]], None]) -> None:
        """Publishes orders of any channels, at their ``arrives_at`` when ``paced``, else as fast as the broker takes them.

        Raises:
            NotPublishedError: see ``ChannelAdapter.publish``.
        """
        position = 0
        while position < len(orders):
            group = list(orders[position : position + GROUP])
            if paced:
                now = datetime.now(UTC)
                group = [order for order in group if order.arrives_at <= now]
                if not group:
                    await asyncio.sleep(min(0.25, max(0.001, (orders[position].arrives_at - now).total_seconds())))
                    continue
            position += len(group)
            channels = {order.channel for order in group}
            parts = [[order for order in group if order.channel == channel] for channel in sorted(channels)]
            for sent in await asyncio.gather(*(self.adapter(part[0].channel).publish(part) for part in parts)):
                on_sent(sent)

    async def close(self) -> None:
        """Closes every connection."""
        for adapter in self.by_channel.values():
            await adapter.close()


async def say_as_partner(url: str, code: str, message: PartnerMessage) -> None:
    """Publishes one message with a partner's own broker user, and returns when the broker has confirmed it.

    Raises:
        NotPublishedError: the broker did not take it.
    """
    now = datetime.now(UTC)
    envelope = Envelope[PartnerMessage](
        id=new_id(), source=f"{partner_kind_of(type(message))}.{code}", type=message.type, time=now, traceparent=begin_trace(), data=message
    )
    body = envelope.model_dump_json(serialize_as_any=True).encode()
    connection: aio_pika.abc.AbstractConnection | None = None
    try:
        with losses_named():
            connection = await aio_pika.connect(url, timeout=10, heartbeat=HEARTBEAT_SECONDS)
            channel = await _bare(await connection.channel(publisher_confirms=True, on_return_raises=True))
            publication = Publication(INBOUND_EXCHANGE, routing_key_of(type(message), code), body, message.type)
            (outcome,) = await publish_together(channel, [publication], timeout_seconds=CONFIRM_TIMEOUT_SECONDS)
    except BROKER_TROUBLE as error:
        raise NotPublishedError(f"{code}: the broker did not take {message.type}: {error!r}") from error
    finally:
        await _close(connection)
    if outcome is not None:
        raise NotPublishedError(f"{code}: the broker did not take {message.type}: {outcome!r}") from outcome


async def _bare(channel: aio_pika.abc.AbstractChannel) -> Channel:
    bare = await channel.get_underlay_channel()
    if not isinstance(bare, Channel):
        raise TypeError(f"expected an aiormq channel under aio-pika's, found {type(bare).__name__}")
    return bare


async def _close(connection: aio_pika.abc.AbstractConnection | None) -> None:
    if connection is not None:
        with suppress(*BROKER_TROUBLE), losses_named():
            await asyncio.wait_for(connection.close(), 3)

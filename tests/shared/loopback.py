"""Services without a broker: what one says is handed to those who hear it, in one process, on a real database.

Everything between outbox and inbox is the real thing (contracts, inbox, handlers, outbox); only the wire is missing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp

from shared.contracts.base import Kind, Message
from shared.contracts.envelope import new_id
from shared.contracts.registry import MESSAGES, routing_key_of
from shared.database import open_pool
from shared.messaging import inbox, outbox
from shared.messaging.batching import HandledNow, Processor, Surroundings
from shared.messaging.message import Outgoing, Transaction
from shared.messaging.outbox import encode
from shared.messaging.reading import Delivery
from shared.running import Environment, Errand, write_outbox
from shared.service import Service
from shared.telemetry import Metrics, service_number
from tests.conftest import Databases

ROUNDS_LIMIT = 200


@dataclass
class Station:
    """One service on its pool."""

    service: Service
    around: Surroundings
    processors: dict[str, Processor]
    errands: Sequence[Errand[Any, Any]]

    async def retry_due(self) -> int:
        """The next try of what is due, asked for as the runtime does; returns how many messages that were."""
        async with self.around.pool.acquire() as connection:
            due = await inbox.due_types(connection, self.around.now())
        return sum([await self.processors[message_type].retry_due(200) for message_type in due])

    async def run_schedules(self) -> int:
        """Every schedule once; returns how many messages that led to, and how many schedules have more to do."""
        said = 0
        for schedule in self.service.schedules:
            async with self.around.pool.acquire() as connection, connection.transaction():
                tx = Transaction(connection, self.around.now())
                outgoing = await schedule.run(tx)
                await write_outbox(self.around, tx, outgoing)
            said += len(outgoing) + tx.more_is_due
        return said

    async def run_errands(self) -> int:
        """Every errand once; returns how many tasks there were."""
        done = 0
        for errand in self.errands:
            async with self.around.pool.acquire() as connection, connection.transaction():
                tasks = await errand.claim(Transaction(connection, self.around.now()), errand.concurrency)
            results = [(task, await errand.perform(task)) for task in tasks]
            if results:
                async with self.around.pool.acquire() as connection, connection.transaction():
                    tx = Transaction(connection, self.around.now())
                    await write_outbox(self.around, tx, await errand.settle(tx, results))
            done += len(results)
        return done


@dataclass
class PartnerMail:
    """What a partner would find in its queue."""

    routing_key: str
    message: Message


@dataclass
class Loopback:
    """Several services, and what they said to partners."""

    stations: dict[str, Station]
    partner_mail: list[PartnerMail] = field(default_factory=list)
    offset: timedelta = timedelta()

    def now(self) -> datetime:
        """The clock of all services; ``offset`` moves it."""
        return datetime.now(UTC) + self.offset

    async def ask(self, service: str, message: Message, *, source: str = "console") -> HandledNow:
        """A command over HTTP."""
        body = encode(Outgoing(message), source=source, service_number=1, now=self.now())
        return await self.stations[service].processors[message.type].handle_now(Delivery(body, message.type))

    async def hear_from_partner(self, partner: str, message: Message, *, event_id: UUID | None = None) -> None:
        """A partner publishes to ``oms.inbound``."""
        routing_key = routing_key_of(type(message), partner)
        body = encode(Outgoing(message, event_id=event_id or new_id()), source=partner, service_number=1, now=self.now())
        await self._deliver(message.type, [Delivery(body, routing_key)])

    async def say(self, service: str, *messages: Message, subject: str | None = None) -> None:
        """Puts messages into a service's outbox as if its handlers had said them."""
        station = self.stations[service]
        rows = outbox.rows_of(
            [Outgoing(message, subject=subject) for message in messages],
            source=station.around.source,
            service_number=service_number(service),
            now=self.now(),
        )
        async with station.around.pool.acquire() as connection:
            await outbox.insert(connection, rows, self.now())

    async def settle(self) -> None:
        """Delivers until nobody has anything to say any more; deferred messages get their next try.

        Schedules come when messages rest, as in a running system, where many messages pass between two of them.
        """
        for _ in range(ROUNDS_LIMIT):
            moved = 0
            for station in self.stations.values():
                moved += await self._relay(station) + await station.retry_due() + await station.run_errands()
            if moved == 0:
                for station in self.stations.values():
                    moved += await station.run_schedules()
            if moved == 0:
                return
        raise AssertionError(f"still talking after {ROUNDS_LIMIT} rounds")

    async def _relay(self, station: Station) -> int:
        async with station.around.pool.acquire() as connection, connection.transaction():
            rows = await outbox.claim_unsent(connection, 500)
            if rows:
                await outbox.mark_sent(connection, [row["event_id"] for row in rows], self.now())
        by_type: dict[str, list[Delivery]] = {}
        for row in rows:
            if MESSAGES[row["type"]].kind is Kind.PARTNER_COMMAND:
                self.partner_mail.append(PartnerMail(row["routing_key"], _data_of(row["type"], row["body"])))
            else:
                by_type.setdefault(row["type"], []).append(Delivery(row["body"], row["routing_key"]))
        for message_type, deliveries in by_type.items():
            await self._deliver(message_type, deliveries)
        return len(rows)

    async def _deliver(self, message_type: str, deliveries: Sequence[Delivery]) -> None:
        for station in self.stations.values():
            processor = station.processors.get(message_type)
            if processor is not None:
                await processor.process(deliveries)


def _data_of(message_type: str, body: bytes) -> Message:
    return MESSAGES[message_type].model_validate(json.loads(body)["data"])


@asynccontextmanager
async def open_loopback(databases: Databases, services: Sequence[Service], **more: Any) -> AsyncIterator[Loopback]:
    """Opens the services on one test's database; ``more`` are further settings, each service takes what it knows."""
    loopback = Loopback({})
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for service in services:
            settings = service.settings(
                database_url=databases.url(service.name), amqp_url="amqp://unused", operator_token="only-for-this-test", **more
            )
            pool = await open_pool(settings.database_url, application_name="test", size=3, command_timeout_seconds=10)
            stack.push_async_callback(pool.close)
            around = Surroundings(service.name, pool, settings, Metrics(service.name), loopback.now, lambda: None)
            processors = {item.message.type: Processor(item, around) for item in service.consumes}
            errands = service.errands(Environment(around, http, processors))
            loopback.stations[service.name] = Station(service, around, processors, errands)
        yield loopback

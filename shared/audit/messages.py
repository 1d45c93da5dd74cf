"""Every message, from the outbox that holds it to each inbox that must know it (invariants I7 to I9)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Record

from shared.audit.report import Check, Violation, check_of
from shared.audit.snapshot import Snapshot
from shared.audit.statements import Statements
from shared.contracts.base import Kind
from shared.contracts.registry import MESSAGES

OVERTAKEN_AFTER = timedelta(seconds=60)
"""A message that has no inbox row, although one that was sent this much later has, is lost and not slow: a frozen consumer's messages go
back to the queue after three missed heartbeats of 10 seconds."""

NAMES_LIMIT = 200_000
EVENT_TYPES = frozenset(name for name, message in MESSAGES.items() if message.kind is Kind.EVENT)
INTERNAL_TYPES = frozenset(name for name, message in MESSAGES.items() if message.kind in (Kind.EVENT, Kind.COMMAND))


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message that was sent but is in no inbox of a service that must hear it."""

    producer: str
    consumer: str
    event_id: UUID
    type: str
    subject: str | None
    sent_at: datetime
    overtaken: bool


@dataclass
class Movement:
    """What was under way when the snapshot was taken, and what is parked."""

    services: Sequence[Statements]
    unsent: dict[str, list[Record]] = field(default_factory=dict)
    retrying: dict[str, list[Record]] = field(default_factory=dict)
    undelivered: list[Undelivered] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    _moving_names: set[str] | None = None
    _parked: list[tuple[str, Record, set[str]]] | None = None

    @property
    def messages(self) -> int:
        """How many messages are under way."""
        return sum(map(len, self.unsent.values())) + sum(map(len, self.retrying.values())) + len(self.undelivered)

    async def moving_names(self, snapshot: Snapshot) -> set[str]:
        """Every id and SKU that a message under way names; facts about them may differ for now."""
        if self._moving_names is None:
            self._moving_names = set()
            for body in await self._bodies_under_way(snapshot):
                self._moving_names |= names_in(body)
        return self._moving_names

    async def _bodies_under_way(self, snapshot: Snapshot) -> list[bytes]:
        bodies = []
        for producer in {item.producer for item in self.undelivered}:
            wanted = [item.event_id for item in self.undelivered if item.producer == producer]
            rows = await snapshot.fetch_across(
                "SELECT body FROM %1$I.outbox WHERE event_id = ANY($1::uuid[])", producer, producer, wanted[:NAMES_LIMIT]
            )
            bodies += [row["body"] for row in rows]
        for service in self.services:
            for template in (
                "SELECT body FROM %1$I.outbox WHERE sent_at IS NULL LIMIT $1",
                "SELECT body FROM %1$I.inbox WHERE status = 'retry' LIMIT $1",
            ):
                rows = await snapshot.fetch_across(template, service.service, service.service, NAMES_LIMIT)
                bodies += [row["body"] for row in rows]
        return bodies

    async def parked_note(self, snapshot: Snapshot, subject: str) -> str:
        """Names messages about a subject that were parked or dismissed, because they may be why books differ."""
        if self._parked is None:
            self._parked = []
            for service in self.services:
                rows = await snapshot.fetch_across(
                    "SELECT event_id, type, status, reason, body FROM %1$I.inbox WHERE status IN ('parked', 'dismissed') LIMIT $1",
                    service.service,
                    service.service,
                    NAMES_LIMIT,
                )
                self._parked += [(service.service, row, names_in(row["body"])) for row in rows]
        found = [(name, row) for name, row, names in self._parked if subject in names]
        notes = [
            f" ({status}: {', '.join(told)})"
            for status in ("parked", "dismissed")
            if (told := [f"{row['type']} {row['event_id']} at {name}" for name, row in found if row["status"] == status])
        ]
        return "".join(notes)


def names_in(body: bytes) -> set[str]:
    """Every text that a message carries as a value: ids, SKUs, lines. What is no JSON names nothing."""
    found: set[str] = set()
    try:
        waiting: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return found
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            found.add(value)
    return found


FLOOR = """
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD')) AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = format('%I.%I', $1::text, $2::text)::regclass AND c.relname ~ '_[0-9]{8}$'
"""

# Only ids from the first day that the other side still keeps ($3), and ids without a time, which are never dropped.
FOLLOWED = """
SELECT o.type, coalesce(i.status, 'missing') AS status, count(*) AS messages, max(o.sent_at) AS last_sent_at
FROM %1$I.outbox o LEFT JOIN %2$I.inbox i ON i.event_id = o.event_id AND i.source = $1
WHERE o.type = ANY($2::text[]) AND o.sent_at IS NOT NULL AND (o.event_id >= $3 OR substr(o.event_id::text, 15, 1) <> '7')
GROUP BY 1, 2
"""

MISSING = """
SELECT o.event_id, o.type, o.subject, o.sent_at
FROM %1$I.outbox o
WHERE o.type = ANY($2::text[]) AND o.sent_at IS NOT NULL AND (o.event_id >= $3 OR substr(o.event_id::text, 15, 1) <> '7')
  AND NOT EXISTS (SELECT FROM %2$I.inbox i WHERE i.event_id = o.event_id AND i.source = $1)
ORDER BY o.event_id
"""

WITHOUT_SOURCE = """
SELECT i.event_id, i.type, i.subject
FROM %2$I.inbox i
WHERE i.source = $1 AND i.type = ANY($2::text[]) AND (i.event_id >= $3 OR substr(i.event_id::text, 15, 1) <> '7')
  AND NOT EXISTS (SELECT FROM %1$I.outbox o WHERE o.event_id = i.event_id)
ORDER BY i.event_id
"""

UNSENT = "SELECT event_id, type, subject, created_at FROM outbox WHERE sent_at IS NULL ORDER BY event_id"
RETRYING = "SELECT event_id, type, subject, reason, attempts FROM inbox WHERE status = 'retry' ORDER BY event_id"

WRONG_ENVELOPE = """
SELECT event_id, outbox.type, said.type AS body_type, said.id AS body_id, said.source AS body_source
FROM outbox CROSS JOIN LATERAL jsonb_to_record(convert_from(body, 'UTF8')::jsonb) AS said (type text, id text, source text)
WHERE said.type IS DISTINCT FROM outbox.type OR said.id IS DISTINCT FROM event_id::text OR said.source IS DISTINCT FROM $1
"""

HEARD_TWICE = """
SELECT event_id, count(*) AS times, string_agg(source, ', ' ORDER BY source) AS sources
FROM inbox WHERE source LIKE 'ordermesh/%' GROUP BY event_id HAVING count(*) > 1
"""

HEARD_AS_ANOTHER = """
SELECT i.event_id, i.type AS heard, o.type AS said
FROM %2$I.inbox i JOIN %1$I.outbox o ON o.event_id = i.event_id AND i.source = $1
WHERE i.type <> o.type
"""

STRANGERS = """
SELECT event_id, type, source FROM inbox
WHERE status NOT IN ('parked', 'dismissed') AND type = ANY($1::text[]) AND source <> ALL($2::text[])
ORDER BY event_id
"""


async def _floor(snapshot: Snapshot, service: str, table: str) -> UUID:
    """The smallest UUIDv7 of the first day that a table still has."""
    day = (await snapshot.fetch(FLOOR, service, table))[0]["day"]
    if day is None:
        return UUID(int=0)
    midnight = datetime.combine(day, time(), UTC)
    return UUID(int=int(midnight.timestamp() * 1_000) << 80)


async def follow_messages(snapshot: Snapshot, services: Sequence[Statements]) -> Movement:
    """Finds what is under way between outboxes and inboxes."""
    movement = Movement(services)
    for service in services:
        await snapshot.enter(service.service)
        movement.unsent[service.service] = await snapshot.fetch(UNSENT)
        movement.retrying[service.service] = await snapshot.fetch(RETRYING)
    for consumer in services:
        heard = sorted(consumer.hears() & INTERNAL_TYPES)
        floor = await _floor(snapshot, consumer.service, "inbox")
        for producer in services:
            await _follow(snapshot, movement, producer, consumer, heard, floor)
    return movement


async def _follow(
    snapshot: Snapshot, movement: Movement, producer: Statements, consumer: Statements, heard: list[str], floor: UUID
) -> None:
    counts = movement.counts.setdefault(consumer.service, {"deliveries": 0, "done": 0, "retry": 0, "parked": 0, "under way": 0})
    last_heard: dict[str, datetime] = {}
    missing = 0
    for row in await snapshot.fetch_across(FOLLOWED, producer.service, consumer.service, producer.source, heard, floor):
        counts["deliveries"] += row["messages"]
        if row["status"] == "missing":
            missing += row["messages"]
            continue
        counts[row["status"]] = counts.get(row["status"], 0) + row["messages"]
        last_heard[row["type"]] = max(row["last_sent_at"], last_heard.get(row["type"], row["last_sent_at"]))
    if not missing:
        return
    for row in await snapshot.fetch_across(MISSING, producer.service, consumer.service, producer.source, heard, floor):
        newest = last_heard.get(row["type"])
        overtaken = newest is not None and newest - row["sent_at"] > OVERTAKEN_AFTER
        movement.undelivered.append(
            Undelivered(
                producer.service, consumer.service, row["event_id"], row["type"], row["subject"], row["sent_at"], overtaken=overtaken
            )
        )
        counts["under way"] += 0 if overtaken else 1


def _about(event_id: UUID, message_type: str, subject: str | None) -> str:
    return f"{message_type} {event_id}" + (f" of {subject}" if subject else "")


def check_deliveries(movement: Movement, *, strict: bool) -> list[Check]:
    """I7: every message is handled, waits for a retry or is parked at each service that must hear it.

    Args:
        strict: nothing may be under way any more, because there was time enough.
    """
    checks = []
    for service in movement.services:
        unsent = movement.unsent[service.service]
        stuck = [
            Violation(_about(row["event_id"], row["type"], row["subject"]), f"unsent since {row['created_at']:%Y-%m-%d %H:%M:%S}")
            for row in (unsent if strict else ())
        ]
        checks.append(check_of("I7-sent", service.service, "everything in the outbox is sent", stuck, {"unsent": len(unsent)}))
        lost = [
            Violation(
                _about(item.event_id, item.type, item.subject),
                f"sent by {item.producer} at {item.sent_at:%Y-%m-%d %H:%M:%S}, never heard here",
            )
            for item in movement.undelivered
            if item.consumer == service.service and (strict or item.overtaken)
        ]
        title = "every message for this service is done, waits for a retry or is parked"
        checks.append(check_of("I7-handled", service.service, title, lost, movement.counts[service.service]))
        retrying = movement.retrying[service.service]
        waiting = [
            Violation(_about(row["event_id"], row["type"], row["subject"]), f"still waits after {row['attempts']} tries: {row['reason']}")
            for row in (retrying if strict else ())
        ]
        checks.append(check_of("I7-retry", service.service, "no message waits for a retry for long", waiting, {"retrying": len(retrying)}))
    return checks


async def check_sources(snapshot: Snapshot, services: Sequence[Statements]) -> list[Check]:
    """I8: whatever a service has heard from another one stands in that one's outbox; events come from nobody else.

    Commands that a service asks over HTTP never were in an outbox, so of commands only those count that their sender publishes.
    """
    checks = []
    sources = [service.source for service in services]
    floors = {service.service: await _floor(snapshot, service.service, "outbox") for service in services}
    for consumer in services:
        violations = []
        for producer in services:
            types = sorted(EVENT_TYPES | ({message.type for message in producer.messages.publishes} & INTERNAL_TYPES))
            rows = await snapshot.fetch_across(
                WITHOUT_SOURCE, producer.service, consumer.service, producer.source, types, floors[producer.service]
            )
            violations += [
                Violation(
                    _about(row["event_id"], row["type"], row["subject"]), f"heard from {producer.service}, whose outbox does not have it"
                )
                for row in rows
            ]
        await snapshot.enter(consumer.service)
        for row in await snapshot.fetch(STRANGERS, sorted(EVENT_TYPES), sources):
            violations.append(Violation(_about(row["event_id"], row["type"], None), f"heard from {row['source']}, which is no service"))
        checks.append(check_of("I8-source", consumer.service, "everything heard stands in its sender's outbox", violations))
    return checks


async def check_single_effects(snapshot: Snapshot, services: Sequence[Statements]) -> list[Check]:
    """I9: one event is one thing: one id, one type, one sender, heard once."""
    checks = []
    for service in services:
        await snapshot.enter(service.service)
        envelopes = [
            Violation(
                str(row["event_id"]),
                f"the row says {row['type']}, the message {row['body_type']} {row['body_id']} from {row['body_source']}",
            )
            for row in await snapshot.fetch(WRONG_ENVELOPE, service.source)
        ]
        checks.append(check_of("I9-envelope", service.service, "every outbox row and the message in it speak of the same event", envelopes))
        twice = [
            Violation(str(row["event_id"]), f"heard {row['times']} times: {row['sources']}") for row in await snapshot.fetch(HEARD_TWICE)
        ]
        for producer in services:
            rows = await snapshot.fetch_across(HEARD_AS_ANOTHER, producer.service, service.service, producer.source)
            twice += [
                Violation(str(row["event_id"]), f"{producer.service} said {row['said']}, heard here as {row['heard']}") for row in rows
            ]
        checks.append(check_of("I9-once", service.service, "every event is heard once, as what it is", twice))
    return checks


def about_service(checks: Iterable[Check], service: str | None) -> list[Check]:
    """Only the checks in which one service takes part, or all of them."""
    return [check for check in checks if service is None or service in check.service.split("+")]

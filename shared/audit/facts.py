"""Facts on which several services must agree, compared key by key without holding them in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg
from asyncpg import Record

from shared.audit.messages import Movement
from shared.audit.report import Check, Violation, check_of
from shared.audit.snapshot import Snapshot
from shared.audit.statements import Statements

CHUNK_ROWS = 5_000


async def check_facts(snapshot: Snapshot, services: Sequence[Statements], movement: Movement) -> list[Check]:
    """Compares every fact that at least two services state.

    A key on which they differ while a message that names it is under way is counted as such and not reported: the snapshot is one instant
    for all services, so a difference that nothing under way can explain is real.
    """
    stated: dict[str, dict[str, str]] = {}
    for service in services:
        for fact in service.facts:
            stated.setdefault(fact.name, {})[service.service] = fact.sql
    return [await _compare(snapshot, name, by_service, movement) for name, by_service in sorted(stated.items()) if len(by_service) > 1]


async def _compare(snapshot: Snapshot, name: str, by_service: Mapping[str, str], movement: Movement) -> Check:
    joined = "+".join(sorted(by_service))
    title = f"{', '.join(sorted(by_service))} agree on {name}"
    violations: list[Violation] = []
    compared = under_way = 0
    try:
        async with snapshot.connection.transaction():
            async for key, values in _merged(snapshot, by_service):
                if len(values) < 2:
                    continue
                compared += 1
                if len(set(values.values())) == 1:
                    continue
                # A key is one id or SKU, or several joined by bars, the widest first.
                subject = key.split("|")[0]
                if {key, subject} & await movement.moving_names(snapshot):
                    under_way += 1
                    continue
                said = ", ".join(f"{service} says {value}" for service, value in sorted(values.items()))
                violations.append(Violation(key, said + await movement.parked_note(snapshot, subject)))
    except asyncpg.PostgresError as error:
        violations.append(Violation("the check itself", f"could not run: {type(error).__name__}: {error}"))
    return check_of(f"F-{name}", joined, title, violations, {"keys compared": compared, "under way": under_way})


async def _merged(snapshot: Snapshot, by_service: Mapping[str, str]) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """Walks the facts of all services together in the order of their keys."""
    streams = {service: _Stream(await _open(snapshot, service, sql)) for service, sql in by_service.items()}
    for stream in streams.values():
        await stream.advance()
    while True:
        keys = [stream.key for stream in streams.values() if stream.key is not None]
        if not keys:
            return
        key = min(keys, key=str.encode)
        values = {}
        for service, stream in streams.items():
            if stream.key == key:
                values[service] = stream.value
                await stream.advance()
        yield key, values


async def _open(snapshot: Snapshot, service: str, sql: str) -> Any:
    # The cursor is bound while the search path is this service's; what it fetches later stays in this schema.
    await snapshot.enter(service)
    return await snapshot.connection.cursor(f'SELECT key, value FROM ({sql}) AS fact (key, value) ORDER BY key COLLATE "C"')  # noqa: S608


class _Stream:
    """One service's keys and values, in order, fetched in chunks."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._chunk: list[Record] = []
        self._next = 0
        self.key: str | None = None
        self.value = 0

    async def advance(self) -> None:
        """Moves to the next key; ``key`` is None at the end.

        Raises:
            asyncpg.CardinalityViolationError: a key is stated twice, so the fact is no fact.
        """
        if self._next >= len(self._chunk):
            self._chunk, self._next = await self._cursor.fetch(CHUNK_ROWS), 0
        if not self._chunk:
            self.key = None
            return
        row = self._chunk[self._next]
        self._next += 1
        if row["key"] == self.key:
            raise asyncpg.CardinalityViolationError(f"key {self.key} is stated twice")
        self.key, self.value = row["key"], row["value"]

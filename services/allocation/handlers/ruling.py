"""Operators change what is kept back and what channels may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from asyncpg import Record

from services.allocation.decide import rules as decide
from services.allocation.decide.books import Books
from services.allocation.decide.pools import ChannelPool, rule_of
from services.allocation.decide.rules import ChannelUnits
from services.allocation.decide.stock import Cause
from services.allocation.handlers.counting import open_shelves
from services.allocation.handlers.kits import kit_problem
from services.allocation.handlers.loading import open_books
from services.allocation.handlers.settling import settle
from services.allocation.queries import pools as sql
from services.allocation.queries.pools import ChannelPoolChange
from shared.contracts.rules import (
    ChannelPoolRejected,
    ChannelPoolRequested,
    ChannelPoolSet,
    StockSafetyRejected,
    StockSafetyRequested,
    StockSafetySet,
)
from shared.messaging.message import Outgoing, Received, Transaction


async def set_safety_stock(tx: Transaction, messages: Sequence[Received[StockSafetyRequested]]) -> list[Outgoing]:
    """An operator keeps units back, compare-and-set (features A7, A9). The same change told twice is made once and answered the same."""
    commands = [message.data for message in messages]
    locations = {command.location for command in commands if command.location is not None}
    books = await open_shelves(tx, locations, (command.sku for command in commands))
    rows = await sql.read_rule_changes(tx.connection, [command.change_id for command in commands])
    answers = {row["change_id"]: _safety_set(row) for row in rows if row["kind"] == "safety"}
    made: list[tuple[StockSafetyRequested, StockSafetySet]] = []
    outgoing: list[Outgoing] = []
    for message in messages:
        command = message.data
        answer = answers.get(command.change_id) or _set_safety(tx, books, message)
        if isinstance(answer, StockSafetySet) and command.change_id not in answers:
            answers[command.change_id] = answer
            made.append((command, answer))
        outgoing.append(Outgoing(answer, command.sku, message))
    told = await settle(tx, books, messages)
    await _save_safety(tx, made)
    return outgoing + told


def _safety_set(row: Record) -> StockSafetySet:
    return StockSafetySet(
        change_id=row["change_id"],
        sku=row["sku"],
        location=row["location"],
        old_safety_units=row["old_safety"],
        new_safety_units=row["new_safety"],
        changed_at=row["changed_at"],
    )


def _set_safety(tx: Transaction, books: Books, message: Received[StockSafetyRequested]) -> StockSafetySet | StockSafetyRejected:
    command = message.data
    heading = {"change_id": command.change_id, "sku": command.sku, "location": command.location}
    if command.sku not in books.pools:
        reason, detail = _no_stock(books, command.sku)
        return StockSafetyRejected.model_validate({**heading, "reason": reason, "safety_units": None, "detail": detail})
    if command.location is not None and command.location not in books.places:
        detail = f"location: {command.location!r} is not registered: register the location, then send the change again"
        return StockSafetyRejected.model_validate({**heading, "reason": "unknown_location", "safety_units": None, "detail": detail})
    shelf = books.shelf(command.sku, command.location) if command.location is not None else None
    old = books.pools[command.sku].sku_safety if shelf is None else shelf.safety
    if command.expected_safety_units is not None and command.expected_safety_units != old:
        detail = (
            f"expected_safety_units: {command.expected_safety_units} was expected, {old} are kept back now: "
            "look again and send a new change"
        )
        return StockSafetyRejected.model_validate({**heading, "reason": "stale_expectation", "safety_units": old, "detail": detail})
    cause = Cause(message.event_id, tx.now, command.change_id)
    if shelf is None:
        decide.set_sku_safety(books, command.sku, command.safety_units, cause)
    else:
        decide.set_shelf_safety(books, shelf, command.safety_units, cause)
    return StockSafetySet.model_validate(
        {**heading, "old_safety_units": old, "new_safety_units": command.safety_units, "changed_at": tx.now}
    )


def _no_stock(books: Books, sku: str) -> tuple[str, str]:
    """Why a SKU has no stock to make rules about: the reason, and what to do."""
    problem = kit_problem(books, [sku])
    if problem is not None:
        return "kit_has_no_stock", problem[:500]
    return "unknown_sku", f"sku: {sku!r} is not registered: register the product, then send the change again"


async def _save_safety(tx: Transaction, made: Sequence[tuple[StockSafetyRequested, StockSafetySet]]) -> None:
    if not made:
        return
    await sql.insert_safety_changes(
        tx.connection,
        [command.change_id for command, _ in made],
        [command.sku for command, _ in made],
        [command.location for command, _ in made],
        [answer.old_safety_units for _, answer in made],
        [answer.new_safety_units for _, answer in made],
        [command.reason for command, _ in made],
        [command.operator for command, _ in made],
        tx.now,
    )


async def set_channel_pools(tx: Transaction, messages: Sequence[Received[ChannelPoolRequested]]) -> list[Outgoing]:
    """An operator decides what a channel may take of a SKU, compare-and-set (features A7, A9); what that frees goes to the queue."""
    commands = [message.data for message in messages]
    books = await open_books(tx.connection, {command.sku for command in commands})
    rows = await sql.read_rule_changes(tx.connection, [command.change_id for command in commands])
    answers = {row["change_id"]: _pool_set(row) for row in rows if row["kind"] == "channel_pool"}
    units = await _channel_units(tx, books, commands)
    made: list[ChannelPoolChange] = []
    outgoing: list[Outgoing] = []
    for message in messages:
        command = message.data
        answer = answers.get(command.change_id) or _set_pool(tx, books, message, units, made)
        if isinstance(answer, ChannelPoolSet):
            answers[command.change_id] = answer
        outgoing.append(Outgoing(answer, command.sku, message))
    told = await settle(tx, books, messages)
    if made:
        await sql.insert_channel_pool_changes(tx.connection, made, tx.now)
    return outgoing + told


async def _channel_units(tx: Transaction, books: Books, commands: Sequence[ChannelPoolRequested]) -> dict[tuple[str, str], ChannelUnits]:
    """What channels that get their first rule have and wait for already."""
    new = [(command.sku, command.channel) for command in commands if command.sku in books.pools]
    new = [key for key in new if rule_of(books.pools[key[0]].channels, key[1]) is None]
    if not new:
        return {}
    rows = await sql.count_channel_units(tx.connection, [sku for sku, _ in new], [channel for _, channel in new])
    return {(row["sku"], row["channel"]): ChannelUnits(row["open"], row["queued"]) for row in rows}


def _pool_set(row: Record) -> ChannelPoolSet:
    return ChannelPoolSet(
        change_id=row["change_id"],
        sku=row["sku"],
        channel=row["channel"],
        fence_units=row["new_fence"] or 0,
        cap_units=row["new_cap"],
        share_percent=row["new_share_percent"],
        rule_version=row["rule_version"],
        changed_at=row["changed_at"],
    )


class _Numbers(NamedTuple):
    """What a rule says; nothing where there is none."""

    fence: int | None = None
    cap: int | None = None
    share_percent: int | None = None

    @classmethod
    def of(cls, rule: ChannelPool | None) -> _Numbers:
        """The numbers of a rule, as they are now."""
        return cls() if rule is None else cls(rule.fence, rule.cap, rule.share_percent)


def _set_pool(
    tx: Transaction,
    books: Books,
    message: Received[ChannelPoolRequested],
    units: dict[tuple[str, str], ChannelUnits],
    made: list[ChannelPoolChange],
) -> ChannelPoolSet | ChannelPoolRejected:
    command = message.data
    heading = {"change_id": command.change_id, "sku": command.sku, "channel": command.channel}
    if command.sku not in books.pools:
        reason, detail = _no_stock(books, command.sku)
        return ChannelPoolRejected.model_validate({**heading, "reason": reason, "rule_version": None, "detail": detail})
    old = rule_of(books.pools[command.sku].channels, command.channel)
    version = 0 if old is None else old.rule_version
    problem = decide.channel_pool_problem(command)
    if problem is not None:
        return ChannelPoolRejected.model_validate({**heading, "reason": "invalid", "rule_version": version, "detail": problem})
    if command.expected_rule_version is not None and command.expected_rule_version != version:
        detail = (
            f"expected_rule_version: {command.expected_rule_version} was expected, version {version} stands now: "
            "look again and send a new change"
        )
        return ChannelPoolRejected.model_validate({**heading, "reason": "stale_expectation", "rule_version": version, "detail": detail})
    was = _Numbers.of(old)
    known = ChannelUnits(old.open, old.queued) if old is not None else units.get((command.sku, command.channel), ChannelUnits())
    rule = decide.set_channel_pool(books, command, known, tx.new_id(), Cause(message.event_id, tx.now, command.change_id))
    if rule is None:
        units[command.sku, command.channel] = known
    version, now = 0 if rule is None else rule.rule_version, _Numbers.of(rule)
    made.append(
        ChannelPoolChange(
            change_id=command.change_id,
            sku=command.sku,
            channel=command.channel,
            old_fence=was.fence,
            new_fence=now.fence,
            old_cap=was.cap,
            new_cap=now.cap,
            old_share_percent=was.share_percent,
            new_share_percent=now.share_percent,
            rule_version=version,
            reason=command.reason,
            author=command.operator,
        )
    )
    body = {"fence_units": now.fence or 0, "cap_units": now.cap, "share_percent": now.share_percent, "rule_version": version}
    return ChannelPoolSet.model_validate({**heading, **body, "changed_at": tx.now})

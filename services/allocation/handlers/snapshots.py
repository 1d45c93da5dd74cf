"""Counts by 3PLs and distributors, netted with what is in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.books import Books
from services.allocation.decide.counting import MovedSince, apply_count, is_newer_count
from services.allocation.decide.feeds import PATIENCE, Counted, Gap, given_up, snapshot_problem
from services.allocation.handlers.counting import is_at_home
from services.allocation.handlers.feeds import close_gaps, gaps_at
from services.allocation.handlers.loading import open_books, place_of
from services.allocation.handlers.settling import settle
from services.allocation.queries import feeds as sql
from services.allocation.queries import gaps as gaps_sql
from services.allocation.queries import unregistered as unregistered_sql
from shared.contracts.stock import SnapshotLine, ThirdPartyStockSnapshot
from shared.messaging.message import Outgoing, Received, Transaction

Snapshot = Received[ThirdPartyStockSnapshot]

REMEMBERED_AT_A_TIME = 1_000
LOCATIONS_AT_A_TIME = 20


class CountKey(NamedTuple):
    """One shelf as one count saw it."""

    sku: str
    location: str
    watermark: int
    as_of: datetime


async def apply_stock_snapshots(tx: Transaction, messages: Sequence[Snapshot]) -> list[Outgoing]:
    """Sets the shelves that a 3PL or distributor counted (feature A6); only SKUs listed are touched.

    A count waits until every message of the location's feed that it already shows has arrived, so that none is taken off twice; it stops
    waiting for those that are given up. An older count than the last one of a shelf is ignored. Lines of SKUs that are not registered
    here are remembered and reported, and hold up nothing.
    """
    rows = await sql.lock_counted_locations(tx.connection, sorted({message.data.location for message in messages}))
    locations = {row["location"]: row for row in rows}
    places = Books(places={row["location"]: place_of(row) for row in rows})
    sound = [message for message in messages if _is_sound(tx, message, places, locations)]
    ready = await _all_arrived(tx, sound, locations)
    if not ready:
        return []
    told = await _apply(tx, ready, places)
    await _settle_feeds(tx, ready, locations)
    return told


async def _settle_feeds(tx: Transaction, messages: Sequence[Snapshot], locations: Mapping[str, Record]) -> None:
    """Everything up to the watermark of an applied count has come or was given up."""
    settled: dict[str, int] = {}
    for message in messages:
        count = message.data
        if count.watermark > max(locations[count.location]["sequence_floor"], settled.get(count.location, 0)):
            settled[count.location] = count.watermark
    if settled:
        await sql.raise_floors(tx.connection, list(settled), list(settled.values()))


async def apply_remembered_counts(tx: Transaction) -> list[Outgoing]:
    """Products that were counted before they were registered here get their count."""
    places = await unregistered_sql.locations_to_settle(tx.connection, LOCATIONS_AT_A_TIME)
    if not places:
        return []
    locked = await sql.lock_counted_locations(tx.connection, sorted(row["location"] for row in places))
    rows = await unregistered_sql.claim_registered(tx.connection, [row["location"] for row in locked], REMEMBERED_AT_A_TIME)
    if not rows:
        return []
    told: dict[tuple[UUID, str, datetime, int], list[SnapshotLine]] = {}
    for row in rows:
        line = SnapshotLine(
            sku=row["sku"],
            on_hand=row["on_hand"],
            damaged=row["damaged"],
            quality_control=row["quality_control"],
            set_aside=row["set_aside"],
        )
        told.setdefault((row["event_id"], row["location"], row["as_of"], row["watermark"]), []).append(line)
    messages = [
        Received(
            event_id=event_id,
            source="ordermesh/allocation",
            data=ThirdPartyStockSnapshot(location=location, as_of=as_of, watermark=watermark, lines=lines),
        )
        for (event_id, location, as_of, watermark), lines in told.items()
    ]
    return await _apply(tx, messages, Books(places={row["location"]: place_of(row) for row in locked}))


async def forget_unregistered(tx: Transaction) -> list[Outgoing]:
    """Drops reports of SKUs that no feed lists any more, and the oldest beyond the limit."""
    await unregistered_sql.forget(tx.connection, tx.now - unregistered_sql.REMEMBERED_FOR, unregistered_sql.REMEMBERED_PER_LOCATION)
    return []


def _is_sound(tx: Transaction, message: Snapshot, places: Books, locations: Mapping[str, Record]) -> bool:
    count = message.data
    if not is_at_home(tx, message, count.location, places):
        return False
    row = locations[count.location]
    newest = Counted(row["counted_as_of"], row["counted_watermark"]) if row["counted_as_of"] else None
    problem = snapshot_problem(count, newest, row["sequence_floor"], tx.now)
    if problem is not None:
        tx.park(message, problem)
    return problem is None


async def _all_arrived(tx: Transaction, messages: Sequence[Snapshot], locations: Mapping[str, Record]) -> list[Snapshot]:
    """Those whose every message up to the watermark has arrived or was given up; the others wait and say for what."""
    asked = sorted({(message.data.location, message.data.watermark) for message in messages})
    rows = await sql.count_arrived(tx.connection, [location for location, _ in asked], [watermark for _, watermark in asked])
    waiting = {
        (row["location"], row["watermark"])
        for row in rows
        if row["watermark"] - locations[row["location"]]["sequence_floor"] > row["arrived"]
    }
    if not waiting:
        return list(messages)
    ordered = sorted(waiting)
    await gaps_sql.note_awaited(tx.connection, [location for location, _ in ordered], [watermark for _, watermark in ordered], tx.now)
    open_gaps = await _close_old_gaps(tx, sorted({location for location, _ in waiting}), locations)
    ready = []
    for message in messages:
        count = message.data
        missing = [gap for gap in open_gaps.get(count.location, ()) if gap.first <= count.watermark]
        if missing:
            units = sum(min(gap.last, count.watermark) - gap.first + 1 for gap in missing)
            reason = f"watermark: {units} of the location's messages up to sequence {count.watermark} have not arrived yet"
            tx.defer(message, f"{reason}, the first is {missing[0].first}", limited=False)
        else:
            ready.append(message)
    return ready


async def _close_old_gaps(tx: Transaction, names: Sequence[str], locations: Mapping[str, Record]) -> dict[str, list[Gap]]:
    """Gives up what has been missing for longer than the location's patience, for the record; returns the gaps that stay open."""
    gaps = await gaps_at(tx.connection, {name: locations[name]["sequence_floor"] for name in names})
    given: dict[str, list[Gap]] = {}
    for location, found in gaps.items():
        seconds = locations[location]["patience_seconds"]
        given[location] = given_up(found, PATIENCE if seconds is None else timedelta(seconds=seconds), tx.now)
    await close_gaps(
        tx,
        {location: found for location, found in given.items() if found},
        reason="the messages did not come within the location's patience; counts that show them are applied without them",
        author="allocation",
    )
    return {location: [gap for gap in found if gap not in given[location]] for location, found in gaps.items()}


async def _apply(tx: Transaction, messages: Sequence[Snapshot], places: Books) -> list[Outgoing]:
    books = await open_books(tx.connection, {line.sku for message in messages for line in message.data.lines})
    books.places.update(places.places)
    messages = sorted(messages, key=lambda message: (message.data.watermark, message.data.as_of))
    since = await _moved_since(tx, messages, books)
    for message in messages:
        count = message.data
        for line in count.lines:
            if line.sku not in books.pools:
                continue
            apply_count(
                books,
                books.shelf(line.sku, count.location),
                line,
                as_of=count.as_of,
                watermark=count.watermark,
                since=since.get(CountKey(line.sku, count.location, count.watermark, count.as_of), MovedSince()),
                event_id=message.event_id,
            )
    told = await settle(tx, books, messages)
    await _report(tx, messages, books)
    return told


async def _report(tx: Transaction, messages: Sequence[Snapshot], books: Books) -> None:
    """What the feed's own books say of these counts: the newest one, what was waited for, and lines of SKUs that are unknown here."""
    newest = {message.data.location: message for message in messages}
    await gaps_sql.record_counts(
        tx.connection,
        sorted(newest),
        [newest[location].data.as_of for location in sorted(newest)],
        [newest[location].data.watermark for location in sorted(newest)],
        [len(newest[location].data.lines) for location in sorted(newest)],
        tx.now,
    )
    strangers = {
        (message.data.location, line.sku): (message, line)
        for message in messages
        for line in message.data.lines
        if line.sku not in books.pools
    }
    if strangers:
        keys = sorted(strangers)
        found = [strangers[key] for key in keys]
        await unregistered_sql.remember(
            tx.connection,
            unregistered_sql.UnregisteredRows(
                [location for location, _ in keys],
                [sku for _, sku in keys],
                [line.on_hand for _, line in found],
                [line.damaged for _, line in found],
                [line.quality_control for _, line in found],
                [line.set_aside for _, line in found],
                [message.data.as_of for message, _ in found],
                [message.data.watermark for message, _ in found],
                [message.event_id for message, _ in found],
            ),
            tx.now,
        )


async def _moved_since(tx: Transaction, messages: Sequence[Snapshot], books: Books) -> dict[CountKey, MovedSince]:
    # each shelf and stamp once: what moved since is summed per key, and one count may come twice in a batch
    keys = list(
        dict.fromkeys(
            CountKey(line.sku, message.data.location, message.data.watermark, message.data.as_of)
            for message in messages
            for line in message.data.lines
            if line.sku in books.pools
            and is_newer_count(books.shelf(line.sku, message.data.location), message.data.as_of, message.data.watermark)
        )
    )
    if not keys:
        return {}
    rows = await sql.read_moved_since(
        tx.connection,
        [key.sku for key in keys],
        [key.location for key in keys],
        [key.watermark for key in keys],
        [key.as_of for key in keys],
        tx.now,
    )
    return {
        CountKey(row["sku"], row["location"], row["watermark"], row["as_of"]): MovedSince(
            row["on_shelf"], row["damaged"], row["quality_control"], row["shipped"], row["missed"]
        )
        for row in rows
    }

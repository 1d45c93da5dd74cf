"""Counts by 3PLs, netted with what is in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.allocation.decide.books import Books
from services.allocation.decide.counting import CLOCK_TOLERANCE, MovedSince, apply_count, count_problem, is_newer_count
from services.allocation.handlers.counting import are_registered, is_at_home
from services.allocation.handlers.loading import open_books, place_of
from services.allocation.handlers.settling import settle
from services.allocation.queries import feeds as sql
from shared.contracts.stock import ThirdPartyStockSnapshot
from shared.messaging.message import Outgoing, Received, Transaction

Snapshot = Received[ThirdPartyStockSnapshot]


class CountKey(NamedTuple):
    """One shelf as one count saw it."""

    sku: str
    location: str
    watermark: int
    as_of: datetime


async def apply_stock_snapshots(tx: Transaction, messages: Sequence[Snapshot]) -> list[Outgoing]:
    """Sets the shelves that a 3PL counted (feature A6); only SKUs listed are touched.

    A count waits until every message of the location's feed that it already shows has arrived, so that none is taken off twice. An older
    count than the last one of a shelf is ignored.
    """
    rows = await sql.lock_counted_locations(tx.connection, sorted({message.data.location for message in messages}))
    floors = {row["location"]: row["sequence_floor"] for row in rows}
    books = await open_books(tx.connection, {line.sku for message in messages for line in message.data.lines})
    books.places.update({row["location"]: place_of(row) for row in rows})
    arrived = await _arrived(tx, messages)
    ready = [message for message in messages if _is_ready(tx, message, books, floors, arrived)]
    ready.sort(key=lambda message: (message.data.watermark, message.data.as_of))
    since = await _moved_since(tx, ready, books)
    for message in ready:
        count = message.data
        for line in count.lines:
            key = CountKey(line.sku, count.location, count.watermark, count.as_of)
            apply_count(
                books,
                books.shelf(line.sku, count.location),
                line,
                as_of=count.as_of,
                watermark=count.watermark,
                since=since.get(key, MovedSince()),
                event_id=message.event_id,
            )
    highest = {message.data.location: message.data.watermark for message in ready}
    settled = {location: watermark for location, watermark in highest.items() if watermark > floors[location]}
    if settled:
        await sql.raise_floors(tx.connection, list(settled), list(settled.values()))
    return await settle(tx, books, messages)


async def _arrived(tx: Transaction, messages: Sequence[Snapshot]) -> dict[tuple[str, int], int]:
    asked = sorted({(message.data.location, message.data.watermark) for message in messages})
    rows = await sql.count_arrived(tx.connection, [location for location, _ in asked], [watermark for _, watermark in asked])
    return {(row["location"], row["watermark"]): row["arrived"] for row in rows}


def _is_ready(tx: Transaction, message: Snapshot, books: Books, floors: Mapping[str, int], arrived: Mapping[tuple[str, int], int]) -> bool:
    count = message.data
    if not is_at_home(tx, message, count.location, books):
        return False
    problem = next((found for index, line in enumerate(count.lines) if (found := count_problem(line, index))), None)
    if problem is None and count.as_of > tx.now + CLOCK_TOLERANCE:
        problem = f"as_of: {count.as_of.isoformat()} lies in the future (now {tx.now.isoformat()}): set the sender's clock and count again"
    if problem is None and len({line.sku for line in count.lines}) < len(count.lines):
        problem = "lines: the same SKU stands twice; send one line per SKU"
    if problem is not None:
        tx.park(message, problem)
        return False
    if not are_registered(tx, message, (line.sku for line in count.lines), books):
        return False
    missing = max(0, count.watermark - floors[count.location]) - arrived[count.location, count.watermark]
    if missing > 0:
        tx.defer(message, f"watermark: {missing} of the location's messages up to sequence {count.watermark} have not arrived yet")
        return False
    return True


async def _moved_since(tx: Transaction, messages: Sequence[Snapshot], books: Books) -> dict[CountKey, MovedSince]:
    keys = [
        CountKey(line.sku, message.data.location, message.data.watermark, message.data.as_of)
        for message in messages
        for line in message.data.lines
        if is_newer_count(books.shelf(line.sku, message.data.location), message.data.as_of, message.data.watermark)
    ]
    if not keys:
        return {}
    rows = await sql.read_moved_since(
        tx.connection,
        [key.sku for key in keys],
        [key.location for key in keys],
        [key.watermark for key in keys],
        [key.as_of for key in keys],
    )
    return {
        CountKey(row["sku"], row["location"], row["watermark"], row["as_of"]): MovedSince(
            row["on_shelf"], row["damaged"], row["quality_control"]
        )
        for row in rows
    }

"""The feeds themselves: what is missing of them, and what operators decide about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asyncpg import Record

from services.allocation.decide.feeds import (
    PATIENCE,
    STALE_AFTER,
    Age,
    Arrived,
    Awaited,
    Gap,
    age_of,
    gaps_of,
    gaps_up_to,
)
from services.allocation.queries import feeds as sql
from services.allocation.queries import gaps as gaps_sql
from shared.contracts.feeds import (
    ClosedGap,
    FeedGapClosed,
    FeedGapCloseRejected,
    FeedGapCloseRequested,
    FeedSettingsChanged,
    FeedSettingsRejected,
    FeedSettingsRequested,
)
from shared.contracts.stock import ThirdPartyStockSnapshot
from shared.messaging.inbox import hasten
from shared.messaging.message import Connection, Outgoing, Received, Transaction
from shared.telemetry import Measured


async def gaps_at(connection: Connection, floors: Mapping[str, int]) -> dict[str, list[Gap]]:
    """The missing messages of some locations' feeds; ``floors`` says up to where each feed is settled."""
    names = sorted(floors)
    arrived: dict[str, list[Arrived]] = {name: [] for name in names}
    for row in await gaps_sql.read_arrived(connection, names):
        arrived[row["location"]].append(Arrived(row["first"], row["last"], row["since"]))
    awaited: dict[str, list[Awaited]] = {name: [] for name in names}
    for row in await gaps_sql.read_awaited(connection, names):
        awaited[row["location"]].append(Awaited(row["watermark"], row["since"]))
    return {name: gaps_of(floors[name], arrived[name], awaited[name]) for name in names}


async def close_gaps(tx: Transaction, gaps: Mapping[str, Sequence[Gap]], *, reason: str, author: str) -> None:
    """Stops waiting for missing messages, up to the last of them; each closed gap is on record with its reason. Locations are locked."""
    if not gaps:
        return
    closed = [(location, gap) for location in sorted(gaps) for gap in gaps[location]]
    await gaps_sql.insert_decisions(
        tx.connection,
        [tx.new_id() for _ in closed],
        [location for location, _ in closed],
        "gap_closed",
        [gap.first for _, gap in closed],
        [gap.last for _, gap in closed],
        [gap.missing for _, gap in closed],
        reason,
        author,
        tx.now,
    )
    await sql.raise_floors(tx.connection, sorted(gaps), [max(gap.last for gap in gaps[location]) for location in sorted(gaps)])


async def settle_sequences(tx: Transaction) -> list[Outgoing]:
    """Forgets single sequences of feeds that have arrived without a gap, so that what is remembered of a feed stays small."""
    rows = await gaps_sql.lock_unsettled_locations(tx.connection)
    floors = {row["location"]: row["sequence_floor"] for row in rows}
    raised = {}
    for row in await gaps_sql.read_arrived(tx.connection, sorted(floors)):
        if row["first"] == floors[row["location"]] + 1:
            raised[row["location"]] = row["last"]
    if raised:
        await sql.raise_floors(tx.connection, list(raised), list(raised.values()))
    await gaps_sql.forget_awaited(tx.connection)
    return []


async def set_feed_settings(tx: Transaction, messages: Sequence[Received[FeedSettingsRequested]]) -> list[Outgoing]:
    """An operator says when a location counts as stale and how long counts wait (feature A6). The same decision told twice is made once."""
    known = {row["location"] for row in await sql.share_locations(tx.connection, sorted({message.data.location for message in messages}))}
    outgoing: list[Outgoing] = []
    for message in messages:
        wanted = message.data
        heading = {"decision_id": wanted.decision_id, "location": wanted.location}
        if wanted.location not in known:
            refused = FeedSettingsRejected.model_validate({**heading, "reason": "unknown_location", "detail": _unknown(wanted.location)})
            outgoing.append(Outgoing(refused, None, message))
            continue
        stale_after, patience = wanted.stale_after_seconds, wanted.patience_seconds
        await gaps_sql.set_settings(tx.connection, wanted.location, stale_after, patience, tx.now)
        await gaps_sql.insert_decisions(
            tx.connection,
            [wanted.decision_id],
            [wanted.location],
            "settings_changed",
            [None],
            [None],
            [None],
            f"stale after {stale_after or 'the default'}, patience {patience if patience is not None else 'the default'}: {wanted.reason}",
            wanted.operator,
            tx.now,
        )
        effective = {
            "stale_after_seconds": stale_after or int(STALE_AFTER.total_seconds()),
            "patience_seconds": int(PATIENCE.total_seconds()) if patience is None else patience,
        }
        outgoing.append(Outgoing(FeedSettingsChanged.model_validate({**heading, **effective}), None, message))
    return outgoing


async def close_feed_gaps(tx: Transaction, messages: Sequence[Received[FeedGapCloseRequested]]) -> list[Outgoing]:
    """An operator gives up messages that will not come; counts that waited for them are tried again at once (feature A6)."""
    rows = await sql.lock_counted_locations(tx.connection, sorted({message.data.location for message in messages}))
    floors = {row["location"]: row["sequence_floor"] for row in rows}
    outgoing: list[Outgoing] = []
    for message in messages:
        wanted = message.data
        heading = {"decision_id": wanted.decision_id, "location": wanted.location}
        if wanted.location not in floors:
            refused = FeedGapCloseRejected.model_validate({**heading, "reason": "unknown_location", "detail": _unknown(wanted.location)})
            outgoing.append(Outgoing(refused, None, message))
            continue
        gaps = (await gaps_at(tx.connection, {wanted.location: floors[wanted.location]}))[wanted.location]
        closed = gaps_up_to(gaps, wanted.up_to_sequence)
        if not closed:
            detail = f"up_to_sequence: no message up to {wanted.up_to_sequence} is missing; " + (
                f"the first that is missing is {gaps[0].first}" if gaps else "nothing is missing at this location"
            )
            refused = FeedGapCloseRejected.model_validate({**heading, "reason": "nothing_missing", "detail": detail})
            outgoing.append(Outgoing(refused, None, message))
            continue
        await close_gaps(tx, {wanted.location: closed}, reason=wanted.reason, author=wanted.operator)
        floors[wanted.location] = closed[-1].last
        told = [ClosedGap(first_sequence=gap.first, last_sequence=gap.last) for gap in closed]
        outgoing.append(Outgoing(FeedGapClosed(decision_id=wanted.decision_id, location=wanted.location, gaps=told), None, message))
    await hasten(tx.connection, ThirdPartyStockSnapshot.type, tx.now)
    return outgoing


def _unknown(location: str) -> str:
    return f"location: {location!r} is not registered: register the location first"


async def feed_measures(connection: Connection, now: datetime) -> list[Measured]:
    """How old and how complete the feed of each active location is, for dashboards and alarms."""
    measured: list[Measured] = []
    for status in await read_feed_statuses(connection, None, now):
        if not status.active or (status.last_heard_at is None and status.expected_since is None):
            continue
        label = {"location": status.location}
        gap_seconds = max(((now - gap.since).total_seconds() for gap in status.gaps), default=0.0)
        if status.age.age is not None:
            measured.append(Measured("feed_age_seconds", label, status.age.age.total_seconds()))
        measured.append(Measured("feed_stale", label, float(status.age.stale)))
        measured.append(Measured("feed_missing_messages", label, float(sum(gap.missing for gap in status.gaps))))
        measured.append(Measured("feed_gap_seconds", label, gap_seconds))
        measured.append(Measured("feed_unregistered_skus", label, float(status.unregistered_skus)))
        measured.append(Measured("feed_shelves_below_zero", label, float(status.shelves_below_zero)))
    return measured


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """What is known of the feed of one location."""

    location: str
    name: str
    partner: str
    active: bool
    settled_sequence: int
    last_heard_at: datetime | None
    expected_since: datetime | None
    counted_at: datetime | None
    counted_as_of: datetime | None
    counted_watermark: int
    counted_lines: int
    stale_after: timedelta
    patience: timedelta
    unregistered_skus: int
    shelves_below_zero: int
    gaps: Sequence[Gap]
    age: Age


async def read_feed_statuses(connection: Connection, location: str | None, now: datetime) -> list[FeedStatus]:
    """The feeds of all locations, or of one."""
    rows = await gaps_sql.list_feeds(connection, location)
    gaps = await gaps_at(connection, {row["location"]: row["sequence_floor"] for row in rows})
    return [_status(row, gaps[row["location"]], now) for row in rows]


def _status(row: Record, gaps: Sequence[Gap], now: datetime) -> FeedStatus:
    stale_after = STALE_AFTER if row["stale_after_seconds"] is None else timedelta(seconds=row["stale_after_seconds"])
    patience = PATIENCE if row["patience_seconds"] is None else timedelta(seconds=row["patience_seconds"])
    return FeedStatus(
        row["location"],
        row["name"],
        row["partner"],
        row["active"],
        row["sequence_floor"],
        row["last_heard_at"],
        row["expected_since"],
        row["counted_at"],
        row["counted_as_of"],
        row["counted_watermark"] or 0,
        row["counted_lines"] or 0,
        stale_after,
        patience,
        row["unregistered_skus"],
        row["shelves_below_zero"],
        gaps,
        age_of(row["counted_as_of"], row["expected_since"], stale_after, now),
    )

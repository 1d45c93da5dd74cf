"""The feeds themselves: what is missing of them, and what operators decide about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.allocation.decide.feeds import Arrived, Awaited, Gap, gaps_of
from services.allocation.queries import feeds as sql
from services.allocation.queries import gaps as gaps_sql
from shared.messaging.message import Connection, Outgoing, Transaction


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

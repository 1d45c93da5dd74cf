"""The queues of scarce SKUs: who is served when units become free, who gives units back, and what is left for the next transaction.

Long queues are served in steps, so that no transaction holds a SKU for long. What is left is a row of work, which a schedule of any replica
takes up at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.offering import date_of_place
from services.allocation.decide.promising import date_of_unit
from services.allocation.decide.shortage import DEFAULT_POLICY
from services.allocation.decide.stock import Demand, SupplyUnits
from services.allocation.handlers.keeping import read_ahead
from services.allocation.handlers.loading import add_waiting_rows
from services.allocation.queries import queue as sql
from services.allocation.queries.promises import update_promises
from services.allocation.queries.reading import read_chosen_policy
from shared.contracts.orders import DEFAULT_PRIORITY
from shared.contracts.stock import ShortagePolicy
from shared.messaging.message import Connection, Received

LINES_AT_ONCE = 50
"""Lines that one transaction serves, over all its SKUs. With more of them each costs little less, while every order that arrives meanwhile
waits for the step: for the processor, and behind what the step has to say."""


async def share_out(connection: Connection, books: Books) -> None:
    """Gives what is free to the heads of the queues, a limited number of lines; of SKUs for which no channel has a rule."""
    free = {sku: pool.available for sku, pool in books.pools.items() if pool.touched and pool.owes_the_queue}
    if not free:
        return
    lines = max(1, LINES_AT_ONCE // len(free))
    heads = await sql.read_queue_heads(connection, list(free), list(free.values()), list(books.demand), lines)
    add_waiting_rows(books, heads)
    found: dict[str, list[UUID]] = {}
    for head in heads:
        found.setdefault(head["sku"], []).append(head["demand_id"])
    for sku in sorted(free):
        places = found.get(sku, [])
        books.share_out(sku, books.demand[places[-1]].place if len(places) >= lines else None)


async def requeue_uncovered(connection: Connection, books: Books) -> None:
    """Queues again what no shelf has any more, by the shortage policy that is in force."""
    short = {sku: pool.uncovered for sku, pool in books.pools.items() if pool.touched and pool.uncovered}
    if not short:
        return
    policy = await policy_in_force(connection)
    tails = await sql.read_first_to_lose(connection, list(short), list(short.values()), list(books.demand), policy)
    add_waiting_rows(books, tails)
    for sku in sorted(short):
        books.requeue_uncovered(sku, policy)


async def policy_in_force(connection: Connection) -> ShortagePolicy:
    """The shortage policy that an operator chose last."""
    chosen = await read_chosen_policy(connection)
    policy: ShortagePolicy = chosen["policy"] if chosen else DEFAULT_POLICY
    return policy


async def date_new_waiting(connection: Connection, books: Books, supplies: Mapping[str, Sequence[SupplyUnits]], now: datetime) -> set[str]:
    """Promises a date to units that have begun to wait in this transaction. The books are saved: positions are counted in the tables.

    What an edit added stands at the end of its class; what was lost again stands near the head, because who is served first came first.
    Each is counted from the nearer end. Returns the SKUs of which somebody waits behind such units.
    """
    waiting = _began_to_wait(books)
    ruled = [row for row in waiting if books.pools[row.sku].channels]
    plain = [row for row in waiting if not books.pools[row.sku].channels]
    back = [row for row in plain if row.is_new and row.priority >= DEFAULT_PRIORITY]
    front = [row for row in plain if not (row.is_new and row.priority >= DEFAULT_PRIORITY)]
    positions: dict[UUID, int] = {}
    if front:
        rows = await sql.read_positions_from_front(connection, _places(front, max))
        positions.update((row["demand_id"], row["position"]) for row in rows)
    if back:
        rows = await sql.read_positions_from_back(connection, _places(back, min))
        positions.update((row["demand_id"], row["position"]) for row in rows)
    for row in plain:
        pool = books.pools[row.sku]
        row.promised_ship_at = date_of_unit(
            positions[row.demand_id], supplies.get(row.sku, ()), on_shelf=pool.available, release_at=pool.release_at, now=now
        )
    if ruled:
        await _date_by_rules(connection, books, ruled, supplies, now)
    dated = [row for row in waiting if row.promised_ship_at != row.was_promised_ship_at]
    if dated:
        await update_promises(
            connection,
            [row.order_id for row in dated],
            [row.line_id for row in dated],
            [row.demand_id for row in dated],
            [row.promised_ship_at for row in dated],
        )
    return {row.sku for row in plain if positions[row.demand_id] < books.pools[row.sku].queued}


async def _date_by_rules(
    connection: Connection, books: Books, rows: Sequence[Demand], supplies: Mapping[str, Sequence[SupplyUnits]], now: datetime
) -> None:
    """The same of SKUs with rules, whose queues are dated anew after every change anyway."""
    ahead = await read_ahead(connection, [(row.sku, row.priority, row.demand_id) for row in rows])
    for row in rows:
        pool = books.pools[row.sku]
        row.promised_ship_at = date_of_place(
            pool.free,
            pool.channels,
            ahead[row.sku, row.priority, row.demand_id],
            row.channel,
            supplies.get(row.sku, ()),
            release_at=pool.release_at,
            now=now,
        )


def _began_to_wait(books: Books) -> list[Demand]:
    return [row for row in books.demand.values() if row.queued > row.was.queued]


def _places(rows: Iterable[Demand], end: Any) -> sql.Places:
    by_sku: dict[str, list[Demand]] = {}
    for row in rows:
        by_sku.setdefault(row.sku, []).append(row)
    ends: list[Demand] = [end(own, key=lambda row: row.place) for own in by_sku.values()]
    return sql.Places(
        [row.sku for row in ends],
        [row.priority for row in ends],
        [row.demand_id for row in ends],
        [row.demand_id for own in by_sku.values() for row in own],
    )


async def note_work(connection: Connection, books: Books, messages: Sequence[Received[Any]]) -> None:
    """Notes the SKUs whose queue must be looked at once more: one statement, and none when there is nothing to note.

    Units are left to share out; a preorder was released; somebody has begun to wait for what an order of lower rank may merely hold; an
    order that holds all has become incomplete; or such an order has got units that others wait for.
    """
    traces = {message.event_id: message.traceparent for message in messages}
    waiting = _began_to_wait(books)
    named = {sku for sku, pool in books.pools.items() if pool.touched and (pool.owes_the_queue or (pool.was_released and pool.queued))}
    named |= {row.sku for row in books.demand.values() if _holds_more(row) and books.pools[row.sku].queued}
    if not waiting and not named:
        return
    causes = {sku: books.causes[sku].event_id for sku in sorted(named)}
    events = [books.causes[row.sku].event_id for row in waiting]
    await sql.insert_work(
        connection,
        sql.Work(list(causes), list(causes.values()), [traces.get(event_id) for event_id in causes.values()]),
        sql.Newcomers(
            [row.sku for row in waiting],
            [row.priority for row in waiting],
            [row.order_id for row in waiting],
            [row.hold_all for row in waiting],
            events,
            [traces.get(event_id) for event_id in events],
        ),
    )


def _holds_more(row: Demand) -> bool:
    return row.hold_all and row.unassigned > row.was.reserved - row.was.assigned

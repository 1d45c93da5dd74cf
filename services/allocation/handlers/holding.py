"""Checkout holds: asked for, prolonged, released, over. On the way of a shopper, so it works like new orders: on plain counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from asyncpg import Record

from services.allocation.decide import holds as decide
from services.allocation.decide.holds import Hold, HoldLine, HoldRefused
from services.allocation.decide.offering import offers_of
from services.allocation.decide.pools import SharedPool
from services.allocation.decide.stock import Cause
from services.allocation.handlers.announcing import availability_messages, changes_of, supplies_by_sku
from services.allocation.handlers.keeping import channel_pool_rows
from services.allocation.handlers.kits import tell_kits
from services.allocation.handlers.loading import add_held_rows, open_books, shared_pools
from services.allocation.handlers.settling import settle
from services.allocation.queries import holds as sql
from services.allocation.queries.kits import read_kits
from services.allocation.queries.pools import update_channel_pools
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.base import Kind
from shared.contracts.channels import FieldProblem
from shared.contracts.holds import (
    ChannelHoldAnswered,
    ChannelHoldRejected,
    ChannelHoldReleaseRequested,
    ChannelHoldRequested,
    HoldOutcome,
    StockHoldAnswered,
    StockHoldRejected,
    StockHoldReleaseRequested,
    StockHoldRequested,
)
from shared.messaging.message import Outgoing, Received, Transaction
from shared.messaging.reading import Unreadable

EXPIRED_AT_ONCE = 200
"""Holds in one sweep: few enough that their pools are not locked for long."""
FORGOTTEN_AT_ONCE = 5_000
CLOSED_HOLDS_KEPT = timedelta(days=2)
"""How long an order may come late, and a request be repeated, and still be told what became of its hold."""

RequestT = TypeVar("RequestT", ChannelHoldRequested, StockHoldRequested)
ReleaseT = TypeVar("ReleaseT", ChannelHoldReleaseRequested, StockHoldReleaseRequested)


async def hold_units(tx: Transaction, messages: Sequence[Received[RequestT]]) -> list[Outgoing]:
    """Keeps units for shoppers before they pay, and answers what is held (feature A5)."""
    ours = [message for message in messages if _is_its_own(message)]
    outgoing = [_rejected(message, _not_its_own(message), tx.now) for message in messages if not _is_its_own(message)]
    if not ours:
        return outgoing
    holds = await _claim(tx, ours)
    skus = sorted({line.sku for message in ours for line in message.data.lines})
    rows = await sql.lock_pools_for_holds(tx.connection, skus)
    pools = await shared_pools(tx.connection, rows)
    strangers = [sku for sku in skus if sku not in pools]
    kits = {row["kit_sku"]: row["components"] for row in await read_kits(tx.connection, strangers)} if strangers else {}
    await _add_lines(tx, holds)
    prolonged: dict[UUID, datetime] = {}
    granted: dict[UUID, Received[RequestT]] = {}
    for message in ours:
        request, hold = message.data, holds[message.data.hold_id]
        refused = decide.refusal_of(request, hold, pools, kits)
        if refused is not None:
            outgoing.append(_rejected(message, refused, tx.now))
            continue
        if hold.is_new:
            hold.lines = decide.grant(request, pools)
            hold.is_new = not hold.lines
            if hold.lines:
                granted[hold.hold_id] = message
        expires_at = decide.prolonged(hold, tx.now, request.ttl_seconds)
        if not hold.is_new and expires_at != hold.expires_at:
            hold.expires_at = prolonged[hold.hold_id] = expires_at
        outgoing.append(_answered(message, hold, tx.now))
    await sql.save_holds(tx.connection, _rows_of(tx, holds, granted, prolonged, pools), tx.now)
    outgoing += await _tell(tx, ours, pools)
    return outgoing + await tell_kits(tx, [row["sku"] for row in rows if row["in_kits"] and pools[row["sku"]].changed], ours)


async def _claim(tx: Transaction, messages: Sequence[Received[RequestT]]) -> dict[UUID, Hold]:
    first = {message.data.hold_id: message.data for message in reversed(messages)}
    rows = await sql.claim_holds(
        tx.connection,
        list(first),
        [request.channel for request in first.values()],
        ["held"] * len(first),
        [request.policy for request in first.values()],
        [tx.now + timedelta(seconds=request.ttl_seconds) for request in first.values()],
        tx.now,
    )
    return {row["hold_id"]: hold_of(row, is_new=row["is_new"]) for row in rows}


def hold_of(row: Record, *, is_new: bool = False) -> Hold:
    """A hold as its row tells it, without its lines."""
    return Hold(row["hold_id"], row["channel"], row["state"], row["policy"], row["expires_at"], {}, is_new)


async def _add_lines(tx: Transaction, holds: Mapping[UUID, Hold]) -> None:
    """Only where there are holds that were there before: the common case asks nothing."""
    known = [hold.hold_id for hold in holds.values() if not hold.is_new]
    if known:
        for row in await sql.read_hold_lines(tx.connection, known):
            holds[row["hold_id"]].lines[row["sku"]] = HoldLine(row["asked"], row["granted"], row["held"])


def _rows_of(
    tx: Transaction,
    holds: Mapping[UUID, Hold],
    granted: Mapping[UUID, Received[RequestT]],
    prolonged: Mapping[UUID, datetime],
    pools: Mapping[str, SharedPool],
) -> sql.HeldRows:
    lines = [(hold_id, sku, line) for hold_id in granted for sku, line in holds[hold_id].lines.items()]
    taken = {sku: pool.free_was - pool.free for sku, pool in pools.items() if pool.changed}
    return sql.HeldRows(
        pool_skus=list(taken),
        pool_held=list(taken.values()),
        pool_fenced=[pools[sku].fenced_change for sku in taken],
        prolonged_ids=list(prolonged),
        prolonged_until=list(prolonged.values()),
        empty_ids=[hold.hold_id for hold in holds.values() if hold.is_new],
        hold_ids=[hold_id for hold_id, _, _ in lines],
        skus=[sku for _, sku, _ in lines],
        asked=[line.asked for _, _, line in lines],
        held=[line.held for _, _, line in lines],
        movement_ids=[tx.new_id() for _ in lines],
        event_ids=[granted[hold_id].event_id for hold_id, _, _ in lines],
    )


async def _tell(tx: Transaction, messages: Sequence[Received[RequestT]], pools: Mapping[str, SharedPool]) -> list[Outgoing]:
    """Says the new numbers of the SKUs of which units were taken."""
    changed = {sku: pool for sku, pool in pools.items() if pool.changed}
    ruled = [pool for pool in changed.values() if pool.channels]
    if ruled:
        await update_channel_pools(tx.connection, channel_pool_rows((pool.channels, pool.channels_were) for pool in ruled))
    scarce = [sku for sku, pool in changed.items() if pool.channels or pool.free <= pool.queued]
    supplies = supplies_by_sku(await read_open_supplies(tx.connection, scarce)) if scarce else {}
    changes: list[dict[str, object]] = []
    for sku, pool in changed.items():
        coming = supplies.get(sku, ())
        before = offers_of(pool.free_was, pool.queued, pool.channels_were, coming)
        after = offers_of(pool.free, pool.queued, pool.channels, coming)
        changes.extend(changes_of(sku, pool.version + 1, before, after))
    return availability_messages(changes, messages, tx.now)


async def release_holds(tx: Transaction, messages: Sequence[Received[ReleaseT]]) -> list[Outgoing]:
    """Gives held units back before their time. A release that comes before its hold keeps the hold from coming to life."""
    ours = [message for message in messages if _is_its_own(message)]
    outgoing = [_rejected(message, _not_its_own(message), tx.now) for message in messages if not _is_its_own(message)]
    if not ours:
        return outgoing
    channels = {message.data.hold_id: message.data.channel for message in reversed(ours)}
    count = len(channels)
    rows = await sql.claim_holds(
        tx.connection, list(channels), list(channels.values()), ["released"] * count, ["partial"] * count, [tx.now] * count, tx.now
    )
    holds = {row["hold_id"]: hold_of(row, is_new=row["is_new"]) for row in rows}
    wanted: dict[UUID, Received[ReleaseT]] = {}
    for message in ours:
        hold = holds[message.data.hold_id]
        refused = decide.release_refusal(message.data.channel, hold)
        if refused is not None:
            outgoing.append(_rejected(message, refused, tx.now))
            continue
        if hold.state == "held":
            wanted.setdefault(hold.hold_id, message)
        hold.lines = {}
        outgoing.append(_answered(message, hold, tx.now, "released"))
    causes = {hold_id: Cause(message.event_id, tx.now, hold_id) for hold_id, message in wanted.items()}
    return outgoing + (await _close(tx, causes, "released", ours) if causes else [])


async def expire_holds(tx: Transaction) -> list[Outgoing]:
    """Gives the units of holds back whose time is up; several processes sweep beside each other."""
    rows = await sql.claim_expired_holds(tx.connection, tx.now, EXPIRED_AT_ONCE)
    if not rows:
        return []
    if len(rows) == EXPIRED_AT_ONCE:
        tx.look_again()
    event_id = tx.new_id()
    return await _close(tx, {row["hold_id"]: Cause(event_id, tx.now, row["hold_id"]) for row in rows}, "expired", ())


async def _close(tx: Transaction, causes: Mapping[UUID, Cause], state: str, messages: Sequence[Received[ReleaseT]]) -> list[Outgoing]:
    """Ends holds that are locked: their units go to the queue first, then on sale."""
    hold_ids = list(causes)
    books = await open_books(tx.connection, [row["sku"] for row in await sql.read_skus_of_holds(tx.connection, hold_ids)])
    add_held_rows(books, await sql.read_hold_lines(tx.connection, hold_ids))
    for units in list(books.held_units.values()):
        books.unhold(units, units.held, causes[units.hold_id])
    await sql.close_holds(tx.connection, hold_ids, state, tx.now)
    return await settle(tx, books, messages)


async def forget_closed_holds(tx: Transaction) -> list[Outgoing]:
    """Drops holds that ended days ago; what they moved stays in the ledger."""
    await sql.forget_holds(tx.connection, tx.now - CLOSED_HOLDS_KEPT, FORGOTTEN_AT_ONCE)
    return []


async def answer_unreadable_requests(tx: Transaction, unreadable: Sequence[Unreadable]) -> list[Outgoing]:
    """Tells adapters what was wrong with messages that are no requests at all; the messages themselves are parked by the runtime."""
    return [
        Outgoing(
            ChannelHoldRejected(
                channel=message.partner,
                hold_id=decide.hold_id_in(message.document),
                event_id=message.event_id,
                reason="invalid",
                problems=list(message.problems),
                rejected_at=tx.now,
            ),
            partner=message.partner,
        )
        for message in unreadable
        if message.partner is not None
    ]


def _is_its_own(message: Received[RequestT] | Received[ReleaseT]) -> bool:
    return message.partner is None or message.partner == message.data.channel


def _not_its_own(message: Received[RequestT] | Received[ReleaseT]) -> HoldRefused:
    problem = f"{message.data.channel!r} is not the channel {message.partner!r} that sent it"
    remedy = f"ask for holds of {message.partner!r} only"
    return HoldRefused("foreign_channel", FieldProblem(field="channel", problem=problem, remedy=remedy))


def _answered(message: Received[RequestT] | Received[ReleaseT], hold: Hold, now: datetime, outcome: HoldOutcome | None = None) -> Outgoing:
    request = message.data
    lines = [{"sku": sku, "asked": line.asked, "held": line.held} for sku, line in hold.lines.items()]
    if not lines and outcome is None and isinstance(request, ChannelHoldRequested | StockHoldRequested):
        lines = [{"sku": sku, "asked": units, "held": 0} for sku, units in decide.asked_units(request).items()]
    body = {
        "hold_id": request.hold_id,
        "channel": request.channel,
        "outcome": outcome or decide.outcome_of(hold),
        "lines": lines,
        "expires_at": hold.expires_at if outcome is None and hold.lines else None,
        "answered_at": now,
    }
    if message.data.kind is Kind.INBOUND:
        return Outgoing(ChannelHoldAnswered.model_validate(body), str(request.hold_id), message, request.channel)
    return Outgoing(StockHoldAnswered.model_validate(body), str(request.hold_id), message)


def _rejected(message: Received[RequestT] | Received[ReleaseT], refused: HoldRefused, now: datetime) -> Outgoing:
    request, problem = message.data, refused.problem
    if request.kind is Kind.INBOUND:
        channel = message.partner or request.channel
        rejected = ChannelHoldRejected(
            channel=channel,
            hold_id=request.hold_id,
            event_id=message.event_id,
            reason=refused.reason,
            problems=[problem],
            rejected_at=now,
        )
        return Outgoing(rejected, str(request.hold_id), message, channel)
    detail = f"{problem.field}: {problem.problem}: {problem.remedy}"
    return Outgoing(
        StockHoldRejected(
            hold_id=request.hold_id, channel=request.channel, reason=refused.reason, field=problem.field, detail=detail[:500]
        ),
        str(request.hold_id),
        message,
    )

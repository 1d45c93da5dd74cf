"""Waiting until nothing moves any more: every order is finished or waits for a named reason, and everybody has been told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from deploy.local.demo.books import Connection, Journey, read_journey, read_undelivered, read_unsettled

POLL_SECONDS = 0.4
CALM_POLLS = 3
"""How often in a row nothing may move before the system counts as at rest: messages on the broker are in no table."""


async def drain(
    connection: Connection, *, not_taken: Callable[[Journey], int], timeout_seconds: float, show: Callable[[Journey, str], None]
) -> str:
    """Waits for rest.

    Args:
        connection: the administrator's.
        not_taken: how many published orders have been neither taken nor rejected; rest cannot count before there are none.
        timeout_seconds: how long to wait at most.
        show: is told how far it is.

    Returns:
        Empty when the system came to rest, else what still moved when the time was over.
    """
    deadline = time.monotonic() + timeout_seconds
    calm = 0
    before: Journey | None = None
    while True:
        journey = await read_journey(connection)
        moving = await _what_moves(connection, journey, not_taken(journey))
        show(journey, moving)
        calm = calm + 1 if not moving and journey == before else 0
        before = journey
        if calm >= CALM_POLLS:
            return ""
        if time.monotonic() > deadline:
            return moving or "the number of orders in each state kept changing"
        await asyncio.sleep(POLL_SECONDS)


async def wait_for_channels(connection: Connection, *, listings: int, timeout_seconds: float) -> str:
    """Waits until the channels show the opening stock; empty when they do, else how much they have not been told yet."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        told: int = await connection.fetchval("SELECT count(*) FROM sync.listing_stock WHERE due_at IS NULL AND accepted_at IS NOT NULL")
        if told >= listings:
            return ""
        if time.monotonic() > deadline:
            return f"{listings - told} listings do not show the opening stock yet"
        await asyncio.sleep(POLL_SECONDS)


async def _what_moves(connection: Connection, journey: Journey, not_taken: int) -> str:
    """What is still under way, in words; empty when nothing is."""
    if not_taken:
        return f"{not_taken} orders neither taken nor rejected yet"
    if journey.moving:
        return f"{journey.moving} orders moving"
    undelivered = await read_undelivered(connection)
    if undelivered:
        return f"{undelivered} parcels on the road"
    unsettled = await read_unsettled(connection)
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in unsettled.items())

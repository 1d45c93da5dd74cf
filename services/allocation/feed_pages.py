"""What people and other programs may ask about feeds: how old and how complete they are, and what was decided about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web

from services.allocation.decide.feeds import Gap
from services.allocation.handlers.feeds import FeedStatus, feed_measures, read_feed_statuses
from services.allocation.queries.gaps import list_below_zero, list_decisions
from services.allocation.queries.unregistered import list_unregistered
from shared.http import error_response
from shared.service import Environment, Gauges, get

SHOWN = 200


async def list_feeds(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /feeds``: the feed of every location, the troubled ones first."""
    now = environment.now()
    async with environment.database.acquire(timeout=10) as connection:
        statuses = await read_feed_statuses(connection, None, now)
    statuses.sort(key=lambda status: (not status.age.stale, not status.shelves_below_zero, not status.gaps, status.location))
    return web.json_response({"feeds": [feed_as_json(status) for status in statuses]})


async def read_feed(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /feeds/{location}``: one feed with shelves that its corrections took below zero, SKUs that it lists and nobody sells, and what
    operators have decided about it."""
    location = request.match_info["location"]
    async with environment.database.acquire(timeout=10) as connection:
        statuses = await read_feed_statuses(connection, location, environment.now())
        if not statuses:
            return error_response(404, "unknown_location", f"location {location!r} is not registered")
        below_zero = await list_below_zero(connection, location, SHOWN)
        unregistered = await list_unregistered(connection, location, SHOWN)
        decisions = await list_decisions(connection, location, SHOWN)
    return web.json_response(
        {
            **feed_as_json(statuses[0]),
            "below_zero": [
                {
                    "sku": row["sku"],
                    "missing_units": row["missing"],
                    "adjustment_id": str(row["adjustment_id"]),
                    "reason": row["reason"],
                    "author": row["author"],
                    "adjusted_at": row["adjusted_at"].isoformat(),
                }
                for row in below_zero
            ],
            "unregistered": [
                {
                    "sku": row["sku"],
                    "on_hand_units": row["on_hand"],
                    "as_of": row["as_of"].isoformat(),
                    "first_seen_at": row["first_seen_at"].isoformat(),
                    "last_seen_at": row["last_seen_at"].isoformat(),
                }
                for row in unregistered
            ],
            "decisions": [
                {
                    "kind": row["kind"],
                    "first_sequence": row["first_sequence"],
                    "last_sequence": row["last_sequence"],
                    "messages": row["missing"],
                    "reason": row["reason"],
                    "author": row["author"],
                    "decided_at": row["decided_at"].isoformat(),
                }
                for row in decisions
            ],
        }
    )


def feed_as_json(status: FeedStatus) -> dict[str, Any]:
    """The feed of one location. Times are UTC, durations whole seconds."""
    return {
        "location": status.location,
        "name": status.name,
        "partner": status.partner,
        "active": status.active,
        "stale": status.age.stale,
        "age_seconds": None if status.age.age is None else int(status.age.age.total_seconds()),
        "stale_after_seconds": int(status.stale_after.total_seconds()),
        "patience_seconds": int(status.patience.total_seconds()),
        "last_heard_at": _iso(status.last_heard_at),
        "counted_at": _iso(status.counted_at),
        "counted_as_of": _iso(status.counted_as_of),
        "counted_watermark": status.counted_watermark,
        "counted_lines": status.counted_lines,
        "settled_sequence": status.settled_sequence,
        "missing_messages": sum(gap.missing for gap in status.gaps),
        "gaps": [_gap_as_json(gap, status) for gap in status.gaps[:SHOWN]],
        "unregistered_skus": status.unregistered_skus,
        "shelves_below_zero": status.shelves_below_zero,
    }


def _gap_as_json(gap: Gap, status: FeedStatus) -> dict[str, Any]:
    return {
        "first_sequence": gap.first,
        "last_sequence": gap.last,
        "messages": gap.missing,
        "since": gap.since.isoformat(),
        "given_up_at": (gap.since + status.patience).isoformat(),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


ROUTES = (get("/feeds", list_feeds), get("/feeds/{location}", read_feed))

GAUGES = Gauges(
    names={
        "feed_age_seconds": "How old the newest count of a location is",
        "feed_stale": "1 when the newest count of a location is older than its limit",
        "feed_missing_messages": "Messages of a location's feed that must exist and have not come",
        "feed_gap_seconds": "How long the oldest missing message of a location's feed has been missing",
        "feed_unregistered_skus": "SKUs that a location's feed lists and that are not registered",
        "feed_shelves_below_zero": "Shelves that a 3PL's correction took below zero and that are there still",
    },
    labels=("location",),
    read=feed_measures,
)

"""Numbers to show, and pushes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from services.sync.channels.protocol import StockNumber
from services.sync.decide.stock import KnownNumber, ListingStock, Push
from shared.messaging.message import Connection


async def save_numbers(connection: Connection, numbers: Sequence[KnownNumber], now: datetime) -> None:
    """Records the newest number of each SKU and pool and schedules its push to every listing whose channel does not show it for sure.

    A channel is shown its own number (the pool of its name) or, where it has none, that of its listing's pool: whichever is newer. All
    numbers of a SKU are told together under one version, so a channel's own number that is older than the common one is over.

    The highest version wins, whatever arrives first. A row that is already due keeps its time: it is queued, under way or backing off, and
    will carry the newest number. A number that is back at what the channel shows for sure needs no push.
    """
    await connection.execute(
        """
        WITH newer AS (
            INSERT INTO stock_numbers (sku, pool, available, mode, next_ship_at, stock_version, changed_at)
            SELECT sku, pool, available, mode, next_ship_at, stock_version, changed_at
            FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::timestamptz[], $6::bigint[], $7::timestamptz[])
                 AS new (sku, pool, available, mode, next_ship_at, stock_version, changed_at)
            ON CONFLICT (sku, pool) DO UPDATE
            SET available = excluded.available, mode = excluded.mode, next_ship_at = excluded.next_ship_at,
                stock_version = excluded.stock_version, changed_at = excluded.changed_at
            WHERE stock_numbers.stock_version < excluded.stock_version
            RETURNING sku, pool, available, mode, next_ship_at, stock_version, changed_at
        ), numbers AS (
            SELECT sku, pool, available, mode, next_ship_at, stock_version, changed_at FROM newer
            UNION ALL
            SELECT sku, pool, available, mode, next_ship_at, stock_version, changed_at FROM stock_numbers AS older
            WHERE older.sku IN (SELECT sku FROM newer)
              AND NOT EXISTS (SELECT FROM newer WHERE newer.sku = older.sku AND newer.pool = older.pool)
        ), newest AS (
            SELECT DISTINCT ON (listings.channel, listings.sku)
                   listings.channel, listings.sku, available, mode, next_ship_at, stock_version, changed_at
            FROM listings JOIN numbers ON numbers.sku = listings.sku AND numbers.pool IN (listings.pool, listings.channel)
            ORDER BY listings.channel, listings.sku, stock_version DESC, numbers.pool = listings.channel DESC
        )
        INSERT INTO listing_stock AS shown (channel, sku, wanted_available, wanted_mode, wanted_next_ship_at, wanted_version, wanted_at,
                                            stale_since, due_at)
        SELECT channel, sku, available, mode, next_ship_at, stock_version, changed_at, changed_at, $8
        FROM newest ORDER BY channel, sku
        ON CONFLICT (channel, sku) DO UPDATE
        SET wanted_available = excluded.wanted_available, wanted_mode = excluded.wanted_mode,
            wanted_next_ship_at = excluded.wanted_next_ship_at, wanted_version = excluded.wanted_version, wanted_at = excluded.wanted_at,
            (stale_since, due_at) = (
                SELECT CASE WHEN needed THEN COALESCE(shown.stale_since, excluded.wanted_at) END,
                       CASE WHEN needed THEN COALESCE(shown.due_at, $8) END
                FROM (SELECT shown.sending_since IS NOT NULL
                          OR (shown.accepted_available, shown.accepted_mode, shown.accepted_next_ship_at)
                             IS DISTINCT FROM (excluded.wanted_available, excluded.wanted_mode, excluded.wanted_next_ship_at)
                     ) AS push (needed)
            )
        """,
        [known.sku for known in numbers],
        [known.pool for known in numbers],
        [known.number.available for known in numbers],
        [known.number.mode for known in numbers],
        [known.number.next_ship_at for known in numbers],
        [known.stock_version for known in numbers],
        [known.changed_at for known in numbers],
        now,
    )


async def claim_pushes(connection: Connection, channel: str, now: datetime, leased_until: datetime, limit: int) -> list[Push]:
    """Takes the listings of one channel whose push is due; none while the channel is paused, one while it is probed.

    What is sold out comes first, because each moment of delay may oversell it; then what has waited longest. From here on what the channel
    shows is in doubt, until it says yes to this claim.
    """
    rows = await connection.fetch(
        """
        WITH open AS (
            SELECT CASE WHEN paused_until > $2 THEN 0 WHEN trips > 0 THEN 1 ELSE $4::int END AS calls FROM channels WHERE code = $1
        ), due AS (
            SELECT channel, sku FROM listing_stock WHERE channel = $1 AND due_at <= $2
            ORDER BY wanted_available > 0, due_at, sku LIMIT COALESCE((SELECT calls FROM open), 0)
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE listing_stock AS shown
        SET due_at = $3, claims = claims + 1, sending_since = COALESCE(LEAST(sending_since, stale_since), wanted_at), stale_since = NULL
        FROM due JOIN listings USING (channel, sku)
        WHERE shown.channel = due.channel AND shown.sku = due.sku
        RETURNING shown.channel, shown.sku, external_listing_id, wanted_available, wanted_mode, wanted_next_ship_at, wanted_version, claims
        """,
        channel,
        now,
        leased_until,
        limit,
    )
    return [
        Push(
            channel=row["channel"],
            sku=row["sku"],
            external_listing_id=row["external_listing_id"],
            number=StockNumber(row["wanted_available"], row["wanted_mode"], row["wanted_next_ship_at"]),
            stock_version=row["wanted_version"],
            claim=row["claims"],
        )
        for row in rows
    ]


def _listing_stock(row: Record) -> ListingStock:
    accepted = StockNumber(row["accepted_available"], row["accepted_mode"], row["accepted_next_ship_at"])
    return ListingStock(
        channel=row["channel"],
        sku=row["sku"],
        external_listing_id=row["external_listing_id"],
        wanted=StockNumber(row["wanted_available"], row["wanted_mode"], row["wanted_next_ship_at"]),
        wanted_at=row["wanted_at"],
        stale_since=row["stale_since"],
        sending_since=row["sending_since"],
        due_at=row["due_at"],
        claims=row["claims"],
        failures=row["failures"],
        last_failure=row["last_failure"],
        accepted=None if row["accepted_version"] is None else accepted,
        accepted_version=row["accepted_version"],
        accepted_at=row["accepted_at"],
        accepted_latency_ms=row["accepted_latency_ms"],
    )


async def lock_listing_stock(connection: Connection, channel: str, skus: Sequence[str]) -> dict[str, ListingStock]:
    """Listings of one channel by SKU, locked in the order of their SKUs."""
    rows = await connection.fetch(
        """
        SELECT shown.*, external_listing_id FROM listing_stock AS shown JOIN listings USING (channel, sku)
        WHERE channel = $1 AND sku = ANY($2::text[])
        ORDER BY channel, sku
        FOR NO KEY UPDATE OF shown
        """,
        channel,
        list(skus),
    )
    return {row["sku"]: _listing_stock(row) for row in rows}


async def save_pushes(connection: Connection, listings: Sequence[ListingStock]) -> None:
    """Records what became of pushes; the rows are locked already."""
    accepted = [listing.accepted or StockNumber(0, "", None) for listing in listings]
    await connection.execute(
        """
        UPDATE listing_stock AS shown
        SET stale_since = new.stale_since, sending_since = new.sending_since, due_at = new.due_at, failures = new.failures,
            last_failure = new.last_failure, accepted_version = new.accepted_version,
            accepted_available = CASE WHEN new.accepted_version IS NOT NULL THEN new.accepted_available END,
            accepted_mode = CASE WHEN new.accepted_version IS NOT NULL THEN new.accepted_mode END,
            accepted_next_ship_at = new.accepted_next_ship_at, accepted_at = new.accepted_at,
            accepted_latency_ms = new.accepted_latency_ms
        FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::int[], $7::text[],
                    $8::bigint[], $9::int[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::int[])
             AS new (channel, sku, stale_since, sending_since, due_at, failures, last_failure, accepted_version, accepted_available,
                     accepted_mode, accepted_next_ship_at, accepted_at, accepted_latency_ms)
        WHERE shown.channel = new.channel AND shown.sku = new.sku
        """,
        [listing.channel for listing in listings],
        [listing.sku for listing in listings],
        [listing.stale_since for listing in listings],
        [listing.sending_since for listing in listings],
        [listing.due_at for listing in listings],
        [listing.failures for listing in listings],
        [listing.last_failure for listing in listings],
        [listing.accepted_version for listing in listings],
        [number.available for number in accepted],
        [number.mode for number in accepted],
        [number.next_ship_at for number in accepted],
        [listing.accepted_at for listing in listings],
        [listing.accepted_latency_ms for listing in listings],
    )


async def count_latencies(connection: Connection, channel: str, minute: datetime, buckets: Counter[int]) -> None:
    """Adds accepted pushes to the latency buckets of their minute."""
    await connection.execute(
        """
        INSERT INTO push_latencies AS counted (channel, minute, bucket, pushes)
        SELECT $1, $2, bucket, pushes FROM unnest($3::smallint[], $4::bigint[]) AS new (bucket, pushes) ORDER BY bucket
        ON CONFLICT (channel, minute, bucket) DO UPDATE SET pushes = counted.pushes + excluded.pushes
        """,
        channel,
        minute,
        sorted(buckets),
        [buckets[bucket] for bucket in sorted(buckets)],
    )


async def read_latencies(connection: Connection, since: datetime) -> list[Record]:
    """Accepted pushes by channel and latency bucket since a minute."""
    return await connection.fetch(
        """
        SELECT channel, bucket, sum(pushes)::bigint AS pushes FROM push_latencies WHERE minute >= $1 GROUP BY channel, bucket
        """,
        since,
    )


async def forget_latencies(connection: Connection, before: datetime) -> None:
    """Drops the latency counts of minutes long past."""
    await connection.execute("DELETE FROM push_latencies WHERE minute < $1", before)

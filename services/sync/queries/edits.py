"""Edits that channels asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from services.sync.decide.edits import EditKey
from shared.messaging.message import Connection


async def insert_edits(connection: Connection, edits: Sequence[tuple[EditKey, bytes, UUID]], now: datetime) -> set[EditKey]:
    """Keeps what channels asked for and returns what was not known."""
    rows = await connection.fetch(
        """
        INSERT INTO channel_edits (channel, external_id, edit_id, content, change_id, requested_at)
        SELECT channel, external_id, edit_id, content, change_id, $6
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[])
             AS new (channel, external_id, edit_id, content, change_id)
        ORDER BY channel, external_id, edit_id
        ON CONFLICT DO NOTHING
        RETURNING channel, external_id, edit_id
        """,
        [key[0] for key, _, _ in edits],
        [key[1] for key, _, _ in edits],
        [key[2] for key, _, _ in edits],
        [content for _, content, _ in edits],
        [change_id for _, _, change_id in edits],
        now,
    )
    return {(row["channel"], row["external_id"], row["edit_id"]) for row in rows}


async def read_contents(connection: Connection, keys: Collection[EditKey]) -> dict[EditKey, bytes]:
    """What was asked for under these names."""
    wanted = sorted(keys)
    rows = await connection.fetch(
        """
        SELECT channel, external_id, edit_id, content
        FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (channel, external_id, edit_id)
        JOIN channel_edits USING (channel, external_id, edit_id)
        """,
        [channel for channel, _, _ in wanted],
        [external_id for _, external_id, _ in wanted],
        [edit_id for _, _, edit_id in wanted],
    )
    return {(row["channel"], row["external_id"], row["edit_id"]): row["content"] for row in rows}


async def decide(connection: Connection, outcomes: Sequence[tuple[UUID, str]], now: datetime) -> dict[UUID, EditKey]:
    """Notes outcomes by change; returns those that a channel asked for and that were not decided before, by what the channel calls them."""
    rows = await connection.fetch(
        """
        WITH locked AS (
            SELECT change_id FROM channel_edits WHERE change_id = ANY($1::uuid[]) AND decided_at IS NULL ORDER BY change_id
            FOR NO KEY UPDATE
        )
        UPDATE channel_edits SET outcome = new.outcome, decided_at = $3
        FROM unnest($1::uuid[], $2::text[]) AS new (change_id, outcome) JOIN locked USING (change_id)
        WHERE channel_edits.change_id = new.change_id AND channel_edits.decided_at IS NULL
        RETURNING channel_edits.change_id, channel, external_id, edit_id
        """,
        [change_id for change_id, _ in outcomes],
        [outcome for _, outcome in outcomes],
        now,
    )
    return {row["change_id"]: (row["channel"], row["external_id"], row["edit_id"]) for row in rows}

"""Versions of the routing rules, and which of them is in force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def lock_rules_in_force(connection: Connection) -> int:
    """The version in force; whoever else wants to save or publish waits until this transaction ends."""
    version: int = await connection.fetchval(
        """
        INSERT INTO rules_in_force AS known (version) VALUES (0)
        ON CONFLICT (only_row) DO UPDATE SET version = known.version RETURNING version
        """
    )
    return version


async def read_rules_in_force(connection: Connection) -> int:
    """The version in force."""
    version: int = await connection.fetchval("SELECT COALESCE((SELECT version FROM rules_in_force), 0)")
    return version


async def read_rules(connection: Connection, version: int) -> list[dict[str, object]] | None:
    """The rules of a version; None when there is none of it."""
    document = await connection.fetchval("SELECT rules FROM rule_sets WHERE version = $1", version)
    return None if document is None else list(document["rules"])


async def read_requests(connection: Connection, request_ids: Sequence[UUID]) -> list[Record]:
    """What was saved and published under these ids before."""
    return await connection.fetch(
        """
        SELECT request_id, 'saved' AS change, version, NULL::bigint AS replaced_version, saved_at AS at
        FROM rule_sets WHERE request_id = ANY($1::uuid[])
        UNION ALL
        SELECT request_id, change, version, replaced_version, published_at FROM rule_publications WHERE request_id = ANY($1::uuid[])
        """,
        request_ids,
    )


async def read_newest(connection: Connection) -> Record:
    """The newest version and the number of publications."""
    row = await connection.fetchrow(
        """
        SELECT COALESCE((SELECT max(version) FROM rule_sets), 0) AS version,
               COALESCE((SELECT max(position) FROM rule_publications), 0) AS publications
        """
    )
    assert row is not None, "a row without a table is always found"
    return row


class SavedRules(NamedTuple):
    """One new version."""

    version: int
    request_id: UUID
    rules: dict[str, object]
    reason: str
    author: str


async def insert_rule_sets(connection: Connection, saved: Sequence[SavedRules], saved_at: datetime) -> None:
    """Keeps new versions."""
    await connection.execute(
        """
        INSERT INTO rule_sets (version, request_id, rules, reason, author, saved_at)
        SELECT version, request_id, rules, reason, author, $6::timestamptz
        FROM unnest($1::bigint[], $2::uuid[], $3::jsonb[], $4::text[], $5::text[]) AS new (version, request_id, rules, reason, author)
        """,
        *[list(column) for column in zip(*saved, strict=True)],
        saved_at,
    )


class Publication(NamedTuple):
    """One change of what is in force."""

    request_id: UUID
    position: int
    version: int
    replaced_version: int
    change: str
    reason: str
    author: str


async def insert_publications(connection: Connection, publications: Sequence[Publication], published_at: datetime) -> None:
    """Remembers who put what in force; the last of them is in force now."""
    await connection.execute(
        """
        WITH kept AS (
            INSERT INTO rule_publications (request_id, position, version, replaced_version, change, reason, author, published_at)
            SELECT request_id, position, version, replaced_version, change, reason, author, $8::timestamptz
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[])
                 AS new (request_id, position, version, replaced_version, change, reason, author)
            RETURNING position, version
        )
        UPDATE rules_in_force SET version = (SELECT version FROM kept ORDER BY position DESC LIMIT 1)
        """,
        *[list(column) for column in zip(*publications, strict=True)],
        published_at,
    )


async def list_rule_sets(connection: Connection, before: int | None, limit: int) -> list[Record]:
    """Versions, newest first, from before one on; each with how often it was put in force and when last."""
    return await connection.fetch(
        """
        SELECT version, reason, author, saved_at, jsonb_array_length(rules -> 'rules') AS rules,
               (SELECT max(published_at) FROM rule_publications p WHERE p.version = s.version) AS published_at
        FROM rule_sets s WHERE version < COALESCE($1::bigint, 9223372036854775807) ORDER BY version DESC LIMIT $2
        """,
        before,
        limit,
    )


async def list_publications(connection: Connection, limit: int) -> list[Record]:
    """Who put what in force, newest first."""
    return await connection.fetch(
        """
        SELECT position, version, replaced_version, change, reason, author, published_at
        FROM rule_publications ORDER BY position DESC LIMIT $1
        """,
        limit,
    )


async def read_rule_set(connection: Connection, version: int) -> Record | None:
    """One version with its rules."""
    return await connection.fetchrow("SELECT version, reason, author, saved_at, rules FROM rule_sets WHERE version = $1", version)

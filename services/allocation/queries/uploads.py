"""Uploaded counts: files, their rows as they were previewed, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def insert_upload(
    connection: Connection, upload_id: UUID, file_name: str, operator: str, now: datetime, expires_at: datetime
) -> None:
    """A file that begins to come in."""
    await connection.execute(
        """
        INSERT INTO count_uploads (upload_id, file_name, operator, status, created_at, expires_at)
        VALUES ($1, $2, $3, 'reading', $4, $5)
        """,
        upload_id,
        file_name,
        operator,
        now,
        expires_at,
    )


class UploadRows(NamedTuple):
    """Rows of a file as they were read. Lists have the same length."""

    row_numbers: list[int]
    skus: list[str | None]
    locations: list[str | None]
    on_hand: list[int | None]
    damaged: list[int | None]
    quality_control: list[int | None]
    columns: list[str | None]
    problems: list[str | None]
    remedies: list[str | None]


async def insert_rows(connection: Connection, upload_id: UUID, rows: UploadRows) -> None:
    """Adds rows with what their shelves hold now, and judges them: unknown SKUs and locations are invalid, equal numbers need nothing."""
    await connection.execute(
        """
        INSERT INTO count_upload_rows (upload_id, row_number, sku, location, on_hand, damaged, quality_control, old_on_hand, old_damaged,
                                       old_quality_control, status, column_name, problem, remedy)
        SELECT $1, read.row_number, read.sku, read.location, read.on_hand, read.damaged, read.quality_control, held.on_hand, held.damaged,
               held.quality_control,
               CASE WHEN judged.problem IS NOT NULL THEN 'invalid'
                    WHEN read.on_hand = held.on_hand AND COALESCE(read.damaged = held.damaged, true)
                         AND COALESCE(read.quality_control = held.quality_control, true) THEN 'same'
                    ELSE 'changed' END,
               judged.column_name, judged.problem, judged.remedy
        FROM unnest($2::int[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::text[], $9::text[], $10::text[])
            AS read(row_number, sku, location, on_hand, damaged, quality_control, column_name, problem, remedy)
        LEFT JOIN products ON products.sku = read.sku
        LEFT JOIN locations ON locations.location = read.location
        LEFT JOIN stock_locations shelf ON shelf.sku = read.sku AND shelf.location = read.location
        CROSS JOIN LATERAL (
            SELECT GREATEST(COALESCE(shelf.on_shelf, 0), 0) + COALESCE(shelf.damaged, 0) + COALESCE(shelf.quality_control, 0) AS on_hand,
                   COALESCE(shelf.damaged, 0) AS damaged, COALESCE(shelf.quality_control, 0) AS quality_control
        ) held
        LEFT JOIN LATERAL (
            SELECT * FROM (VALUES
                (read.problem IS NOT NULL, read.column_name, read.problem, read.remedy),
                (products.sku IS NULL, 'sku', format('%s is not registered', read.sku), 'register the product, or leave the row out'),
                (locations.location IS NULL, 'location', format('%s is not registered', read.location),
                 'register the location, or correct its code'),
                (COALESCE(read.damaged, read.quality_control) IS NOT NULL
                     AND read.on_hand < COALESCE(read.damaged, held.damaged) + COALESCE(read.quality_control, held.quality_control),
                 'on_hand', format('%s is less than what is damaged or in quality control there', read.on_hand),
                 'give damaged and quality_control as well')
            ) AS found(applies, column_name, problem, remedy) WHERE applies LIMIT 1
        ) judged ON true
        """,
        upload_id,
        *rows,
    )


async def mark_repeated_rows(connection: Connection, upload_id: UUID) -> None:
    """A shelf that stands in a file more than once is invalid everywhere: nobody can know which number is meant."""
    await connection.execute(
        """
        UPDATE count_upload_rows row SET status = 'invalid', column_name = 'sku', problem = format('stands in row %s too', repeated.other),
               remedy = 'keep one row per SKU and location'
        FROM (
            SELECT row_number, CASE WHEN row_number = first THEN second ELSE first END AS other
            FROM (
                SELECT row_number, min(row_number) OVER shelf AS first, count(*) OVER shelf AS times,
                       nth_value(row_number, 2) OVER (PARTITION BY sku, location ORDER BY row_number
                                                      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS second
                FROM count_upload_rows WHERE upload_id = $1 AND status <> 'invalid'
                WINDOW shelf AS (PARTITION BY sku, location)
            ) counted WHERE times > 1
        ) repeated
        WHERE row.upload_id = $1 AND row.row_number = repeated.row_number
        """,
        upload_id,
    )


async def finish_reading(
    connection: Connection, upload_id: UUID, encoding: str, delimiter: str | None, problem: str | None, remedy: str | None
) -> None:
    """The file is here: it can be applied, or it is refused with the reason; a refused file keeps no rows."""
    await connection.execute(
        """
        UPDATE count_uploads SET status = CASE WHEN $4::text IS NULL THEN 'ready' ELSE 'refused' END, encoding = $2, delimiter = $3,
               problem = $4, remedy = $5
        WHERE upload_id = $1
        """,
        upload_id,
        encoding,
        delimiter,
        problem,
        remedy,
    )
    if problem is not None:
        await connection.execute("DELETE FROM count_upload_rows WHERE upload_id = $1", upload_id)


async def refuse_upload(connection: Connection, upload_id: UUID, problem: str, remedy: str) -> None:
    """A file that can be applied no more; its rows stay for the report."""
    await connection.execute(
        "UPDATE count_uploads SET status = 'refused', problem = $2, remedy = $3 WHERE upload_id = $1", upload_id, problem, remedy
    )


async def read_upload(connection: Connection, upload_id: UUID) -> Record | None:
    """One upload with how many of its rows are in which state."""
    return await connection.fetchrow(
        """
        SELECT upload_id, file_name, operator, upload.status, upload.problem, upload.remedy, encoding, delimiter, reason, all_or_nothing,
               created_at, expires_at, applied_at, counts.*
        FROM count_uploads upload
        CROSS JOIN LATERAL (
            SELECT count(*) AS rows, count(*) FILTER (WHERE row.status = 'invalid') AS invalid,
                   count(*) FILTER (WHERE row.status = 'same') AS same, count(*) FILTER (WHERE row.status = 'changed') AS changed,
                   count(*) FILTER (WHERE row.status = 'applied') AS applied, count(*) FILTER (WHERE row.status = 'moved') AS moved
            FROM count_upload_rows row WHERE row.upload_id = upload.upload_id
        ) counts
        WHERE upload_id = $1
        """,
        upload_id,
    )


async def list_uploads(connection: Connection, limit: int) -> list[Record]:
    """The newest uploads."""
    return await connection.fetch(
        "SELECT upload_id, file_name, operator, status, created_at, applied_at FROM count_uploads ORDER BY created_at DESC LIMIT $1", limit
    )


async def list_rows(connection: Connection, upload_id: UUID, status: str | None, after: int, limit: int) -> list[Record]:
    """Rows of a file behind a given one, of one state or all."""
    return await connection.fetch(
        """
        SELECT row_number, sku, location, on_hand, damaged, quality_control, old_on_hand, old_damaged, old_quality_control, status,
               column_name, problem, remedy
        FROM count_upload_rows
        WHERE upload_id = $1 AND row_number > $3 AND ($2::text IS NULL OR status = $2) ORDER BY row_number LIMIT $4
        """,
        upload_id,
        status,
        after,
        limit,
    )


async def lock_upload(connection: Connection, upload_id: UUID) -> Record | None:
    """One upload, locked."""
    return await connection.fetchrow(
        "SELECT upload_id, status, operator, reason, problem, all_or_nothing FROM count_uploads WHERE upload_id = $1 FOR UPDATE", upload_id
    )


async def claim_applying(connection: Connection) -> Record | None:
    """The oldest upload that is being applied and that nobody works on."""
    return await connection.fetchrow(
        """
        SELECT upload_id, status, operator, reason, problem, all_or_nothing FROM count_uploads WHERE status = 'applying'
        ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
        """
    )


async def start_applying(
    connection: Connection, upload_id: UUID, reason: str, operator: str, all_or_nothing: bool, expires_at: datetime
) -> None:
    """From now on the rows are applied; who wanted it and why is kept."""
    await connection.execute(
        """
        UPDATE count_uploads SET status = 'applying', reason = $2, operator = $3, all_or_nothing = $4, expires_at = $5 WHERE upload_id = $1
        """,
        upload_id,
        reason,
        operator,
        all_or_nothing,
        expires_at,
    )


async def read_rows_to_apply(connection: Connection, upload_id: UUID, limit: int) -> list[Record]:
    """The next rows whose numbers differ from what the shelf held."""
    return await connection.fetch(
        """
        SELECT row_number, sku, location, on_hand, damaged, quality_control, old_on_hand, old_damaged, old_quality_control
        FROM count_upload_rows WHERE upload_id = $1 AND status = 'changed' ORDER BY row_number LIMIT $2
        """,
        upload_id,
        limit,
    )


async def mark_rows(
    connection: Connection, upload_id: UUID, row_numbers: Sequence[int], status: str, problems: Sequence[str | None], remedy: str | None
) -> None:
    """What became of rows."""
    await connection.execute(
        """
        UPDATE count_upload_rows row
        SET status = $3, problem = done.problem, remedy = $5, column_name = CASE WHEN done.problem IS NULL THEN NULL ELSE 'on_hand' END
        FROM unnest($2::int[], $4::text[]) AS done(row_number, problem)
        WHERE row.upload_id = $1 AND row.row_number = done.row_number
        """,
        upload_id,
        row_numbers,
        status,
        problems,
        remedy,
    )


async def finish_applying(connection: Connection, upload_id: UUID, now: datetime) -> None:
    """Everything that could be applied is."""
    await connection.execute("UPDATE count_uploads SET status = 'applied', applied_at = $2 WHERE upload_id = $1", upload_id, now)


async def forget_uploads(connection: Connection, now: datetime) -> int:
    """Drops one upload whose time is over, with its rows; returns whether there was one."""
    gone: int = await connection.fetchval(
        """
        WITH gone AS (
            DELETE FROM count_uploads WHERE upload_id = (
                SELECT upload_id FROM count_uploads WHERE expires_at < $1 AND status <> 'applying'
                ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED
            ) RETURNING 1
        )
        SELECT count(*) FROM gone
        """,
        now,
    )
    return gone

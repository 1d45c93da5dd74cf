"""Return authorisations, scans and dispositions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from services.returns.decide.authorisation import Approval, Declined
from services.returns.decide.inspection import ReturnBooks, ReturnLineBooks
from shared.contracts.returns import DispositionLine, ReturnScanRequested
from shared.messaging.message import Connection


async def read_returns(connection: Connection, return_ids: Sequence[UUID]) -> list[Record]:
    """Returns as they stand, with what became of their refunds."""
    return await connection.fetch(
        """
        SELECT returns.return_id, returns.order_id, status, expires_at, requested_lines, inspected_at, closed_at,
               coalesce(sum(amount_cents) FILTER (WHERE state = 'succeeded'), 0)::bigint AS succeeded_cents,
               count(refund_id) FILTER (WHERE state <> 'succeeded') AS unsettled_refunds
        FROM returns LEFT JOIN refunds ON refunds.return_id = returns.return_id
        WHERE returns.return_id = ANY($1::uuid[])
        GROUP BY returns.return_id
        """,
        list(return_ids),
    )


async def read_return_lines(connection: Connection, return_ids: Sequence[UUID]) -> list[Record]:
    """All lines of these returns."""
    return await connection.fetch(
        """
        SELECT return_id, line_id, sku, approved_units, quote_cents, restocked_units, damaged_units, missing_units, refunded_cents
        FROM return_lines WHERE return_id = ANY($1::uuid[])
        ORDER BY return_id, line_id
        """,
        list(return_ids),
    )


async def read_orders_of_returns(connection: Connection, return_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Which order each return belongs to; that never changes, so it may be read before the order is locked."""
    rows = await connection.fetch("SELECT return_id, order_id FROM returns WHERE return_id = ANY($1::uuid[])", list(return_ids))
    return {row["return_id"]: row["order_id"] for row in rows}


async def insert_approved(connection: Connection, approved: Sequence[tuple[UUID, UUID, str, Any, str, datetime, Approval]]) -> None:
    """Adds approved returns: (return, order, requested by, requested lines, currency, now, approval)."""
    await connection.execute(
        """
        INSERT INTO returns (return_id, return_number, order_id, status, requested_by, requested_lines, requested_at, currency,
                             refund_quote_cents, label_carrier, label_tracking_number, return_address, expires_at)
        SELECT return_id, return_number, order_id, 'approved', requested_by, requested_lines::jsonb, requested_at, currency,
               refund_quote_cents, label_carrier, label_tracking_number, return_address, expires_at
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::bigint[],
                    $9::text[], $10::text[], $11::text[], $12::timestamptz[])
             AS new (return_id, return_number, order_id, requested_by, requested_lines, requested_at, currency,
                     refund_quote_cents, label_carrier, label_tracking_number, return_address, expires_at)
        """,
        [row[0] for row in approved],
        [row[6].label.return_number for row in approved],
        [row[1] for row in approved],
        [row[2] for row in approved],
        [json.dumps(row[3]) for row in approved],
        [row[5] for row in approved],
        [row[4] for row in approved],
        [row[6].quote_cents for row in approved],
        [row[6].label.carrier for row in approved],
        [row[6].label.tracking_number for row in approved],
        [row[6].label.return_address for row in approved],
        [row[6].label.expires_at for row in approved],
    )


async def insert_return_lines(connection: Connection, lines: Sequence[tuple[UUID, ReturnLineBooks]]) -> None:
    """Adds the lines of approved returns."""
    await connection.execute(
        """
        INSERT INTO return_lines (return_id, line_id, sku, approved_units, quote_cents)
        SELECT return_id, line_id, sku, approved_units, quote_cents
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::bigint[])
             AS new (return_id, line_id, sku, approved_units, quote_cents)
        """,
        [return_id for return_id, _ in lines],
        [line.line_id for _, line in lines],
        [line.sku for _, line in lines],
        [line.approved_units for _, line in lines],
        [line.quote_cents for _, line in lines],
    )


async def insert_declined(connection: Connection, declined: Sequence[tuple[UUID, str, UUID, str, Any, datetime, Declined]]) -> None:
    """Adds declined returns: (return, return number, order, requested by, requested lines, now, why)."""
    await connection.execute(
        """
        INSERT INTO returns (return_id, return_number, order_id, status, requested_by, requested_lines, requested_at,
                             decline_reason, decline_detail)
        SELECT return_id, return_number, order_id, 'declined', requested_by, requested_lines::jsonb, requested_at,
               decline_reason, decline_detail
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
             AS new (return_id, return_number, order_id, requested_by, requested_lines, requested_at, decline_reason, decline_detail)
        """,
        [row[0] for row in declined],
        [row[1] for row in declined],
        [row[2] for row in declined],
        [row[3] for row in declined],
        [json.dumps(row[4]) for row in declined],
        [row[5] for row in declined],
        [row[6].reason for row in declined],
        [row[6].detail for row in declined],
    )


async def update_returns(connection: Connection, returns: Sequence[ReturnBooks]) -> None:
    """Writes where returns stand; their orders are locked."""
    await connection.execute(
        """
        UPDATE returns SET status = new.status, inspected_at = new.inspected_at, closed_at = new.closed_at
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[]) AS new (return_id, status, inspected_at, closed_at)
        WHERE returns.return_id = new.return_id
        """,
        [item.return_id for item in returns],
        [item.status for item in returns],
        [item.inspected_at for item in returns],
        [item.closed_at for item in returns],
    )


async def update_return_lines(connection: Connection, lines: Sequence[tuple[UUID, ReturnLineBooks]]) -> None:
    """Writes what has become of returned units; their orders are locked."""
    await connection.execute(
        """
        UPDATE return_lines
        SET restocked_units = new.restocked_units, damaged_units = new.damaged_units, missing_units = new.missing_units,
            refunded_cents = new.refunded_cents
        FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::int[], $6::bigint[])
             AS new (return_id, line_id, restocked_units, damaged_units, missing_units, refunded_cents)
        WHERE return_lines.return_id = new.return_id AND return_lines.line_id = new.line_id
        """,
        [return_id for return_id, _ in lines],
        [line.line_id for _, line in lines],
        [line.restocked_units for _, line in lines],
        [line.damaged_units for _, line in lines],
        [line.missing_units for _, line in lines],
        [line.refunded_cents for _, line in lines],
    )


async def read_scans(connection: Connection, scan_ids: Sequence[UUID]) -> list[Record]:
    """Scans that are booked already."""
    return await connection.fetch(
        "SELECT scan_id, return_id, location, units, closes FROM return_scans WHERE scan_id = ANY($1::uuid[])", list(scan_ids)
    )


async def insert_scans(connection: Connection, scans: Sequence[tuple[ReturnScanRequested, Any]], now: datetime) -> None:
    """Adds scans with what they found, as (scan, units as JSON)."""
    await connection.execute(
        """
        INSERT INTO return_scans (scan_id, return_id, location, operator, units, closes, scanned_at)
        SELECT scan_id, return_id, location, operator, units::jsonb, closes, $7
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[])
             AS new (scan_id, return_id, location, operator, units, closes)
        """,
        [scan.scan_id for scan, _ in scans],
        [scan.return_id for scan, _ in scans],
        [scan.location for scan, _ in scans],
        [scan.operator for scan, _ in scans],
        [json.dumps(units) for _, units in scans],
        [scan.closes for scan, _ in scans],
        now,
    )


async def insert_dispositions(connection: Connection, dispositions: Sequence[tuple[UUID, UUID, DispositionLine]]) -> None:
    """Adds what became of units: (scan, return, units)."""
    await connection.execute(
        """
        INSERT INTO dispositions (scan_id, return_id, line_id, sku, quantity, disposition)
        SELECT scan_id, return_id, line_id, sku, quantity, disposition
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[])
             AS new (scan_id, return_id, line_id, sku, quantity, disposition)
        """,
        [row[0] for row in dispositions],
        [row[1] for row in dispositions],
        [row[2].line_id for row in dispositions],
        [row[2].sku for row in dispositions],
        [row[2].quantity for row in dispositions],
        [row[2].disposition for row in dispositions],
    )


async def find_expired(connection: Connection, expired_before: datetime, limit: int) -> list[Record]:
    """Returns whose label expired long ago and which still wait for units."""
    return await connection.fetch(
        """
        SELECT return_id, order_id FROM returns
        WHERE status IN ('approved', 'received') AND expires_at < $1
        ORDER BY expires_at LIMIT $2
        """,
        expired_before,
        limit,
    )


async def list_returns(connection: Connection, order_id: UUID | None, status: str | None, number: str | None, limit: int) -> list[Record]:
    """Returns for pages, newest first; every condition is optional. ``number`` is a return number or a label's tracking number."""
    return await connection.fetch(
        """
        SELECT return_id, return_number, order_id, status, requested_by, requested_lines, requested_at, decline_reason, decline_detail,
               currency, refund_quote_cents, label_carrier, label_tracking_number, return_address, expires_at, inspected_at, closed_at
        FROM returns
        WHERE ($1::uuid IS NULL OR order_id = $1)
          AND ($2::text IS NULL OR status = $2)
          AND ($3::text IS NULL OR return_number = $3 OR label_tracking_number = $3)
        ORDER BY return_id DESC LIMIT $4
        """,
        order_id,
        status,
        number,
        limit,
    )


async def read_return(connection: Connection, return_id: UUID) -> Record | None:
    """One return for pages and its label."""
    return await connection.fetchrow(
        """
        SELECT return_id, return_number, order_id, status, requested_by, requested_lines, requested_at, decline_reason, decline_detail,
               currency, refund_quote_cents, label_carrier, label_tracking_number, return_address, expires_at, inspected_at, closed_at
        FROM returns WHERE return_id = $1
        """,
        return_id,
    )


async def list_scans(connection: Connection, return_ids: Sequence[UUID]) -> list[Record]:
    """Who scanned what, where and when."""
    return await connection.fetch(
        """
        SELECT scan_id, return_id, location, operator, units, closes, scanned_at
        FROM return_scans WHERE return_id = ANY($1::uuid[]) ORDER BY scanned_at, scan_id
        """,
        list(return_ids),
    )

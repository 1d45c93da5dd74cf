"""What tests of the continuous auditor share: looks until everything has come round, and what was found."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch
from uuid import UUID

from asyncpg import Record

from services.allocation.handlers import auditing
from services.allocation.handlers.auditing import DUTIES, audit_some
from shared.contracts.envelope import new_id
from shared.contracts.stock import StockCompensationRequested, StockFindingDecided
from shared.messaging.message import Connection, Transaction
from tests.allocation.conftest import Desk, Heard

LOOKS_LIMIT = 60


async def look(connection: Connection, desk: Desk) -> None:
    """One look in a transaction of its own, as the schedule has it."""
    async with connection.transaction():
        assert await audit_some(Transaction(connection, desk.now)) == ()


async def cycles(connection: Connection) -> dict[str, int]:
    """How often each duty has come round."""
    return {row["duty"]: row["cycles"] for row in await connection.fetch("SELECT duty, cycles FROM audit_duties")}


async def look_at_everything(desk: Desk) -> list[Record]:
    """Looks until every duty but the recount has come round once more; returns the open findings."""
    before = await cycles(desk.connection)
    for _ in range(LOOKS_LIMIT):
        with patch.object(auditing, "DUTIES_PER_LOOK", len(DUTIES)):
            await look(desk.connection, desk)
        now = await cycles(desk.connection)
        if all(now[duty] > before.get(duty, 0) for duty in DUTIES if duty != "recount"):
            return await findings(desk.connection)
    raise AssertionError(f"not round after {LOOKS_LIMIT} looks: {await cycles(desk.connection)}")


async def findings(connection: Connection, status: str = "open") -> list[Record]:
    """Findings of one status, oldest first."""
    return await connection.fetch("SELECT * FROM audit_findings WHERE status = $1 ORDER BY finding_id", status)


def agreement(finding: Record, **changes: Any) -> StockCompensationRequested:
    """An operator agrees to what was found."""
    values = {
        "decision_id": new_id(),
        "finding_id": finding["finding_id"],
        "expected_found": finding["found"],
        "reason": "checked against the delivery note",
        "operator": "kim",
        **changes,
    }
    return StockCompensationRequested.model_validate(values)


async def apply_all(desk: Desk) -> list[Heard]:
    """An operator agrees to one finding after the other until none is open."""
    heard: list[Heard] = []
    for _ in range(20):
        open_now = await findings(desk.connection)
        if not open_now:
            return heard
        heard.append(await desk.hear(agreement(open_now[0])))
        assert heard[-1].one(StockFindingDecided).status == "applied"
    raise AssertionError(f"still open: {await findings(desk.connection)}")


async def first_entry(connection: Connection, kind: str, sku: str = "MUG", **where: Any) -> UUID:
    """The id of the first entry of a kind."""
    found: UUID = await connection.fetchval(
        """
        SELECT movement_id FROM movements WHERE kind = $1::text::movement_kind AND sku = $2 AND ($3::text IS NULL OR location = $3)
        ORDER BY movement_id LIMIT 1
        """,
        kind,
        sku,
        where.get("location"),
    )
    return found


KEEP = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = '%s'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition LOOP
        EXECUTE format('CREATE TEMPORARY TABLE %%I AS TABLE %s.%%I', 'kept_' || name, name);
    END LOOP;
END $$
"""
PUT_BACK = """
DO $$
DECLARE name text; columns text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = '%s'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition LOOP
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
        WHERE attrelid = format('%s.%%I', name)::regclass AND attnum > 0 AND NOT attisdropped
          AND attgenerated = '' AND attname <> 'written_in';
        EXECUTE format('DELETE FROM %s.%%I', name);
        EXECUTE format('INSERT INTO %s.%%I (%%s) OVERRIDING SYSTEM VALUE SELECT %%s FROM %%I', name, columns, columns, 'kept_' || name);
    END LOOP;
END $$
"""


async def keep(admin: Connection, schema: str) -> None:
    """Remembers all rows of a service, as long as the connection is open."""
    await admin.execute(KEEP % (schema, schema))


async def put_back(admin: Connection, schema: str) -> None:
    """All rows as they were remembered; the ledger's entries are those of one new transaction."""
    await admin.execute(PUT_BACK % (schema, schema, schema, schema))

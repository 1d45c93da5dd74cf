"""Each service's own rules, in its own schema."""

from __future__ import annotations

import asyncpg

from shared.audit.report import Check, Violation, check_of
from shared.audit.snapshot import Snapshot
from shared.audit.statements import Statements
from shared.audit_model import Invariant


async def check_invariants(snapshot: Snapshot, statements: Statements) -> list[Check]:
    """Runs all rules of one service."""
    await snapshot.enter(statements.service)
    return [await _check(snapshot, statements.service, invariant) for invariant in statements.invariants]


async def _check(snapshot: Snapshot, service: str, invariant: Invariant) -> Check:
    try:
        rows = await snapshot.fetch(invariant.sql)
    except asyncpg.PostgresError as error:
        broken = Violation("the check itself", f"could not run: {type(error).__name__}: {error}")
        return check_of(invariant.id, service, invariant.title, [broken])
    return check_of(invariant.id, service, invariant.title, [Violation(str(row[0]), str(row[1])) for row in rows])

"""One audit, or as many as it takes until a living system has come to rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from shared.audit.facts import check_facts
from shared.audit.invariants import check_invariants
from shared.audit.messages import about_service, check_deliveries, check_single_effects, check_sources, follow_messages
from shared.audit.report import Check, Report
from shared.audit.snapshot import Snapshot, open_snapshot
from shared.audit.statements import Statements, load_statements

POLL_SECONDS = 0.5


async def audit(
    database_url: str,
    *,
    services: Sequence[Statements] | None = None,
    only: str | None = None,
    strict: bool = False,
    only_at_rest: bool = False,
) -> Report:
    """Takes one snapshot and runs every check on it.

    Args:
        database_url: a role that may read all schemas (``ordermesh_audit``, or an administrator).
        services: what to check; by default every service there is.
        only: report only checks in which this service takes part.
        strict: messages under way are violations, because there was time enough for them.
        only_at_rest: run no check, and report none, while messages are under way: whoever waits for rest asks again anyway.

    Raises:
        SchemaMissing: a service's schema is not in this database.
    """
    stated = list(load_statements() if services is None else services)
    started = time.monotonic()
    async with open_snapshot(database_url, [service.service for service in stated]) as snapshot:
        taken_at = datetime.now(UTC)
        checks, under_way = await run_checks(snapshot, stated, only=only, strict=strict, only_at_rest=only_at_rest)
    return Report(taken_at, time.monotonic() - started, checks, under_way)


async def run_checks(
    snapshot: Snapshot, services: Sequence[Statements], *, only: str | None = None, strict: bool = False, only_at_rest: bool = False
) -> tuple[list[Check], int]:
    """Every check on one snapshot, and how many messages were under way in it; no check if there were some and ``only_at_rest``."""
    movement = await follow_messages(snapshot, services)
    if movement.messages and only_at_rest:
        return [], movement.messages
    checks: list[Check] = []
    for service in services:
        if only in (None, service.service):
            checks += await check_invariants(snapshot, service)
    checks += check_deliveries(movement, strict=strict)
    checks += await check_sources(snapshot, services)
    checks += await check_single_effects(snapshot, services)
    checks += await check_facts(snapshot, services, movement)
    return about_service(checks, only), movement.messages


async def audit_until_settled(
    database_url: str, *, wait_seconds: float, services: Sequence[Statements] | None = None, only: str | None = None
) -> Report:
    """Audits until nothing is under way and every check holds, or until the time is over; then what is left is reported as it is.

    Raises:
        SchemaMissing: a service's schema is not in this database.
    """
    stated = list(load_statements() if services is None else services)
    deadline = time.monotonic() + wait_seconds
    while True:
        report = await audit(database_url, services=stated, only=only, only_at_rest=True)
        if report.under_way == 0 and report.violation_count == 0:
            return report
        if time.monotonic() >= deadline:
            return await audit(database_url, services=stated, only=only, strict=True)
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))

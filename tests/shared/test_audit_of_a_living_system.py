"""An audit may be taken at any moment of a living system: what is under way is never called wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.audit import audit_until_settled
from tests.conftest import Databases
from tests.shared.world import open_world


async def test_no_audit_of_a_living_day_reports_what_is_only_under_way(databases: Databases, tmp_path: Path) -> None:
    async with open_world(databases, tmp_path) as world:
        day = asyncio.create_task(world.live_a_day())
        audits = moving = 0
        wrong: list[tuple[str, str, object]] = []
        while not day.done():
            report = await world.audit(strict=False)
            audits += 1
            moving += report.under_way > 0
            wrong += [(check.service, check.id, check.violations) for check in report.violated()]
            # The day shall get on meanwhile: an audit takes as long as several of its steps.
            await asyncio.wait([day], timeout=0.3)
        await day
        assert wrong == []
        assert audits > 2
        assert moving > 0, "every audit was taken at rest, so this has shown nothing"
        settled = await audit_until_settled(world.url, wait_seconds=30)
        assert (settled.violation_count, settled.under_way) == (0, 0)

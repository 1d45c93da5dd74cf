"""An audit may be taken at any moment of a living system: what is under way is never called wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.audit import audit_until_settled
from tests.conftest import Databases
from tests.shared.world import World, open_world

SETTLINGS_PER_AUDIT = 12


class Audits:
    """What the audits of a day have found."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.taken = self.moving = 0
        self.wrong: list[tuple[str, str, object]] = []

    async def take(self) -> None:
        """One more."""
        report = await self._world.audit(strict=False)
        self.taken += 1
        self.moving += report.under_way > 0
        self.wrong += [(check.service, check.id, check.violations) for check in report.violated()]


async def test_no_audit_of_a_living_day_reports_what_is_only_under_way(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(databases, tmp_path) as world:
        audits = Audits(world)
        settle, settlings = world.loopback.settle, 0

        async def audit_and_settle() -> None:
            """Before it something has been said and not been heard: however fast the machine is, these audits find a system that moves."""
            nonlocal settlings
            settlings += 1
            if settlings % SETTLINGS_PER_AUDIT == 0:
                await audits.take()
            await settle()

        monkeypatch.setattr(world.loopback, "settle", audit_and_settle)
        day = asyncio.create_task(world.live_a_day())
        while not day.done():
            await audits.take()
            # The day shall get on meanwhile: an audit takes as long as several of its steps.
            await asyncio.wait([day], timeout=0.3)
        await day
        monkeypatch.undo()
        assert audits.wrong == []
        assert audits.taken > settlings // SETTLINGS_PER_AUDIT, "some while the day went on"
        assert audits.moving > 0, "every audit was taken at rest, so this has shown nothing"
        settled = await audit_until_settled(world.url, wait_seconds=30)
        assert (settled.violation_count, settled.under_way) == (0, 0)

"""A system of each fault test's own: what is killed here disturbs nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from deploy.local.lifecycle import running
from deploy.local.processes import Processes
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from tests.conftest import until_folder_ends
from tests.system import DALLAS, NEWARK, RENO, System


@pytest.fixture(scope="session")
def breakable_processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stack, Processes]:
    """Everything started once for all fault tests."""
    stack = Stack(tmp_path_factory.mktemp("faults"), progress=Progress())
    return stack, until_folder_ends("faults").enter_context(running(stack))


@pytest.fixture
async def breakable(breakable_processes: tuple[Stack, Processes]) -> AsyncIterator[System]:
    """The system with quick 3PLs and three locations."""
    stack, processes = breakable_processes
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        system = System(stack, processes, http)
        for location in (RENO, NEWARK, DALLAS):
            await system.ask("POST", "/api/locations", location)
        await system.behave()
        yield system

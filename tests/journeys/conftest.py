"""One running system for all journeys: real processes on a private Postgres and RabbitMQ."""

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
def running_processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stack, Processes]:
    """Everything started once for all journeys, on servers of its own. Edits that cost more wait for their money."""
    stack = Stack(tmp_path_factory.mktemp("journeys"), progress=Progress())
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ORDERMESH_PAYMENT_SECONDS", "600")
        return stack, until_folder_ends("journeys").enter_context(running(stack))


@pytest.fixture(scope="session")
async def whole_system(running_processes: tuple[Stack, Processes]) -> AsyncIterator[System]:
    """The system with three locations of two 3PLs."""
    stack, processes = running_processes
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        system = System(stack, processes, http)
        for location in (RENO, NEWARK, DALLAS):
            await system.ask("POST", "/api/locations", location)
        yield system


@pytest.fixture
async def system(whole_system: System) -> AsyncIterator[System]:
    """The system with quick and honest 3PLs; after every journey the books must balance."""
    await whole_system.behave()
    yield whole_system
    await whole_system.behave()
    for code in ("webshop", "marketplace"):
        await whole_system.simulator("channels", "POST", f"/{code}/behaviour", {})
    await whole_system.audit()

"""Plays cases against one running system, several at a time: no two share a SKU, so they do not disturb one another."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp

import tests.cases.expectations
import tests.cases.givens
import tests.cases.holds_words
import tests.cases.returns_words
import tests.cases.steps  # noqa: F401 - all five teach the interpreter their words
from deploy.local.lifecycle import running
from deploy.local.processes import Processes
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from tests.cases.atlas import write_areas
from tests.cases.interpreter import run_case
from tests.cases.standing import DRAINED
from tests.cases.tables import Case, read_cases
from tests.cases.verdicts import Outcome, Verdict
from tests.cases.world import NEAREST_FIRST, PARTNER, World, register_shared_places
from tests.system import HESITANT, HONEST, QUICK, System

AT_A_TIME = 10
AREAS = "ORDERMESH_POSTAL_AREAS"
SETTINGS = {"ORDERMESH_ROUTING_OBJECTIVE": "closest"}
"""The named policies of the cases: places are asked in the order of their distance."""


@contextmanager
def running_stack() -> Iterator[tuple[Stack, Processes]]:
    """Real processes on a private Postgres and RabbitMQ, under the settings of the cases; nothing of it is left."""
    before = {name: os.environ.get(name) for name in (*SETTINGS, AREAS)}
    with tempfile.TemporaryDirectory(prefix="ordermesh-cases-") as directory:
        areas = Path(directory) / "postal_areas.csv"
        write_areas(areas, read_cases())
        os.environ.update(SETTINGS | {AREAS: str(areas)})
        stack = Stack(Path(directory), progress=Progress(quiet=True))
        try:
            with running(stack) as processes:
                yield stack, processes
        finally:
            stack.discard()
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@asynccontextmanager
async def open_system(stack: Stack, processes: Processes) -> AsyncIterator[System]:
    """The system with the cases' places and a 3PL that waits until a case speaks in its name."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        system = System(stack, processes, http)
        await system.simulator("third_party_logistics", "POST", "/behaviour", {"partner": PARTNER, **QUICK, **HONEST, **HESITANT})
        await register_shared_places(system)
        yield system


async def rank_places(system: System, prefixes: Iterable[str]) -> None:
    """Beside the rules that ship: what begins so is taken from the places in their order."""
    ranking = [f"near-{number}" for number in range(1, 1 + len(NEAREST_FIRST))]
    shipped = await system.api("GET", "/api/routing-rules/0")
    drains = [
        {
            "name": f"places of {prefix} in their order",
            "why": "the case's peer does so",
            "action": "drain",
            "items": f'item.sku.startsWith("{prefix}")',
            "ranking": ranking,
        }
        for prefix in prefixes
    ]
    saved = await system.ask("POST", "/api/routing-rules", {"rules": [*shipped.body["rules"], *drains], "reason": "cases"})
    version = saved["messages"][0]["data"]["version"]
    in_force = shipped.body["in_force"]
    await system.ask("POST", f"/api/routing-rules/{version}/publish", {"expected_version": in_force, "reason": "cases"})


async def run_cases(system: System, cases: Iterable[Case]) -> list[Outcome]:
    """Plays all cases. One that breaks for another reason than a wrong answer has failed, with the reason."""
    gate = asyncio.Semaphore(AT_A_TIME)
    numbered = [(f"{number:04}", case) for number, case in enumerate(cases, start=1)]
    await rank_places(system, [prefix for prefix, case in numbered if case.id in DRAINED])

    async def one(prefix: str, case: Case) -> Outcome:
        async with gate:
            try:
                return await run_case(case, World(system, case, prefix))
            except (AssertionError, LookupError, TimeoutError, OSError, aiohttp.ClientError) as error:
                return Outcome(case, Verdict.FAILED, why=f"{type(error).__name__}: {error}")

    return list(await asyncio.gather(*(one(prefix, case) for prefix, case in numbered)))

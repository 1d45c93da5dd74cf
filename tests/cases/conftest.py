"""All selected cases are played once, side by side, against one running system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.cases.running import open_system, run_cases, running_stack
from tests.cases.tables import Case
from tests.cases.verdicts import Outcome


@dataclass(frozen=True)
class Played:
    """What became of every case, and what the audit of all services found after the last one."""

    outcomes: Mapping[str, Outcome]
    violations: str


@pytest.fixture(scope="session")
async def played(request: pytest.FixtureRequest) -> Played:
    """The outcomes of the cases that the selected tests ask for."""
    parameters = [item.callspec.params for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    cases = {case.id: case for named in parameters if isinstance(case := named.get("case"), Case)}
    with running_stack() as (stack, processes):
        async with open_system(stack, processes) as system:
            outcomes = await run_cases(system, cases.values())
            try:
                await system.audit()
                violations = ""
            except AssertionError as error:
                violations = str(error)
    return Played({outcome.case.id: outcome for outcome in outcomes}, violations)

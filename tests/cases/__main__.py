"""``make cases``: the case tables of other systems against ours. Prints a line per case and a table per peer."""

from __future__ import annotations

import asyncio
import sys

from tests.cases.report import arrived_features, is_red, lines_of, table_of
from tests.cases.running import open_system, run_cases, running_stack
from tests.cases.tables import FOLDER, read_cases, tables_are_there


async def _play(patterns: list[str]) -> int:
    cases = [case for case in read_cases() if not patterns or any(case.id.startswith(pattern) for pattern in patterns)]
    with running_stack() as (stack, processes):
        async with open_system(stack, processes) as system:
            outcomes = await run_cases(system, cases)
            for line in (*lines_of(outcomes), "", *table_of(outcomes)):
                print(line)
            await system.audit()
    print("\nThe audit of all services balances after the last case.")
    for name in arrived_features():
        print(f"{name} is in the contracts now: delete its row in tests/cases/standing.py")
    return 1 if is_red(outcomes) else 0


def main() -> int:
    """Plays all cases, or those whose ids begin with an argument."""
    if not tables_are_there():
        print(f"no case tables: {FOLDER} is not there; nothing was played")
        return 0
    return asyncio.run(_play(sys.argv[1:]))


if __name__ == "__main__":
    raise SystemExit(main())

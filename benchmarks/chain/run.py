"""All measurements of the whole system, one after the other on one running system."""

from __future__ import annotations

from typing import Any

from benchmarks.chain.latency import measure_latencies
from benchmarks.chain.load import connected_load
from benchmarks.chain.sustained import measure_burst, search
from benchmarks.chain.system import running_system
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.sizes import Sizes
from deploy.local.progress import Progress
from deploy.local.stack import Stack

FIRST_SHARE = 0.75
"""Of what a burst drains at: where the search for the sustained rate begins."""


async def measure_chain(stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> dict[str, Any]:
    """The highest sustained rate, the latencies at half of it, and whether the books held.

    Raises:
        BenchmarkError: no rate was sustained, or the audit found something.
    """
    async with running_system(stack, databases, sizes, progress) as system, connected_load(system) as load:
        burst = await measure_burst(system, load)
        trials = await search(system, load, max(5.0, round(burst * FIRST_SHARE / 5) * 5.0))
        sustained = [trial.rate for trial in trials if trial.sustained]
        if not sustained:
            raise BenchmarkError(f"the system sustained none of {', '.join(f'{trial.rate:,.0f}' for trial in trials)} orders/s")
        latencies = await measure_latencies(system, load, max(sustained) / 2)
        with progress.step("audit") as step:
            violations = await system.violations()
            step.result = "the books hold" if violations == 0 else "violations found"
        if violations:
            raise BenchmarkError("the audit found violations, so the figures are worth nothing; its words stand above")
    return {
        "burst_orders_per_second": burst,
        "trials": [trial.as_json() for trial in trials],
        "highest_sustained": max(sustained),
        "latencies": latencies.as_json(),
        "audit_violations": violations,
    }

"""``python -m benchmarks.savings.windows``: what it saves to plan the orders of a window together instead of one after the other.

The declared networks, stocks and orders of the savings table. A window is so many orders that follow each other; at R orders a day, evenly,
fifteen minutes have R / 96 of them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import fmean, stdev
from time import perf_counter
from uuid import UUID

from benchmarks.savings.history import baskets_of_history, drawn_baskets
from benchmarks.savings.policies import Live
from benchmarks.savings.scenario import NETWORKS, TIGHTNESS, Scenario, Shelves
from benchmarks.savings.scenario import draw_scenario as draw
from benchmarks.savings.simulation import Outcome, play
from services.routing.decide.plans import Plan, PlanRequest
from services.routing.decide.replanning import plan_together, savings_of

WINDOWS = (10, 30, 100)
"""Orders in fifteen minutes at about 1,000, 3,000 and 10,000 a day."""
T_OF_FIVE_SEEDS = 2.776
"""Student's t for 95% of five values."""


def play_windows(scenario: Scenario, size: int) -> tuple[Outcome, int]:
    """Ships the period window by window; what it came to, and how many orders got another plan than in their turn."""
    shelves = scenario.shelves()
    outcome, replanned = Outcome(), 0
    for begin in range(0, len(scenario.orders), size):
        requests = {
            UUID(int=begin + turn): _wanted(scenario, begin + turn, shelves) for turn in range(size) if begin + turn < len(scenario.orders)
        }
        plans = plan_together(scenario.planner, requests, shelves)
        replanned += savings_of(plans.values()).orders
        for plan in plans.values():
            _ship(outcome, plan, shelves)
        for order_id, request in requests.items():
            if order_id not in plans:
                _ship(outcome, scenario.planner.plan(replace(request, assignable=shelves)), shelves)
    return outcome, replanned


def _wanted(scenario: Scenario, number: int, shelves: Shelves) -> PlanRequest:
    request = scenario.request(scenario.orders[number], shelves)
    return replace(request, wanted=[entry for entry in request.wanted if any(shelves[entry.sku].values())])


def _ship(outcome: Outcome, plan: Plan, shelves: Shelves) -> None:
    for parcel in plan.parcels:
        for _, sku, units in parcel.units:
            shelves[sku][parcel.location.code] -= units
            assert shelves[sku][parcel.location.code] >= 0, "a unit was taken twice"
            outcome.units += units
    outcome.parcels += sum(parcel.parcels for parcel in plan.parcels)
    outcome.late += plan.late
    outcome.cost_cents += plan.cost_cents


def main() -> None:
    """Prints a table: means over the seeds, with the half width of a 95% interval."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.savings.windows", description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000, help="orders of a period (default 2,000)")
    parser.add_argument("--seeds", type=int, default=5, help="periods (default 5)")
    options = parser.parse_args()
    baskets = baskets_of_history() or drawn_baskets(options.orders * (options.seeds + 1))
    count = min(options.orders, len(baskets.baskets) // (options.seeds + 1))
    print(f"{count:,} orders a period, {options.seeds} periods; {baskets.source}; everything else is declared and simulated\n")
    print("| network | stock | orders in a window | cost less | parcels less | orders re-planned | seconds per 1,000 orders |")
    print("|---|---|---|---|---|---|---|")
    for network in NETWORKS:
        for tightness in TIGHTNESS:
            scenarios = [draw(baskets, network, tightness, seed, count) for seed in range(options.seeds)]
            live = [play(scenario, Live(scenario)) for scenario in scenarios]
            for size in WINDOWS:
                begun = perf_counter()
                found = [play_windows(scenario, size) for scenario in scenarios]
                seconds = (perf_counter() - begun) / options.seeds / count * 1_000
                assert [alone.units for alone in live] == [together.units for together, _ in found], "the same units are shipped"
                cost = [1 - together.cost_cents / alone.cost_cents for alone, (together, _) in zip(live, found, strict=True)]
                parcels = [1 - together.parcels / alone.parcels for alone, (together, _) in zip(live, found, strict=True)]
                half = T_OF_FIVE_SEEDS * stdev(cost) / len(cost) ** 0.5 if len(cost) > 1 else 0.0
                share = fmean(replanned / count for _, replanned in found)
                saved = f"{fmean(cost):.2%} ± {half:.2%} | {fmean(parcels):.2%}"
                print(f"| {network} | {tightness} | {size} | {saved} | {share:.1%} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()

"""Runs everything: every network with every stock and every seed, then the standard instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import fmean
from typing import Any

from benchmarks.savings.clairvoyant import best_in_hindsight
from benchmarks.savings.history import HISTORY, baskets_of_history, drawn_baskets
from benchmarks.savings.policies import BiggestFirst, ByList, EachFromTheNearest, Forward, Live, Nearest, Prices
from benchmarks.savings.scenario import NETWORKS, TIGHTNESS, Scenario, draw_scenario
from benchmarks.savings.simulation import Outcome, Policy, play
from benchmarks.savings.standard import OUTSIDE, draw_instance
from benchmarks.savings.telling import FORWARD, LIVE, NEAREST, SINGLE_PRODUCTS, above
from benchmarks.sizes import Sizes
from deploy.local.progress import Progress

NEAREST_EACH = "each product from the nearest"
"""The myopic rule that the standard instances are published with."""
RENEWALS = 36
"""How often in a period the prices of stock are worked out anew."""


def measure_savings(sizes: Sizes, progress: Progress) -> dict[str, Any]:
    """For the result file: one entry per period; whatever is told of them is worked out from these."""
    baskets = baskets_of_history()
    if baskets is None:
        progress.say(f"  {HISTORY} is not there: orders are drawn instead")
        baskets = drawn_baskets(sizes.savings_orders * (sizes.savings_seeds + 1))
    count = min(sizes.savings_orders, len(baskets.baskets) // (sizes.savings_seeds + 1))
    runs = []
    for network in NETWORKS:
        for tightness in TIGHTNESS:
            with progress.step(f"savings: {network}, {tightness} stock") as step:
                for seed in range(sizes.savings_seeds):
                    scenario = draw_scenario(baskets, network, tightness, seed, count)
                    found = _compare(scenario, _policies(scenario), sizes.savings_solve_seconds)
                    runs.append({"network": network, "stock": tightness, "seed": seed, **found})
                step.result = _told(runs[-sizes.savings_seeds :])
    standard = []
    for instance in range(sizes.standard_instances):
        with progress.step(f"savings: standard instance {instance + 1}") as step:
            for sequence in range(sizes.standard_sequences):
                scenario = draw_instance(instance, sequence, sizes.standard_arrivals)
                each: dict[str, Callable[[], Policy]] = {
                    NEAREST_EACH: partial(EachFromTheNearest, scenario, OUTSIDE),
                    NEAREST: partial(Nearest, scenario),
                }
                policies = {**each, **_planners(scenario)}
                found = _compare(scenario, policies, sizes.standard_solve_seconds)
                standard.append({"instance": instance, "sequence": sequence, **found})
            step.result = _told(standard[-sizes.standard_sequences :])
    return {"source": baskets.source, "orders": count, "runs": runs, "arrivals": sizes.standard_arrivals, "standard": standard}


def _planners(scenario: Scenario) -> dict[str, Callable[[], Policy]]:
    every = max(1, len(scenario.orders) // RENEWALS)
    return {
        LIVE: partial(Live, scenario),
        FORWARD: lambda: Forward(scenario, Prices(scenario), every),
        SINGLE_PRODUCTS: lambda: Forward(scenario, Prices(scenario, alone=True), every),
    }


def _policies(scenario: Scenario) -> dict[str, Callable[[], Policy]]:
    by_hand = {name: partial(ByList, scenario, codes) for name, codes in scenario.lists.items()}
    return {**by_hand, "biggest first": partial(BiggestFirst, scenario), NEAREST: partial(Nearest, scenario), **_planners(scenario)}


def _compare(scenario: Scenario, policies: Mapping[str, Callable[[], Policy]], solve_seconds: float) -> dict[str, Any]:
    outcomes: dict[str, Outcome] = {name: play(scenario, policy()) for name, policy in policies.items()}
    best = best_in_hindsight(scenario, list(outcomes.values()), most_seconds=solve_seconds)
    return {
        "policies": {name: outcome.as_json() for name, outcome in outcomes.items()},
        "clairvoyant": {
            "cost_cents": round(best.cost_cents),
            "bound_cents": round(best.bound_cents, 1),
            "parcels": best.parcels,
            "seconds": round(best.seconds, 1),
        },
    }


def _told(runs: list[dict[str, Any]]) -> str:
    far = ", ".join(f"{name} {fmean(above(run, name) for run in runs):.1%}" for name in (LIVE, FORWARD, SINGLE_PRODUCTS))
    return f"{far} above the best in hindsight"

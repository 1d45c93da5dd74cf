"""The savings report as tables: means over seeds with what they may be off by, each saving against a named baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple

from benchmarks.markdown import table

Runs = Sequence[Mapping[str, Any]]
Found = Mapping[str, Any]

LIVE, FORWARD, NEAREST = "live", "forward-looking", "nearest"
SINGLE_PRODUCTS = "by prices of single products"
LOOKING_FORWARD = (FORWARD, SINGLE_PRODUCTS)
BY_HAND = ("by hand, home first", "by hand, central first")
BASELINES = (*BY_HAND, "biggest first", NEAREST)

SAVED = 0.12
"""Against a baseline by hand: the lower end of what the project's document claims."""
GAP_CLOSED = 0.36
"""Of the gap between the best myopic rule and the best in hindsight. Source: Acimovic and Graves (2015), on a retailer's data."""

STUDENT_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045),
)
"""Two-sided 95% quantiles of Student's t with 1, 2, 3 ... degrees of freedom."""


class Interval(NamedTuple):
    """A mean, and half the width of its 95% confidence interval; nothing is known of the width from one value."""

    mean: float
    half: float | None

    def percent(self, digits: int = 1) -> str:
        """For a table."""
        half = "" if self.half is None else f" ± {100 * self.half:.{digits}f}"
        return f"{100 * self.mean:.{digits}f}%{half}"


def interval(values: Sequence[float]) -> Interval:
    """Student's t over independent values."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    quantile = STUDENT_95[min(len(values) - 1, len(STUDENT_95)) - 1]
    return Interval(fmean(values), quantile * stdev(values) / sqrt(len(values)))


def saved(run: Mapping[str, Any], ours: str, baseline: str) -> float:
    """What a policy costs less than a baseline in one period, as a share of the baseline."""
    return 1 - float(run["policies"][ours]["cost_cents"]) / float(run["policies"][baseline]["cost_cents"])


def above(run: Mapping[str, Any], ours: str) -> float:
    """What a policy costs more than the best that was found in hindsight, as a share of that."""
    return float(run["policies"][ours]["cost_cents"]) / float(run["clairvoyant"]["cost_cents"]) - 1


def unproven(run: Mapping[str, Any]) -> float:
    """By how much the best in hindsight might be cheaper than what was found."""
    return float(run["clairvoyant"]["cost_cents"]) / float(run["clairvoyant"]["bound_cents"]) - 1


def best_myopic(runs: Runs) -> str:
    """The rule without a thought of later that costs least over all these periods."""
    names: list[str] = [name for name in runs[0]["policies"] if name not in LOOKING_FORWARD]
    return min(names, key=lambda name: _cents(runs, name))


def closed(runs: Runs, forward: str, myopic: str) -> float:
    """The share of the distance between a myopic rule and the best in hindsight that looking forward closes, over several periods."""
    least = sum(float(run["clairvoyant"]["cost_cents"]) for run in runs)
    distance = _cents(runs, myopic) - least
    return (_cents(runs, myopic) - _cents(runs, forward)) / distance if distance else 0.0


def _cents(runs: Runs, name: str) -> float:
    return sum(float(run["policies"][name]["cost_cents"]) for run in runs)


def _cells(found: Found) -> Iterator[tuple[str, Runs]]:
    """The periods of each network and stock, one per seed."""
    cells: dict[str, list[Mapping[str, Any]]] = {}
    for run in found["runs"]:
        cells.setdefault(f"{run['network']}, {run['stock']} stock", []).append(run)
    yield from cells.items()


def _by(runs: Runs, key: str) -> list[Runs]:
    """The periods with the same seed, or of the same instance: only these are independent of each other."""
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run[key], []).append(run)
    return list(groups.values())


def over_all(runs: Runs, key: str, figure: Callable[[Mapping[str, Any]], float]) -> Interval:
    """The mean of a figure over all periods, with its interval from what seeds (or instances) differ by."""
    return interval([fmean(figure(run) for run in group) for group in _by(runs, key)])


def closed_over_all(runs: Runs, key: str, forward: str, myopic: str) -> Interval:
    """The same of the share that is closed."""
    return interval([closed(group, forward, myopic) for group in _by(runs, key)])


def targets_table(found: Found) -> str:
    """What was aimed at."""
    rows = []
    for ours in (LIVE, FORWARD):
        for name in BY_HAND:
            share = over_all(found["runs"], "seed", partial(saved, ours=ours, baseline=name))
            rows.append([f"{ours}: saved against {name}", share.percent(), *_aim(share, SAVED)])
    for words, runs, key in (("declared networks", found["runs"], "seed"), ("standard instances", found["standard"], "instance")):
        for forward in LOOKING_FORWARD:
            share = closed_over_all(runs, key, forward, best_myopic(runs))
            what = f"{forward}: gap from {best_myopic(runs)} to the best in hindsight closed, {words}"
            rows.append([what, share.percent(), *_aim(share, GAP_CLOSED)])
    return table(["what", "measured", "target", ""], rows)


def _aim(share: Interval, target: float) -> tuple[str, str]:
    met = "met" if share.mean >= target else f"missed by {100 * (target - share.mean):.1f} points"
    return f"at least {target:.0%}", met


def savings_table(found: Found) -> str:
    """What the live planner saves against each baseline, and what looking forward adds."""
    more = [f"{forward} saves of the rest" for forward in LOOKING_FORWARD]
    rows = [[name, *_savings(runs)] for name, runs in (*_cells(found), ("all", found["runs"]))]
    return table(["saved by the live planner against", *BASELINES, *more], rows)


def _savings(runs: Runs) -> Iterator[str]:
    for baseline in BASELINES:
        yield over_all(runs, "seed", partial(saved, ours=LIVE, baseline=baseline)).percent()
    for forward in LOOKING_FORWARD:
        yield over_all(runs, "seed", partial(saved, ours=forward, baseline=LIVE)).percent()


def gap_table(found: Found) -> str:
    """How far from the best in hindsight, and how sure that is."""
    return _gaps(found["runs"], "seed", (*_cells(found), ("all", found["runs"])))


def _gaps(runs: Runs, key: str, parts: Iterable[tuple[str, Runs]]) -> str:
    names, myopic = tuple(runs[0]["policies"]), best_myopic(runs)
    closes = [f"{forward} closes" for forward in LOOKING_FORWARD]
    rows = []
    for name, part in parts:
        shares = [f"{100 * fmean(above(run, policy) for run in part):.1f}%" for policy in names]
        shares += [closed_over_all(part, key, forward, myopic).percent(0) for forward in LOOKING_FORWARD]
        rows.append([name, *shares, f"{100 * max(unproven(run) for run in part):.2f}%"])
    return table(["above the best in hindsight", *names, *closes, "not proven"], rows)


def costs_table(found: Found) -> str:
    """Cost per order by every policy."""
    names = tuple(found["runs"][0]["policies"])
    rows = []
    for cell, runs in _cells(found):
        orders = sum(run["policies"][LIVE]["orders"] for run in runs)
        costs = (*(_cents(runs, name) for name in names), sum(run["clairvoyant"]["cost_cents"] for run in runs))
        rows.append([cell, *(f"{cost / orders / 100:.2f}" for cost in costs)])
    return table(["cost of an order", *names, "best in hindsight"], rows)


def parcels_table(found: Found) -> str:
    """Parcels per order by every policy, late orders of all of them, and what could not be shipped at all."""
    names = tuple(found["runs"][0]["policies"])
    rows = []
    for cell, runs in _cells(found):
        orders = sum(run["policies"][LIVE]["orders"] for run in runs)
        parcels = [sum(run["policies"][name]["parcels"] for run in runs) for name in names]
        best = sum(run["clairvoyant"]["parcels"] for run in runs)
        late = max(sum(run["policies"][name]["late"] for run in runs) for name in names)
        wanted = sum(run["policies"][LIVE]["units"] + run["policies"][LIVE]["unplaced_units"] for run in runs)
        missing = sum(run["policies"][LIVE]["unplaced_units"] for run in runs)
        shares = (f"{count / orders:.2f}" for count in (*parcels, best))
        rows.append([cell, *shares, f"{late / orders:.1%}", f"{missing / wanted:.1%}"])
    return table(["parcels per order", *names, "best in hindsight", "late at most", "sold out"], rows)


def standard_table(found: Found) -> str:
    """The standard instances: how far every policy is from the best in hindsight."""
    runs: Runs = found["standard"]
    groups = _by(runs, "instance")
    parts = [(f"{len(groups)} instances, {len(runs)} sequences of {found['arrivals']:,} arrivals", runs)]
    return _gaps(runs, "instance", parts)

"""The planner's question as a mixed-integer programme, for HiGHS: what every plan is measured against, by tests and by the benchmark.

It shares no idea with the planner: one binary per place and pound that its parcel may weigh, one whole number per place and item. Places
that may not ship, or not in time, are left out by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from math import ceil, floor

import highspy
import numpy as np

from benchmarks.failure import BenchmarkError

MICROGRAMS_PER_POUND = 453_592_370


@dataclass(frozen=True, slots=True)
class Offer:
    """What so many pounds cost in cents, the parcel's handling included; None where they are not carried.

    ``cubic_centimetres_per_pound``: volumes beyond ``above`` are billed as so many pounds each where that comes to more than the weight.
    """

    cents: Callable[[int], int | None]
    cubic_centimetres_per_pound: Fraction | None = None
    above: int = 0

    def billed_pounds(self, grams: int, cubic_centimetres: int) -> int:
        """What a parcel is billed as."""
        by_volume = 0
        if self.cubic_centimetres_per_pound is not None and cubic_centimetres > self.above:
            by_volume = ceil(cubic_centimetres / self.cubic_centimetres_per_pound)
        return max(_pounds(grams), by_volume)


@dataclass(frozen=True, slots=True)
class Place:
    """A place that may ship: units of each item there, and who carries from there.

    ``unit_cents`` is what a unit of each item there counts beside that; nothing where none is given.
    """

    stock: Sequence[int]
    offers: Sequence[Offer]
    unit_cents: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be shipped. ``divisible`` says of each item whether several places may share it; the others go as one."""

    places: Sequence[Place]
    units: Sequence[int]
    unit_grams: Sequence[int]
    divisible: Sequence[bool]
    pick_cents: int = 0
    """For every item in every parcel."""
    split_cents: int = 0
    """For every parcel beyond the first."""
    unit_volumes: Sequence[int] = ()
    """Cubic centimetres; nothing where no offer bills them."""


@dataclass(slots=True)
class _Programme:
    """Columns and rows as HiGHS takes them."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def column(self, cost: float, upper: float) -> int:
        self.cost.append(cost)
        self.upper.append(upper)
        return len(self.cost) - 1

    def row(self, lower: float, upper: float, entries: Sequence[tuple[int, float]]) -> None:
        self.row_lower.append(lower)
        self.row_upper.append(upper)
        self.starts.append(len(self.index))
        self.index.extend(column for column, _ in entries)
        self.value.extend(value for _, value in entries)


def least_cents(question: Question, *, most_seconds: float = 60.0) -> int | None:
    """The cost of the best plan, proven by HiGHS; None when there is no plan.

    Raises:
        BenchmarkError: HiGHS did not prove an optimum within ``most_seconds``.
    """
    return _solved(_programme(question), question, most_seconds)


def least_cents_of_listed(question: Question, *, most_seconds: float = 60.0) -> int | None:
    """The same where no item may be divided, put in another way: one binary for every parcel that a place could send.

    As many as an order has sets of items, at every place; but there are orders that HiGHS solves at once in this form and not in the other.

    Raises:
        BenchmarkError: HiGHS did not prove an optimum within ``most_seconds``.
    """
    assert not any(question.divisible), "parcels with parts of items are not listed"
    return _solved(_listed(question), question, most_seconds)


def _solved(programme: _Programme | None, question: Question, most_seconds: float) -> int | None:
    if programme is None:
        return None
    solver = highspy.Highs()  # type: ignore[no-untyped-call]  # its stubs leave the return type out
    for option, setting in (
        ("output_flag", False),
        ("threads", 1),
        ("time_limit", most_seconds),
        ("mip_rel_gap", 0.0),
        ("mip_abs_gap", 0.5),  # costs are whole cents
        ("mip_feasibility_tolerance", 1e-7),
    ):
        solver.setOptionValue(option, setting)
    solver.passModel(_as_model(programme))
    solver.run()
    status = solver.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    if status != highspy.HighsModelStatus.kOptimal:
        raise BenchmarkError(f"HiGHS proved nothing in {most_seconds:.0f} s: {solver.modelStatusToString(status)}")
    return round(solver.getInfo().objective_function_value) - question.split_cents


def _listed(question: Question) -> _Programme | None:
    programme = _Programme()
    volumes = question.unit_volumes or [0] * len(question.units)
    carried: list[list[tuple[int, float]]] = [[] for _ in question.units]
    for place in question.places:
        whole = [item for item, wanted in enumerate(question.units) if place.stock[item] >= wanted]
        own: list[tuple[int, float]] = []
        for count in range(1, len(whole) + 1):
            for items in combinations(whole, count):
                grams = sum(question.units[item] * question.unit_grams[item] for item in items)
                volume = sum(question.units[item] * volumes[item] for item in items)
                carriers = [cents for offer in place.offers if (cents := offer.cents(offer.billed_pounds(grams, volume))) is not None]
                if carriers:
                    more = sum(question.units[item] * place.unit_cents[item] for item in items) if place.unit_cents else 0
                    cost = min(carriers) + question.pick_cents * count + question.split_cents + more
                    column = programme.column(cost, 1)
                    own.append((column, 1))
                    for item in items:
                        carried[item].append((column, 1))
        if own:
            programme.row(-np.inf, 1, own)
    for entries in carried:
        if not entries:
            return None
        programme.row(1, 1, entries)
    return programme


def _programme(question: Question) -> _Programme | None:
    programme = _Programme()
    supply: list[list[tuple[int, float]]] = [[] for _ in question.units]
    for place in question.places:
        load: list[tuple[int, float]] = []
        bulk: list[tuple[int, float]] = []
        volumes = question.unit_volumes or [0] * len(question.units)
        for item, (wanted, grams, volume) in enumerate(zip(question.units, question.unit_grams, volumes, strict=True)):
            most = min(place.stock[item], wanted)
            each = place.unit_cents[item] if place.unit_cents else 0
            if question.divisible[item] and most:
                taken = programme.column(each, most)
                picked = programme.column(question.pick_cents, 1)
                programme.row(-np.inf, 0, [(taken, 1), (picked, -most)])
                supply[item].append((taken, 1))
                load.append((taken, grams))
                bulk.append((taken, volume))
            elif most == wanted:
                taken = programme.column(question.pick_cents + each * wanted, 1)
                supply[item].append((taken, wanted))
                load.append((taken, wanted * grams))
                bulk.append((taken, wanted * volume))
        if load:
            steps = [
                (programme.column(cents + question.split_cents, 1), step)
                for step in _steps(question, place)
                if (cents := step.offer.cents(step.pounds)) is not None
            ]
            programme.row(-np.inf, 1, [(column, 1) for column, _ in steps])
            programme.row(-np.inf, 0, load + [(column, -step.most_grams) for column, step in steps])
            # A heavier parcel that costs less may not be paid for a lighter one.
            programme.row(0, np.inf, load + [(column, -step.least_grams) for column, step in steps])
            if question.unit_volumes:
                programme.row(-np.inf, 0, bulk + [(column, -step.most_volume) for column, step in steps])
                programme.row(0, np.inf, bulk + [(column, -step.least_volume) for column, step in steps])
    for wanted, entries in zip(question.units, supply, strict=True):
        if not entries:
            return None
        programme.row(wanted, wanted, entries)
    return programme


@dataclass(frozen=True, slots=True)
class _Step:
    """One price of an offer, and between which weights and volumes it is paid."""

    offer: Offer
    pounds: int
    least_grams: int
    most_grams: int
    least_volume: int
    most_volume: int


def _steps(question: Question, place: Place) -> Iterator[_Step]:
    """Every way to be billed: by the weight, with a volume that comes to no more, or by the volume, with a weight that comes to less."""
    by_weight = _reachable_pounds(question, place)
    whole = sum(
        min(stock, wanted) * volume for stock, wanted, volume in zip(place.stock, question.units, question.unit_volumes, strict=False)
    )
    for offer in place.offers:
        each = offer.cubic_centimetres_per_pound
        for pounds in by_weight:
            most = whole if each is None else max(floor(pounds * each), offer.above)
            yield _Step(offer, pounds, _most_grams(pounds - 1) + 1, _most_grams(pounds), 0, most)
        if each is None:
            continue
        for pounds in range(2, ceil(whole / each) + 1):
            least, most = max(floor((pounds - 1) * each), offer.above) + 1, floor(pounds * each)
            if least <= most:
                yield _Step(offer, pounds, 0, _most_grams(pounds - 1), least, most)


def _most_grams(pounds: int) -> int:
    """The heaviest that is billed as so many pounds."""
    return pounds * MICROGRAMS_PER_POUND // 1_000_000


def _pounds(grams: int) -> int:
    return max(1, -(-grams * 1_000_000 // MICROGRAMS_PER_POUND))


def _reachable_pounds(question: Question, place: Place) -> list[int]:
    """What a parcel from there may weigh; every pound, once items may be divided or are many."""
    weights = [
        wanted * grams for wanted, grams, stock in zip(question.units, question.unit_grams, place.stock, strict=True) if stock >= wanted
    ]
    if not any(question.divisible) and len(weights) <= 12:
        sums = {0}
        for weight in weights:
            sums |= {before + weight for before in sums}
        return sorted({_pounds(grams) for grams in sums if grams})
    most = sum(min(stock, wanted) * grams for stock, wanted, grams in zip(place.stock, question.units, question.unit_grams, strict=True))
    return list(range(1, _pounds(most) + 1))


def _as_model(programme: _Programme) -> highspy.HighsLp:
    model = highspy.HighsLp()
    model.num_col_ = len(programme.cost)
    model.num_row_ = len(programme.row_lower)
    model.col_cost_ = np.array(programme.cost, dtype=float)
    model.col_lower_ = np.zeros(len(programme.cost))
    model.col_upper_ = np.array(programme.upper, dtype=float)
    model.row_lower_ = np.array(programme.row_lower, dtype=float)
    model.row_upper_ = np.array(programme.row_upper, dtype=float)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = np.array([*programme.starts, len(programme.index)], dtype=np.int32)
    model.a_matrix_.index_ = np.array(programme.index, dtype=np.int32)
    model.a_matrix_.value_ = np.array(programme.value, dtype=float)
    model.integrality_ = [highspy.HighsVarType.kInteger] * len(programme.cost)
    return model

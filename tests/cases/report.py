"""The outcomes as text: a line per case and a table per peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from shared.contracts.registry import MESSAGES
from tests.cases.standing import COMING
from tests.cases.verdicts import Outcome, Verdict

RED = (Verdict.FAILED, Verdict.NOT_TRANSLATED)


def lines_of(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """One line per case: what it is about, the verdict, our answer and why."""
    for outcome in outcomes:
        case = outcome.case
        yield f"{case.id}  {case.fit:<8}  {outcome.verdict.value:<14}  {case.area}: {case.test}"
        if outcome.measured:
            yield f"{'':9}ours: {outcome.measured}"
        if outcome.why:
            yield f"{'':9}{'why' if outcome.verdict is not Verdict.WAITING else 'waits for'}: {outcome.why}"


def table_of(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Verdicts per peer and kind of case."""
    head = ["peer", "fit", *(verdict.value for verdict in Verdict), "all"]
    rows = []
    for peer, fit in sorted({(outcome.case.peer, outcome.case.fit) for outcome in outcomes}):
        own = [outcome.verdict for outcome in outcomes if (outcome.case.peer, outcome.case.fit) == (peer, fit)]
        counted = Counter(own)
        rows.append([peer, fit, *(str(counted[verdict]) for verdict in Verdict), str(len(own))])
    total = Counter(outcome.verdict for outcome in outcomes)
    rows.append(["all", "", *(str(total[verdict]) for verdict in Verdict), str(len(outcomes))])
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def arrived_features() -> list[str]:
    """Rows of ``COMING`` whose feature has come: they can be deleted."""
    return [name for name, coming in COMING.items() if coming.announced_by in MESSAGES]


def is_red(outcomes: Sequence[Outcome]) -> bool:
    """Whether somebody has to look."""
    return any(outcome.verdict in RED for outcome in outcomes)

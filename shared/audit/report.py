"""What the auditor found: one line per check, each violation with its subject and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

VIOLATIONS_PRINTED = 20
VIOLATIONS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong: what it is about, and the figures that disagree."""

    subject: str
    detail: str


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Args:
        id: which rule of the programme (I1 to I15) and what of it.
        service: whose books, or several names joined by ``+``.
        title: the rule in words.
        violations: at most ``VIOLATIONS_KEPT`` of them.
        violation_count: how many there are.
        counts: what was looked at, and what was left out because it is under way.
    """

    id: str
    service: str
    title: str
    violations: Sequence[Violation] = ()
    violation_count: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return self.violation_count == 0


def check_of(id: str, service: str, title: str, violations: Sequence[Violation], counts: Mapping[str, int] | None = None) -> Check:
    """A check with as many of its violations as are worth keeping."""
    return Check(id, service, title, tuple(violations[:VIOLATIONS_KEPT]), len(violations), counts or {})


@dataclass(frozen=True)
class Report:
    """One audit. ``under_way`` counts messages that were unsent, waiting for a retry or on their way when the snapshot was taken."""

    taken_at: datetime
    seconds: float
    checks: Sequence[Check]
    under_way: int

    @property
    def violation_count(self) -> int:
        """All violations."""
        return sum(check.violation_count for check in self.checks)

    def violated(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.checks if not check.holds]

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "taken_at": self.taken_at.isoformat(),
            "seconds": round(self.seconds, 3),
            "under_way": self.under_way,
            "violations": self.violation_count,
            "checks": [
                {
                    "id": check.id,
                    "service": check.service,
                    "title": check.title,
                    "violation_count": check.violation_count,
                    "counts": dict(check.counts),
                    "violations": [{"subject": item.subject, "detail": item.detail} for item in check.violations],
                }
                for check in self.checks
            ],
        }

    def lines(self) -> Iterator[str]:
        """The report for people: a line per check, then what is wrong with it."""
        widest_id = max((len(check.id) for check in self.checks), default=0)
        widest_service = max((len(check.service) for check in self.checks), default=0)
        for check in self.checks:
            counts = ", ".join(f"{value} {name}" for name, value in check.counts.items())
            verdict = "ok      " if check.holds else "VIOLATED"
            line = f"{verdict}  {check.service:<{widest_service}}  {check.id:<{widest_id}}  {check.title}"
            yield f"{line} ({counts})" if counts else line
            for violation in check.violations[:VIOLATIONS_PRINTED]:
                yield f"          {check.service} {check.id}: {violation.subject}: {violation.detail}"
            if check.violation_count > VIOLATIONS_PRINTED:
                yield f"          ... and {check.violation_count - VIOLATIONS_PRINTED} more"
        yield (
            f"{len(self.checks)} checks, {self.violation_count} violations, {self.under_way} messages under way, "
            f"{self.seconds:.1f} s, snapshot of {self.taken_at:%Y-%m-%d %H:%M:%S %Z}"
        )

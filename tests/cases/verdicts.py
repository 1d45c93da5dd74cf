"""What became of a case."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.cases.standing import Feature
from tests.cases.tables import Case


class Verdict(Enum):
    """What a case says about our system."""

    PASSED = "pass"
    FAILED = "fail"
    CONTRAST = "contrast"
    """Our answer was measured; it differs from the peer's on purpose."""
    WAITING = "waiting"
    """A feature is still to come; the row of ``standing.COMING`` names it."""
    NOT_APPLICABLE = "not applicable"
    """It speaks of something that no feature of ours has."""
    NOT_TRANSLATED = "not translated"
    """The interpreter does not know one of its words."""


@dataclass(frozen=True)
class Outcome:
    """A case with its verdict, what was measured, and why."""

    case: Case
    verdict: Verdict
    measured: str = ""
    why: str = ""


class NotTranslated(Exception):
    """The case uses a word, or a value of a word, that the interpreter does not know."""


class WaitsFor(Exception):
    """The case needs a feature that is still to come."""

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        self.feature: Feature = feature


class NotOurs(Exception):
    """The case speaks of something that no feature of ours has."""

    def __init__(self, notion: str) -> None:
        super().__init__(notion)
        self.notion = notion


class Differs(Exception):
    """The system's answer is not what the case expects."""

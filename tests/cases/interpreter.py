"""A small interpreter: a case is a list of words (the names in its given, when and expect), each word a step against the running system."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cases.standing import COMING, CONTRASTS, NOT_OURS
from tests.cases.tables import Case
from tests.cases.verdicts import Differs, NotOurs, NotTranslated, Outcome, Verdict, WaitsFor
from tests.cases.world import World

Step = Callable[..., Awaitable[None]]
"""``(world, value, *groups of the word's pattern)``"""


@dataclass(frozen=True)
class _Word:
    pattern: re.Pattern[str]
    areas: tuple[str, ...]
    step: Step


class Vocabulary:
    """The words of one part of a case. A word of certain areas goes before the same word of all areas."""

    def __init__(self, part: str) -> None:
        self.part = part
        self._words: list[_Word] = []

    def word(self, pattern: str, *, areas: Sequence[str] = ()) -> Callable[[Step], Step]:
        """Teaches a word: a regular expression over the whole name, and the areas (beginnings of their names) in which it means this."""

        def teach(step: Step) -> Step:
            self._words.append(_Word(re.compile(pattern), tuple(areas), step))
            return step

        return teach

    def find(self, name: str, area: str) -> tuple[Step, tuple[str, ...]] | None:
        """The step of a word and the variable parts of its name; None when it is unknown."""
        matches = [(word, match) for word in self._words if (match := word.pattern.fullmatch(name))]
        special = [(word, match) for word, match in matches if any(area.startswith(start) for start in word.areas)]
        general = [(word, match) for word, match in matches if not word.areas]
        for word, match in special or general:
            return word.step, match.groups()
        return None


GIVEN, WHEN, EXPECT = Vocabulary("given"), Vocabulary("when"), Vocabulary("expect")


def unknown_words(case: Case) -> list[str]:
    """The words of a case that the interpreter has not learnt."""
    parts = ((GIVEN, case.given), (WHEN, case.when), (EXPECT, case.expect))
    return [f"{vocabulary.part}: {name}" for vocabulary, words in parts for name in words if vocabulary.find(name, case.area) is None]


async def run_case(case: Case, world: World) -> Outcome:
    """Plays one case against the system. What goes wrong otherwise than by a wrong answer is the caller's to tell."""
    unknown = unknown_words(case)
    if unknown:
        return Outcome(case, Verdict.NOT_TRANSLATED, why=f"unknown words: {', '.join(unknown)}")
    try:
        await _play(case, world)
    except NotTranslated as error:
        return Outcome(case, Verdict.NOT_TRANSLATED, why=str(error))
    except WaitsFor as error:
        coming = COMING[error.feature]
        return Outcome(case, Verdict.WAITING, world.told, f"{coming.feature}: {coming.what}")
    except NotOurs as error:
        return Outcome(case, Verdict.NOT_APPLICABLE, world.told, NOT_OURS[error.notion])
    except Differs as error:
        coming_later = next((coming for coming in COMING.values() if case.id in coming.cases), None)
        if coming_later is not None:
            return Outcome(case, Verdict.WAITING, str(error), f"{coming_later.feature}: {coming_later.what}")
        if case.id in CONTRASTS and case.fit != "contrast":
            return Outcome(case, Verdict.CONTRAST, str(error), CONTRASTS[case.id])
        return Outcome(case, Verdict.FAILED, world.told, str(error))
    if case.fit == "contrast":
        return Outcome(case, Verdict.CONTRAST, world.told, CONTRASTS.get(case.id, case.note))
    return Outcome(case, Verdict.PASSED, world.told)


async def _play(case: Case, world: World) -> None:
    for vocabulary, words in ((GIVEN, case.given), (WHEN, case.when), (EXPECT, case.expect)):
        for name, value in words.items():
            found = vocabulary.find(name, case.area)
            assert found is not None
            step, groups = found
            await _take(step, world, name, value, groups)
        if vocabulary is GIVEN:
            await world.open()


async def _take(step: Step, world: World, name: str, value: Any, groups: tuple[str, ...]) -> None:
    try:
        await step(world, value, *groups)
    except ValueError as error:
        raise NotTranslated(f"{name}: {value!r}: {error}") from error

"""The case tables of other systems, each case through the operators' API and the partners' messages of a running system.

``make cases`` plays the same and prints our answers. Without the folder of real inputs beside the project nothing is played.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cases.conftest import Played
from tests.cases.interpreter import unknown_words
from tests.cases.tables import FOLDER, Case, read_cases, tables_are_there
from tests.cases.verdicts import Verdict

if not tables_are_there():
    pytest.skip(f"no case tables: {FOLDER} is not there", allow_module_level=True)

CASES = read_cases()
BY_ID = {case.id: case for case in CASES}
WRONG = [
    replace(BY_ID["SOL-013"], id="SOL-013-with-a-parcel-too-many", expect={"packages": 3}),
    replace(BY_ID["MSI-013"], id="MSI-013-with-half-a-unit-too-many", expect={"available": 9}),
    replace(BY_ID["MED-015"], id="MED-015-the-other-way-round", expect={"answer": False}),
    replace(BY_ID["MSI-023"], id="MSI-023-the-other-way-round", expect={"accepted": True}),
    replace(BY_ID["MSI-001"], id="MSI-001-from-the-other-place", expect={"take": {"eu-2": {"SKU-1": 7}}}),
]


# First, because what is never said is waited for longest: the others are played meanwhile.
@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
async def test_a_case_that_expects_something_else_fails(played: Played, case: Case) -> None:
    outcome = played.outcomes[case.id]
    assert outcome.verdict is Verdict.FAILED
    assert ", not " in outcome.why, "it failed by the answer, not on the way"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_the_case_of_a_peer_holds_here(played: Played, case: Case) -> None:
    outcome = played.outcomes[case.id]
    if outcome.verdict in (Verdict.WAITING, Verdict.NOT_APPLICABLE):
        pytest.skip(f"{outcome.verdict.value}: {outcome.why}")
    assert outcome.verdict in (Verdict.PASSED, Verdict.CONTRAST), f"{outcome.verdict.value}: {outcome.why} (ours: {outcome.measured})"


async def test_the_books_of_all_services_balance_after_the_last_case(played: Played) -> None:
    assert played.violations == ""


def test_every_case_of_the_tables_is_translated() -> None:
    assert {case.id: words for case in CASES if (words := unknown_words(case))} == {}


def test_only_cases_that_the_tables_call_contrasts_or_policies_may_be_answered_differently() -> None:
    from tests.cases.standing import COMING, CONTRASTS

    assert {BY_ID[case_id].fit for case_id in CONTRASTS} <= {"contrast", "policy"}
    assert {case_id for coming in COMING.values() for case_id in coming.cases} <= set(BY_ID)

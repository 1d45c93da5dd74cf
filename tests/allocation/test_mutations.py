"""Bugs planted on purpose: if the state machine misses one, it proves less than it seems to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

import services
from services.allocation.decide import placing
from tests.allocation.ground import Stage, own_stage
from tests.allocation.mutations import EXAMPLES, MUTATIONS, STEPS, CannotPlant, Mutation, check_all_can_be_planted, load, try_out

SOON_CAUGHT = [mutation for mutation in MUTATIONS if mutation.soon]


@pytest.fixture(scope="module")
def stage(servers: dict[str, str], migrated_template: str) -> Iterator[Stage]:
    """A database of the machine's own."""
    with own_stage(servers["ADMIN_DATABASE_URL"], migrated_template) as own:
        yield own


@pytest.mark.parametrize("mutation", SOON_CAUGHT, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_a_planted_bug_is_caught(stage: Stage, mutation: Mutation) -> None:
    assert try_out(stage, mutation, examples=EXAMPLES, steps=STEPS).sign, "the state machine saw nothing wrong"


def test_every_bug_can_be_planted_in_the_code_as_it_is() -> None:
    check_all_can_be_planted()


@pytest.mark.parametrize("change", [{"before": "no_longer_there"}, {"function": "decide.placing:place_nothing"}, {"times": 2}])
def test_a_bug_that_can_not_be_planted_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(CannotPlant, match="place"):
        load(replace(MUTATIONS[0], **change))  # type: ignore[arg-type]  # each of its own type


def test_planting_a_bug_leaves_the_service_that_everybody_else_imported_alone() -> None:
    planted = load(MUTATIONS[0]).modules["services.allocation.decide.placing"]
    assert planted.place_orders is not placing.place_orders
    assert sys.modules["services.allocation.decide.placing"] is placing
    assert vars(services)["allocation"] is sys.modules["services.allocation"]

"""Bugs planted on purpose: if the state machine misses one, it proves less than it seems to."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

import services
from services.allocation.decide import placing
from tests.allocation.ground import Stage, own_stage
from tests.allocation.mutations import EXAMPLES, MUTATIONS, STEPS, Mutation, is_caught, load


@pytest.fixture(scope="module")
def stage(servers: dict[str, str], migrated_template: str) -> Iterator[Stage]:
    """A database of the machine's own."""
    with own_stage(servers["ADMIN_DATABASE_URL"], migrated_template) as own:
        yield own


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_a_planted_bug_is_caught(stage: Stage, mutation: Mutation) -> None:
    assert is_caught(stage, mutation, examples=EXAMPLES, steps=STEPS), "the state machine saw nothing wrong"


def test_planting_a_bug_leaves_the_service_that_everybody_else_imported_alone() -> None:
    planted = load(MUTATIONS[0]).modules["services.allocation.decide.placing"]
    assert planted.place_orders is not placing.place_orders
    assert sys.modules["services.allocation.decide.placing"] is placing
    assert services.allocation is sys.modules["services.allocation"]

"""Random sequences of every allocation operation, many of them at once, beside the reference model.

``STATE_MACHINE_EXAMPLES=2000 pytest tests/allocation/test_state_machine.py`` plays longer: other stories each time, and hypothesis then
looks for the shortest one that goes wrong. ``STATE_MACHINE_STEPS`` and ``STATE_MACHINE_SEED`` set the rest.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.stock import StockCompensationRequested, StockFindingDismissalRequested
from tests.allocation.ground import Stage, own_stage
from tests.allocation.machine import play
from tests.allocation.model import HEARD, TIMED, Calendar
from tests.allocation.mutations import load

PLAYS_LONGER = "STATE_MACHINE_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "30"))
STEPS = int(os.environ.get("STATE_MACHINE_STEPS", "35"))
SEED = int(os.environ.get("STATE_MACHINE_SEED", str(secrets.randbelow(10**9) if PLAYS_LONGER else 9)))

MENDS_BROKEN_BOOKS = {StockCompensationRequested, StockFindingDismissalRequested}
"""What operators decide about findings: no history of true operations leads to one, tests/allocation/test_auditor.py plants them."""


@pytest.fixture(scope="module")
def stage(servers: dict[str, str], migrated_template: str) -> Iterator[Stage]:
    """A database of the machine's own."""
    with own_stage(servers["ADMIN_DATABASE_URL"], migrated_template) as own:
        yield own


@pytest.mark.timeout(0 if PLAYS_LONGER else 300)
def test_whatever_happens_in_whatever_order_and_at_once_the_books_are_the_models(stage: Stage) -> None:
    ground = stage.ground(load())
    play(ground, examples=EXAMPLES, steps=STEPS, random_seed=SEED, shrink=PLAYS_LONGER)
    played = {item.message for item in ground.loaded.service.consumes} - MENDS_BROKEN_BOOKS
    told = {message.type for message in played} | set(ground.loaded.schedules)
    assert {name for name in told if not ground.done[name]} == set(), "every operation was among what happened"
    assert ground.done["races"] * 10 > ground.done["looks"], "and often several at once"


def test_the_model_knows_every_message_and_every_schedule_that_the_table_of_contents_lists() -> None:
    service = load().service
    assert {item.message for item in service.consumes} == set(HEARD) | MENDS_BROKEN_BOOKS
    only_tidy_up = {"prepare_ledger", "forget_unregistered", "forget_uploads", "find_neglected_queues", "continue_dating", "tell_promises"}
    assert {schedule.run.__name__ for schedule in service.schedules} == {*TIMED, *only_tidy_up, "audit_some"}


def test_the_models_calendar_rests_when_the_location_does() -> None:
    friday = datetime(2035, 3, 9, tzinfo=UTC)
    week = frozenset({1, 2, 3, 4, 5})
    at_three, monday = friday.replace(hour=15).time(), friday + timedelta(days=3, hours=15)
    assert Calendar(at_three, week, frozenset(), 0).leaves_at(friday + timedelta(hours=14)) == friday + timedelta(hours=15)
    assert Calendar(at_three, week, frozenset(), 0).leaves_at(friday + timedelta(hours=15)) == monday
    assert Calendar(at_three, week, frozenset(), 1).leaves_at(friday + timedelta(hours=20)) == monday
    assert Calendar(at_three, week, frozenset({monday.date()}), 0).leaves_at(friday + timedelta(days=1)) == monday + timedelta(days=1)

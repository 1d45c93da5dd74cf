"""The 3PL's rules, without a broker: one command at a time on a clock that the test moves."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentCancelRequested,
    FulfillmentInterceptRequested,
    FulfillmentRequested,
    PickLine,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import Address
from shared.contracts.stock import SupplyLine, ThirdPartyReceipt, ThirdPartyStockSnapshot
from simulators.third_party_logistics.answers import Answer, Delivery, Reaction
from simulators.third_party_logistics.journal import Journal
from simulators.third_party_logistics.settings import Behaviour
from simulators.third_party_logistics.warehouse import Warehouse

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def pick_list(*lines: tuple[str, int], fulfillment_id: UUID | None = None, location: str = "reno-nv") -> FulfillmentRequested:
    """A pick list of these SKUs and quantities."""
    return FulfillmentRequested(
        fulfillment_id=fulfillment_id or new_id(),
        order_number="1001",
        location=location,
        carrier="UPS",
        service="ground",
        service_level="standard",
        ship_to=Address(name="A", line1="1 St", city="Reno", region="NV", postal_code="89506", country="US"),
        lines=[PickLine(line_id=str(number), sku=sku, title=sku, quantity=units) for number, (sku, units) in enumerate(lines, start=1)],
        ship_by=START,
        expires_at=START + timedelta(days=1),
    )


class Day:
    """A warehouse, its clock, and everything it said."""

    def __init__(self, behaviour: Behaviour | None = None, *, seed: int = 1, journal: Journal | None = None) -> None:
        self.warehouse = Warehouse("west", behaviour or Behaviour(), Random(seed), journal)
        self.now = START
        self.said: list[Answer] = []
        self.settled: list[Delivery] = []
        self.journal = journal
        self._tag = 0

    def request(self, command: FulfillmentRequested) -> Reaction:
        self._tag += 1
        return self._note(self.warehouse.take_request(command, "order-1", TRACE, Delivery(1, self._tag), self.now))

    def cancel(self, fulfillment_id: UUID) -> Reaction:
        self._tag += 1
        command = FulfillmentCancelRequested(fulfillment_id=fulfillment_id, reason="changed mind")
        return self._note(self.warehouse.take_cancellation(command, "order-1", TRACE, Delivery(1, self._tag), self.now))

    def intercept(self, fulfillment_id: UUID) -> Reaction:
        self._tag += 1
        command = FulfillmentInterceptRequested(fulfillment_id=fulfillment_id, reason="order cancelled")
        return self._note(self.warehouse.take_interception(command, "order-1", TRACE, Delivery(1, self._tag), self.now))

    def wait(self, seconds: float) -> None:
        """Lets time pass in steps small enough to meet every deadline in order."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=0.05))
            self._note(self.warehouse.due(self.now))

    def types(self) -> list[str]:
        """What was said, in short."""
        return [answer.data.type.removeprefix("3pl.").removesuffix(".v1") for answer in self.said]

    def _note(self, reaction: Reaction) -> Reaction:
        if self.journal is not None:
            self.journal.say(reaction.answers)
        self.said += reaction.answers
        self.settled += reaction.settled + [delivery for answer in reaction.answers for delivery in answer.deliveries]
        return reaction


def test_a_pick_list_becomes_a_delivered_parcel() -> None:
    day = Day()
    command = pick_list(("MUG", 2), ("LAMP", 1))
    day.request(command)
    day.wait(10)
    assert day.types() == ["accepted", "label_printed", "shipped", "delivered"]
    shipped = day.said[2].data
    assert isinstance(shipped, ThirdPartyShipped)
    assert [(line.sku, line.quantity) for line in shipped.lines] == [("MUG", 2), ("LAMP", 1)]
    assert {answer.traceparent for answer in day.said} == {TRACE}
    assert {answer.subject for answer in day.said} == {"order-1"}


def test_the_same_pick_list_twice_is_the_same_work() -> None:
    day = Day()
    command = pick_list(("MUG", 2))
    day.request(command)
    day.request(command)
    day.wait(10)
    assert day.types() == ["accepted", "label_printed", "shipped", "delivered"]
    repeated = day.request(command)
    assert [answer.data for answer in repeated.answers] == [answer.data for answer in day.said[:4]]
    assert {answer.event_id for answer in repeated.answers}.isdisjoint(answer.event_id for answer in day.said[:4])
    assert day.warehouse.shelf.count("reno-nv", "MUG").shipped == 2


def test_a_command_is_settled_by_its_first_answer_and_never_before() -> None:
    day = Day()
    day.request(pick_list(("MUG", 1)))
    assert day.settled == []
    day.wait(0.1)
    assert day.types() == ["accepted"]
    assert day.settled == [Delivery(1, 1)]


def test_stock_moving_messages_of_a_location_are_numbered_without_gaps() -> None:
    day = Day(Behaviour(duplicate_rate=0.5))
    for number in range(40):
        day.request(pick_list(("MUG", 1), location="reno-nv" if number % 2 else "dallas-tx"))
    day._note(day.warehouse.receive("reno-nv", [SupplyLine(sku="MUG", quantity=100)], None, day.now))
    day._note(day.warehouse.adjust("reno-nv", "MUG", -3, "broken", day.now))
    day.wait(10)
    numbers: dict[str, set[int]] = {"reno-nv": set(), "dallas-tx": set()}
    for answer in day.said:
        sequence = getattr(answer.data, "sequence", None)
        if sequence is not None:
            place = getattr(answer.data, "location", None)
            if place is None:
                place = day.warehouse.fulfillments[answer.data.fulfillment_id].location  # type: ignore[attr-defined]  # a shipped message
            numbers[place].add(sequence)
    assert numbers == {"reno-nv": set(range(1, 23)), "dallas-tx": set(range(1, 21))}


def test_before_the_cutoff_a_cancellation_is_accepted_and_nothing_ships() -> None:
    day = Day(Behaviour(accept_delay_seconds=1))
    command = pick_list(("MUG", 1))
    day.request(command)
    day.cancel(command.fulfillment_id)
    day.wait(10)
    assert day.types() == ["cancel_accepted"]
    assert sorted(day.settled) == [Delivery(1, 1), Delivery(1, 2)]


def test_after_the_cutoff_a_cancellation_is_refused_and_the_parcel_goes() -> None:
    day = Day()
    command = pick_list(("MUG", 1))
    day.request(command)
    day.wait(0.1)
    day.cancel(command.fulfillment_id)
    day.wait(10)
    assert day.types() == ["accepted", "cancel_rejected", "label_printed", "shipped", "delivered"]


@pytest.mark.parametrize(
    ("behaviour", "after_seconds", "said"),
    [
        ("succeed", 1, ["accepted", "label_printed", "intercepted", "intercepted"]),
        ("succeed", 30, ["accepted", "label_printed", "shipped", "delivered", "intercept_failed", "intercept_failed"]),
        ("too_late", 1, ["accepted", "label_printed", "intercept_failed", "intercept_failed", "shipped", "delivered"]),
        ("silent", 1, ["accepted", "label_printed", "shipped", "delivered"]),
    ],
)
def test_a_parcel_is_held_back_until_the_truck_and_its_units_go_on_the_shelf_once(
    behaviour: Any, after_seconds: float, said: list[str], tmp_path: Path
) -> None:
    behaviour = Behaviour(interceptions=behaviour, ship_delay_seconds=10, stock="counted")
    day = Day(behaviour, journal=Journal(tmp_path / "west", "3pl.west"))
    day.warehouse.put_on_shelf("reno-nv", [SupplyLine(sku="MUG", quantity=2)])
    command = pick_list(("MUG", 2))
    day.request(command)
    day.wait(after_seconds)
    day.intercept(command.fulfillment_id)
    day.intercept(command.fulfillment_id)
    day.wait(30)
    assert day.types() == said
    assert day.warehouse.shelf.free("reno-nv", "MUG") == (0 if "shipped" in said else 2)
    assert day.journal is not None
    day.journal.flush()
    resumed = Day(behaviour, journal=day.journal)
    day.journal.restore(resumed.warehouse, day.now)
    assert resumed.warehouse.shelf.free("reno-nv", "MUG") == day.warehouse.shelf.free("reno-nv", "MUG")
    assert resumed.warehouse.fulfillments[command.fulfillment_id].status == day.warehouse.fulfillments[command.fulfillment_id].status


def test_a_lenient_3pl_accepts_cancellations_until_the_label() -> None:
    day = Day(Behaviour(cancel_until="labelled", label_delay_seconds=5))
    command = pick_list(("MUG", 1))
    day.request(command)
    day.wait(0.1)
    day.cancel(command.fulfillment_id)
    day.wait(20)
    assert day.types() == ["accepted", "cancel_accepted"]


def test_a_cancellation_that_overtakes_its_pick_list_still_counts() -> None:
    day = Day()
    command = pick_list(("MUG", 1))
    day.cancel(command.fulfillment_id)
    day.request(command)
    day.wait(10)
    assert set(day.types()) == {"cancel_accepted"}
    assert day.warehouse.shelf.count("reno-nv", "MUG").shipped == 0


def test_cancelling_twice_gets_the_same_word_twice() -> None:
    day = Day(Behaviour(accept_delay_seconds=1))
    command = pick_list(("MUG", 1))
    day.request(command)
    day.cancel(command.fulfillment_id)
    day.cancel(command.fulfillment_id)
    assert day.types() == ["cancel_accepted", "cancel_accepted"]


def test_a_silent_3pl_settles_the_command_and_does_nothing() -> None:
    day = Day(Behaviour(silent_rate=1))
    command = pick_list(("MUG", 1))
    day.request(command)
    day.wait(10)
    assert day.said == []
    assert day.settled == [Delivery(1, 1)]
    day.warehouse.behaviour = Behaviour()
    day.request(command)
    day.wait(10)
    assert "shipped" in day.types()


def test_a_full_3pl_rejects_for_lack_of_capacity() -> None:
    day = Day(Behaviour(reject_rate=1))
    day.request(pick_list(("MUG", 1)))
    day.wait(10)
    (answer,) = day.said
    assert isinstance(answer.data, ThirdPartyRejected)
    assert (answer.data.reason, answer.data.missing) == ("capacity", [])


def test_lost_units_are_short_picked_and_the_rest_ships() -> None:
    day = Day(Behaviour(short_pick_rate=1), seed=3)
    day.warehouse.put_on_shelf("reno-nv", [SupplyLine(sku="MUG", quantity=10), SupplyLine(sku="LAMP", quantity=10)])
    day.request(pick_list(("MUG", 3), ("LAMP", 3)))
    day.wait(10)
    missing = next(answer.data for answer in day.said if isinstance(answer.data, ThirdPartyShortPicked)).missing
    shipped = next(answer.data for answer in day.said if isinstance(answer.data, ThirdPartyShipped)).lines
    assert sum(line.quantity for line in missing) + sum(line.quantity for line in shipped) == 6
    on_hand = sum(count.on_hand for count in day.warehouse.shelf.counts.values())
    assert on_hand == 20 - 6


def test_a_counting_3pl_ships_only_what_it_has() -> None:
    day = Day(Behaviour(stock="counted"))
    day.warehouse.put_on_shelf("reno-nv", [SupplyLine(sku="MUG", quantity=5)])
    for _ in range(3):
        day.request(pick_list(("MUG", 2)))
    day.wait(10)
    assert Counter(day.types())["shipped"] == 3
    assert Counter(day.types())["short_picked"] == 1
    day.request(pick_list(("MUG", 1)))
    day.wait(10)
    assert day.types()[-1] == "rejected"
    assert day.warehouse.shelf.count("reno-nv", "MUG").shipped == 5


def test_two_lines_of_the_same_sku_share_the_shelf() -> None:
    day = Day(Behaviour(stock="counted"))
    day.warehouse.put_on_shelf("reno-nv", [SupplyLine(sku="MUG", quantity=3)])
    day.request(pick_list(("MUG", 2), ("MUG", 2)))
    day.wait(10)
    assert day.warehouse.shelf.count("reno-nv", "MUG").shipped == 3


def test_what_ships_beyond_what_ever_came_in_is_counted_as_oversold() -> None:
    day = Day()
    day.warehouse.put_on_shelf("reno-nv", [SupplyLine(sku="MUG", quantity=3)])
    day.request(pick_list(("MUG", 5)))
    day.wait(10)
    assert day.warehouse.shelf.units_oversold() == 2


def test_a_snapshot_counts_what_is_in_the_building_up_to_its_watermark() -> None:
    day = Day(Behaviour(ship_delay_seconds=5))
    day._note(day.warehouse.receive("reno-nv", [SupplyLine(sku="MUG", quantity=10)], None, day.now))
    day.request(pick_list(("MUG", 4)))
    day.wait(1)
    (before,) = day.warehouse.snapshot("reno-nv", day.now).answers
    day.wait(20)
    (after,) = day.warehouse.snapshot("reno-nv", day.now).answers
    assert isinstance(before.data, ThirdPartyStockSnapshot)
    assert isinstance(after.data, ThirdPartyStockSnapshot)
    assert (before.data.watermark, before.data.lines[0].on_hand) == (1, 10)
    assert (after.data.watermark, after.data.lines[0].on_hand) == (2, 6)


def test_the_same_seed_and_commands_give_the_same_day() -> None:
    def play() -> list[str]:
        day = Day(Behaviour(reject_rate=0.2, short_pick_rate=0.2, silent_rate=0.2, duplicate_rate=0.2), seed=7)
        for number in range(60):
            day.request(pick_list(("MUG", 2), fulfillment_id=UUID(int=number)))
        day.wait(20)
        return day.types()

    assert play() == play()


commands = st.lists(
    st.tuples(st.sampled_from(["request", "cancel", "wait"]), st.integers(0, 5), st.sampled_from([0.05, 0.2, 1.0])), max_size=40
)


@settings(max_examples=200, deadline=None)
@given(commands, st.integers(0, 1_000), st.sampled_from([0.0, 0.3]))
def test_no_sequence_of_commands_ships_twice_or_after_a_promise_not_to(steps: list[tuple[str, int, float]], seed: int, rate: float) -> None:
    day = Day(Behaviour(reject_rate=rate, short_pick_rate=rate, silent_rate=rate, duplicate_rate=rate), seed=seed)
    for step, number, seconds in steps:
        if step == "request":
            day.request(pick_list(("MUG", 2), ("LAMP", 1), fulfillment_id=UUID(int=number)))
        elif step == "cancel":
            day.cancel(UUID(int=number))
        else:
            day.wait(seconds)
    day.wait(20)
    for number in range(6):
        words = [answer for answer in day.said if getattr(answer.data, "fulfillment_id", None) == UUID(int=number)]
        kinds = {answer.data.type for answer in words}
        parcels = [answer.data for answer in words if isinstance(answer.data, ThirdPartyShipped)]
        assert len({parcel.sequence for parcel in parcels}) <= 1
        assert not (
            {"3pl.cancel_accepted.v1", "3pl.rejected.v1"} & kinds and "3pl.shipped.v1" in kinds and "3pl.short_picked.v1" not in kinds
        )
    shipped = sum(count.shipped for count in day.warehouse.shelf.counts.values())
    said = {answer.data.sequence: answer.data for answer in day.said if isinstance(answer.data, ThirdPartyShipped)}
    assert shipped == sum(line.quantity for parcel in said.values() for line in parcel.lines)
    assert len(day.settled) == len(set(day.settled))


def test_a_killed_3pl_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "west.journal"
    behaviour = Behaviour(jitter=0, short_pick_rate=0.3)
    day = Day(behaviour, journal=Journal(path, "3pl.west"))
    day.warehouse.put_on_shelf("reno-nv", [SupplyLine(sku="MUG", quantity=50)])
    day._note(day.warehouse.receive("reno-nv", [SupplyLine(sku="MUG", quantity=7)], None, day.now))
    for number in range(12):
        day.request(pick_list(("MUG", 2), fulfillment_id=UUID(int=number)))
        day.wait(0.05)
    day.cancel(UUID(int=11))
    assert day.journal is not None
    day.journal.confirm([answer.event_id for answer in day.said[:5]])
    day.journal.flush()

    again = Day(behaviour, journal=Journal(path, "3pl.west"))
    assert again.journal is not None
    unsaid = again.journal.restore(again.warehouse, day.now)
    assert [answer.event_id for answer in unsaid] == [answer.event_id for answer in day.said[5:]]
    assert again.warehouse.shelf.counts == day.warehouse.shelf.counts
    assert again.warehouse.shelf.sequences == day.warehouse.shelf.sequences
    assert {key: value.status for key, value in again.warehouse.fulfillments.items()} == {
        key: value.status for key, value in day.warehouse.fulfillments.items()
    }
    again.now = day.now
    again.wait(30)
    assert {value.status for value in again.warehouse.fulfillments.values()} <= {"delivered", "cancelled", "nothing_found"}


def test_a_line_that_the_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "west.journal"
    day = Day(journal=Journal(path, "3pl.west"))
    day._note(day.warehouse.receive("reno-nv", [SupplyLine(sku="MUG", quantity=7)], None, day.now))
    assert day.journal is not None
    day.journal.flush()
    with path.open("a") as file:
        file.write('{"said": {"specversion"')
    again = Day()
    (answer,) = Journal(path, "3pl.west").restore(again.warehouse, START)
    assert isinstance(answer.data, ThirdPartyReceipt)
    assert again.warehouse.shelf.count("reno-nv", "MUG").on_hand == 7


@pytest.mark.parametrize("field", ["reject_rate", "silent_rate"])
def test_a_rate_beyond_one_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Behaviour.model_validate({field: 1.5})

"""The portal's rules: by example, and for every order of events."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.portal.decide.facts import Fact, fact_of
from services.portal.decide.order import Entry, Identity, OrderView, Version
from services.portal.decide.view import order_view
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentPlanned, PlannedFulfillment
from shared.contracts.orders import Actor, LineUnits, OrderEdited, OrderEditRejected, OrderPlaced
from shared.contracts.stock import ReleasedLine, StockReservationReleased
from tests.portal import stories
from tests.portal.stories import at, line, units

ORDER = new_id()
PARCEL, OTHER_PARCEL = new_id(), new_id()


def entry_of(message: Message, event_id: UUID | None = None) -> Entry:
    """What the timeline keeps of a message."""
    identifier = event_id or new_id()
    fact = fact_of(message, identifier)
    return Entry(message.type, fact.fact_id, identifier, "ordermesh/test", fact.at or at(10), "0" * 32, fact.data)


def seen(messages: Sequence[Message]) -> OrderView:
    """The order after some messages, as the queries would hand it to the view."""
    orders = [message for message in messages if isinstance(message, OrderPlaced)]
    versions = sorted(
        (message for message in messages if isinstance(message, OrderPlaced | OrderEdited)), key=lambda order: order.order_version
    )
    identity = None
    if orders:
        first = orders[0]
        identity = Identity(
            first.order_id,
            first.channel,
            first.external_id,
            first.placed_at,
            first.currency,
            first.shipping_paid_cents,
            first.service_level,
            first.deliver_by,
            first.customer.email,
            first.customer.name,
            first.customer.locale,
        )
    version = None
    if versions:
        newest = versions[-1]
        version = Version(newest.order_version, [item.model_dump(mode="json") for item in newest.lines], newest.ship_to.model_dump())
    facts = {(message.type, fact_of(message, UUID(int=number)).fact_id): message for number, message in enumerate(messages)}
    return order_view(ORDER, identity, version, [entry_of(message) for message in facts.values()])


class TestWhatAnEventAdds:
    def test_the_same_shipment_under_two_event_ids_is_one_fact(self) -> None:
        shipment = stories.shipped(ORDER, PARCEL)
        assert fact_of(shipment, new_id()).fact_id == fact_of(shipment, new_id()).fact_id == PARCEL

    def test_two_reservations_of_one_order_are_two_facts(self) -> None:
        reservation = stories.reserved(ORDER)
        assert fact_of(reservation, new_id()).fact_id != fact_of(reservation, new_id()).fact_id

    def test_two_short_picks_of_one_fulfillment_are_two_facts(self) -> None:
        first = fact_of(stories.fulfillment_cancelled(ORDER, PARCEL, [units(quantity=1)]), new_id())
        second = fact_of(stories.fulfillment_cancelled(ORDER, PARCEL, [units(quantity=1)]), new_id())
        assert first.fact_id != second.fact_id

    def test_a_promise_change_repeated_with_the_same_dates_is_one_fact(self) -> None:
        cause = new_id()
        first = fact_of(stories.promise_changed(ORDER, at(600), cause_id=cause), new_id())
        again = fact_of(stories.promise_changed(ORDER, at(600), cause_id=cause, minutes=9), new_id())
        assert first.fact_id == again.fact_id

    def test_the_same_cause_with_another_date_is_news(self) -> None:
        cause = new_id()
        first = fact_of(stories.promise_changed(ORDER, at(600), cause_id=cause), new_id())
        later = fact_of(stories.promise_changed(ORDER, at(900), cause_id=cause), new_id())
        assert first.fact_id != later.fact_id

    def test_a_promise_that_moved_is_told_when_routing_says_what_is_asked_and_not_before(self) -> None:
        assert fact_of(stories.promise_changed(ORDER, at(600)), new_id()).tells is None
        delayed = stories.delayed(ORDER, "silence", at(600))
        first, again = fact_of(delayed, new_id()), fact_of(delayed, new_id())
        assert (first.tells, first.fact_id) == ("delay", again.fact_id)

    def test_a_question_that_is_taken_back_ends_twice_and_each_end_is_one_fact(self) -> None:
        question = new_id()
        ends = [fact_of(stories.delay_settled(ORDER, question, end), new_id()).fact_id for end in ("consented", "refused", "refused")]
        assert len(set(ends)) == 2

    @pytest.mark.parametrize(
        ("message", "kind"),
        [
            (stories.placed(ORDER), "confirmation"),
            (stories.edited(ORDER, 2, [line()]), "changed"),
            (stories.backordered(ORDER), "delay"),
            (stories.backordered(ORDER, cause="shortage"), None),
            (stories.delayed(ORDER, "not_needed", at(600)), "delay"),
            (stories.delayed(ORDER, "silence", at(600)), "delay"),
            (stories.delayed(ORDER), "delay"),
            (stories.delay_settled(ORDER, new_id(), "lapsed"), None),
            (stories.shipped(ORDER, PARCEL), "shipped"),
            (stories.cancelled(ORDER), "cancelled"),
            (stories.cancel_rejected(ORDER, "fulfillment_started"), "change_refused"),
            (stories.cancel_rejected(ORDER, "already_shipped", actor=Actor(kind="support", name="kim")), None),
            (stories.payment_requested(ORDER), "payment_due"),
            (stories.payment_requested(ORDER).model_copy(update={"actor": Actor(kind="support", name="kim")}), "payment_due"),
            (stories.payment_dropped(ORDER, "lapsed"), "payment_dropped"),
            (stories.payment_dropped(ORDER, "refused"), "payment_dropped"),
            (stories.payment_dropped(ORDER, "cancelled_in_part"), "payment_dropped"),
            (stories.payment_dropped(ORDER, "cancelled"), None),
            (stories.return_approved(ORDER, new_id()), "return_label"),
            (stories.refund_succeeded(ORDER, new_id()), "refund"),
            (stories.reserved(ORDER), None),
            (stories.started(ORDER, PARCEL), None),
            (stories.delivered(ORDER, PARCEL), None),
            (stories.change_pending(ORDER, new_id()), None),
            (stories.return_inspected(ORDER, new_id()), None),
            (stories.interception(ORDER, PARCEL, "failed"), None),
        ],
    )
    def test_the_customer_hears_of_what_concerns_the_customer(self, message: Message, kind: str | None) -> None:
        assert fact_of(message, new_id()).tells == kind

    @pytest.mark.parametrize("reason", ["stale_version", "unknown_line", "change_in_progress", "nothing_to_change", "invalid"])
    def test_a_refusal_that_only_concerns_the_asker_sends_no_mail(self, reason: str) -> None:
        assert fact_of(stories.cancel_rejected(ORDER, reason), new_id()).tells is None
        refused = OrderEditRejected(order_id=ORDER, order_version=1, change_id=new_id(), reason=reason, detail="no")
        assert fact_of(refused, new_id()).tells is None

    def test_no_fact_of_the_timeline_holds_personal_data(self) -> None:
        everything = [
            stories.placed(ORDER),
            stories.edited(ORDER, 2, [line()]),
            stories.cancelled(ORDER),
            stories.shipped(ORDER, PARCEL),
            stories.return_approved(ORDER, new_id()),
        ]
        text = str([fact_of(message, new_id()).data for message in everything])
        for secret in ("Lovelace", "ada@example.com", "St James", "97201"):
            assert secret not in text

    def test_an_event_of_another_story_is_refused_loudly(self) -> None:
        planned = FulfillmentPlanned(
            plan_id=new_id(),
            order_id=ORDER,
            order_version=1,
            fulfillments=[PlannedFulfillment(fulfillment_id=PARCEL, location="reno", lines=[units()])],
        )
        with pytest.raises(TypeError, match=r"fulfillment\.planned\.v1"):
            fact_of(planned, new_id())


class TestTheStatusOfAnOrder:
    def test_nothing_but_later_events_is_an_announced_order(self) -> None:
        assert seen([stories.shipped(ORDER, PARCEL)]).status == "announced"

    def test_a_new_order_is_placed_and_may_be_cancelled(self) -> None:
        view = seen([stories.placed(ORDER)])
        assert (view.status, view.may_ask_to_cancel, view.may_ask_to_return) == ("placed", True, False)
        assert view.total_cents == 2 * 1250 + 100 + 495

    def test_what_another_service_level_costs_more_is_part_of_the_total(self) -> None:
        faster = stories.edited(ORDER, 2, [line()]).model_copy(update={"money_delta_cents": 900, "shipping_delta_cents": 900})
        view = seen([stories.placed(ORDER), faster])
        assert (view.shipping_paid_cents, view.total_cents) == (495 + 900, 2 * 1250 + 100 + 495 + 900)

    def test_reserved_units_make_it_allocated(self) -> None:
        assert seen([stories.placed(ORDER), stories.reserved(ORDER)]).status == "fully_allocated"

    def test_waiting_units_make_it_partially_allocated_with_their_date(self) -> None:
        view = seen([stories.placed(ORDER), stories.reserved(ORDER, 1), stories.backordered(ORDER, 1, ship_at=at(900))])
        assert (view.status, view.waiting_units, view.lines[0].promised_ship_at) == ("partially_allocated", 1, at(900))

    def test_the_newest_promise_counts_however_it_arrived(self) -> None:
        late, early = stories.promise_changed(ORDER, at(2000), minutes=9), stories.promise_changed(ORDER, at(1000), minutes=4)
        view = seen([late, stories.placed(ORDER), stories.backordered(ORDER, 1, ship_at=at(500)), early])
        assert view.lines[0].promised_ship_at == at(2000)

    def test_a_restock_ends_the_waiting(self) -> None:
        view = seen([stories.placed(ORDER), stories.backordered(ORDER, 2), stories.reserved(ORDER, 2, cause="restocked")])
        assert (view.status, view.waiting_units) == ("fully_allocated", 0)

    def test_units_an_edit_no_longer_needs_stop_waiting(self) -> None:
        released = StockReservationReleased(
            order_id=ORDER,
            order_version=2,
            cause="edited",
            lines=[ReleasedLine(line_id="1", sku="MUG-BLUE", quantity=1)],
            released_at=at(3),
        )
        story = [
            stories.placed(ORDER, lines=[line(quantity=3)]),
            stories.reserved(ORDER, 2),
            stories.backordered(ORDER, 1),
            stories.edited(ORDER, 2, [line(quantity=2)]),
            released,
        ]
        assert seen(story).waiting_units == 0

    def test_a_started_order_may_be_cancelled_until_it_has_shipped_and_shows_whether_its_parcel_is_held_back(self) -> None:
        story: list[Message] = [stories.placed(ORDER), stories.reserved(ORDER), stories.started(ORDER, PARCEL)]
        view = seen(story)
        assert (view.status, view.may_ask_to_cancel, view.is_started) == ("in_fulfillment", True, True)
        story.append(stories.interception(ORDER, PARCEL, "requested"))
        assert [parcel.interception for parcel in seen(story).parcels] == ["requested"]
        failed = [*story, stories.interception(ORDER, PARCEL, "failed"), stories.shipped(ORDER, PARCEL)]
        assert [parcel.interception for parcel in seen(failed).parcels] == ["failed"]
        assert not seen(failed).may_ask_to_cancel
        held = [*story, stories.interception(ORDER, PARCEL, "succeeded"), stories.cancelled(ORDER)]
        assert (seen(held).status, seen(held).parcels) == ("cancelled", [])

    def test_some_units_shipped_is_partially_shipped(self) -> None:
        view = seen([stories.placed(ORDER), stories.shipped(ORDER, PARCEL, [units(quantity=1)])])
        assert (view.status, view.lines[0].returnable) == ("partially_shipped", 1)

    def test_all_shipped_and_all_delivered(self) -> None:
        story: list[Message] = [
            stories.placed(ORDER),
            stories.shipped(ORDER, PARCEL, [units(quantity=1)]),
            stories.shipped(ORDER, OTHER_PARCEL, [units(quantity=1)]),
            stories.delivered(ORDER, PARCEL),
        ]
        assert seen(story).status == "shipped"
        assert seen([*story, stories.delivered(ORDER, OTHER_PARCEL)]).status == "delivered"

    def test_shipped_twice_by_the_partner_counts_once(self) -> None:
        view = seen([stories.placed(ORDER), stories.shipped(ORDER, PARCEL), stories.shipped(ORDER, PARCEL)])
        assert view.lines[0].shipped == 2

    def test_a_cancelled_order_is_cancelled_and_offers_nothing(self) -> None:
        view = seen([stories.placed(ORDER), stories.reserved(ORDER), stories.cancelled(ORDER)])
        assert (view.status, view.may_ask_to_cancel, view.may_ask_to_return) == ("cancelled", False, False)

    def test_cancelling_the_rest_of_a_shipped_order_leaves_it_shipped(self) -> None:
        story = [
            stories.placed(ORDER),
            stories.shipped(ORDER, PARCEL, [units(quantity=1)]),
            stories.cancelled(ORDER, [units(quantity=1)]),
        ]
        assert seen(story).status == "shipped"

    def test_a_parcel_whose_units_were_all_called_off_is_gone(self) -> None:
        story = [
            stories.placed(ORDER),
            stories.reserved(ORDER),
            stories.started(ORDER, PARCEL),
            stories.fulfillment_cancelled(ORDER, PARCEL, [units()]),
        ]
        view = seen(story)
        assert (view.status, view.parcels) == ("fully_allocated", [])

    def test_a_change_waits_until_it_is_answered(self) -> None:
        change = new_id()
        story: list[Message] = [stories.placed(ORDER), stories.change_pending(ORDER, change)]
        assert [pending.change for pending in seen(story).pending_changes] == ["cancel"]
        assert not seen(story).may_ask_to_cancel
        assert seen([*story, stories.cancel_rejected(ORDER, change_id=change)]).pending_changes == []

    def test_returned_units_cannot_be_asked_back_twice(self) -> None:
        return_id = new_id()
        story: list[Message] = [stories.placed(ORDER), stories.shipped(ORDER, PARCEL), stories.return_approved(ORDER, return_id, 1)]
        assert seen(story).lines[0].returnable == 1
        assert [item.status for item in seen(story).returns] == ["approved"]
        story += [stories.return_inspected(ORDER, return_id), stories.return_closed(ORDER, return_id)]
        assert [(item.status, item.refunded_cents) for item in seen(story).returns] == [("closed", 1300)]

    def test_refunds_add_up_once_each(self) -> None:
        refund = new_id()
        story = [stories.placed(ORDER), stories.refund_succeeded(ORDER, refund), stories.refund_succeeded(ORDER, refund)]
        assert seen(story).refunded_cents == 1300


class TestDelays:
    """What a customer may say about a delay, as the order's page shows it."""

    QUESTION = new_id()
    WAITING = (stories.placed(ORDER), stories.reserved(ORDER, 1), stories.backordered(ORDER, 1, ship_at=at(500)))

    def test_an_open_question_needs_an_answer_until_its_deadline(self) -> None:
        delay = seen([*self.WAITING, stories.delayed(ORDER, consent_id=self.QUESTION)]).delay
        assert delay is not None
        assert (delay.consent_id, delay.needs_answer, delay.may_call_off) == (str(self.QUESTION), True, True)
        assert (delay.new_ship_at, delay.answer_by) == (None, at(60 * 72))

    @pytest.mark.parametrize(
        ("outcome", "shown"), [("consented", True), ("refused", False), ("lapsed", False), ("not_needed", False), ("replaced", False)]
    )
    def test_a_question_that_has_ended_is_shown_only_while_it_may_be_taken_back(self, outcome: str, shown: bool) -> None:
        story = [
            *self.WAITING,
            stories.delayed(ORDER, consent_id=self.QUESTION),
            stories.delay_settled(ORDER, self.QUESTION, outcome),
        ]
        delay = seen(story).delay
        assert (delay is not None) is shown
        assert delay is None or not delay.needs_answer

    def test_only_the_newest_question_may_be_answered(self) -> None:
        newer = new_id()
        story = [
            *self.WAITING,
            stories.delayed(ORDER, "silence", at(900), minutes=3),
            stories.delayed(ORDER, consent_id=self.QUESTION, minutes=4),
            stories.delay_settled(ORDER, self.QUESTION, "replaced", minutes=5),
            stories.delayed(ORDER, new=at(99_000), consent_id=newer, minutes=5),
        ]
        delay = seen(story).delay
        assert delay is not None
        assert (delay.consent_id, delay.new_ship_at) == (str(newer), at(99_000))
        assert seen([*story, stories.delay_settled(ORDER, newer, "not_needed")]).delay is None

    def test_of_two_dates_that_moved_in_one_moment_the_one_that_counts_is_shown(self) -> None:
        for silent in (new_id() for _ in range(5)):
            story = [
                *self.WAITING,
                stories.delayed(ORDER, consent_id=self.QUESTION),
                stories.delay_settled(ORDER, self.QUESTION, "not_needed", minutes=3),
                stories.delayed(ORDER, "silence", at(900), consent_id=silent),
            ]
            delay = seen(story).delay
            assert delay is not None
            assert (delay.consent_id, delay.needs_answer) == (str(silent), False)

    def test_nothing_is_asked_once_nothing_waits(self) -> None:
        asked = [*self.WAITING, stories.delayed(ORDER)]
        assert seen([*asked, stories.reserved(ORDER, 1, cause="restocked", minutes=9)]).delay is None
        assert seen([*asked, stories.cancelled(ORDER)]).delay is None


CHANGE, RETURN, CAUSE, CONSENT = new_id(), new_id(), new_id(), new_id()
LIFE: list[Message] = [
    stories.placed(ORDER, lines=[line("1", 3), line("2", 1, sku="TEA", title="Tea")]),
    stories.reserved(ORDER, 2),
    stories.backordered(ORDER, 1, ship_at=at(500)),
    stories.promise_changed(ORDER, at(900), cause_id=CAUSE),
    stories.delayed(ORDER, "required", at(900), consent_id=CONSENT),
    stories.delay_settled(ORDER, CONSENT, "consented", agreed=at(900)),
    stories.edited(ORDER, 2, [line("1", 4), line("2", 1, sku="TEA", title="Tea")]),
    stories.edited(ORDER, 3, [line("1", 3), line("2", 1, sku="TEA", title="Tea")], minutes=3),
    stories.reserved(ORDER, 1, cause="restocked", minutes=4),
    stories.started(ORDER, PARCEL, [units(quantity=2)]),
    stories.shipped(ORDER, PARCEL, [units(quantity=2)]),
    stories.delivered(ORDER, PARCEL),
    stories.started(ORDER, OTHER_PARCEL, [units(quantity=1), LineUnits(line_id="2", sku="TEA", quantity=1)]),
    stories.fulfillment_cancelled(ORDER, OTHER_PARCEL, [LineUnits(line_id="2", sku="TEA", quantity=1)]),
    stories.change_pending(ORDER, CHANGE),
    stories.cancelled(ORDER, [LineUnits(line_id="2", sku="TEA", quantity=1)], change_id=CHANGE),
    stories.shipped(ORDER, OTHER_PARCEL, [units(quantity=1)]),
    stories.return_approved(ORDER, RETURN),
    stories.return_inspected(ORDER, RETURN),
    stories.refund_succeeded(ORDER, new_id()),
    stories.return_closed(ORDER, RETURN),
]
ENTRIES = [entry_of(message) for message in LIFE]


def view_of(entries: Sequence[Entry]) -> OrderView:
    """The order of LIFE with some of its entries known."""
    whole = seen(LIFE)
    version = Version(3, [item.model_dump(mode="json") for item in LIFE[7].lines], {})  # type: ignore[attr-defined]  # the edit of version 3
    return order_view(ORDER, whole.identity, version, entries)


class TestAnyOrderOfEvents:
    @given(st.permutations(ENTRIES))
    @settings(max_examples=150, deadline=None)
    def test_gives_the_same_order(self, shuffled: list[Entry]) -> None:
        assert view_of(shuffled) == view_of(ENTRIES)

    @given(st.sets(st.integers(0, len(ENTRIES) - 1)), st.randoms(use_true_random=False))
    @settings(max_examples=150, deadline=None)
    def test_gives_the_same_order_for_any_part_of_the_story(self, numbers: set[int], random: object) -> None:
        part = [ENTRIES[number] for number in sorted(numbers)]
        shuffled = list(part)
        random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands over a random.Random
        view = view_of(shuffled)
        assert view == view_of(part)
        for item in view.lines:
            assert 0 <= item.waiting <= item.ordered
            assert item.returnable >= 0

    def test_and_the_whole_story_ends_as_it_should(self) -> None:
        view = view_of(ENTRIES)
        assert (view.status, view.order_version, view.waiting_units, view.refunded_cents) == ("shipped", 3, 0, 1300)
        assert [(item.line_id, item.shipped, item.delivered, item.cancelled) for item in view.lines] == [("1", 3, 2, 0), ("2", 0, 0, 1)]

    def test_facts_depend_on_their_content_alone(self) -> None:
        event = new_id()
        for message in LIFE:
            first, second = fact_of(message, event), fact_of(message.model_copy(), event)
            assert first == second == Fact(first.order_id, first.fact_id, first.at, first.data, first.tells)

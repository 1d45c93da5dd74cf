"""The plan alone: what exists and who may use it, computed from tables of contents."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import Partners
from shared.contracts.base import Kind
from shared.contracts.fulfillment import FulfillmentRequested, ThirdPartyShipped
from shared.contracts.orders import OrderCancelled, OrderPlaced
from shared.contracts.registry import MESSAGES
from shared.contracts.stock import StockAdjusted
from shared.errors import BadConfiguration
from shared.messaging.topology import Queue, Right, ServiceMessages, Topology, User, topology
from shared.messaging.topology.definitions import any_of, definitions, user_definitions
from shared.messaging.topology.plan import unheard
from shared.messaging.topology.tables import load_services, service_names
from tests.topology.conftest import PARTNERS, SERVICES

PLANNED = topology(SERVICES, PARTNERS)


def user_named(name: str, planned: Topology = PLANNED) -> User:
    return next(user for user in planned.users if user.name == name)


def test_a_service_has_one_queue_per_type_it_reads_bound_by_the_type() -> None:
    bindings = {binding.queue: (binding.exchange, binding.key) for binding in PLANNED.bindings}
    assert bindings["rehearsal_planning.order.placed.v1"] == ("oms.events", "order.placed.v1")
    assert bindings["rehearsal_planning.order.cancel_requested.v1"] == ("oms.commands", "order.cancel_requested.v1")
    assert bindings["rehearsal_planning.3pl.shipped.v1"] == ("oms.inbound", "3pl.*.shipped.*")
    assert bindings["rehearsal_selling.channel.order_received.v1"] == ("oms.inbound", "channel.*.order_received.*")


def test_a_partner_has_one_queue_for_everything_addressed_to_it() -> None:
    bindings = {binding.queue: (binding.exchange, binding.key) for binding in PLANNED.bindings}
    assert bindings["3pl.rehearsal-acme.commands"] == ("oms.commands", "3pl.rehearsal-acme.#")
    assert bindings["channel.rehearsal-shop.commands"] == ("oms.commands", "channel.rehearsal-shop.#")


def test_behind_every_queue_that_is_read_stands_a_safety_net() -> None:
    nets = {queue.name for queue in PLANNED.queues if queue.purpose == "safety"}
    for queue in PLANNED.queues:
        if queue.purpose != "safety":
            assert f"{queue.dead_letters_of}.dead" in nets
            assert queue.arguments["x-dead-letter-exchange"] == "oms.dead"


def test_every_queue_is_a_quorum_queue_without_a_time_limit() -> None:
    for queue in PLANNED.queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        assert not {"x-message-ttl", "x-expires", "x-max-length", "x-delivery-limit"} & queue.arguments.keys()


def test_what_no_queue_wants_is_caught() -> None:
    for exchange in PLANNED.exchanges:
        if exchange.type == "topic":
            assert exchange.alternate == "oms.unrouted"
    assert Queue("oms.unrouted", "safety") in PLANNED.queues


def test_a_service_may_publish_exactly_what_its_table_of_contents_says() -> None:
    assert user_named("ordermesh_rehearsal_planning").writes == (
        Right("oms.commands", ("3pl.*.fulfillment.cancel_requested.v1", "3pl.*.fulfillment.requested.v1")),
        Right("oms.events", ("fulfillment.planned.v1",)),
    )


def test_a_service_may_read_its_own_queues_only() -> None:
    assert all(queue.startswith("rehearsal_selling.") for queue in user_named("ordermesh_rehearsal_selling").reads)


def test_a_3pl_may_say_only_what_some_service_reads_and_only_under_its_own_code() -> None:
    assert user_named("3pl-rehearsal-acme") == User(
        "3pl-rehearsal-acme",
        reads=("3pl.rehearsal-acme.commands",),
        writes=(Right("oms.inbound", ("3pl.rehearsal-acme.accepted.*", "3pl.rehearsal-acme.shipped.*")),),
    )


def test_nobody_may_declare_anything() -> None:
    document = user_definitions(PLANNED, {user.name: "secret" for user in PLANNED.users})
    assert {row["configure"] for row in document["permissions"]} == {"^$"}
    assert {row["user"] for row in document["permissions"]} == {user["name"] for user in document["users"]}


def test_a_user_without_a_password_is_named() -> None:
    passwords = {user.name: "secret" for user in PLANNED.users if user.name != "3pl-rehearsal-zeta"}
    with pytest.raises(BadConfiguration, match="3pl-rehearsal-zeta"):
        user_definitions(PLANNED, passwords)


def test_an_answer_cannot_be_consumed() -> None:
    with pytest.raises(ValueError, match="is an answer"):
        topology({"rehearsal": ServiceMessages([StockAdjusted], [])}, Partners())


def test_a_partners_command_cannot_be_consumed_by_a_service() -> None:
    with pytest.raises(ValueError, match=r"cannot be consumed by a service"):
        topology({"rehearsal": ServiceMessages([FulfillmentRequested], [])}, Partners())


def test_an_event_that_nobody_reads_is_named() -> None:
    services = {"one": ServiceMessages([], [OrderPlaced, OrderCancelled]), "two": ServiceMessages([OrderPlaced], [])}
    assert unheard(services) == ["one publishes order.cancelled.v1, which no service consumes"]


def test_the_order_of_the_tables_makes_no_difference() -> None:
    turned = {
        name: ServiceMessages(list(reversed(SERVICES[name].consumes)), list(reversed(SERVICES[name].publishes)))
        for name in reversed(list(SERVICES))
    }
    passwords = {user.name: "secret" for user in PLANNED.users}
    assert definitions(topology(turned, PARTNERS)) == definitions(PLANNED)
    assert user_definitions(topology(turned, PARTNERS), passwords) == user_definitions(PLANNED, passwords)


def test_the_document_that_comes_first_lets_nobody_in() -> None:
    assert not {"users", "permissions", "topic_permissions"} & set(definitions(PLANNED))


WORD = st.text("ab3-_.*", min_size=1, max_size=6)


@given(names=st.lists(WORD, min_size=1, max_size=4), name=WORD.filter(lambda word: "*" not in word))
def test_a_right_matches_the_names_it_lists_and_no_other(names: list[str], name: str) -> None:
    assert bool(re.search(any_of(names), name)) == any(_matches(pattern.split("*"), name) for pattern in names)


def _matches(parts: list[str], text: str) -> bool:
    """Whether the text is the parts with one dotless word between each two: tried split by split, without regular expressions."""
    if len(parts) == 1:
        return text == parts[0]
    if not text.startswith(parts[0]):
        return False
    rest = text[len(parts[0]) :]
    return any("." not in rest[:length] and _matches(parts[1:], rest[length:]) for length in range(1, len(rest) + 1))


def test_nothing_listed_matches_nothing() -> None:
    assert not re.search(any_of([]), "amq.default")
    assert not re.search(any_of([]), "oms.events")


def test_all_five_services_have_a_table_of_contents() -> None:
    assert service_names() == ["allocation", "portal", "returns", "routing", "sync"]


def test_everything_our_services_publish_is_read_by_somebody() -> None:
    assert unheard(load_services()) == []


def test_every_message_type_that_travels_by_queue_is_used() -> None:
    services = load_services()
    published = {message for service in services.values() for message in service.publishes}
    consumed = {message for service in services.values() for message in service.consumes}
    by_queue = {message for message in MESSAGES.values() if message.kind in (Kind.EVENT, Kind.COMMAND, Kind.INBOUND)}
    assert sorted(message.type for message in by_queue - consumed) == []
    to_partners = {message for message in MESSAGES.values() if message.kind is Kind.PARTNER_COMMAND}
    assert sorted(message.type for message in to_partners - published) == []


def test_two_major_versions_have_a_queue_each_and_share_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shipped2(ThirdPartyShipped):
        """The next version, for this test."""

        type: ClassVar[str] = "3pl.shipped.v2"

    monkeypatch.setitem(MESSAGES, Shipped2.type, Shipped2)
    planned = topology({"rehearsal": ServiceMessages([ThirdPartyShipped, Shipped2], [])}, PARTNERS)
    keys = {binding.queue: binding.key for binding in planned.bindings}
    assert keys["rehearsal.3pl.shipped.v1"] == "3pl.*.shipped.v1"
    assert keys["rehearsal.3pl.shipped.v2"] == "3pl.*.shipped.v2"
    [right] = user_named("3pl-rehearsal-acme", planned).writes
    assert right.keys == ("3pl.rehearsal-acme.shipped.v1", "3pl.rehearsal-acme.shipped.v2")

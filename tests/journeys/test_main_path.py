"""A paid order becomes a shipped parcel and every channel knows it: real processes, real broker, real database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.contracts.base import PartnerMessage
from shared.contracts.channels import (
    ChannelCancelRequested,
    ChannelEditRequested,
    ChannelLineChange,
    ChannelLineToCancel,
    ChannelOrderReceived,
    ChannelPaymentCollected,
    ChannelPaymentRefused,
)
from tests.system import HESITANT, Json, System, an_order


def kinds(order: Json) -> list[str]:
    return [entry["type"] for entry in order["timeline"]]


async def notified(system: System, order_id: UUID, *wanted: str) -> Json:
    """Waits until the customer has been sent these kinds of mail."""
    document: Json = {}

    async def told() -> bool:
        document.update(await system.order(order_id))
        sent = {item["kind"] for item in document.get("notifications", []) if item["status"] == "sent"}
        return set(wanted) <= sent

    await system.eventually(told, f"mails {wanted}")
    return document


async def test_a_paid_order_ships_and_every_channel_shows_the_new_number(system: System) -> None:
    sku = system.fresh("mug")
    await system.register(sku)
    await system.put(sku, "reno", 10)
    order = an_order(system.fresh("main"), {sku: 3})
    await system.say(ChannelOrderReceived.model_validate(order), "webshop")

    found: list[Json] = []

    async def placed() -> bool:
        found[:] = (await system.ask("GET", f"/api/orders?query={order['external_id']}"))["orders"]
        return bool(found)

    await system.eventually(placed, "the order is known to the portal")
    order_id = UUID(found[0]["order_id"])
    document = await system.until_status(order_id, "delivered")
    assert [(line["sku"], line["ordered"], line["shipped"]) for line in document["lines"]] == [(sku, 3, 3)]
    (parcel,) = document["parcels"]
    assert parcel["location"] == "reno"
    assert parcel["tracking_number"]

    await system.until_stock(sku, available=7, on_hand=7, reserved=0)

    for channel in ("webshop", "marketplace"):

        async def shows_seven(channel: str = channel) -> bool:
            listings = (await system.channel_state(channel))["listings"]
            return bool(listings.get(f"L-{sku}", {}).get("available") == 7)

        await system.eventually(shows_seven, f"{channel} shows 7")

    async def tracking_is_known() -> bool:
        return parcel["tracking_number"] in str(await system.channel_state("webshop"))

    await system.eventually(tracking_is_known, "the channel knows the tracking number")
    document = await notified(system, order_id, "confirmation", "shipped")
    mails = await system.mails(order["customer"]["email"])
    assert len(mails) == len({(mail["subject"], str(mail.get("text", ""))[:200]) for mail in mails}), "nobody is told the same thing twice"


async def test_one_order_is_one_trace_through_all_services(system: System) -> None:
    sku = system.fresh("trace")
    await system.register(sku)
    await system.put(sku, "reno", 5)
    order_id = await system.place(an_order(system.fresh("trace"), {sku: 1}))
    await system.until_status(order_id, "delivered")
    trace = await system.ask("GET", f"/api/orders/{order_id}/trace")
    assert len(trace["trace_ids"]) == 1, trace["trace_ids"]

    def flat(messages: Sequence[Json]) -> list[Json]:
        return [item for message in messages for item in (message, *flat(message["caused"]))]

    spans = flat(trace["messages"])
    assert len(trace["messages"]) == 1, "everything hangs below the order that was placed"
    assert {span["source"] for span in spans} >= {"ordermesh/sync", "ordermesh/allocation", "ordermesh/routing"}
    types = {span["type"] for span in spans}
    assert types >= {"order.placed.v1", "stock.reserved.v1", "fulfillment.planned.v1", "fulfillment.assigned.v1", "fulfillment.shipped.v1"}
    handlers = {heard["service"] for span in spans for heard in span["heard_by"]}
    assert handlers == {"sync", "allocation", "routing", "returns", "portal"}
    assert {span["partner"] for span in spans if span["type"] == "fulfillment.requested.v1"} == {"3pl/west"}


async def test_of_two_hundred_concurrent_buyers_of_the_last_unit_exactly_one_wins(system: System) -> None:
    sku = system.fresh("last")
    await system.register(sku)
    await system.put(sku, "reno", 1)
    await system.put(sku, "newark", 0)
    orders = [ChannelOrderReceived.model_validate(an_order(system.fresh(f"buyer{number}"), {sku: 1})) for number in range(200)]
    half = [("webshop", order) for order in orders[:100]]
    other = [("marketplace", order.model_copy(update={"channel": "marketplace"})) for order in orders[100:]]
    await asyncio.gather(*(system.say(order, channel) for channel, order in half + other))

    async def all_decided() -> bool:
        stock = await system.stock(sku)
        return bool(stock["queued_units"] == 199)

    await system.eventually(all_decided, "199 buyers wait in the queue")
    stock = await system.stock(sku)
    assert stock["available_units"] == 0
    winners: list[Json] = []

    async def one_shipped() -> bool:
        winners.clear()
        for order in orders:
            found = (await system.ask("GET", f"/api/orders?query={order.external_id}"))["orders"]
            winners.extend(item for item in found if item["units_shipped"])
        return bool(winners)

    await system.eventually(one_shipped, "the winner's parcel has left", pause_seconds=1.0)
    assert len(winners) == 1
    await system.until_stock(sku, on_hand=0)


async def test_a_cancel_before_the_cutoff_releases_the_stock_and_refunds_once(system: System) -> None:
    await system.behave(**HESITANT)
    sku = system.fresh("cancel")
    await system.register(sku)
    await system.put(sku, "reno", 4)
    external_id = system.fresh("cancel")
    order_id = await system.place(an_order(external_id, {sku: 4}))

    async def submitted() -> bool:
        routing = (await system.order(order_id)).get("routing") or {}
        return "submitted" in str(routing)

    await system.eventually(submitted, "the 3PL has the pick list")
    answers = await asyncio.gather(*(system.api("POST", f"/api/orders/{order_id}/cancel", {"reason": "changed my mind"}) for _ in range(3)))
    assert {answer.status for answer in answers} <= {200, 202, 409}, [answer.body for answer in answers]
    await system.until_status(order_id, "cancelled")

    async def released() -> bool:
        return bool((await system.stock(sku))["available_units"] == 4)

    await system.eventually(released, "all four units can be sold again")

    async def refunded() -> bool:
        return bool((await system.order(order_id)).get("refunded_cents") == 4 * 2_000 + 4 * 160 + 599)

    await system.eventually(refunded, "everything that was paid went back")
    refunds = [refund for refund in (await system.channel_state("webshop"))["refunds"] if external_id in str(refund)]
    assert len(refunds) == 1
    again = await system.api("POST", f"/api/orders/{order_id}/cancel", {"reason": "again"})
    assert (again.status, again.body["result"]) == (200, "cancelled"), again.body


async def test_after_the_label_an_edit_is_refused_and_a_cancellation_holds_the_parcel_back(system: System) -> None:
    await system.behave(ship_delay_seconds=3_600.0)
    sku = system.fresh("late")
    await system.register(sku)
    await system.put(sku, "reno", 4)
    order_id = await system.place(an_order(system.fresh("late"), {sku: 2}))

    async def started() -> bool:
        return "fulfillment.started.v1" in kinds(await system.order(order_id) or {"timeline": []})

    await system.eventually(started, "the 3PL has accepted")
    edit = await system.api("POST", f"/api/orders/{order_id}/edit", {"line_changes": [{"line_id": "1", "quantity": 1}]})
    assert (edit.status, edit.body["error"]["code"]) == (409, "fulfillment_started")
    cancel = await system.api("POST", f"/api/orders/{order_id}/cancel", {"reason": "no need"})
    assert (cancel.status, cancel.body["result"]) == (202, "pending")
    await system.until_status(order_id, "cancelled")

    async def settled() -> bool:
        refunded = (await system.order(order_id)).get("refunded_cents") == 2 * 2_000 + 2 * 160 + 599
        stock = await system.stock(sku)
        return bool(refunded and (stock["available_units"], stock["on_hand_units"]) == (4, 4))

    await system.eventually(settled, "the money went back, and every unit is on the shelf once")


async def test_an_edit_before_the_cutoff_changes_what_ships_and_refunds_the_difference(system: System) -> None:
    await system.behave(**HESITANT)
    sku = system.fresh("edit")
    await system.register(sku)
    await system.put(sku, "reno", 5)
    order_id = await system.place(an_order(system.fresh("edit"), {sku: 5}))

    async def reserved() -> bool:
        return bool((await system.stock(sku))["available_units"] == 0)

    await system.eventually(reserved, "all five are reserved")
    answer = await system.api("POST", f"/api/orders/{order_id}/edit", {"line_changes": [{"line_id": "1", "quantity": 2}]})
    assert answer.status in (200, 202), answer.body

    async def smaller() -> bool:
        return bool((await system.stock(sku))["available_units"] == 3)

    await system.eventually(smaller, "three units are back")

    async def refunded() -> bool:
        return bool((await system.order(order_id)).get("refunded_cents") == 3 * 2_000 + 3 * 160)

    await system.eventually(refunded, "the difference went back")
    await system.until_stock(sku, reserved=2)


async def test_a_channel_collects_for_a_dearer_edit_or_refuses_and_calls_off_one_unit_itself(system: System) -> None:
    await system.behave(**HESITANT)
    sku = system.fresh("paid")
    await system.register(sku)
    await system.put(sku, "reno", 9)
    external_id = system.fresh("paid")
    order_id = await system.place(an_order(external_id, {sku: 2}))
    await system.until_status(order_id, "fully_allocated")

    async def told(message: PartnerMessage | None, wanted: str) -> Json:
        """What the channel hears of this order after it has said something, twice."""
        if message is not None:
            for _ in range(2):
                await system.say(message, "webshop")
        found: list[Json] = []

        async def heard() -> bool:
            found.extend(await system.heard_by("channel", "webshop"))
            return any(item["type"] == wanted and item["data"]["external_id"] == external_id for item in found)

        await system.eventually(heard, f"the channel hears {wanted}")
        [only] = [item["data"] for item in found if item["type"] == wanted and item["data"]["external_id"] == external_id]
        return dict(only)

    async def stands_at(units: int, what: str) -> None:
        async def stands() -> bool:
            document = await system.order(order_id)
            free = (await system.stock(sku))["available_units"]
            return [line["ordered"] for line in document["lines"]] == [units] and free == 9 - units and not document["pending_changes"]

        await system.eventually(stands, what)

    edit = await system.api("POST", f"/api/orders/{order_id}/edit", {"line_changes": [{"line_id": "1", "quantity": 3}]})
    assert (edit.status, edit.body["result"]) == (202, "pending"), edit.body
    asked = await told(None, "channel.payment_requested.v1")
    assert (asked["amount_cents"], (await system.stock(sku))["available_units"]) == (2_160, 7), "nothing changes before the money is there"
    paid = ChannelPaymentCollected(
        **{name: asked[name] for name in ("channel", "payment_id", "amount_cents", "currency")},
        provider_reference=system.fresh("payment"),
        collected_at=datetime.now(UTC),
    )
    assert (await told(paid, "channel.order_changed.v1"))["money_delta_cents"] == 2_160
    await stands_at(3, "the paid edit is made, once")

    wish = ChannelEditRequested(
        channel="webshop",
        external_id=external_id,
        edit_id="two-more",
        expected_order_version=2,
        line_changes=[ChannelLineChange(external_line_id="1", quantity=5)],
    )
    second = await told(wish, "channel.payment_requested.v1")
    refused = ChannelPaymentRefused(channel="webshop", payment_id=second["payment_id"], detail="card declined")
    decided = await told(refused, "channel.edit_decided.v1")
    assert (decided["edit_id"], decided["outcome"], decided["reason"]) == ("two-more", "refused", "payment_required")

    async def dropped() -> bool:
        return "order.edit_rejected.v1" in kinds(await system.order(order_id))

    await system.eventually(dropped, "the edit that nobody pays for is dropped")
    await stands_at(3, "and nothing has changed")

    one = ChannelCancelRequested(
        channel="webshop",
        external_id=external_id,
        cancellation_id="one-less",
        lines=[ChannelLineToCancel(external_line_id="1", quantity=1)],
    )
    decided = await told(one, "channel.cancel_decided.v1")
    assert (decided["outcome"], decided["refund_cents"], decided["cancelled"][0]["quantity"]) == ("cancelled", 2_160, 1)
    await stands_at(2, "one unit is called off by the channel itself")

    async def refunded() -> bool:
        return bool((await system.order(order_id)).get("refunded_cents") == 2_160)

    await system.eventually(refunded, "its money went back, once")


async def test_a_stock_out_is_queued_the_customer_told_and_a_receipt_releases_it_in_order(system: System) -> None:
    sku = system.fresh("backorder")
    await system.register(sku)
    await system.put(sku, "reno", 1)
    first = await system.place(an_order(system.fresh("first"), {sku: 1}))
    await system.until_status(first, "shipped", "delivered")
    expected = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    supply = await system.ask(
        "POST", "/api/supplies", {"location": "reno", "expected_at": expected, "lines": [{"sku": sku, "quantity": 3}]}
    )
    second = await system.place(an_order(system.fresh("second"), {sku: 2}))
    await notified(system, second, "confirmation", "delay")
    third = await system.place(an_order(system.fresh("third"), {sku: 2}))

    async def queued() -> bool:
        return bool((await system.stock(sku))["queued_units"] == 4)

    await system.eventually(queued, "both orders wait")
    await system.ask("POST", f"/api/supplies/{supply['id']}/receive", {"location": "reno", "lines": [{"sku": sku, "quantity": 3}]})
    await system.until_status(second, "shipped", "delivered")

    async def partly() -> bool:
        stock = await system.stock(sku)
        return bool(stock["queued_units"] == 1)

    await system.eventually(partly, "the third order got the one unit that was left")
    await system.ask("POST", "/api/supplies", {"location": "reno", "expected_at": expected, "lines": [{"sku": sku, "quantity": 5}]})
    await system.put(sku, "newark", 1)
    await system.until_status(third, "shipped", "delivered")


async def test_a_customer_who_does_not_want_to_wait_two_months_says_no_and_gets_the_money_back(system: System) -> None:
    sku = system.fresh("late")
    await system.register(sku)
    soon, late = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (5, 65))
    supply = await system.ask("POST", "/api/supplies", {"location": "reno", "expected_at": soon, "lines": [{"sku": sku, "quantity": 3}]})
    order_id = await system.place(an_order(system.fresh("late"), {sku: 2}))
    await notified(system, order_id, "delay")
    await system.ask("POST", f"/api/supplies/{supply['id']}/reschedule", {"expected_at": late})

    async def asked() -> bool:
        return bool((await system.order(order_id)).get("delay"))

    await system.eventually(asked, "the customer is asked")
    document = await system.order(order_id)
    assert (document["delay"]["consent"], document["routing"]["waiting_for"]) == ("required", "customer_consent")
    waiting = (await system.ask("GET", "/api/delays"))["delays"]
    assert str(order_id) in [entry["order_id"] for entry in waiting]
    answer = {"consent_id": document["delay"]["consent_id"], "answer": "no"}
    outcome = await system.ask("POST", f"/api/orders/{order_id}/delay-answer", answer)
    assert outcome["result"] == "cancelled"
    document = await notified(system, order_id, "delay", "cancelled", "refund")
    assert [item["kind"] for item in document["notifications"]].count("delay") == 2, "the first date, and the delay"
    assert (document["status"], document["refunded_cents"]) == ("cancelled", document["total_cents"])
    await system.until_stock(sku, queued=0)


async def test_stock_of_ten_and_fifteen_ships_an_order_of_thirteen_as_ten_and_three(system: System) -> None:
    sku = system.fresh("split")
    await system.register(sku)
    await system.put(sku, "reno", 10)
    await system.put(sku, "newark", 2)
    await system.put(sku, "dallas", 2)
    order_id = await system.place(an_order(system.fresh("split"), {sku: 13}))
    document = await system.until_status(order_id, "delivered")
    shipped = {parcel["location"]: sum(parcel["units"].values()) for parcel in document["parcels"]}
    assert sum(shipped.values()) == 13
    assert len(shipped) == 3, shipped
    assert shipped["reno"] >= 9, shipped


async def test_what_a_picker_does_not_find_ships_from_elsewhere(system: System) -> None:
    sku = system.fresh("short")
    await system.register(sku)
    await system.put(sku, "reno", 5)
    await system.put(sku, "newark", 5)
    for partner in ("west",):
        await system.simulator("third_party_logistics", "POST", "/behaviour", {"partner": partner, "short_pick_rate": 1.0})
    order_id = await system.place(an_order(system.fresh("short"), {sku: 2}))
    document = await system.until_status(order_id, "delivered")
    assert sum(line["shipped"] for line in document["lines"]) == 2
    assert "newark" in {parcel["location"] for parcel in document["parcels"]}
    assert "fulfillment.cancelled.v1" in kinds(document)


async def test_a_location_that_refuses_is_left_for_another(system: System) -> None:
    sku = system.fresh("reject")
    await system.register(sku)
    await system.put(sku, "reno", 5)
    await system.put(sku, "newark", 5)
    await system.simulator("third_party_logistics", "POST", "/behaviour", {"partner": "west", "reject_rate": 1.0})
    order_id = await system.place(an_order(system.fresh("reject"), {sku: 2}))
    document = await system.until_status(order_id, "delivered")
    assert {parcel["location"] for parcel in document["parcels"] if parcel["shipped_at"]} == {"newark"}


async def test_answers_said_twice_ship_once(system: System) -> None:
    await system.behave(duplicate_rate=1.0)
    sku = system.fresh("twice")
    await system.register(sku)
    await system.put(sku, "reno", 9)
    orders = [await system.place(an_order(system.fresh("twice"), {sku: 3})) for _ in range(3)]
    for order_id in orders:
        await system.until_status(order_id, "delivered")
    await system.until_stock(sku, on_hand=0, reserved=0)


async def test_a_return_restocks_and_refunds_exactly_once(system: System) -> None:
    sku = system.fresh("return")
    await system.register(sku)
    await system.put(sku, "reno", 3)
    external_id = system.fresh("return")
    order_id = await system.place(an_order(external_id, {sku: 3}))
    await system.until_status(order_id, "delivered")

    async def returnable() -> bool:
        answer = await system.api(
            "POST", f"/api/orders/{order_id}/returns", {"lines": [{"line_id": "1", "quantity": 3, "reason": "changed_mind"}]}
        )
        found.update(answer.body)
        return answer.status < 300

    found: dict[str, Any] = {}
    await system.eventually(returnable, "the return is approved", pause_seconds=0.5)
    return_id = found["id"]
    scan = {
        "location": "reno",
        "units": [{"line_id": "1", "quantity": 1, "condition": "sellable"}, {"line_id": "1", "quantity": 1, "condition": "damaged"}],
    }
    answers = await asyncio.gather(*(system.api("POST", f"/api/returns/{return_id}/scan", scan) for _ in range(2)))
    assert min(answer.status for answer in answers) < 300, [answer.body for answer in answers]

    async def closed() -> bool:
        document = await system.order(order_id)
        return any(item["return_id"] == return_id and item["status"] == "closed" for item in document.get("returns", []))

    await system.eventually(closed, "the return is closed")
    document = await system.order(order_id)
    assert document["refunded_cents"] == 2 * 2_000 + 2 * 160, "three approved, two came: two are paid for"
    refunds = [refund for refund in (await system.channel_state("webshop"))["refunds"] if external_id in str(refund)]
    assert len(refunds) == 1

    async def restocked() -> bool:
        stock = await system.stock(sku)
        return bool(stock["available_units"] == 1)

    await system.eventually(restocked, "the sellable unit is back, the damaged one is not")


async def test_a_channel_that_forgets_to_answer_moves_the_money_once(system: System) -> None:
    sku = system.fresh("flaky")
    await system.register(sku)
    await system.put(sku, "reno", 2)
    await system.behave(**HESITANT)
    await system.simulator(
        "channels",
        "POST",
        "/webshop/behaviour",
        {"timeout_after_success_rate": 1.0, "hold_seconds": 3.0, "first_calls": 2, "calls": ["refunds"]},
    )
    external_id = system.fresh("flaky")
    order_id = await system.place(an_order(external_id, {sku: 2}))
    await system.until_status(order_id, "fully_allocated", "released", "placed", "partially_allocated", "in_fulfillment")
    await system.ask("POST", f"/api/orders/{order_id}/cancel", {"reason": "test"})

    async def refunded() -> bool:
        return bool((await system.order(order_id)).get("refunded_cents") == 2 * 2_000 + 2 * 160 + 599)

    await system.eventually(refunded, "the refund is known to have succeeded", timeout_seconds=120)
    refunds = [refund for refund in (await system.channel_state("webshop"))["refunds"] if external_id in str(refund)]
    assert len(refunds) == 1

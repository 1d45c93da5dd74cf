"""The shopper's order page: who gets in, what it shows, what its forms do."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientResponse

from services.portal.access import LinkSigner
from services.portal.settings import PortalSettings
from shared.config import load_settings
from shared.contracts.envelope import new_id
from shared.contracts.orders import Actor, OrderCancelRequested, OrderDelayAnswered, OrderDelayAnswerRejected
from shared.contracts.returns import ReturnAuthorisationRequested, ReturnDeclined
from shared.database import Pool
from shared.errors import BadConfiguration
from tests.portal import stories
from tests.portal.stories import NOON, line
from tests.portal.telling import happened
from tests.portal.world import LINK_SECRET, Neighbour, World

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HIDDEN = re.compile(
    r'<form method="post" action="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)">\s*'
    r'<input type="hidden" name="request_id" value="([^"]+)">'
)


async def an_order(pool: Pool, **changes: Any) -> UUID:
    """A placed order."""
    order = new_id()
    await happened(pool, stories.placed(order, **changes), traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    return order


async def a_shipped_order(pool: Pool) -> UUID:
    """An order of three mugs that has arrived."""
    order, parcel = new_id(), new_id()
    await happened(
        pool,
        stories.placed(order, lines=[line(quantity=3)]),
        stories.shipped(order, parcel, [stories.units(quantity=3)]),
        stories.delivered(order, parcel),
        traceparent=f"00-{TRACE}-00f067aa0ba902b7-01",
    )
    return order


async def forms_of(world: World, order: UUID) -> dict[str, tuple[str, dict[str, str]]]:
    """The forms of a page: where each goes, and its hidden fields."""
    page = await (await world.client.get(world.page_of(order))).text()
    found = {}
    for action, token, request_id in HIDDEN.findall(page):
        name = action.split("?")[0].rsplit("/", 1)[1]
        found[name] = (action.replace("&amp;", "&"), {"token": token, "request_id": request_id})
    return found


async def send(world: World, order: UUID, name: str, **fields: str) -> ClientResponse:
    """Fills in a form of the page and sends it, without following the redirect."""
    action, hidden = (await forms_of(world, order))[name]
    return await world.client.post(action, data={**hidden, **fields}, allow_redirects=False)


async def press(world: World, page: str, button: str, **fields: str) -> ClientResponse:
    """Sends the form that changes an order as a page shows it, with what is filled in, by one of its buttons."""
    form = re.search(r'<form method="post" action="([^"]+/change[^"]*)">(.*?)</form>', page, re.DOTALL)
    assert form is not None
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form[2]))
    action = form[1].replace("&amp;", "&")
    return await world.client.post(action, data={**hidden, **fields, "step": button}, allow_redirects=False)


def sent_to(neighbour: Neighbour) -> list[Any]:
    """The changes that a neighbour was asked to make, not those that it was only asked about."""
    return [asked["data"] for asked in neighbour.asked if "data" in asked]


class TestWhoGetsIn:
    async def test_the_link_of_the_mail_opens_the_order(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        answer = await world.client.get(world.page_of(order))
        text = await answer.text()
        assert answer.status == 200
        for words in ("#1001", "Blue mug", "We have your order", "Ada Lovelace", "$30.95"):
            assert words in text

    async def test_wrong_missing_old_and_foreign_keys_and_unknown_orders_all_get_the_same_404(self, world: World, pool: Pool) -> None:
        order, other = await an_order(pool), await an_order(pool)
        good = world.key(order)
        stranger = LinkSigner(["another-secret-of-32-characters-000"], 90).key_for(order, NOON)
        unknown = new_id()
        addresses = [
            f"/orders/{order}",
            f"/orders/{order}?key=",
            f"/orders/{order}?key=nonsense",
            f"/orders/{order}?key={good}x",
            f"/orders/{order}?key={good[:-1]}",
            f"/orders/{order}?key={'f' + good}",
            f"/orders/{order}?key={stranger}",
            f"/orders/{order}?key={world.key(other)}",
            f"/orders/{order}?key={world.key(order, NOON - timedelta(days=92))}",
            f"/orders/{order}?key=%ff%fe",
            f"/orders/{order}?key=%ed%a0%80.%ed%a0%80",
            f"/orders/{order}?key=é.é",
            f"/orders/{unknown}?key={world.key(unknown)}",
            f"/orders/{unknown}?key={good}",
            "/orders/1001?key=x",
            f"/orders/{order}/returns/{new_id()}/label.pdf?key={good}",
        ]
        answers = [await world.client.get(address) for address in addresses]
        bodies = {await answer.text() for answer in answers}
        assert [answer.status for answer in answers] == [404] * len(addresses)
        assert len(bodies) == 1
        assert len({tuple(sorted((name, value) for name, value in answer.headers.items() if name != "Date")) for answer in answers}) == 1

    async def test_an_order_of_which_only_later_events_came_is_not_shown_yet(self, world: World, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.shipped(order, new_id()))
        assert (await world.client.get(world.page_of(order))).status == 404

    async def test_a_key_is_good_until_it_expires(self) -> None:
        signer, order = LinkSigner([LINK_SECRET], 90), new_id()
        key = signer.key_for(order, NOON)
        assert signer.opens(key, order, NOON + timedelta(days=90))
        assert not signer.opens(key, order, NOON + timedelta(days=91))

    async def test_nobody_can_give_himself_more_time(self) -> None:
        signer, order = LinkSigner([LINK_SECRET], 90), new_id()
        expiry, signature = signer.key_for(order, NOON).split(".")
        assert not signer.opens(f"{int(expiry, 16) + 10**6:x}.{signature}", order, NOON)

    async def test_links_of_the_previous_secret_still_open_and_new_links_use_the_new_one(self) -> None:
        old, order = LinkSigner(["old-secret-old-secret-old-secret-00"], 90), new_id()
        rotated = LinkSigner([LINK_SECRET, *old.secrets], 90)
        assert rotated.opens(old.key_for(order, NOON), order, NOON)
        assert not old.opens(rotated.key_for(order, NOON), order, NOON)


class TestHeaders:
    async def test_every_page_forbids_scripts_frames_caches_and_leaks(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        for address in (world.page_of(order), f"/orders/{order}?key=wrong", "/console/login", "/docs"):
            headers = (await world.client.get(address)).headers
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "form-action 'self'" in policy
            assert "unsafe" not in policy
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "same-origin"
            assert headers["X-Frame-Options"] == "DENY"

    async def test_pages_hold_nothing_inline_and_nothing_from_elsewhere(self, world: World, pool: Pool) -> None:
        order = await a_shipped_order(pool)
        for address in (world.page_of(order), "/console/login", "/docs"):
            text = await (await world.client.get(address)).text()
            assert "<script" not in text
            assert "style=" not in text
            assert "<style" not in text
            assert not re.search(r'\son\w+="', text)
            assert not re.search(r'(?:src|<link[^>]*href)="(?:https?:)?//', text)

    async def test_the_static_files_are_served_and_may_be_kept(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        text = await (await world.client.get(world.page_of(order))).text()
        for name, content_type in (("portal.css", "text/css"), ("mark.svg", "image/svg+xml")):
            found = re.search(rf'href="(/static/{re.escape(name)}\?v=\w+)"', text)
            assert found is not None
            answer = await world.client.get(found.group(1))
            assert (answer.status, answer.content_type) == (200, content_type)
            assert "immutable" in answer.headers["Cache-Control"]


class TestWhatItShows:
    async def test_what_customers_wrote_is_shown_as_text(self, world: World, pool: Pool) -> None:
        hostile = line(title="<img src=x onerror=alert(1)>")
        order = await an_order(pool, lines=[hostile], external_id="<b>1</b>")
        text = await (await world.client.get(world.page_of(order))).text()
        assert "<img" not in text
        assert "<b>1" not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text

    async def test_a_parcel_with_its_tracking_link(self, world: World, pool: Pool) -> None:
        order = await a_shipped_order(pool)
        text = await (await world.client.get(world.page_of(order))).text()
        assert 'href="https://www.ups.com/track?tracknum=1Z' in text
        assert "Everything has arrived" in text

    async def test_the_date_of_what_is_waiting(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        await happened(pool, stories.backordered(order, 1, ship_at=NOON + timedelta(days=9)))
        assert "expected to ship 2 December 2026" in await (await world.client.get(world.page_of(order))).text()

    @pytest.mark.parametrize(
        "answer", ["You+won+a+prize", "cancelled", "cancelled&seal=x", "cancelled&seal=%ed%a0%80", "delay_refused_too_late"]
    )
    async def test_an_answer_that_is_not_ours_says_nothing(self, world: World, pool: Pool, answer: str) -> None:
        page = await world.client.get(f"{world.page_of(await a_shipped_order(pool))}&answer={answer}")
        text = await page.text()
        assert page.status == 200
        assert 'class="notice' not in text
        assert "prize" not in text

    async def test_an_answer_of_long_ago_says_nothing_that_the_order_does_not_bear_out(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.replies_with("done", stories.cancel_rejected(order, "fulfillment_started"))
        address = (await send(world, order, "cancel")).headers["Location"]
        assert "It is too late to cancel" in await (await world.client.get(address)).text()
        parcel = new_id()
        await happened(pool, stories.shipped(order, parcel, minutes=20), stories.delivered(order, parcel, minutes=21))
        assert "too late to cancel</strong>" not in await (await world.client.get(address)).text()

    async def test_what_an_operator_asked_for_is_not_told_as_the_shoppers_wish(self, world: World, pool: Pool) -> None:
        order, kim = await an_order(pool), Actor(kind="support", name="kim")
        pending = stories.change_pending(order, new_id()).model_copy(update={"actor": kim})
        await happened(pool, stories.cancel_rejected(order, "fulfillment_started", actor=kim), pending)
        text = await (await world.client.get(world.page_of(order))).text()
        assert "Your cancellation" not in text
        assert "too late to cancel" not in text
        assert "whether your order can still be cancelled" in text


class TestCancelling:
    async def test_asks_routing_in_the_orders_own_trace_and_shows_its_yes_at_once(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.replies_with("done", stories.cancelled(order))
        answer = await send(world, order, "cancel", reason="takes_too_long")
        assert answer.status == 303
        assert "answer=cancelled" in answer.headers["Location"]
        envelope = world.routing.asked[0]
        command = OrderCancelRequested.model_validate(envelope["data"])
        assert (envelope["type"], envelope["subject"], envelope["id"]) == (
            "order.cancel_requested.v1",
            str(order),
            str(command.change_id),
        )
        assert envelope["traceparent"][3:35] == TRACE
        assert (command.order_id, command.actor.kind, command.reason) == (order, "shopper", "takes_too_long")
        text = await (await world.client.get(answer.headers["Location"])).text()
        assert "Your order is cancelled" in text
        assert "Nothing of this order will ship" in text
        assert "Cancel this order" not in text

    async def test_the_event_that_follows_by_the_broker_changes_nothing_more(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        cancelled = stories.cancelled(order)
        world.routing.replies_with("done", cancelled)
        await send(world, order, "cancel")
        await happened(pool, cancelled)
        assert await pool.fetchval("SELECT count(*) FROM timeline WHERE type = 'order.cancelled.v1'") == 1
        assert await pool.fetchval("SELECT count(*) FROM notifications WHERE kind = 'cancelled'") == 1

    async def test_shows_that_the_warehouse_is_asked(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.replies_with("done", stories.change_pending(order, new_id()))
        answer = await send(world, order, "cancel")
        text = await (await world.client.get(answer.headers["Location"])).text()
        assert "We have asked the warehouse to stop" in text
        assert "Cancel this order" not in text

    async def test_a_packed_parcel_is_asked_to_be_held_back_and_the_page_says_what_follows(self, world: World, pool: Pool) -> None:
        order, parcel = await an_order(pool), new_id()
        await happened(pool, stories.started(order, parcel))
        assert "we ask it to hold back what has not left" in await (await world.client.get(world.page_of(order))).text()
        await happened(pool, stories.change_pending(order, new_id()), stories.interception(order, parcel, "requested"))
        text = await (await world.client.get(world.page_of(order))).text()
        assert "If the warehouse can hold it back, your money goes back" in text
        assert "We asked the warehouse to hold a parcel back" in text
        await happened(pool, stories.interception(order, parcel, "failed"))
        assert "You get a prepaid label to send it back" in await (await world.client.get(world.page_of(order))).text()

    async def test_shows_the_refusal_with_its_reason(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.replies_with("done", stories.cancel_rejected(order, "fulfillment_started"))
        answer = await send(world, order, "cancel")
        assert "It is too late to cancel" in await (await world.client.get(answer.headers["Location"])).text()

    async def test_a_second_tab_that_cancels_once_more_changes_nothing_of_what_is_shown(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        action, hidden = (await forms_of(world, order))["cancel"]
        world.routing.replies_with("done", stories.cancelled(order))
        await send(world, order, "cancel")
        world.routing.replies_with("done", stories.cancel_rejected(order, "already_cancelled"))
        answer = await world.client.post(action, data=hidden, allow_redirects=False)
        text = await (await world.client.get(answer.headers["Location"])).text()
        assert "Your order is already cancelled" in text
        assert "too late" not in text

    async def test_what_was_rolled_back_there_is_not_recorded_here(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.replies_with("deferred", stories.cancelled(order), http_status=409, reason="order has not arrived yet")
        answer = await send(world, order, "cancel")
        assert "answer=try_again" in answer.headers["Location"]
        assert await pool.fetchval("SELECT count(*) FROM timeline WHERE type = 'order.cancelled.v1'") == 0

    async def test_says_so_when_routing_is_away(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.away = True
        answer = await send(world, order, "cancel")
        assert "Please try again" in await (await world.client.get(answer.headers["Location"])).text()

    async def test_the_same_form_sent_twice_asks_under_one_id(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.replies_with("duplicate")
        action, hidden = (await forms_of(world, order))["cancel"]
        for _ in range(2):
            answer = await world.client.post(action, data=hidden, allow_redirects=False)
            assert "answer=already_done" in answer.headers["Location"]
        assert world.routing.asked[0]["id"] == world.routing.asked[1]["id"]

    async def test_a_started_order_offers_the_button_until_everything_has_shipped(self, world: World, pool: Pool) -> None:
        order, parcel = await an_order(pool), new_id()
        await happened(pool, stories.started(order, parcel))
        assert set(await forms_of(world, order)) == {"cancel", "change"}
        await happened(pool, stories.shipped(order, parcel))
        assert "cancel" not in await forms_of(world, order)


class TestForgedForms:
    @pytest.mark.parametrize("change", [{"token": "x"}, {"token": ""}, {"request_id": "0199"}, {"token": "é"}])
    async def test_a_form_without_our_token_does_nothing(self, world: World, pool: Pool, change: dict[str, str]) -> None:
        order = await an_order(pool)
        action, hidden = (await forms_of(world, order))["cancel"]
        answer = await world.client.post(action, data={**hidden, **change}, allow_redirects=False)
        assert answer.status == 403
        assert world.routing.asked == []

    async def test_a_token_of_another_order_or_another_form_does_nothing(self, world: World, pool: Pool) -> None:
        order, other, arrived = await an_order(pool), await an_order(pool), await a_shipped_order(pool)
        action, _ = (await forms_of(world, order))["cancel"]
        for hidden in ((await forms_of(world, other))["cancel"][1], (await forms_of(world, arrived))["returns"][1]):
            assert (await world.client.post(action, data=hidden, allow_redirects=False)).status == 403
        assert world.routing.asked == []

    @pytest.mark.parametrize(
        "headers",
        [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
    )
    async def test_a_form_sent_from_elsewhere_does_nothing(self, world: World, pool: Pool, headers: dict[str, str]) -> None:
        order = await an_order(pool)
        action, hidden = (await forms_of(world, order))["cancel"]
        answer = await world.client.post(action, data=hidden, headers=headers, allow_redirects=False)
        assert answer.status == 403
        assert world.routing.asked == []

    async def test_a_form_sent_from_our_own_page_is_taken(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        world.routing.replies_with("done", stories.cancelled(order))
        action, hidden = (await forms_of(world, order))["cancel"]
        headers = {"Origin": "http://portal.test", "Sec-Fetch-Site": "same-origin"}
        assert (await world.client.post(action, data=hidden, headers=headers, allow_redirects=False)).status == 303

    async def test_without_a_key_a_form_is_a_404_even_with_its_token(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        action, hidden = (await forms_of(world, order))["cancel"]
        assert (await world.client.post(action.split("?")[0], data=hidden, allow_redirects=False)).status == 404
        assert world.routing.asked == []

    @pytest.mark.parametrize("content", [b"\xff\xfe=1&a=b", b"=" * 20_000, b"a=1&" * 6_000])
    async def test_a_hostile_body_is_only_a_bad_form(self, world: World, pool: Pool, content: bytes) -> None:
        order = await an_order(pool)
        action, _ = (await forms_of(world, order))["cancel"]
        for content_type in ("application/x-www-form-urlencoded; charset=utf-7", "multipart/form-data; boundary=x", "application/json"):
            answer = await world.client.post(action, data=content, headers={"Content-Type": content_type}, allow_redirects=False)
            assert answer.status == 403


class TestReturns:
    async def test_asks_the_returns_service_and_shows_the_label(self, world: World, pool: Pool) -> None:
        order = await a_shipped_order(pool)
        approved = stories.return_approved(order, new_id(), 2)
        world.returns.replies_with("done", approved)
        answer = await send(world, order, "returns", units_0="2", reason_0="defective")
        assert "answer=return_approved" in answer.headers["Location"]
        command = ReturnAuthorisationRequested.model_validate(world.returns.asked[0]["data"])
        assert [(item.line_id, item.quantity, item.reason) for item in command.lines] == [("1", 2, "defective")]
        text = await (await world.client.get(answer.headers["Location"])).text()
        assert "Your return is approved" in text
        assert approved.label_tracking_number in text

    async def test_the_label_comes_from_the_returns_service(self, world: World, pool: Pool) -> None:
        order, return_id = await a_shipped_order(pool), new_id()
        await happened(pool, stories.return_approved(order, return_id))
        world.returns.shows(f"/returns/{return_id}/label.pdf", b"%PDF-1.4 label")
        address = f"/orders/{order}/returns/{return_id}/label.pdf?key={world.key(order)}"
        answer = await world.client.get(address)
        assert (answer.status, await answer.read(), answer.content_type) == (200, b"%PDF-1.4 label", "application/pdf")
        assert answer.headers["Cache-Control"] == "no-store"
        world.returns.away = True
        assert (await world.client.get(address)).status == 503

    async def test_the_label_of_another_order_is_a_404(self, world: World, pool: Pool) -> None:
        order, other, return_id = await a_shipped_order(pool), await a_shipped_order(pool), new_id()
        await happened(pool, stories.return_approved(other, return_id))
        world.returns.shows(f"/returns/{return_id}/label.pdf", b"%PDF-1.4 label")
        answer = await world.client.get(f"/orders/{order}/returns/{return_id}/label.pdf?key={world.key(order)}")
        assert answer.status == 404
        assert world.returns.paths == []

    async def test_a_declined_return_says_why(self, world: World, pool: Pool) -> None:
        order = await a_shipped_order(pool)
        declined = ReturnDeclined(return_id=new_id(), order_id=order, reason="window_closed", detail="30 days are over")
        world.returns.replies_with("done", declined)
        answer = await send(world, order, "returns", units_0="1", reason_0="late")
        assert "The time for returns of these items is over" in await (await world.client.get(answer.headers["Location"])).text()

    @pytest.mark.parametrize("units", ["0", "", "4", "-1", "1.5", "abc", "٣", "99999999999999999999"])
    async def test_units_that_make_no_sense_are_not_asked_for_and_said_beside_the_field(self, world: World, pool: Pool, units: str) -> None:
        order = await a_shipped_order(pool)
        answer = await send(world, order, "returns", units_0=units, reason_0="late")
        text = await answer.text()
        assert answer.status == 422
        assert ('id="wrong-units"' if units in ("0", "") else 'id="wrong-units-0" role="alert">Choose a whole number from 0 to 3.') in text
        assert 'value="late" selected' in text, "what was filled in stays"
        assert world.returns.asked == []

    async def test_the_form_says_until_when_what_may_come_back_and_when_the_money_comes(self, world: World, pool: Pool) -> None:
        order = await a_shipped_order(pool)
        told = {"line_id": "1", "returnable_units": 2, "window_closes_at": "2026-12-23T12:00:00+00:00"}
        world.returns.shows(f"/orders/{order}/returnable", {"lines": [told]})
        text = await (await world.client.get(world.page_of(order))).text()
        for words in (
            "by 23 December 2026",
            "of 2<",
            "we have looked at it, we send the money back the way you paid",
            "shipping is not refunded",
        ):
            assert words in text
        told |= {"returnable_units": 0, "window_closes_at": None}
        text = await (await world.client.get(world.page_of(order))).text()
        assert "the time for returns is over" in text
        assert 'name="units_0"' not in text
        world.returns.away = True
        assert "of 3<" in await (await world.client.get(world.page_of(order))).text(), "what was shipped, while nobody says more"

    async def test_a_line_of_another_order_cannot_be_smuggled_in(self, world: World, pool: Pool) -> None:
        order = await a_shipped_order(pool)
        world.returns.replies_with("done", stories.return_approved(order, new_id()))
        await send(
            world, order, "returns", units_0="1", reason_0="late", units_7="5", line_id="9", order_id=str(new_id()), refund_cents="1"
        )
        command = ReturnAuthorisationRequested.model_validate(world.returns.asked[0]["data"])
        assert (command.order_id, len(command.lines)) == (order, 1)


async def a_delayed_order(pool: Pool, consent: str = "required", **more: Any) -> tuple[UUID, UUID]:
    """An order of which one unit waits, and what its customer is asked."""
    order, question = await an_order(pool), new_id()
    await happened(
        pool,
        stories.reserved(order, 1),
        stories.backordered(order, 1, ship_at=NOON + timedelta(days=2)),
        stories.delayed(order, consent, consent_id=question, **more),
    )
    return order, question


class TestDelays:
    async def test_the_question_has_two_buttons_that_need_no_script_and_names_its_deadline(self, world: World, pool: Pool) -> None:
        order, question = await a_delayed_order(pool)
        text = await (await world.client.get(world.page_of(order))).text()
        for words in ("Do you want to wait?", "we do not know yet when it will ship", "26 Nov 2026, 12:00 UTC", str(question)):
            assert words in text
        assert re.findall(r'<button type="submit" name="answer" value="(\w+)"', text) == ["yes", "no"]
        assert "We asked whether you want to wait" in text, "the history says so"

    @pytest.mark.parametrize(("word", "outcome", "code"), [("yes", "consented", "delay_agreed"), ("no", "refused", "delay_called_off")])
    async def test_an_answer_goes_to_routing_in_the_orders_own_trace_and_is_shown_at_once(
        self, world: World, pool: Pool, word: str, outcome: str, code: str
    ) -> None:
        order, question = await a_delayed_order(pool)
        said: list[Any] = [stories.delay_settled(order, question, outcome)]
        said += [stories.cancelled(order)] if word == "no" else []
        world.routing.replies_with("done", *said)
        sent = await send(world, order, "delay", answer=word, consent_id=str(question))
        assert (sent.status, f"answer={code}" in sent.headers["Location"]) == (303, True)
        envelope = world.routing.asked[0]
        command = OrderDelayAnswered.model_validate(envelope["data"])
        assert (command.order_id, command.consent_id, command.answer, command.actor.kind) == (order, question, word, "shopper")
        assert command.answered_at == NOON
        assert envelope["traceparent"][3:35] == TRACE
        text = await (await world.client.get(sent.headers["Location"])).text()
        assert ("You agreed to wait" if word == "yes" else "Nothing of this order will ship") in text
        assert 'value="yes"' not in text

    async def test_who_need_not_answer_may_still_call_off_and_so_may_who_has_agreed(self, world: World, pool: Pool) -> None:
        silent, _ = await a_delayed_order(pool, "silence", new=NOON + timedelta(days=9))
        text = await (await world.client.get(world.page_of(silent))).text()
        assert "You need not do anything" in text
        agreed, question = await a_delayed_order(pool)
        await happened(pool, stories.delay_settled(agreed, question, "consented"))
        again = await (await world.client.get(world.page_of(agreed))).text()
        assert "You agreed to wait" in again
        for page in (text, again):
            assert re.findall(r'<button type="submit" name="answer" value="(\w+)"', page) == ["no"]

    async def test_the_rest_of_a_partly_shipped_order_can_be_called_off(self, world: World, pool: Pool) -> None:
        order, question = await a_delayed_order(pool, "silence", new=NOON + timedelta(days=9))
        await happened(pool, stories.shipped(order, new_id(), [stories.units(quantity=1)]))
        world.routing.replies_with("done", stories.delay_settled(order, question, "refused"), stories.change_pending(order, question))
        sent = await send(world, order, "delay", answer="no", consent_id=str(question))
        assert "What it has started ships first" in await (await world.client.get(sent.headers["Location"])).text()

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("too_late", "The time to answer is over"),
            ("replaced", "The date has changed again"),
            ("unknown_question", "could not take your"),
        ],
    )
    async def test_an_answer_that_decides_nothing_says_why(self, world: World, pool: Pool, reason: str, words: str) -> None:
        order, question = await a_delayed_order(pool)
        rejected = OrderDelayAnswerRejected.model_validate({"order_id": order, "consent_id": question, "reason": reason, "detail": "no"})
        world.routing.replies_with("done", rejected, http_status=409)
        sent = await send(world, order, "delay", answer="yes", consent_id=str(question))
        assert words in await (await world.client.get(sent.headers["Location"])).text()

    async def test_a_button_pressed_twice_asks_under_one_id_and_the_other_button_under_another(self, world: World, pool: Pool) -> None:
        order, question = await a_delayed_order(pool)
        world.routing.replies_with("duplicate")
        action, hidden = (await forms_of(world, order))["delay"]
        for word in ("yes", "yes", "no"):
            await world.client.post(action, data={**hidden, "consent_id": str(question), "answer": word}, allow_redirects=False)
        ids = [asked["id"] for asked in world.routing.asked]
        assert ids[0] == ids[1] != ids[2]

    @pytest.mark.parametrize("fields", [{"answer": "maybe"}, {"answer": "yes", "consent_id": "x"}, {}])
    async def test_an_answer_that_makes_no_sense_is_not_asked(self, world: World, pool: Pool, fields: dict[str, str]) -> None:
        order, _ = await a_delayed_order(pool)
        assert (await send(world, order, "delay", **fields)).status == 403
        assert world.routing.asked == []

    async def test_a_question_that_has_ended_offers_no_buttons(self, world: World, pool: Pool) -> None:
        order, question = await a_delayed_order(pool)
        await happened(pool, stories.delay_settled(order, question, "not_needed"))
        assert "delay" not in await forms_of(world, order)


class TestChanging:
    async def test_a_shopper_sees_what_changes_before_it_is_made_and_is_told_when_it_is_too_late(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        path = f"/orders/{order}/edit/preview"
        paid = {"shipping_paid_before_cents": 495, "shipping_paid_after_cents": 495}
        world.routing.shows(path, stories.preview(order) | paid, method="POST")
        wish = {"units 1": "1", "address_city": "Sparks"}
        shown = await send(world, order, "change", **wish, version="1", step="preview")
        page = await shown.text()
        assert (shown.status, "What would change" in page, "Goes back the way it was paid" in page) == (200, True, True)
        assert 'value="Sparks"' in page, "what was filled in stays"
        assert "<dt>Total with tax and shipping now</dt><dd>$24.95</dd>" in page, "as in the table above it"
        assert "<dt>After the change</dt><dd>$14.95</dd>" in page
        asked = [question["request"] for question in world.routing.asked if "request" in question]
        assert (asked[0]["ship_to"]["city"], asked[0]["actor"]["kind"], asked[0]["expected_order_version"]) == ("Sparks", "shopper", 1)
        assert [line["quantity"] for line in asked[0]["line_changes"]] == [1]
        assert "as things stand by 5 January 2026" in page
        world.routing.replies_with("done", stories.edited(order, 2, [line(quantity=1)]))
        unseen = await (await press(world, page, "make", **{**wish, "address_city": "Fernley"})).text()
        assert ("Please look once more" in unseen, sent_to(world.routing)) == (True, []), "only what was shown is made"
        made = await press(world, page, "make", **wish)
        assert "Your order is changed" in await (await world.client.get(made.headers["Location"])).text()
        too_late = {"reason": "fulfillment_started", "detail": "reno has started"}
        world.routing.shows(path, stories.preview(order, too_late), method="POST")
        refused = await (await send(world, order, "change", **{**wish, "units 1": "2", "version": "2"}, step="preview")).text()
        assert "It is too late for this change" in refused
        assert "Make this change" not in refused
        nowhere = {"reason": "invalid", "detail": "ship_to.postal_code: '00000' is on no map of US here; correct it"}
        world.routing.shows(path, stories.preview(order, nowhere), method="POST")
        answer = await send(world, order, "change", **{**wish, "address_postal_code": "00000", "version": "2"}, step="preview")
        marked = await answer.text()
        assert (answer.status, "please look at what is marked" in marked, "Make this change" in marked) == (422, True, False)
        assert 'value="00000" aria-invalid="true"' in marked
        assert "Please check this: we do not know this postal code." in marked

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({}, "Nothing is different yet"),
            ({"units 1": "many"}, "Choose a whole number"),
            ({"address_country": "Nevada"}, "as it stands on a parcel"),
            ({"units 1": "1"}, "Please look at the order as it stands now"),
            ({"units 9": "1", "version": "1"}, "not in the order, or not any more"),
            ({"add_sku": "MUG-RED", "version": "1"}, "Nothing can be added to this order here"),
        ],
    )
    async def test_what_cannot_be_read_is_marked_and_asks_nobody(
        self, world: World, pool: Pool, fields: dict[str, str], words: str
    ) -> None:
        order = await an_order(pool)
        answer = await send(world, order, "change", **fields, step="make")
        assert (answer.status, words in await answer.text(), world.routing.asked) == (422, True, [])

    async def test_a_shop_that_does_not_allow_it_offers_no_form(self, world: World, pool: Pool) -> None:
        order = await an_order(pool)
        action, hidden = (await forms_of(world, order))["change"]
        object.__setattr__(world.settings, "shopper_changes", False)
        assert "change" not in await forms_of(world, order)
        answer = await world.client.post(action, data={**hidden, "units 1": "1", "step": "make"}, allow_redirects=False)
        assert (answer.status, world.routing.asked) == (404, [])


def listed(sku: str, price: int = 1_500, **stock: Any) -> dict[str, Any]:
    """One row of what sync says a channel lists."""
    return {"sku": sku, "title": f"The {sku}", "unit_price_cents": price, "wanted_mode": None, "wanted_next_ship_at": None, **stock}


def sells(world: World, *rows: dict[str, Any]) -> None:
    """The order's channel lists these products, whatever is searched for."""
    world.sync.shows("/listings", {"channel": "shop", "listings": list(rows), "next_after": None})
    for row in rows:
        known = {"unit_weight_grams": 400, "hazmat": False, "components": []}
        world.sync.shows(f"/products/{row['sku']}", {**{name: row[name] for name in ("sku", "title", "unit_price_cents")}, **known})


@pytest.fixture
def generous(world: World) -> World:
    """A shop whose shoppers may add and swap products."""
    object.__setattr__(world.settings, "shopper_changes", "lines")
    object.__setattr__(world.settings, "catalogue_currency", "USD")
    return world


class TestAddingAndSwapping:
    async def test_a_line_is_swapped_for_a_product_that_was_found_at_the_price_that_was_shown(self, generous: World, pool: Pool) -> None:
        order, world = await an_order(pool), generous
        page = await (await world.client.get(world.page_of(order))).text()
        sells(world, listed("MUG-RED", wanted_mode="backorder", wanted_next_ship_at="2026-12-01T00:00:00Z"), listed("GIFT", 0))
        found = await (await press(world, page, "preview", find="red  mug")).text()
        assert "GET /listings?channel=shop&search=red+mug&limit=9" in world.sync.paths
        assert ("The MUG-RED" in found, "$15.00" in found, "sold out: ships from 1 December 2026" in found) == (True, True, True)
        assert ("GIFT" in found, world.routing.asked) == (False, []), "what has no price is not for sale; a search changes nothing"
        wish = {"add_sku": "MUG-RED", "swap_line": "1", "units 1": "2", "add_units": "", "unit_price_cents": "1", "quantity": "9"}
        path, dearer = f"/orders/{order}/edit/preview", {"added": [{"sku": "MUG-RED", "units": 2}], "money_delta_cents": 500}
        world.routing.shows(path, stories.preview(order, {"reason": "payment_required", "detail": "500 more"}), method="POST")
        refused = await (await press(world, found, "preview", **wish)).text()
        assert ("This change costs more than you paid" in refused, "Make this change" in refused) == (True, False)
        world.routing.shows(path, {**stories.preview(order), **dearer}, method="POST")
        shown = await (await press(world, found, "preview", **wish)).text()
        assert ("Has to be paid first" in shown, "Of 2 more MUG-RED 0 can be had at once" in shown) == (True, True)
        question = world.routing.asked[-1]["request"]
        removed, added = question["line_changes"]
        assert (removed["line_id"], removed["quantity"], question["expected_order_version"]) == ("1", 0, 1)
        assert (added["sku"], added["quantity"], added["unit_price_cents"], added["line_id"]) == ("MUG-RED", 2, 1_500, None)
        sells(world, listed("MUG-RED", 1_600))
        again = await (await press(world, shown, "make", **wish)).text()
        assert ("Please look once more" in again, sent_to(world.routing)) == (True, []), "nobody pays a price that was not shown"
        typed = await (await press(world, again, "make", **wish, find="lamp")).text()
        assert ("Nothing is different" in typed, sent_to(world.routing)) == (False, []), "the Enter key in the search is no order"
        world.routing.replies_with("done", stories.payment_requested(order, UUID(int=0)))
        first = await press(world, again, "make", **wish)
        [made] = sent_to(world.routing)
        assert ([line["unit_price_cents"] for line in made["line_changes"][1:]], made["expected_order_version"]) == ([1_600], 1)
        assert "Your change waits for its payment" in await (await world.client.get(first.headers["Location"])).text()
        await happened(pool, stories.payment_requested(order, UUID(made["change_id"])))
        twice = await press(world, again, "make", **wish)
        assert ("answer=already_done" in twice.headers["Location"], len(sent_to(world.routing))) == (True, 1)

    async def test_what_is_not_sold_here_or_contradicts_itself_is_told_and_asks_nobody(self, generous: World, pool: Pool) -> None:
        order, world = await an_order(pool), generous
        sells(world, listed("MUG-RED"), listed("GIFT", 0))
        page = await (await world.client.get(world.page_of(order))).text()
        for fields, words in (
            ({"add_sku": "OTHER-CHANNELS"}, "does not sell that, or not any more"),
            ({"add_sku": "mug-red"}, "does not sell that, or not any more"),
            ({"add_sku": "GIFT"}, "does not sell that, or not any more"),
            ({"add_sku": "M" * 65}, "This is no SKU"),
            *(({"add_sku": "MUG-RED", "add_units": text}, "Choose a whole number of 1") for text in ("0", "-1", "1.5", "٣", "9999999")),
            ({"add_sku": "MUG-RED", "swap_line": "9"}, "not in the order, or not any more"),
            ({"add_sku": "MUG-BLUE", "swap_line": "1"}, "swapped for itself"),
            ({"add_sku": "MUG-RED", "swap_line": "1", "units 1": "1"}, "not both"),
            ({"add_sku": "MUG-RED", "swap_line": "1", "add_units": "5"}, "as many as you swap, 2"),
            ({"swap_line": "1"}, "Choose what you want instead"),
        ):
            for button in ("preview", "make"):
                answer = await press(world, page, button, **fields)
                assert (answer.status, words in await answer.text(), world.routing.asked) == (422, True, []), (fields, button)
        object.__setattr__(world.settings, "catalogue_currency", "EUR")
        answer = await press(world, page, "make", add_sku="MUG-RED")
        text = await answer.text()
        assert ("Nothing can be added" in text, 'name="find"' in text, world.routing.asked) == (True, False, [])

    async def test_a_search_that_finds_nothing_or_too_much_or_nobody_says_so(self, generous: World, pool: Pool) -> None:
        order, world = await an_order(pool), generous
        page = await (await world.client.get(world.page_of(order))).text()
        sells(world, *(listed(f"MUG-{number}") for number in range(9)))
        many = await (await press(world, page, "find", find="mug", **{"units 1": "7"})).text()
        assert (many.count('name="add_sku"'), "There are more: add a word" in many, 'value="7"' in many) == (9, True, True)
        sells(world)
        assert "Nothing found for “&lt;b&gt;”" in await (await press(world, page, "find", find="<b>")).text()
        assert "Type a word of its name" in await (await press(world, page, "find", find=" ")).text()
        world.sync.away = True
        assert "cannot look into the shop just now" in await (await press(world, page, "find", find="mug")).text()


def test_shoppers_add_products_only_where_the_currency_of_the_prices_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {"DATABASE_URL": "x", "AMQP_URL": "x", "OPERATOR_TOKEN": "x" * 16, "LINK_SECRET": "x" * 32, "SHOPPER_CHANGES": "Lines"}
    for name, value in needed.items():
        monkeypatch.setenv(f"ORDERMESH_{name}", value)
    with pytest.raises(BadConfiguration, match=r"ORDERMESH_CATALOGUE_CURRENCY: .*in which currency"):
        load_settings(PortalSettings)
    monkeypatch.setenv("ORDERMESH_CATALOGUE_CURRENCY", "USD")
    assert load_settings(PortalSettings).shopper_changes == "lines"
    for said, meant in (("false", False), ("0", False), ("yes", True)):
        monkeypatch.setenv("ORDERMESH_SHOPPER_CHANGES", said)
        assert load_settings(PortalSettings).shopper_changes is meant
    monkeypatch.setenv("ORDERMESH_SHOPPER_CHANGES", "products")
    with pytest.raises(BadConfiguration, match=r"ORDERMESH_SHOPPER_CHANGES: .*give true, false or lines"):
        load_settings(PortalSettings)

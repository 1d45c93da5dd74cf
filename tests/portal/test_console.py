"""The operators' console: signing in, finding, seeing across services, setting things going again."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientResponse

from services.portal.pages.rendering import FOLDER
from services.portal.pages.sessions import FAILED_LOGINS
from shared.contracts.envelope import new_id
from shared.contracts.orders import LineNotCancelled, LineUnits
from shared.contracts.stock import (
    ShortagePolicyRequested,
    ShortagePolicySet,
    StockAdjusted,
    StockAdjustmentRejected,
    StockAdjustmentRequested,
    StockCompensationRequested,
    StockFindingDecided,
    StockFindingDismissalRequested,
    StockFindingRefused,
)
from shared.database import Pool
from shared.telemetry import handling_span_id, service_number
from tests.portal import stories
from tests.portal.stories import NOON
from tests.portal.telling import happened
from tests.portal.test_api import parked_at_the_portal
from tests.portal.world import OPERATOR_TOKEN, World, build_world

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
async def fresh_memory() -> None:
    """No test remembers the wrong tokens of another."""
    FAILED_LOGINS.by_address.clear()


async def sign_in(world: World, token: str = OPERATOR_TOKEN, **headers: str) -> ClientResponse:
    """Sends the login form."""
    return await world.client.post("/console/login", data={"operator_token": token}, headers=headers, allow_redirects=False)


@pytest.fixture
async def console(world: World) -> World:
    """The world of an operator who is signed in."""
    assert (await sign_in(world)).status == 303
    return world


async def text_of(world: World, address: str, status: int = 200) -> str:
    """A page."""
    answer = await world.client.get(address, allow_redirects=False)
    assert answer.status == status
    return await answer.text()


def form_to(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the first form that goes to an address."""
    found = re.search(rf'<form[^>]*method="post" action="{re.escape(action)}"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert found is not None, action
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', found.group(1)))


class TestSigningIn:
    @pytest.mark.parametrize(
        "path",
        [
            "/console",
            "/console/orders/019d0000-0000-7000-8000-000000000001",
            "/console/parked",
            "/console/attention",
            "/console/stock",
            "/console/books",
            "/console/stock-prices",
        ],
    )
    async def test_without_a_session_every_page_asks_for_the_token(self, world: World, path: str) -> None:
        for cookie in ("", "ordermesh_console=", "ordermesh_console=guessed", "ordermesh_console=é"):
            answer = await world.client.get(path, headers={"Cookie": cookie.encode().decode("latin-1")}, allow_redirects=False)
            assert (answer.status, answer.headers["Location"]) == (303, "/console/login")

    async def test_whoever_comes_to_the_front_door_is_sent_to_the_console(self, world: World) -> None:
        answer = await world.client.get("/", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/console")

    async def test_the_token_starts_a_session_in_a_cookie_that_scripts_and_other_sites_never_see(self, world: World) -> None:
        answer = await sign_in(world)
        cookie = answer.headers["Set-Cookie"]
        assert (answer.status, answer.headers["Location"]) == (303, "/console")
        for part in ("ordermesh_console=", "HttpOnly", "SameSite=Strict", "Path=/"):
            assert part in cookie
        assert OPERATOR_TOKEN not in cookie
        assert "Orders" in await text_of(world, "/console")

    async def test_behind_https_the_cookie_is_secure_and_bound_to_the_host(self, pool: Pool) -> None:
        built, closers = await build_world(pool, public_base_url="https://shop.example")
        answer = await sign_in(built)
        assert answer.headers["Set-Cookie"].startswith("__Host-ordermesh_console=")
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "max-age" in answer.headers["Strict-Transport-Security"]
        for close in closers:
            await close()

    async def test_each_login_is_a_new_session_and_the_database_holds_only_hashes(self, world: World, pool: Pool) -> None:
        secrets = [(await sign_in(world)).cookies["ordermesh_console"].value for _ in range(2)]
        assert secrets[0] != secrets[1]
        kept = await pool.fetch("SELECT session_hash FROM console_sessions")
        assert len(kept) == 2
        assert not any(secret.encode() in row["session_hash"] for row in kept for secret in secrets)

    async def test_a_wrong_token_is_refused_and_guessing_is_slowed_down(self, world: World) -> None:
        statuses = [(await sign_in(world, token)).status for token in ("", "x", "é", "y", "z", "again", OPERATOR_TOKEN)]
        assert statuses == [401] * 5 + [429] * 2

    async def test_a_login_form_from_elsewhere_is_refused(self, world: World) -> None:
        assert (await sign_in(world, Origin="https://evil.example")).status == 403

    async def test_signing_out_ends_the_session_on_the_server(self, console: World, pool: Pool) -> None:
        hidden = form_to(await text_of(console, "/console"), "/console/logout")
        answer = await console.client.post("/console/logout", data=hidden, allow_redirects=False)
        assert answer.headers["Location"] == "/console/login"
        assert await pool.fetchval("SELECT count(*) FROM console_sessions") == 0

    async def test_a_forged_sign_out_does_nothing(self, console: World, pool: Pool) -> None:
        await console.client.post("/console/logout", data={"token": "x"}, allow_redirects=False)
        assert await pool.fetchval("SELECT count(*) FROM console_sessions") == 1

    async def test_a_session_ends_by_itself(self, console: World, pool: Pool) -> None:
        await pool.execute("UPDATE console_sessions SET expires_at = $1", NOON)
        assert (await console.client.get("/console", allow_redirects=False)).status == 303


class TestFindingOrders:
    async def test_lists_the_newest_and_finds_by_number(self, console: World, pool: Pool) -> None:
        one, two = new_id(), new_id()
        await happened(pool, stories.placed(one), stories.placed(two, external_id="#2002"), stories.shipped(two, new_id()))
        page = await text_of(console, "/console")
        assert "#1001" in page
        assert "#2002" in page
        page = await text_of(console, "/console?query=%232002")
        assert "#1001" not in page
        assert "Shipped" in page
        assert "No order has" in await text_of(console, "/console?query=%3Cscript%3E")

    async def test_an_unknown_order_is_a_404(self, console: World) -> None:
        await text_of(console, f"/console/orders/{new_id()}", 404)
        await text_of(console, "/console/orders/1001", 404)


@pytest.fixture
async def told_order(console: World, pool: Pool) -> tuple[World, UUID]:
    """An order of which every service has something to say."""
    order, parcel = new_id(), new_id()
    traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
    await happened(pool, stories.placed(order), stories.reserved(order), stories.started(order, parcel), traceparent=traceparent)
    received_id, placed_id = new_id(), new_id()

    def said(event_id: UUID, message_type: str, cause: UUID, service: str) -> dict[str, Any]:
        span = handling_span_id(cause, service_number(service))
        return {
            "event_id": str(event_id),
            "type": message_type,
            "created_at": NOON.isoformat(),
            "sent_at": NOON.isoformat(),
            "traceparent": f"00-{TRACE}-{span}-01",
        }

    def heard(event_id: UUID, message_type: str, source: str, status: str = "done") -> dict[str, Any]:
        return {
            "event_id": str(event_id),
            "source": source,
            "type": message_type,
            "status": status,
            "attempts": 1,
            "reason": None,
            "received_at": NOON.isoformat(),
            "handled_at": (NOON + timedelta(milliseconds=42)).isoformat(),
        }

    reserved_id = new_id()
    console.sync.shows(
        "/operations/messages",
        {
            "service": "sync",
            "said": [said(placed_id, "order.placed.v1", received_id, "sync")],
            "heard": [heard(received_id, "channel.order_received.v1", "channel/shop")],
        },
    )
    console.allocation.shows(
        "/operations/messages",
        {
            "service": "allocation",
            "said": [said(reserved_id, "stock.reserved.v1", placed_id, "allocation")],
            "heard": [heard(placed_id, "order.placed.v1", "ordermesh/sync")],
        },
    )
    console.routing.shows(
        "/operations/messages",
        {
            "service": "routing",
            "said": [said(new_id(), "fulfillment.requested.v1", reserved_id, "routing") | {"partner": "3pl/west"}],
            "heard": [heard(reserved_id, "stock.reserved.v1", "ordermesh/allocation", "parked")],
        },
    )
    console.routing.shows(
        "/operations/parked",
        {
            "counts": {"parked": 1, "retry": 3},
            "messages": [
                {
                    "event_id": str(reserved_id),
                    "source": "ordermesh/allocation",
                    "type": "stock.reserved.v1",
                    "subject": str(order),
                    "attempts": 2,
                    "reason": "location 'mars' is unknown",
                    "received_at": NOON.isoformat(),
                    "body": '{"lines": "<b>"}',
                }
            ],
        },
    )
    return console, order


class TestAnOrderAcrossServices:
    async def test_shows_timeline_trace_stock_and_parked_messages(self, told_order: tuple[World, UUID]) -> None:
        console, order = told_order
        console.allocation.shows(
            f"/orders/{order}/stock",
            {
                "lines": [
                    {
                        "sku": "MUG-BLUE",
                        "ordered_units": 2,
                        "queued_units": 0,
                        "reserved_units": 2,
                        "assigned_units": 2,
                        "shipped_units": 0,
                        "cancelled_units": 0,
                        "units_ahead": None,
                    }
                ],
                "assignments": [
                    {
                        "sku": "MUG-BLUE",
                        "location": "reno-west",
                        "planned_units": 2,
                        "open_units": 2,
                        "shipped_units": 0,
                        "taken_back_units": 0,
                    }
                ],
            },
        )
        page = await text_of(console, f"/console/orders/{order}")
        for words in (
            TRACE,
            "reno-west",
            "Warehouse started",
            "location &#39;mars&#39; is unknown",
            "42 ms",
            "In fulfillment",
            "Confirmation",
            '<span class="pill">3pl/west</span>',
        ):
            assert words in page
        depths = re.findall(r'depth-(\d)">(?:<span[^>]*>└ </span>)?([a-z_.0-9]+)<', page)
        assert depths == [
            ("0", "channel.order_received.v1"),
            ("1", "order.placed.v1"),
            ("2", "stock.reserved.v1"),
            ("3", "fulfillment.requested.v1"),
        ]

    async def test_shows_returns_and_refunds(self, console: World, pool: Pool) -> None:
        order, return_id = new_id(), new_id()
        await happened(
            pool,
            stories.placed(order),
            stories.shipped(order, new_id()),
            stories.return_approved(order, return_id),
            stories.refund_succeeded(order, new_id()),
        )
        page = await text_of(console, f"/console/orders/{order}")
        for words in (str(return_id), "Approved", "Refund of $13.00", "Succeeded"):
            assert words in page

    async def test_a_service_that_is_away_is_named_and_the_rest_is_shown(self, told_order: tuple[World, UUID]) -> None:
        console, order = told_order
        console.routing.away = True
        page = await text_of(console, f"/console/orders/{order}")
        assert "No answer from routing" in page
        assert "order.placed.v1" in page

    async def test_cancels_an_order_and_says_what_came_of_it(self, told_order: tuple[World, UUID], pool: Pool) -> None:
        console, _ = told_order
        order = new_id()
        await happened(pool, stories.placed(order))
        console.routing.replies_with("done", stories.cancelled(order))
        page = await text_of(console, f"/console/orders/{order}")
        hidden = form_to(page, f"/console/orders/{order}/cancel")
        answer = await console.client.post(f"/console/orders/{order}/cancel", data={**hidden, "reason": "fraud"}, allow_redirects=False)
        assert answer.status == 303
        assert console.routing.asked[0]["data"]["reason"] == "fraud"
        assert console.routing.asked[0]["data"]["actor"]["kind"] == "support"
        assert "The order is cancelled." in await text_of(console, answer.headers["Location"])

    async def test_answers_about_a_delay_for_the_customer(self, console: World, pool: Pool) -> None:
        order, question = new_id(), new_id()
        await happened(pool, stories.placed(order), stories.backordered(order, 1), stories.delayed(order, consent_id=question))
        page = await text_of(console, f"/console/orders/{order}")
        assert "The customer is asked to agree to a wait without a date by 2026-11-26 12:00:00 UTC" in page
        address = f"/console/orders/{order}/delay"
        hidden = form_to(page, address)
        console.routing.replies_with("done", stories.delay_settled(order, question, "consented"))
        answer = await console.client.post(address, data={**hidden, "answer": "yes"}, allow_redirects=False)
        assert "The customer&#39;s answer is taken: consented." in await text_of(console, answer.headers["Location"])
        command = console.routing.asked[0]["data"]
        assert (command["consent_id"], command["answer"], command["actor"]["kind"]) == (str(question), "yes", "support")
        for fields in ({"answer": "yes"}, {**hidden, "answer": "perhaps"}):
            assert (await console.client.post(address, data=fields, allow_redirects=False)).status == 403
        assert len(console.routing.asked) == 1

    async def test_cancels_the_units_that_are_filled_in_and_says_which_could_not_be_stopped(
        self, told_order: tuple[World, UUID], pool: Pool
    ) -> None:
        console, order = told_order
        missed = LineNotCancelled(line_id="2", sku="CAP", quantity=1, reason="fulfillment_started", detail="reno has started with line 2")
        units = [LineUnits(line_id="1", sku="MUG", quantity=1)]
        edited = stories.edited(order, 2, stories.placed(order).lines)
        console.routing.replies_with("done", edited.model_copy(update={"cancelled": units, "not_cancelled": [missed]}))
        action = f"/console/orders/{order}/cancel-lines"
        hidden = form_to(await text_of(console, f"/console/orders/{order}"), action)
        for units_1, words in (("0", "Nothing was cancelled"), ("-1", "Line 1: &#39;-1&#39; is no whole number of units")):
            nothing = await console.client.post(action, data={**hidden, "units 1": units_1, "reason": "x"}, allow_redirects=False)
            assert words in await text_of(console, nothing.headers["Location"])
        assert console.routing.asked == []
        answer = await console.client.post(action, data={**hidden, "units 1": "1", "units 2": "1", "reason": "x"}, allow_redirects=False)
        assert [(line["line_id"], line["quantity"]) for line in console.routing.asked[0]["data"]["lines"]] == [("1", 1), ("2", 1)]
        assert "1 units are cancelled; not line 2 (1): reno has started with line 2." in await text_of(console, answer.headers["Location"])

    async def test_a_change_is_shown_first_and_then_made_on_the_version_that_was_looked_at(
        self, told_order: tuple[World, UUID], pool: Pool
    ) -> None:
        console, order = told_order
        address = f"/console/orders/{order}/change"
        page = await text_of(console, address)
        assert address in await text_of(console, f"/console/orders/{order}")
        nothing = await console.client.post(address, data={**form_to(page, address), "step": "preview"})
        assert (nothing.status, "Nothing is different yet" in await nothing.text()) == (422, True)
        for name in ("service_level", "split_policy"):
            unknown = await console.client.post(address, data={**form_to(page, address), name: "zz", "step": "preview"})
            assert (unknown.status, f'name="{name}" aria-invalid="true"' in await unknown.text()) == (422, True)
        console.routing.shows(f"/orders/{order}/edit/preview", stories.preview(order), method="POST")
        wish = {"units 1": "1", "service_level": "next_day"}
        shown = await (await console.client.post(address, data={**form_to(page, address), **wish, "step": "preview"})).text()
        for words in ("What would change", "$10.00", "Shipping costs us", "Asked first: west"):
            assert words in shown
        assert [asked for asked in console.routing.asked if "data" in asked] == [], "nobody was asked to change anything"
        console.routing.replies_with("done", stories.edited(order, 2, stories.placed(order).lines))
        made = await console.client.post(address, data={**form_to(shown, address), **wish, "step": "make"}, allow_redirects=False)
        command = console.routing.asked[-1]["data"]
        assert (command["expected_order_version"], command["service_level"]) == (1, "next_day")
        assert [(line["line_id"], line["quantity"]) for line in command["line_changes"]] == [("1", 1)]
        assert "The order is changed." in await text_of(console, made.headers["Location"])

    async def test_a_forged_cancellation_does_nothing(self, console: World, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order))
        for fields in ({}, {"token": "x", "request_id": str(new_id())}):
            answer = await console.client.post(f"/console/orders/{order}/cancel", data=fields, allow_redirects=False)
            assert answer.status == 403
        assert console.routing.asked == []

    async def test_nobody_else_can_have_the_console_say_something(self, console: World) -> None:
        assert "your password" not in await text_of(console, "/console?notice=Enter+your+password&said=x")


class TestAddressesWithoutAPage:
    @pytest.mark.parametrize(
        "address", ["/console/stock/MUG%2FBLUE", "/console/nothing", "/console/parked/pluto/17", "/console/orders/17/x"]
    )
    async def test_are_answered_by_a_page_with_the_way_back(self, console: World, address: str) -> None:
        answer = await console.client.get(address)
        text = await answer.text()
        assert (answer.status, answer.content_type) == (404, "text/html")
        assert 'href="/console"' in text
        assert ('href="/console/stock?sku=MUG/BLUE"' in text) == ("MUG" in address)


def test_a_table_that_a_phone_shows_without_its_head_says_in_its_cells_what_they_are() -> None:
    pages = "".join(page.read_text() for page in (FOLDER / "templates" / "pages").glob("*.html"))
    stacked = dict(re.findall(r'aria-label="([^"]+)">\n<table class="stacked">(.*?)</table>', pages, re.DOTALL))
    assert stacked.keys() == {"Parked messages", "Messages that are tried again", "Dismissed messages", "Supplies", "Stock prices"}
    for table in stacked.values():
        assert set(re.findall(r'data-label="([^"]+)"', table)) <= set(re.findall(r"<th[^>]*>([^<]+)</th>", table))
        assert not re.search(r'<td class="number"(?! data-label)', table)


class TestParkedMessages:
    async def test_lists_those_of_all_services_and_sets_one_going(self, told_order: tuple[World, UUID]) -> None:
        console, _ = told_order
        page = await text_of(console, "/console/parked")
        assert "location &#39;mars&#39; is unknown" in page
        assert "&lt;b&gt;" in page
        found = re.search(r'action="(/console/parked/routing/([0-9a-f-]+)/redrive)"', page)
        assert found is not None
        console.routing.shows(f"/operations/parked/{found.group(2)}/redrive", {"status": "retry"}, method="POST", status=202)
        answer = await console.client.post(found.group(1), data=form_to(page, found.group(1)), allow_redirects=False)
        assert "tried again now" in await text_of(console, answer.headers["Location"])
        assert f"POST /operations/parked/{found.group(2)}/redrive" in console.routing.paths

    async def test_the_portals_own_parked_messages_are_among_them_and_can_be_redriven(self, console: World, pool: Pool) -> None:
        event = new_id()
        await pool.execute(
            "INSERT INTO inbox (event_id, source, type, status, attempts, reason, routing_key, body, received_at) "
            "VALUES ($1, 'ordermesh/sync', 'order.placed.v1', 'parked', 1, 'no lines', 'order.placed.v1', '{}', $2)",
            event,
            NOON,
        )
        page = await text_of(console, "/console/parked")
        assert "no lines" in page
        action = f"/console/parked/portal/{event}/redrive"
        await console.client.post(action, data=form_to(page, action), allow_redirects=False)
        assert await pool.fetchval("SELECT status FROM inbox WHERE event_id = $1", event) == "retry"

    async def test_shows_what_is_tried_again_with_its_last_error_and_next_try(self, told_order: tuple[World, UUID]) -> None:
        console, order = told_order
        event = new_id()
        waiting = {
            "event_id": str(event),
            "source": "3pl/acme",
            "type": "3pl.shipped.v1",
            "subject": str(order),
            "status": "retry",
            "attempts": 4,
            "due_at": NOON.isoformat(),
            "reason": "not known <here>",
            "received_at": NOON.isoformat(),
            "body": "{}",
        }
        console.routing.shows("/operations/parked?status=retry", {"counts": {"parked": 1, "retry": 3}, "messages": [waiting]})
        console.routing.shows(f"/operations/parked/{event}", {**waiting, "dismissals": []})
        for address in ("/console/parked", f"/console/orders/{order}"):
            page = await text_of(console, address)
            assert f'href="/console/parked/routing/{event}"' in page
            assert "not known &lt;here&gt;" in page
        page = await text_of(console, f"/console/parked/routing/{event}")
        assert "Next try" in page
        assert "/dismiss" not in page

    async def test_a_parked_message_is_dismissed_by_who_says_why(self, console: World, pool: Pool) -> None:
        event = await parked_at_the_portal(pool)
        address = f"/console/parked/portal/{event}"
        page = await text_of(console, address)
        hidden = form_to(page, f"{address}/dismiss")
        answer = await console.client.post(f"{address}/dismiss", data=hidden | {"reason": " "}, allow_redirects=False)
        assert "Nothing was changed" in await text_of(console, answer.headers["Location"])
        fields = {**hidden, "reason": "a test <of> the partner", "operator": "ada"}
        assert (await console.client.post(f"{address}/dismiss", data={**fields, "token": "x"}, allow_redirects=False)).status == 403
        answer = await console.client.post(f"{address}/dismiss", data=fields, allow_redirects=False)
        page = await text_of(console, answer.headers["Location"])
        assert "Nothing is parked." in page
        assert "a test &lt;of&gt; the partner" in page

    async def test_a_forged_redrive_does_nothing(self, console: World) -> None:
        answer = await console.client.post(f"/console/parked/routing/{new_id()}/redrive", data={"token": "x"}, allow_redirects=False)
        assert answer.status == 403
        assert not any("redrive" in path for path in console.routing.paths)

    async def test_a_service_that_is_away_is_named(self, console: World) -> None:
        console.returns.away = True
        assert "The returns service does not answer" in await text_of(console, "/console/parked")


STOCK = {
    "sku": "MUG/BLUE 1",
    "available_units": 7,
    "reserved_units": 3,
    "queued_units": 1,
    "on_hand_units": 10,
    "damaged_units": 0,
    "incoming_units": 5,
    "mode": "in_stock",
    "next_ship_at": None,
    "locations": [
        {
            "location": "reno",
            "on_hand_units": 10,
            "assigned_units": 2,
            "assignable_units": 8,
            "damaged_units": 0,
            "quality_control_units": 0,
            "counts": True,
            "counted_as_of": None,
        }
    ],
    "queue": [],
}


class TestStock:
    async def test_shows_a_sku_at_every_location_even_with_a_slash_in_its_name(self, console: World) -> None:
        console.allocation.shows("/stock/MUG/BLUE 1", STOCK)
        page = await text_of(console, "/console/stock?sku=MUG%2FBLUE+1")
        assert "GET /stock/MUG%2FBLUE%201" in console.allocation.paths
        assert "reno" in page
        assert "In stock" in page

    async def test_shows_what_is_held_kept_back_and_set_aside_and_the_rules_of_channels(self, console: World) -> None:
        rule = {"channel": "outlet", "fence_units": 4, "cap_units": None, "share_percent": 30, "open_units": 1, "available_units": 17}
        kept = {"held_units": 61, "safety_units": 62, "fenced_units": 63, "channel_pools": [rule]}
        console.allocation.shows("/stock/MUG/BLUE 1", {**STOCK, **kept})
        page = await text_of(console, "/console/stock?sku=MUG%2FBLUE+1")
        assert all(words in page for words in ("Held for shoppers", "61", "Kept back", "62", "Set aside for channels", "63"))
        assert all(words in page for words in ("outlet", "30%", "17"))

    async def test_sets_a_shelf_only_if_it_still_holds_what_was_shown(self, console: World) -> None:
        console.allocation.shows("/stock/MUG/BLUE 1", STOCK)
        hidden = form_to(await text_of(console, "/console/stock?sku=MUG%2FBLUE+1"), "/console/stock")
        console.allocation.replies_with(
            "done",
            StockAdjusted(adjustment_id=new_id(), sku="MUG/BLUE 1", location="reno", old_on_hand=10, new_on_hand=12, adjusted_at=NOON),
        )
        answer = await console.client.post(
            "/console/stock", data={**hidden, "new_on_hand": "12", "reason": "counted"}, allow_redirects=False
        )
        command = StockAdjustmentRequested.model_validate(console.allocation.asked[0]["data"])
        assert (command.sku, command.location, command.new_on_hand, command.expected_on_hand) == ("MUG/BLUE 1", "reno", 12, 10)
        assert "10 is now 12" in await text_of(console, answer.headers["Location"])

    async def test_says_when_the_shelf_has_changed(self, console: World) -> None:
        console.allocation.shows("/stock/MUG/BLUE 1", STOCK)
        hidden = form_to(await text_of(console, "/console/stock?sku=MUG%2FBLUE+1"), "/console/stock")
        refusal = StockAdjustmentRejected(
            detail="9 on hand, not 10", adjustment_id=new_id(), sku="MUG/BLUE 1", location="reno", reason="stale_expectation", on_hand=9
        )
        console.allocation.replies_with("done", refusal, http_status=409)
        answer = await console.client.post("/console/stock", data={**hidden, "new_on_hand": "12", "reason": "x"}, allow_redirects=False)
        assert "9 on hand, not 10" in await text_of(console, answer.headers["Location"])

    @pytest.mark.parametrize("units", ["", "-3", "many", "1.5", "9" * 30])
    async def test_a_number_that_makes_no_sense_changes_nothing(self, console: World, units: str) -> None:
        console.allocation.shows("/stock/MUG/BLUE 1", STOCK)
        hidden = form_to(await text_of(console, "/console/stock?sku=MUG%2FBLUE+1"), "/console/stock")
        answer = await console.client.post("/console/stock", data={**hidden, "new_on_hand": units, "reason": "x"}, allow_redirects=False)
        assert console.allocation.asked == []
        assert "Nothing was changed" in await text_of(console, answer.headers["Location"])

    async def test_sets_the_shortage_policy(self, console: World) -> None:
        console.allocation.shows("/stock", {"stock": [STOCK], "next_after": None})
        policies = ["newest_first", "lowest_priority_first", "wholesale_first"]
        console.allocation.shows("/shortage-policy", {"policy": "newest_first", "operator": "kim", "set_at": None, "policies": policies})
        page = await text_of(console, "/console/stock")
        assert "chosen by kim" in page
        hidden = form_to(page, "/console/shortage-policy")
        console.allocation.replies_with("done", ShortagePolicySet(change_id=new_id(), policy="wholesale_first", set_at=NOON))
        answer = await console.client.post("/console/shortage-policy", data={**hidden, "policy": "wholesale_first"}, allow_redirects=False)
        assert ShortagePolicyRequested.model_validate(console.allocation.asked[0]["data"]).policy == "wholesale_first"
        assert "policy is set" in await text_of(console, answer.headers["Location"])
        answer = await console.client.post("/console/shortage-policy", data={**hidden, "policy": "x"}, allow_redirects=False)
        assert "Nothing was changed" in await text_of(console, answer.headers["Location"])

    async def test_lists_all_skus_and_says_when_allocation_is_away(self, console: World) -> None:
        console.allocation.shows("/stock", {"stock": [STOCK], "next_after": "MUG/BLUE 1"})
        page = await text_of(console, "/console/stock")
        assert "/console/stock?sku=MUG/BLUE%201" in page
        assert "after=MUG/BLUE%201" in page
        console.allocation.away = True
        assert "does not answer" in await text_of(console, "/console/stock")


STOCK_PRICES = {
    "computed_at": NOON.isoformat(),
    "age_seconds": 3_700,
    "stale": True,
    "problem": "HiGHS <gave> up",
    "every_seconds": 3_600.0,
    "history_days": 28.0,
    "horizon_days": 14.0,
    "due_at": NOON.isoformat(),
    "skus": 9,
    "skus_together": 7,
    "fallback": "2 SKUs are priced each by itself",
    "prices": 300,
    "dearest": [{"sku": "MUG/BLUE 1", "location": "reno", "cents": 412}],
}


class TestStockPrices:
    async def test_shows_the_dearest_units_what_they_follow_from_and_why_they_may_not_count(self, console: World) -> None:
        console.routing.shows("/stock-prices", STOCK_PRICES)
        page = await text_of(console, "/console/stock-prices")
        for words in (
            '<td class="mono"><a href="/console/stock?sku=MUG/BLUE%201">MUG/BLUE 1</a></td><td data-label="Location">reno</td>',
            'data-label="Price in cents">412</td>',
            "2026-11-23 12:00:00",
            "1 h 1 min",
            "orders planned in the 28 days before",
            "14 days",
            "9, 7 of them in whole orders",
            "HiGHS &lt;gave&gt; up",
            "too old to be used",
            "1 of 300 prices",
        ):
            assert words in page
        assert "<script" not in page
        assert 'href="/console/stock-prices"' in await text_of(console, "/console/rules")

    async def test_finds_a_sku_and_says_when_nothing_is_dear_and_when_routing_is_away(self, console: World) -> None:
        console.routing.shows("/stock-prices", {**STOCK_PRICES, "dearest": [], "every_seconds": 0})
        page = await text_of(console, "/console/stock-prices?sku=+%3CMUG%3E+")
        assert console.routing.paths[-1] == "GET /stock-prices?sku=%3CMUG%3E"
        for words in ('value="&lt;MUG&gt;"', "No unit of this SKU has a price", "ORDERMESH_STOCK_PRICES_SECONDS"):
            assert words in page
        console.routing.shows("/stock-prices", {**STOCK_PRICES, "dearest": [], "computed_at": None})
        assert "No prices were made yet" in await text_of(console, "/console/stock-prices")
        console.routing.away = True
        assert "does not answer" in await text_of(console, "/console/stock-prices")


FINDING = {
    "finding_id": "01900000-0000-7000-8000-000000000001",
    "status": "open",
    "sku": "MUG/BLUE 1",
    "location": "reno",
    "order_id": "01900000-0000-7000-8000-000000000002",
    "line_id": "1",
    "fulfillment_id": None,
    "balance": "shelf.on_shelf",
    "found": 9,
    "expected": 10,
    "balances": [{"balance": "shelf on_shelf (reno)", "found": 9, "expected": 10}],
    "culprit": "changed_without_entry",
    "explanation": "The shelf says <9>.",
    "entry_id": None,
    "event_id": None,
    "event_type": None,
    "after_entry_id": "01900000-0000-7000-8000-000000000003",
    "after_at": NOON.isoformat(),
    "before_entry_id": None,
    "before_at": None,
    "mends": "balance",
    "compensation": [
        {"set": "shelf.on_shelf", "of": "shelf on_shelf (reno)", "to": 10, "location": "reno"},
        {"write": "received", "quantity": -2, "location": "reno", "order_id": None, "line_id": None},
    ],
    "found_at": NOON.isoformat(),
    "confirmed_at": NOON.isoformat(),
    "closed_at": None,
    "decision": None,
}
FINDINGS = {
    "findings": [FINDING],
    "next_after": None,
    "counts": {"open": 1, "applied": 0, "dismissed": 0, "vanished": 0},
    "progress": [{"duty": "stock", "looked_at": NOON.isoformat(), "cycles": 3, "skus_examined": 9}],
}
FINDING_ADDRESS = f"/console/books/{FINDING['finding_id']}"


class TestBooks:
    async def test_shows_what_is_wrong_what_broke_it_and_what_would_mend_it(self, console: World) -> None:
        console.allocation.shows("/findings", FINDINGS)
        page = await text_of(console, "/console/books")
        for words in (
            "MUG/BLUE 1",
            "at reno",
            "The shelf says &lt;9&gt;.",
            "9, should be 10",
            "Set <strong>shelf on_shelf (reno)</strong> to 10",
        ):
            assert words in page
        assert "Write <strong>Received -2</strong>" in page
        assert f'title="{FINDING["after_entry_id"]}"' in page
        assert "<script" not in page

    async def test_applies_with_a_reason_if_the_figure_is_still_the_one_shown(self, console: World) -> None:
        console.allocation.shows("/findings", FINDINGS)
        hidden = form_to(await text_of(console, "/console/books"), FINDING_ADDRESS)
        decided = StockFindingDecided(
            decision_id=new_id(), finding_id=UUID(str(FINDING["finding_id"])), sku="MUG/BLUE 1", status="applied", decided_at=NOON
        )
        console.allocation.replies_with("done", decided)
        fields = {**hidden, "decision": "apply", "reason": "counted"}
        answer = await console.client.post(FINDING_ADDRESS, data=fields, allow_redirects=False)
        command = StockCompensationRequested.model_validate(console.allocation.asked[0]["data"])
        assert (str(command.finding_id), command.expected_found, command.reason) == (FINDING["finding_id"], 9, "counted")
        assert "the books are mended" in await text_of(console, answer.headers["Location"])
        await console.client.post(FINDING_ADDRESS, data=fields, allow_redirects=False)
        assert console.allocation.asked[0]["data"]["decision_id"] == console.allocation.asked[1]["data"]["decision_id"]

    async def test_says_why_a_decision_was_refused(self, console: World) -> None:
        console.allocation.shows("/findings", FINDINGS)
        hidden = form_to(await text_of(console, "/console/books"), FINDING_ADDRESS)
        refusal = StockFindingRefused(detail="8 now", decision_id=new_id(), finding_id=new_id(), reason="stale_expectation")
        console.allocation.replies_with("done", refusal, http_status=409)
        fields = {**hidden, "decision": "dismiss", "reason": "known"}
        answer = await console.client.post(FINDING_ADDRESS, data=fields, allow_redirects=False)
        assert console.allocation.asked[0]["type"] == StockFindingDismissalRequested.type
        assert "8 now" in await text_of(console, answer.headers["Location"])

    @pytest.mark.parametrize(("field", "value"), [("reason", " "), ("expected_found", "many"), ("expected_found", "9" * 30)])
    async def test_a_decision_that_makes_no_sense_changes_nothing(self, console: World, field: str, value: str) -> None:
        console.allocation.shows("/findings", FINDINGS)
        hidden = form_to(await text_of(console, "/console/books"), FINDING_ADDRESS)
        fields = {**hidden, "decision": "apply", "reason": "x", field: value}
        answer = await console.client.post(FINDING_ADDRESS, data=fields, allow_redirects=False)
        assert console.allocation.asked == []
        assert "Nothing was changed" in await text_of(console, answer.headers["Location"])

    async def test_a_forged_decision_does_nothing(self, console: World) -> None:
        for fields in ({}, {"token": "x", "request_id": str(new_id()), "decision": "apply", "expected_found": "9", "reason": "x"}):
            answer = await console.client.post(FINDING_ADDRESS, data=fields, allow_redirects=False)
            assert answer.status == 403
        assert console.allocation.asked == []

    async def test_says_when_allocation_is_away_and_when_all_is_well(self, console: World) -> None:
        console.allocation.shows("/findings", {**FINDINGS, "findings": []})
        assert "All balances are right" in await text_of(console, "/console/books")
        console.allocation.away = True
        assert "does not answer" in await text_of(console, "/console/books")


class TestWhatNeedsAPerson:
    async def test_lists_orders_and_refunds_and_has_them_tried_again(self, console: World) -> None:
        order, refund = new_id(), new_id()
        console.routing.shows(
            "/attention",
            {
                "orders": [
                    {
                        "order_id": str(order),
                        "channel": "shop",
                        "external_id": "#1001",
                        "status": "placed",
                        "attention_reason": "no_location_can_ship",
                        "attention_detail": "reno is <closed>",
                        "attention_due_at": NOON.isoformat(),
                    }
                ]
            },
        )
        failed = {"refund_id": str(refund), "order_id": str(order), "amount_cents": 1300, "currency": "USD", "cause": "returned"}
        console.returns.shows("/refunds", {"refunds": [failed]})
        page = await text_of(console, "/console/attention")
        for words in ("No location can ship", "reno is &lt;closed&gt;", "$13.00"):
            assert words in page
        console.routing.shows(f"/orders/{order}/retry", {"status": "placed"}, method="POST")
        action = f"/console/orders/{order}/retry"
        answer = await console.client.post(action, data=form_to(page, action), allow_redirects=False)
        assert "The order is planned again." in await text_of(console, answer.headers["Location"])
        refusal = {"error": {"code": "not_failed", "message": "the refund is sent", "problems": []}}
        console.returns.shows(f"/refunds/{refund}/retry", refusal, method="POST", status=409)
        action = f"/console/refunds/{refund}/retry"
        answer = await console.client.post(action, data=form_to(page, action), allow_redirects=False)
        assert "Not done: the refund is sent" in await text_of(console, answer.headers["Location"])

    async def test_forged_retries_do_nothing(self, console: World) -> None:
        for action in (f"/console/orders/{new_id()}/retry", f"/console/refunds/{new_id()}/retry"):
            assert (await console.client.post(action, data={"token": "x"}, allow_redirects=False)).status == 403
        assert not any("retry" in path for neighbour in console.neighbours.values() for path in neighbour.paths)

    async def test_owners_that_are_away_are_named(self, console: World) -> None:
        console.routing.away = console.returns.away = True
        assert (await text_of(console, "/console/attention")).count("The owning service does not answer") == 2

    async def test_shows_the_routing_decision_with_its_candidates(self, told_order: tuple[World, UUID]) -> None:
        console, order = told_order
        record = {
            "objective": "cheapest",
            "cost_cents": 742,
            "chosen": [["reno", "ground", 742, {"1": 2}]],
            "candidates": [["reno", 3, 421, 742], ["dallas", 6, 1630, "too late"]],
            "excluded": [["newark", 8, 2435, "excluded for this order"]],
        }
        console.routing.shows(
            f"/orders/{order}",
            {
                "status": "in_fulfillment",
                "fulfillments": [{"location": "reno", "partner": "west", "state": "accepted", "shipping_cost_cents": 742, "lines": None}],
                "decisions": [{"decided_at": NOON.isoformat(), "record": record, "in_words": "Reno, not Newark: 1 parcel for 7.42"}],
            },
        )
        page = await text_of(console, f"/console/orders/{order}")
        for words in ("west", "$7.42", "Chosen", "too late", "excluded for this order", "1630", "Reno, not Newark: 1 parcel for 7.42."):
            assert words in page

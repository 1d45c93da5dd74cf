"""Feeds and counts as operators see and decide them: over the API, and in the console without JavaScript."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import FormData

from services.portal.wording import duration
from shared.contracts.envelope import new_id
from shared.contracts.feeds import (
    ClosedGap,
    FeedGapClosed,
    FeedGapCloseRejected,
    FeedGapCloseRequested,
    FeedSettingsChanged,
    FeedSettingsRequested,
)
from tests.portal.stories import NOON
from tests.portal.test_api import AUTHORISED, problem, request
from tests.portal.test_console import STOCK, form_to, sign_in, text_of
from tests.portal.world import World

FEED: dict[str, Any] = {
    "location": "reno",
    "name": "Reno",
    "partner": "acme",
    "active": True,
    "stale": True,
    "age_seconds": 93_780,
    "stale_after_seconds": 86_400,
    "patience_seconds": 3_600,
    "last_heard_at": NOON.isoformat(),
    "counted_at": NOON.isoformat(),
    "counted_as_of": NOON.isoformat(),
    "counted_watermark": 40,
    "counted_lines": 12,
    "settled_sequence": 40,
    "missing_messages": 2,
    "gaps": [
        {"first_sequence": 41, "last_sequence": 42, "messages": 2, "since": NOON.isoformat(), "given_up_at": NOON.isoformat()},
    ],
    "shelves_below_zero": 1,
    "below_zero": [
        {
            "sku": "<TEAPOT>",
            "missing_units": 4_997,
            "adjustment_id": str(new_id()),
            "reason": "miscounted",
            "author": "3pl:acme",
            "adjusted_at": NOON.isoformat(),
        }
    ],
    "unregistered_skus": 1,
    "unregistered": [
        {
            "sku": "<GHOST>",
            "on_hand_units": 4,
            "as_of": NOON.isoformat(),
            "first_seen_at": NOON.isoformat(),
            "last_seen_at": NOON.isoformat(),
        }
    ],
    "decisions": [
        {
            "kind": "gap_closed",
            "first_sequence": 7,
            "last_sequence": 9,
            "messages": 3,
            "reason": "lost in the fire",
            "author": "kim",
            "decided_at": NOON.isoformat(),
        }
    ],
}


def preview(status: str = "ready", **changes: Any) -> dict[str, Any]:
    """An upload as allocation shows it."""
    return {
        "upload_id": str(new_id()),
        "file_name": "counts.csv",
        "operator": "operator",
        "status": status,
        "problem": None,
        "remedy": None,
        "encoding": "utf-8",
        "delimiter": ",",
        "reason": None,
        "created_at": NOON.isoformat(),
        "expires_at": NOON.isoformat(),
        "applied_at": None,
        "rows": 2,
        "invalid_rows": 1,
        "same_rows": 0,
        "changed_rows": 1,
        "applied_rows": 0,
        "moved_rows": 0,
        **changes,
    }


ROWS = [
    {"row": 2, "sku": "MUG", "location": "reno", "old_on_hand": 10, "on_hand": 12, "difference": 2, "status": "changed", "problem": None},
    {
        "row": 3,
        "sku": "<b>",
        "location": "reno",
        "old_on_hand": 0,
        "on_hand": None,
        "difference": None,
        "status": "invalid",
        "column": "on_hand",
        "problem": "'-3' is negative",
        "remedy": "write 0 or more",
    },
]


@pytest.fixture
async def console(world: World) -> World:
    """The world of an operator who is signed in."""
    assert (await sign_in(world)).status == 303
    return world


def form_with_file(content: bytes, **fields: str) -> FormData:
    form = FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    form.add_field("file", content, filename="counts.csv", content_type="text/csv")
    return form


class TestApi:
    async def test_feeds_are_passed_on_as_allocation_shows_them(self, world: World) -> None:
        world.allocation.shows("/feeds", {"feeds": [FEED]})
        world.allocation.shows("/feeds/reno", FEED)
        assert await request(world, "GET", "/api/feeds") == (200, {"feeds": [FEED]})
        assert await request(world, "GET", "/api/feeds/reno") == (200, FEED)
        assert (await request(world, "GET", "/api/feeds/dallas"))[0] == 404

    async def test_a_gap_is_closed_with_a_reason_and_safely_repeated(self, world: World) -> None:
        world.allocation.replies_with(
            "done", FeedGapClosed(decision_id=new_id(), location="reno", gaps=[ClosedGap(first_sequence=41, last_sequence=42)])
        )
        body = {"up_to_sequence": 42, "reason": "lost in the fire", "operator": "kim"}
        for _ in range(2):
            assert (await request(world, "POST", "/api/feeds/reno/close-gap", body, Idempotency_Key="once"))[0] == 200
        first, second = (FeedGapCloseRequested.model_validate(asked["data"]) for asked in world.allocation.asked)
        assert first == second
        assert (first.location, first.up_to_sequence, first.reason, first.operator) == ("reno", 42, "lost in the fire", "kim")
        assert world.allocation.asked[0]["id"] == world.allocation.asked[1]["id"]

    async def test_a_refusal_to_close_a_gap_comes_with_its_reason(self, world: World) -> None:
        refusal = FeedGapCloseRejected(decision_id=new_id(), location="reno", reason="nothing_missing", detail="nothing is missing")
        world.allocation.replies_with("done", refusal, http_status=409)
        status, document = await request(world, "POST", "/api/feeds/reno/close-gap", {"up_to_sequence": 1, "reason": "x"})
        assert (status, problem(document)[0]) == (409, "nothing_missing")

    async def test_settings_of_a_feed_are_passed_on(self, world: World) -> None:
        world.allocation.replies_with(
            "done", FeedSettingsChanged(decision_id=new_id(), location="reno", stale_after_seconds=600, patience_seconds=3600)
        )
        assert (await request(world, "PUT", "/api/feeds/reno", {"stale_after_seconds": 600, "reason": "x"}))[0] == 200
        command = FeedSettingsRequested.model_validate(world.allocation.asked[0]["data"])
        assert (command.stale_after_seconds, command.patience_seconds) == (600, None)
        status, document = await request(world, "PUT", "/api/feeds/reno", {"stale_after_seconds": 5, "reason": "x"})
        assert (status, problem(document)[1]) == (422, ["stale_after_seconds"])

    @pytest.mark.parametrize("how", ["body", "form"])
    async def test_a_file_larger_than_any_message_is_passed_on_while_it_comes_in(self, world: World, how: str) -> None:
        content = b"sku,location,on_hand\n" + b"MUG,reno,12\n" * 500_000
        shown = preview()
        world.allocation.shows("/count-uploads", shown, method="POST", status=201)
        data, headers = (content, {"Content-Type": "text/csv"}) if how == "body" else (form_with_file(content), {})
        answer = await world.client.post("/api/count-uploads?operator=kim", data=data, headers={**AUTHORISED, **headers})
        assert (answer.status, await answer.json()) == (201, shown)
        assert world.allocation.files == [content]
        assert world.allocation.paths == ["POST /count-uploads?file_name=counts.csv&operator=kim"]

    async def test_what_is_no_file_is_refused_with_the_way_out(self, world: World) -> None:
        for headers, content in (({"Content-Type": "application/json"}, b"{}"), ({"Content-Type": "multipart/form-data"}, b"x")):
            answer = await world.client.post("/api/count-uploads", data=content, headers={**AUTHORISED, **headers})
            assert (answer.status, problem(await answer.json())[0]) == (415, "unsupported_media_type")
        form = FormData()
        form.add_field("note", "no file", content_type="text/plain")
        answer = await world.client.post("/api/count-uploads", data=form(), headers={**AUTHORISED, **_type_of(form)})
        assert answer.status == 415
        assert world.allocation.files == []

    async def test_a_file_that_cannot_be_read_is_told_with_the_way_out(self, world: World) -> None:
        refused = preview("refused", problem="the file is UTF-16", remedy="save it as CSV UTF-8")
        world.allocation.shows("/count-uploads", refused, method="POST", status=422)
        answer = await world.client.post("/api/count-uploads", data=b"x", headers={**AUTHORISED, "Content-Type": "text/csv"})
        assert (answer.status, problem(await answer.json())) == (422, ("upload_refused", ["file"]))

    async def test_rows_report_and_application_are_passed_on(self, world: World) -> None:
        shown = preview("applied", applied_rows=1)
        address = f"/count-uploads/{shown['upload_id']}"
        world.allocation.shows(address, shown)
        world.allocation.shows(f"{address}/rows", {"rows": ROWS, "next_after": None})
        world.allocation.shows(f"{address}/report.csv", b"row,sku\r\n2,MUG\r\n")
        world.allocation.shows(f"{address}/apply", shown, method="POST")
        assert await request(world, "GET", f"/api{address}") == (200, shown)
        assert (await request(world, "GET", f"/api{address}/rows?status=invalid&limit=5"))[1]["rows"] == ROWS
        assert f"GET {address}/rows?after=0&limit=5&status=invalid" in world.allocation.paths
        assert (await request(world, "GET", f"/api{address}/rows?status=odd"))[0] == 422
        report = await world.client.get(f"/api{address}/report.csv", headers=AUTHORISED)
        assert (report.status, await report.read()) == (200, b"row,sku\r\n2,MUG\r\n")
        assert "attachment" in report.headers["Content-Disposition"]
        assert await request(world, "POST", f"/api{address}/apply", {"rows": "all", "reason": "count"}) == (200, shown)
        assert world.allocation.asked[-1] == {"rows": "all", "reason": "count", "operator": "operator"}
        assert (await world.client.get(f"/api/count-uploads/{new_id()}/report.csv", headers=AUTHORISED)).status == 404
        world.allocation.away = True
        assert (await world.client.get(f"/api{address}/report.csv", headers=AUTHORISED)).status in (404, 503)

    async def test_files_are_described_as_files(self, world: World) -> None:
        document = await (await world.client.get("/openapi.json")).json()
        upload = document["paths"]["/api/count-uploads"]["post"]
        assert set(upload["requestBody"]["content"]) == {"text/csv", "multipart/form-data"}
        report = document["paths"]["/api/count-uploads/{upload_id}/report.csv"]["get"]
        assert set(report["responses"]["200"]["content"]) == {"text/csv"}
        assert "MUG-BLUE,reno-1,48" in await (await world.client.get("/docs")).text()


def _type_of(form: FormData) -> dict[str, str]:
    return {"Content-Type": form().content_type}


class TestConsole:
    @pytest.mark.parametrize(
        "path", ["/console/feeds", "/console/feeds/reno", "/console/counts", "/console/counts/019d0000-0000-7000-8000-000000000001"]
    )
    async def test_without_a_session_every_page_asks_for_the_token(self, world: World, path: str) -> None:
        answer = await world.client.get(path, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/console/login")

    async def test_feeds_show_what_is_stale_and_what_is_missing(self, console: World) -> None:
        short = {**FEED, "location": "dallas", "stale": False}
        feeds = [FEED, short, {**short, "location": "austin", "shelves_below_zero": 0}]
        console.allocation.shows("/feeds", {"feeds": feeds})
        page = await text_of(console, "/console/feeds")
        for words in ("Stale", ">Below zero</span>", "Incomplete", "1 d 2 h", "/console/feeds/reno", "acme"):
            assert words in page
        console.allocation.away = True
        assert "does not answer" in await text_of(console, "/console/feeds")

    async def test_a_gap_is_closed_from_its_page_with_a_reason(self, console: World) -> None:
        console.allocation.shows("/feeds/reno", FEED)
        page = await text_of(console, "/console/feeds/reno")
        for words in ("41 to 42", "&lt;TEAPOT&gt;", "miscounted", "&lt;GHOST&gt;", "Gave up 7 to 9", "lost in the fire"):
            assert words in page
        action = "/console/feeds/reno/close-gap"
        console.allocation.replies_with(
            "done", FeedGapClosed(decision_id=new_id(), location="reno", gaps=[ClosedGap(first_sequence=41, last_sequence=42)])
        )
        answer = await console.client.post(action, data={**form_to(page, action), "reason": "burnt"}, allow_redirects=False)
        assert "Nobody waits for 41 to 42 any more" in await text_of(console, answer.headers["Location"])
        command = FeedGapCloseRequested.model_validate(console.allocation.asked[0]["data"])
        assert (command.location, command.up_to_sequence, command.reason) == ("reno", 42, "burnt")
        answer = await console.client.post(action, data={**form_to(page, action), "reason": ""}, allow_redirects=False)
        assert "Nothing was changed. reason" in await text_of(console, answer.headers["Location"])

    async def test_a_feeds_settings_are_set_in_hours_and_minutes(self, console: World) -> None:
        console.allocation.shows("/feeds/reno", FEED)
        page = await text_of(console, "/console/feeds/reno")
        action = "/console/feeds/reno/settings"
        console.allocation.replies_with(
            "done", FeedSettingsChanged(decision_id=new_id(), location="reno", stale_after_seconds=7200, patience_seconds=3600)
        )
        wanted = {**form_to(page, action), "stale_after_hours": "2", "patience_minutes": "", "reason": "hourly"}
        await console.client.post(action, data=wanted, allow_redirects=False)
        command = FeedSettingsRequested.model_validate(console.allocation.asked[0]["data"])
        assert (command.stale_after_seconds, command.patience_seconds) == (7200, None)
        answer = await console.client.post(action, data={**wanted, "stale_after_hours": "soon"}, allow_redirects=False)
        assert "Nothing was changed. stale_after_seconds" in await text_of(console, answer.headers["Location"])

    async def test_the_stock_page_flags_stale_locations(self, console: World) -> None:
        console.allocation.shows("/stock/MUG/BLUE 1", STOCK)
        console.allocation.shows("/feeds", {"feeds": [FEED]})
        page = await text_of(console, "/console/stock?sku=MUG%2FBLUE+1")
        assert "Stale: 1 d 2 h" in page
        console.allocation.shows("/feeds", {"feeds": [{**FEED, "stale": False}]})
        assert "2 messages missing" in await text_of(console, "/console/stock?sku=MUG%2FBLUE+1")

    async def test_a_file_is_uploaded_previewed_and_applied_by_plain_forms(self, console: World) -> None:
        console.allocation.shows("/count-uploads", {"uploads": []})
        page = await text_of(console, "/console/counts")
        assert 'enctype="multipart/form-data"' in page
        assert "<script" not in page
        found = page.split('name="token" value="')[2].split('"')[0]
        shown = preview()
        address = f"/count-uploads/{shown['upload_id']}"
        console.allocation.shows("/count-uploads", shown, method="POST", status=201)
        console.allocation.shows(address, shown)
        console.allocation.shows(f"{address}/rows", {"rows": ROWS, "next_after": 3})
        content = b"sku,location,on_hand\nMUG,reno,12\n"
        answer = await console.client.post("/console/counts", data=form_with_file(content, token=found), allow_redirects=False)
        assert console.allocation.files == [content]
        text = await text_of(console, answer.headers["Location"])
        for words in ("nothing is applied yet", "+2", "&#39;-3&#39; is negative", "write 0 or more", "&lt;b&gt;", "report.csv", "after=3"):
            assert words in text
        done = preview("applied", upload_id=shown["upload_id"], applied_rows=1, moved_rows=1)
        console.allocation.shows(f"{address}/apply", done, method="POST")
        action = f"/console/counts/{shown['upload_id']}/apply"
        answer = await console.client.post(
            action, data={**form_to(text, action), "rows": "valid", "reason": "cycle count"}, allow_redirects=False
        )
        assert "1 rows are applied, 1 had moved and were left alone" in await text_of(console, answer.headers["Location"])
        assert console.allocation.asked[-1] == {"rows": "valid", "reason": "cycle count", "operator": "operator"}

    async def test_a_file_that_cannot_be_read_is_told_at_the_top_of_the_page(self, console: World) -> None:
        console.allocation.shows("/count-uploads", {"uploads": []})
        token = (await text_of(console, "/console/counts")).split('name="token" value="')[2].split('"')[0]
        refused = preview("refused", problem="the file is UTF-16", remedy="save it as CSV UTF-8")
        console.allocation.shows("/count-uploads", refused, method="POST", status=422)
        answer = await console.client.post("/console/counts", data=form_with_file(b"x", token=token), allow_redirects=False)
        assert "Nothing was taken. the file is UTF-16: save it as CSV UTF-8." in await text_of(console, answer.headers["Location"])

    async def test_forged_forms_upload_close_and_apply_nothing(self, console: World) -> None:
        for path in ("/console/feeds/reno/close-gap", "/console/feeds/reno/settings", f"/console/counts/{new_id()}/apply"):
            assert (await console.client.post(path, data={"token": "x", "request_id": "y"}, allow_redirects=False)).status == 403
        forged = [form_with_file(b"x", token="x"), form_with_file(b"x"), {"token": "x"}]
        for form in forged:
            assert (await console.client.post("/console/counts", data=form, allow_redirects=False)).status == 403
        assert console.allocation.files == []
        assert console.allocation.asked == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h"), (93_780, "1 d 2 h"), (90.7, "1 min 30 s")],
)
def test_lengths_of_time_are_said_in_the_two_largest_units(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words

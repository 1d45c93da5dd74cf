"""Orders by HTTP: signed, bounded, repeated, forged. Real HTTP, the real runtime's way of handling a message, real Postgres."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from yarl import URL

from services.sync.pages.placing import DELIVERY_ID_HEADER
from shared.contracts.envelope import new_id
from shared.signing import SIGNATURE_HEADER, is_signed
from tests.sync.conftest import Desk
from tests.sync.messages import a_line, an_order_document
from tests.sync.service_side import OLD_SECRET, OPERATOR, SECRET, SyncHttp


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {"Content-Type": "application/json", SIGNATURE_HEADER: base64.b64encode(digest).decode()}


@pytest.fixture
async def sync(sync: SyncHttp, desk: Desk) -> SyncHttp:
    """Channels ``shop`` and ``outlet`` list a mug."""
    desk.now = sync.now()
    await desk.set_up("MUG", channels=("shop", "outlet"))
    return sync


async def send(sync: SyncHttp, document: Any, *, channel: str = "shop", secret: str = SECRET, **headers: str) -> tuple[int, dict[str, Any]]:
    body = json.dumps(document).encode()
    return await sync.post(
        f"/webhooks/{channel}", body, signed(body, secret) | {name.replace("_", "-"): value for name, value in headers.items()}
    )


async def count(desk: Desk) -> tuple[int, int, int]:
    """Orders, handled events, and order.placed messages."""
    row = await desk.connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM channel_orders), (SELECT count(*) FROM inbox),
               (SELECT count(*) FROM outbox WHERE type = 'order.placed.v1')
        """
    )
    assert row is not None
    return (row[0], row[1], row[2])


async def test_a_signed_order_is_placed_and_answered_with_its_id(sync: SyncHttp, desk: Desk) -> None:
    status, answer = await send(sync, an_order_document())
    assert (status, answer["status"]) == (202, "placed")
    row = await desk.connection.fetchrow("SELECT order_id, external_id FROM channel_orders")
    assert row is not None
    assert (str(row["order_id"]), row["external_id"]) == (answer["order_id"], "1001")
    message = await desk.connection.fetchrow("SELECT subject FROM outbox WHERE type = 'order.placed.v1'")
    assert message is not None
    assert message["subject"] == answer["order_id"]


@pytest.mark.parametrize("delivery_id", [None, "same", "fresh"])
async def test_the_same_order_again_has_the_same_id_and_is_said_once(sync: SyncHttp, desk: Desk, delivery_id: str | None) -> None:
    same = str(uuid4())
    answers = []
    for _ in range(3):
        headers = {} if delivery_id is None else {DELIVERY_ID_HEADER: same if delivery_id == "same" else str(uuid4())}
        answers.append(await send(sync, an_order_document(), **headers))
    assert [(status, answer["status"]) for status, answer in answers] == [(202, "placed"), (202, "already_placed"), (202, "already_placed")]
    assert len({answer["order_id"] for _, answer in answers}) == 1
    assert (await count(desk))[2] == 1


async def test_an_envelope_does_as_well_as_the_bare_order(sync: SyncHttp, desk: Desk) -> None:
    envelope = {
        "specversion": "1.0",
        "id": str(new_id()),
        "source": "an-adapter",
        "type": "channel.order_received.v1",
        "time": "2026-03-02T12:00:00Z",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "data": an_order_document(),
    }
    status, answer = await send(sync, envelope)
    assert (status, answer["status"]) == (202, "placed")
    assert str(await desk.connection.fetchval("SELECT event_id FROM inbox")) == envelope["id"]
    body = json.loads(await desk.connection.fetchval("SELECT body FROM outbox WHERE type = 'order.placed.v1'"))
    assert body["traceparent"][3:35] == "a" * 32
    assert (await send(sync, envelope))[1]["order_id"] == answer["order_id"]
    assert (await send(sync, an_order_document()))[1]["order_id"] == answer["order_id"], "bare or wrapped, it is the same order"


async def test_an_order_by_webhook_and_by_queue_is_one_order(sync: SyncHttp, desk: Desk) -> None:
    placed = await desk.place()
    _, answer = await send(sync, an_order_document())
    assert answer == {"order_id": str(placed.order_id), "status": "already_placed"}


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
async def test_a_misspelt_field_is_refused_with_the_name_that_was_meant_and_others_are_ignored_aloud(sync: SyncHttp, wrapped: bool) -> None:
    def sent(**changes: Any) -> dict[str, Any]:
        order = an_order_document(**changes)
        head = {"specversion": "1.0", "source": "adapter", "type": "channel.order_received.v1", "time": "2026-03-02T12:00:00Z"}
        return head | {"id": str(new_id()), "data": order} if wrapped else order

    status, refused = await send(sync, sent(split_polisy="hold_all"))
    (problem,) = refused["error"]["problems"]
    place = "data." if wrapped else ""
    assert (status, problem["field"], "'split_policy'" in problem["remedy"]) == (422, f"{place}split_polisy", True)
    for expected in ("placed", "already_placed"):
        status, answer = await send(sync, sent(gift_note="Hi"))
        assert (status, answer["status"], answer["ignored_fields"]) == (202, expected, [f"{place}gift_note"])


async def test_both_live_secrets_are_good_and_no_other(sync: SyncHttp) -> None:
    assert (await send(sync, an_order_document()))[0] == 202
    assert (await send(sync, an_order_document(), secret=OLD_SECRET))[0] == 202
    assert (await send(sync, an_order_document(), secret="a guess"))[0] == 401


async def test_a_forged_or_missing_signature_is_refused_before_anything_is_read(sync: SyncHttp, desk: Desk) -> None:
    body = json.dumps(an_order_document()).encode()
    good = signed(body)[SIGNATURE_HEADER]
    for signature in ("", "AAAA", good[:-1], good + "A", good.lower(), "\xe9" * 44, base64.b64encode(b"\0" * 32).decode()):
        headers = {"Content-Type": "application/json"} | ({SIGNATURE_HEADER: signature} if signature else {})
        status, answer = await sync.post("/webhooks/shop", body, headers)
        assert (status, answer["error"]["code"]) == (401, "bad_signature")
    tampered = body.replace(b"1250", b"1")
    assert (await sync.post("/webhooks/shop", tampered, {**signed(body)}))[0] == 401
    not_json = b"{"
    assert (await sync.post("/webhooks/shop", not_json, {**signed(body)}))[0] == 401, "nothing is said about a body nobody signed"
    assert await count(desk) == (0, 0, 0)


async def test_the_signature_of_one_channel_is_no_good_at_another(sync: SyncHttp) -> None:
    assert (await send(sync, an_order_document(channel="outlet"), channel="outlet"))[0] == 401


async def test_a_channel_without_secrets_takes_no_webhooks(sync: SyncHttp) -> None:
    assert (await send(sync, an_order_document(channel="silent"), channel="silent", secret=""))[0] == 401


def test_the_signature_is_checked_against_every_secret_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"{}"
    signature = signed(body, "first")[SIGNATURE_HEADER]
    compared = []
    real = hmac.compare_digest

    def compare(expected: bytes, given: bytes) -> bool:
        compared.append(given)
        return real(expected, given)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert is_signed(body, signature, ("first", "second"))
    assert is_signed(body, signature, ("second", "first"))
    assert not is_signed(body, signature, ("second", "third"))
    assert len(compared) == 6, "a match ends nothing early"


async def test_an_order_for_another_channel_than_the_webhooks_is_refused(sync: SyncHttp, desk: Desk) -> None:
    status, answer = await send(sync, an_order_document(channel="outlet"))
    assert (status, answer["error"]["problems"][0]["field"]) == (422, "channel")
    assert await count(desk) == (0, 0, 0)


async def test_an_unknown_channel_is_not_found(sync: SyncHttp) -> None:
    status, answer = await send(sync, an_order_document(), channel="nowhere")
    assert (status, answer["error"]["code"]) == (404, "unknown_channel")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_twenty_megabyte_body_is_refused_with_a_clear_error(sync: SyncHttp, desk: Desk, chunked: bool) -> None:
    body = b'{"channel": "shop", "padding": "' + b"x" * (20 * 1024 * 1024) + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    status, answer = await sync.post("/webhooks/shop", pieces() if chunked else body, signed(body))
    assert (status, answer["error"]["code"]) == (413, "body_too_large")
    assert "1048576 bytes" in answer["error"]["message"]
    assert await count(desk) == (0, 0, 0)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x"])
async def test_a_compressed_body_is_refused_at_once_whoever_sends_it_however_slowly(sync: SyncHttp, caplog: Any, encoding: str) -> None:
    """Signed or not, and although what comes after the headers is no such thing."""
    url = URL(sync.base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: {encoding}\r\n"
        "Content-Length: 2\r\n\r\n".encode()
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.write(b"{}")
    body = await asyncio.wait_for(reader.read(10_000), 10)
    writer.close()
    assert head.startswith(b"HTTP/1.1 415 ")
    assert json.loads(body)["error"]["code"] == "unsupported_content_encoding"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
async def test_another_content_type_is_refused(sync: SyncHttp, content_type: str) -> None:
    body = json.dumps(an_order_document()).encode()
    status, answer = await sync.post("/webhooks/shop", body, signed(body) | {"Content-Type": content_type})
    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON: Expecting value"),
        (b"{", "not valid JSON: Expecting property name"),
        (b"not json", "not valid JSON: Expecting value"),
        (b'{"a":1}{"b":2}', "not valid JSON: Extra data"),
        (b"[" * 200_000, "not valid JSON: it is nested too deeply"),
        (b"\xff\xfe{}", "not valid JSON: it is not in UTF-8"),
        ("{}".encode("utf-16-le"), "not valid JSON: it is not in UTF-8"),
        ("{}".encode("utf-16-be"), "not valid JSON: it is not in UTF-8"),
        (b"\xef\xbb\xbf{}", "not valid JSON: it begins with a byte order mark"),
    ],
)
async def test_malformed_json_is_refused(sync: SyncHttp, body: bytes, words: str) -> None:
    status, answer = await sync.post("/webhooks/shop", body, signed(body))
    assert (status, answer["error"]["code"]) == (400, "malformed_json")
    (problem,) = answer["error"]["problems"]
    assert (problem["field"], problem["problem"].startswith(words)) == ("body", True), problem


async def test_an_order_that_says_a_field_twice_is_refused_because_nobody_can_tell_which_was_meant(sync: SyncHttp, desk: Desk) -> None:
    body = json.dumps(an_order_document()).encode().replace(b'"quantity": ', b'"quantity": 7, "quantity": ')
    status, answer = await sync.post("/webhooks/shop", body, signed(body))
    assert (status, answer["error"]["code"]) == (400, "malformed_json")
    assert answer["error"]["problems"] == [{"field": "quantity", "problem": "is there twice in one object", "remedy": "send it once"}]
    assert await count(desk) == (0, 0, 0)


@pytest.mark.parametrize(("charset", "status"), [("latin1", 415), ("utf-16", 415), ("UTF-8", 202), ('"utf-8"', 202), ("us-ascii", 202)])
async def test_json_is_taken_in_utf_8_only(sync: SyncHttp, charset: str, status: int) -> None:
    body = json.dumps(an_order_document()).encode()
    told, answer = await sync.post("/webhooks/shop", body, signed(body) | {"Content-Type": f"application/json; charset={charset}"})
    assert told == status
    if status == 415:
        assert (answer["error"]["code"], answer["error"]["problems"][0]["field"]) == ("unsupported_charset", "Content-Type")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [a_line("MUG", -1)]}, "lines.0.quantity"),
        ({"lines": [{"external_line_id": "a", "sku": "MUG", "unit_price_cents": 1}]}, "lines.0.quantity"),
        ({"lines": [a_line("MUG", 1, price=-5)]}, "lines.0.unit_price_cents"),
        ({"lines": [a_line("MUG") | {"quantity": "2"}]}, "lines.0.quantity"),
        ({"lines": [a_line("SOFA")]}, "lines.0.sku"),
        ({"paid_at": "yesterday"}, "paid_at"),
        ({"paid_at": "2026-03-02T12:00:00"}, "paid_at"),
        ({"paid_at": "0001-01-01T00:00:00+14:00"}, "paid_at"),
        ({"customer": {"email": "nobody"}}, "customer.email"),
        ({"currency": "usd"}, "currency"),
        ({"external_id": "a\x00b"}, "external_id"),
    ],
)
async def test_a_wrong_field_is_named_with_the_way_out(sync: SyncHttp, desk: Desk, changes: dict[str, Any], field: str) -> None:
    status, answer = await send(sync, an_order_document(**changes))
    assert (status, answer["error"]["code"]) == (422, "invalid_order")
    problem = next(problem for problem in answer["error"]["problems"] if problem["field"] == field)
    assert problem["problem"]
    assert "pattern" not in problem["problem"], "nobody should have to read a regular expression"
    assert problem["remedy"]
    assert await count(desk) == (0, 0, 0)


@pytest.mark.parametrize(
    "document", [[], "text", 5, None, {}, {"specversion": "1.0"}, {"specversion": "1.0", "type": "channel.order_received.v2"}]
)
async def test_json_that_is_no_order_is_refused_by_field(sync: SyncHttp, document: Any) -> None:
    status, answer = await send(sync, document)
    assert (status, answer["error"]["code"]) == (422, "invalid_order")
    assert answer["error"]["problems"]


async def test_an_unknown_major_version_is_refused_never_guessed(sync: SyncHttp) -> None:
    envelope = {"specversion": "1.0", "id": str(new_id()), "type": "channel.order_received.v2", "data": an_order_document()}
    _, answer = await send(sync, envelope)
    assert answer["error"]["problems"][0]["field"] == "type"


async def test_different_content_for_a_known_order_is_refused(sync: SyncHttp, desk: Desk) -> None:
    await send(sync, an_order_document())
    status, answer = await send(sync, an_order_document(shipping_paid_cents=1))
    assert (status, answer["error"]["problems"][0]["field"]) == (422, "external_id")
    assert (await count(desk))[2] == 1


async def test_a_refused_order_may_be_sent_again_under_the_same_delivery_id(sync: SyncHttp, desk: Desk) -> None:
    header = {DELIVERY_ID_HEADER: str(uuid4())}
    assert (await send(sync, an_order_document(lines=[a_line("LAMP")]), **header))[0] == 422
    await desk.set_up("LAMP")
    assert (await send(sync, an_order_document(lines=[a_line("LAMP")]), **header))[0] == 202


async def test_a_delivery_id_used_for_another_order_does_not_swallow_this_one(sync: SyncHttp) -> None:
    header = {DELIVERY_ID_HEADER: str(uuid4())}
    _, first = await send(sync, an_order_document(), **header)
    status, second = await send(sync, an_order_document(external_id="1002"), **header)
    assert (status, second["status"]) == (202, "placed")
    assert first["order_id"] != second["order_id"]


async def test_a_delivery_id_that_is_no_uuid_is_refused(sync: SyncHttp) -> None:
    status, answer = await send(sync, an_order_document(), **{DELIVERY_ID_HEADER: "17"})
    assert (status, answer["error"]["problems"][0]["field"]) == (422, DELIVERY_ID_HEADER)


async def test_fifty_deliveries_of_one_order_at_once_place_it_once(sync: SyncHttp, desk: Desk) -> None:
    answers = await asyncio.gather(*(send(sync, an_order_document(), **{DELIVERY_ID_HEADER: str(uuid4())}) for _ in range(50)))
    assert [status for status, _ in answers] == [202] * 50
    assert len({answer["order_id"] for _, answer in answers}) == 1
    assert await count(desk) == (1, 50, 1)


async def test_an_operator_places_an_order_and_learns_its_id(sync: SyncHttp) -> None:
    body = json.dumps(an_order_document()).encode()
    status, answer = await sync.post("/orders", body, OPERATOR)
    assert (status, answer["status"]) == (202, "placed")
    status, order = await sync.get(f"/orders/{answer['order_id']}", OPERATOR)
    assert (status, order["external_id"]) == (200, "1001")


async def test_nobody_places_orders_without_the_operators_token(sync: SyncHttp, desk: Desk) -> None:
    body = json.dumps(an_order_document()).encode()
    for headers in ({}, {"Authorization": "Bearer wrong"}, signed(body)):
        assert (await sync.post("/orders", body, {"Content-Type": "application/json"} | headers))[0] == 401
    assert await count(desk) == (0, 0, 0)


async def test_an_operator_is_told_when_there_is_no_such_channel(sync: SyncHttp) -> None:
    body = json.dumps(an_order_document(channel="nowhere")).encode()
    status, answer = await sync.post("/orders", body, OPERATOR)
    problem = answer["error"]["problems"][0]
    assert (status, problem["field"]) == (422, "channel")
    assert "shop" in problem["remedy"]


async def test_a_webhook_is_answered_in_well_under_a_second(sync: SyncHttp, http: aiohttp.ClientSession) -> None:
    loop = asyncio.get_running_loop()
    lines = [a_line("MUG", line=str(number)) for number in range(2_000)]
    took = []
    for number in range(3):
        # The best of three: what else a busy machine does in that second is not what is asked here.
        started = loop.time()
        status, _ = await send(sync, an_order_document(external_id=f"large-{number}", lines=lines))
        took.append(loop.time() - started)
        assert status == 202
        if took[-1] < 1.0:
            break
    assert min(took) < 1.0

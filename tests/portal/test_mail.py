"""Mails: what they say, what becomes of them, and that they reach a real SMTP server, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY
from typing import Any, get_args

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiosmtpd.smtp import SMTP
from hypothesis import given
from hypothesis import strategies as st

from services.portal.decide.facts import NotificationKind, fact_of
from services.portal.decide.mail import Delivered, NotTried, Postponed, Refused, next_step
from services.portal.errands import errands
from services.portal.mail import letters
from services.portal.mail.letters import Notification, Sender, UnusableAddress, write_letter
from services.portal.wording import day, money
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.database import Pool
from shared.messaging.message import Transaction
from shared.service import Errand
from simulators.mail.pages import build_application
from simulators.mail.sink import Behaviour, Sink
from tests.portal import stories
from tests.portal.stories import NOON, at, line
from tests.portal.telling import happened
from tests.portal.world import World, build_world

SENDER = Sender("Northwind Goods", "orders@northwind.example")
URL = "https://shop.example/orders/1?key=abc"
ORDER = new_id()
EVENTS: dict[str, Message] = {
    "confirmation": stories.placed(ORDER),
    "changed": stories.edited(ORDER, 2, [line()]),
    "delay": stories.delayed(ORDER, "silence", at(60 * 24 * 9)),
    "shipped": stories.shipped(ORDER, new_id()),
    "cancelled": stories.cancelled(ORDER),
    "change_refused": stories.cancel_rejected(ORDER),
    "return_label": stories.return_approved(ORDER, new_id()),
    "refund": stories.refund_succeeded(ORDER, new_id()),
    "payment_due": stories.payment_requested(ORDER),
    "payment_dropped": stories.payment_dropped(ORDER, "lapsed"),
}


def notification(kind: str, **changes: Any) -> Notification:
    """What the errand claims for one kind of mail."""
    fact = fact_of(EVENTS[kind], new_id())
    plain = Notification(
        order_id=ORDER,
        kind=kind,
        cause_id=fact.fact_id,
        created_at=NOON,
        attempts=1,
        external_id="#1001",
        placed_at=NOON,
        currency="USD",
        shipping_paid_cents=495,
        customer_email="ada@example.com",
        customer_name="Ada Lovelace",
        locale="en-US",
        data=fact.data,
        lines=[line().model_dump(mode="json")],
    )
    return replace(plain, **changes)


@dataclass(frozen=True)
class ReadMail:
    """A mail as a mail program shows it."""

    message: EmailMessage
    text: str
    html: str


def read(content: bytes) -> ReadMail:
    """Parses a mail as strictly as Python can."""
    message = BytesParser(EmailMessage, policy=SMTP_POLICY.clone(raise_on_defect=True)).parsebytes(content)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return ReadMail(message, text.get_content(), html.get_content())


def written(kind: str, **changes: Any) -> ReadMail:
    """The mail of a notification."""
    return read(write_letter(notification(kind, **changes), SENDER, URL, NOON).content)


class TestLetters:
    @pytest.mark.parametrize("language", ["en", "de"])
    @pytest.mark.parametrize("kind", get_args(NotificationKind))
    def test_every_kind_is_written_in_every_language_as_text_and_html(self, kind: str, language: str) -> None:
        mail = written(kind, locale=f"{language}-{'US' if language == 'en' else 'DE'}")
        assert "#1001" in mail.message["Subject"]
        assert mail.message["Content-Language"] == language
        assert URL in mail.text
        assert URL in mail.html
        for part in (mail.text, mail.html):
            assert "Ada Lovelace" in part
            assert "None" not in part
            assert "{" not in part.replace("{{", "")

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("confirmation", ["2 x Blue mug", "$30.95"]),
            ("changed", ["2 x Blue mug"]),
            ("delay", ["1 x Blue mug", "2 December 2026"]),
            ("shipped", ["2 x Blue mug", "UPS", "1Z"]),
            ("cancelled", ["2 x Blue mug", "$30.95"]),
            ("change_refused", ["cancel your order", "already started"]),
            ("payment_due", ["costs $9.00 more", "at the latest until"]),
            ("payment_dropped", ["not paid in time", "ships as it was"]),
            ("return_label", ["1 x Blue mug", "UPS 1ZRETURN001", "$13.00", "23 December 2026"]),
            ("refund", ["$13.00"]),
        ],
    )
    def test_says_what_happened(self, kind: str, words: Sequence[str]) -> None:
        text = written(kind).text
        for word in words:
            assert word in text

    @pytest.mark.parametrize(
        ("kind", "event", "english", "german"),
        [
            (
                "payment_due",
                stories.payment_requested(ORDER),
                ("$9.00", "23 Nov 2026, 12:30 UTC"),
                ("9,00", "23. November 2026, 12:30 Uhr UTC"),
            ),
            ("payment_dropped", stories.payment_dropped(ORDER, "lapsed"), ("not paid in time",), ("nicht rechtzeitig bezahlt",)),
            ("payment_dropped", stories.payment_dropped(ORDER, "refused"), ("did not go through",), ("kam nicht zustande",)),
            (
                "payment_dropped",
                stories.payment_dropped(ORDER, "cancelled_in_part"),
                ("A cancellation of a part of the order came before it was paid", "ships without it"),
                ("Die Stornierung eines Teils der Bestellung kam der Bezahlung zuvor", "ohne sie"),
            ),
        ],
        ids=["due", "not paid in time", "refused", "cancelled in part"],
    )
    def test_a_payment_says_how_much_until_when_and_why_it_failed(
        self, kind: str, event: Message, english: Sequence[str], german: Sequence[str]
    ) -> None:
        data = fact_of(event, new_id()).data
        for locale, words in (("en-US", english), ("de-DE", german)):
            mail = written(kind, locale=locale, data=data)
            assert all(word in part for word in words for part in (mail.text, mail.html))

    @pytest.mark.parametrize(
        ("event", "english", "german"),
        [
            (stories.backordered(ORDER, ship_at=at(60 * 24 * 9)), "cancel until the warehouse has started", "bis das Lager begonnen hat"),
            (stories.delayed(ORDER, "not_needed", at(60 * 24)), "cancel until the warehouse has started", "bis das Lager begonnen hat"),
            (stories.delayed(ORDER, "silence", at(60 * 24 * 9)), "You need not do anything", "Sie müssen nichts tun"),
            (stories.delayed(ORDER), "tell us by 26 Nov 2026, 12:00 UTC", "bis 26. November 2026, 12:00 Uhr UTC"),
        ],
        ids=["first date", "earlier", "silence", "question"],
    )
    def test_a_delay_says_what_is_asked_and_what_silence_means(self, event: Message, english: str, german: str) -> None:
        data = fact_of(event, new_id()).data
        for locale, words in (("en-US", english), ("de-DE", german)):
            mail = written("delay", locale=locale, data=data)
            for part in (mail.text, mail.html.replace("<strong>", "").replace("</strong>", "")):
                assert words in part
                assert URL in part
            asks = "Please answer" in mail.message["Subject"] or "Bitte antworten" in mail.message["Subject"]
            assert asks == (data.get("consent") == "required")

    @pytest.mark.parametrize(
        ("reason", "words"), [("delay_not_answered", "had no answer in time"), ("delay_refused", "did not want to wait longer")]
    )
    def test_a_cancellation_says_that_it_comes_from_the_delay(self, reason: str, words: str) -> None:
        data = {**fact_of(EVENTS["cancelled"], new_id()).data, "reason": reason}
        mail = written("cancelled", data=data)
        assert words in mail.text
        assert words in mail.html

    @pytest.mark.parametrize(("locale", "words"), [("en-US", "left our warehouse"), ("de-DE", "unser Lager schon")])
    def test_what_has_left_is_not_said_to_ship_still(self, locale: str, words: str) -> None:
        fact = fact_of(stories.cancel_rejected(ORDER, "already_shipped"), new_id())
        mail = written("change_refused", data=fact.data, locale=locale)
        for part in (mail.text, mail.html):
            assert words in part
            assert "will ship" not in part
            assert "wird unverändert versandt" not in part

    @pytest.mark.parametrize(
        ("locale", "label", "left"), [("en-US", "prepaid label", "had left already"), ("de-DE", "bezahltes Etikett", "schon unterwegs")]
    )
    def test_who_cancelled_too_late_is_told_of_the_prepaid_label(self, locale: str, label: str, left: str) -> None:
        late: dict[str, Any] = {"return_ids": [new_id()]}
        told: list[tuple[str, Message, str]] = [
            ("change_refused", stories.cancel_rejected(ORDER, "already_shipped").model_copy(update=late), label),
            ("cancelled", stories.cancelled(ORDER).model_copy(update=late), label),
            ("return_label", stories.return_approved(ORDER, new_id()).model_copy(update={"fulfillment_id": new_id()}), left),
        ]
        for kind, message, words in told:
            mail = written(kind, data=fact_of(message, new_id()).data, locale=locale)
            for part in (mail.text, mail.html):
                assert words in part
                assert "choose what to return" not in part

    def test_every_kind_there_is_has_a_template_in_english(self) -> None:
        for kind in get_args(NotificationKind):
            for extension in ("txt", "html"):
                assert (letters.TEMPLATES / "mail" / "en" / f"{kind}.{extension}").is_file()

    def test_an_unknown_language_falls_back_to_english_and_its_ways_of_writing(self) -> None:
        mail = written("confirmation", locale="fr-FR")
        assert mail.message["Content-Language"] == "en"
        assert "$30.95" in mail.text

    def test_german_writes_money_and_dates_the_german_way(self) -> None:
        assert "30,95 €" in written("confirmation", locale="de-DE", currency="EUR").text
        assert "2. Dezember 2026" in written("delay", locale="de").text

    def test_hostile_names_and_titles_stay_text_and_never_become_headers(self) -> None:
        hostile = "<script>alert(1)</script>\r\nBcc: victim@example.com"
        mail = written(
            "confirmation",
            customer_name=hostile,
            external_id="#1\r\nBcc: victim@example.com\r\n\r\nbody",
            lines=[{**line().model_dump(mode="json"), "title": hostile}],
        )
        assert mail.message["Bcc"] is None
        assert "<script>" not in mail.html
        assert "&lt;script&gt;" in mail.html

    def test_foreign_letters_arrive_as_they_are(self) -> None:
        mail = written(
            "confirmation",
            customer_name="Žofie Ürümqi 李",
            external_id="№ 1001 ✓",
            lines=[{**line().model_dump(mode="json"), "title": "Tasse „Übermut“ 🍵"}],
        )
        assert "№ 1001 ✓" in mail.message["Subject"]
        assert "Tasse „Übermut“ 🍵" in mail.text
        assert "Žofie Ürümqi 李" in mail.html

    def test_a_mail_sent_again_has_the_same_id_and_another_cause_has_another(self) -> None:
        item = notification("shipped")
        first = read(write_letter(item, SENDER, URL, NOON).content).message["Message-ID"]
        again = read(write_letter(replace(item, attempts=4), SENDER, URL, NOON + timedelta(hours=1)).content).message["Message-ID"]
        other = read(write_letter(replace(item, cause_id=new_id()), SENDER, URL, NOON).content).message["Message-ID"]
        assert first == again
        assert first != other
        assert first.endswith("@northwind.example>")

    def test_two_thousand_lines_make_no_endless_mail(self) -> None:
        mail = written("confirmation", lines=[line(str(number)).model_dump(mode="json") for number in range(2_000)])
        assert "+ 1960" in mail.text
        assert len(mail.html) < 60_000

    @pytest.mark.parametrize("address", ["a@b>", "a@b,c@d", "a b@c", "a@b\n", '"a"@b', "a@\x00b", "<a@b", "a@b@c"])
    def test_an_address_that_could_mean_something_else_to_a_server_is_refused(self, address: str) -> None:
        with pytest.raises(UnusableAddress, match="correct it at the channel"):
            written("confirmation", customer_email=address)

    @given(
        st.text(st.characters(codec="utf-8"), max_size=200),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=120),
        st.text(st.characters(codec="utf-8"), max_size=200),
    )
    def test_whatever_customers_are_called_the_mail_can_be_read(self, name: str, number: str, title: str) -> None:
        lines = [{**line().model_dump(mode="json"), "title": title}]
        content = write_letter(notification("confirmation", customer_name=name, external_id=number, lines=lines), SENDER, URL, NOON).content
        assert all(len(row) <= 998 for row in content.split(b"\r\n"))
        assert set(read(content).message.keys()) == {
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "Content-Language",
            "MIME-Version",
            "Content-Type",
        }


class TestWords:
    @pytest.mark.parametrize(
        ("cents", "currency", "locale", "text"),
        [
            (123456, "USD", "en-US", "$1,234.56"),
            (5, "USD", "en", "$0.05"),
            (-1250, "USD", "en", "−$12.50"),
            (123456, "EUR", "de-DE", "1.234,56 €"),
            (1500, "JPY", "en", "¥1,500"),
            (12345, "KWD", "en", "12.345 KWD"),
            (100, "CHF", "en", "1.00 CHF"),
        ],
    )
    def test_money(self, cents: int, currency: str, locale: str, text: str) -> None:
        assert money(cents, currency, locale) == text

    def test_days(self) -> None:
        assert day(NOON) == "23 November 2026"
        assert day("2026-03-01T23:30:00-05:00", "de") == "2. März 2026"
        assert day(None) == ""


class TestWhatBecomesOfAMail:
    def step(self, outcome: Any, *, attempts: int = 1, age_hours: float = 0.0) -> Any:
        """The next step with a fixed jitter."""
        created = NOON - timedelta(hours=age_hours)
        return next_step(outcome, attempts=attempts, created_at=created, now=NOON, give_up_after=timedelta(hours=96), jitter=0.5)

    def test_sent_failed_and_due_again(self) -> None:
        assert self.step(Delivered()).status == "sent"
        assert self.step(Refused("550 no such user")).status == "failed"
        assert (self.step(Postponed("451")).status, self.step(Postponed("451")).due_at) == ("due", NOON + timedelta(seconds=5))
        assert (self.step(NotTried()).status, self.step(NotTried()).due_at) == ("due", NOON)

    def test_a_server_that_is_away_for_hours_costs_no_mail_but_days_do(self) -> None:
        assert self.step(Postponed("away"), attempts=60, age_hours=95).status == "due"
        late = self.step(Postponed("away"), attempts=60, age_hours=96)
        assert (late.status, late.reason) == ("failed", "given up after 60 tries, the last with: away")

    @given(st.integers(1, 10_000), st.floats(0, 1))
    def test_pauses_grow_and_stay_within_an_hour_and_a_bit(self, attempts: int, jitter: float) -> None:
        step = next_step(Postponed("x"), attempts=attempts, created_at=NOON, now=NOON, give_up_after=timedelta(days=4), jitter=jitter)
        assert timedelta(seconds=3.75) <= step.due_at - NOON <= timedelta(seconds=4500)


@dataclass
class MailWorld:
    """The portal with a real SMTP server beside it."""

    world: World
    sink: Sink
    errand: Errand[Any, Any]

    async def run(self, pool: Pool, minutes: float = 0) -> int:
        """One round of the errand, as the runtime does it; returns how many mails were claimed."""
        now = NOON + timedelta(minutes=minutes)
        async with pool.acquire() as connection, connection.transaction():
            tasks = await self.errand.claim(Transaction(connection, now), self.errand.concurrency)
        done = [(task, await self.errand.perform(replace(task, leased_until=NOON + timedelta(hours=9)))) for task in tasks]
        async with pool.acquire() as connection, connection.transaction():
            if done:
                await self.errand.settle(Transaction(connection, now), done)
        return len(tasks)

    async def states(self, pool: Pool) -> list[tuple[str, str]]:
        """Kind and status of every notification."""
        return [(row["kind"], row["status"]) for row in await pool.fetch("SELECT kind, status FROM notifications ORDER BY kind")]


@pytest.fixture
async def post(pool: Pool) -> AsyncIterator[MailWorld]:
    """A mail sink in this process, and the portal that sends to it."""
    sink = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(sink, hostname="sink", enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    built, closers = await build_world(pool, smtp_host="127.0.0.1", smtp_port=port, smtp_timeout_seconds=2.0, smtp_connections=2)
    (errand,) = errands(built.environment)
    yield MailWorld(built, sink, errand)
    for close in closers:
        await close()
    server.close()


class TestSending:
    async def test_without_a_mail_server_there_is_no_errand_and_nothing_is_lost(self, world: World, pool: Pool) -> None:
        assert list(errands(world.environment)) == []
        await happened(pool, stories.placed(new_id()))
        assert await pool.fetchval("SELECT status FROM notifications") == "due"

    async def test_a_customer_gets_each_mail_once_with_a_link_that_opens_the_order(self, post: MailWorld, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order), stories.shipped(order, new_id()))
        assert await post.run(pool) == 2
        assert await post.run(pool, 60 * 24) == 0
        assert await post.states(pool) == [("confirmation", "sent"), ("shipped", "sent")]
        mails = [mail.as_json() for mail in post.sink.newest("ADA@example.com", 10)]
        assert len(mails) == 2
        link = next(word for word in mails[0]["text"].split() if word.startswith("http://portal.test/orders/"))
        assert (await post.world.client.get(link.removeprefix("http://portal.test"))).status == 200

    async def test_many_mails_share_few_connections(self, post: MailWorld, pool: Pool) -> None:
        await happened(pool, *(stories.placed(new_id()) for _ in range(40)))
        await post.run(pool)
        assert post.sink.accepted == 40

    async def test_a_refusal_for_now_is_tried_again_and_a_refusal_for_good_is_not(self, post: MailWorld, pool: Pool) -> None:
        await happened(pool, stories.placed(new_id()))
        post.sink.behaviour = Behaviour(reject_rate=1.0, reject_code=451)
        await post.run(pool)
        row = await pool.fetchrow("SELECT status, attempts, reason, due_at FROM notifications")
        assert row is not None
        assert (row["status"], row["attempts"]) == ("due", 1)
        assert "451" in row["reason"]
        assert row["due_at"] > NOON
        post.sink.behaviour = Behaviour()
        assert await post.run(pool) == 0
        assert await post.run(pool, 1) == 1
        assert await post.states(pool) == [("confirmation", "sent")]
        post.sink.behaviour = Behaviour(reject_rate=1.0, reject_code=550)
        await happened(pool, stories.placed(new_id()))
        await post.run(pool)
        failed = await pool.fetchrow("SELECT status, reason FROM notifications WHERE status = 'failed'")
        assert failed is not None
        assert "550" in failed["reason"]
        assert await post.run(pool, 60 * 24) == 0

    async def test_an_address_that_cannot_be_used_fails_with_its_reason(self, post: MailWorld, pool: Pool) -> None:
        order = stories.placed(new_id())
        customer = order.customer.model_copy(update={"email": "a@b>,c@d"})
        await happened(pool, order.model_copy(update={"customer": customer}))
        await post.run(pool)
        assert "cannot be used" in await pool.fetchval("SELECT reason FROM notifications")
        assert post.sink.accepted == 0

    async def test_an_address_in_other_letters_arrives_where_the_server_can(self, post: MailWorld, pool: Pool) -> None:
        order = stories.placed(new_id())
        customer = order.customer.model_copy(update={"email": "žofie@příklad.example"})
        await happened(pool, order.model_copy(update={"customer": customer}))
        await post.run(pool)
        assert len(post.sink.newest("žofie@příklad.example", 5)) == 1

    async def test_a_server_that_is_away_postpones(self, pool: Pool) -> None:
        await happened(pool, stories.placed(new_id()))
        built, closers = await build_world(pool, smtp_host="127.0.0.1", smtp_port=1, smtp_timeout_seconds=0.5)
        (errand,) = errands(built.environment)
        world = MailWorld(built, Sink(), errand)
        await world.run(pool)
        assert await world.states(pool) == [("confirmation", "due")]
        assert "mail server 127.0.0.1" in await pool.fetchval("SELECT reason FROM notifications")
        for close in closers:
            await close()

    async def test_a_slow_server_is_given_up_for_now_and_the_connection_is_not_reused(self, post: MailWorld, pool: Pool) -> None:
        await happened(pool, stories.placed(new_id()))
        post.sink.behaviour = Behaviour(delay_seconds=3.0)
        await post.run(pool)
        assert await post.states(pool) == [("confirmation", "due")]
        post.sink.behaviour = Behaviour()
        await post.run(pool, 1)
        assert await post.states(pool) == [("confirmation", "sent")]

    async def test_a_mail_whose_lease_is_over_is_left_to_the_next_worker(self, post: MailWorld, pool: Pool) -> None:
        await happened(pool, stories.placed(new_id()))
        async with pool.acquire() as connection, connection.transaction():
            (task,) = await post.errand.claim(Transaction(connection, NOON), 10)
        outcome = await post.errand.perform(replace(task, leased_until=NOON + timedelta(seconds=1)))
        assert outcome == NotTried()
        assert post.sink.accepted == 0

    async def test_a_mail_that_was_given_up_can_be_sent_again_from_the_console(self, post: MailWorld, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order))
        post.sink.behaviour = Behaviour(reject_rate=1.0, reject_code=550)
        await post.run(pool)
        client = post.world.client
        await client.post("/console/login", data={"operator_token": post.world.settings.operator_token})
        page = await (await client.get("/console/attention")).text()
        assert "550" in page
        action = f"/console/mails/{order}/confirmation/{order}/retry"
        token = page.split(f'action="{action}"><input type="hidden" name="token" value="')[1].split('"')[0]
        assert (await client.post(action, data={"token": "x"}, allow_redirects=False)).status == 403
        await client.post(action, data={"token": token})
        post.sink.behaviour = Behaviour()
        await post.run(pool)
        assert await post.states(pool) == [("confirmation", "sent")]


class TestTheSimulator:
    async def test_shows_counts_and_forgets_within_its_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("simulators.mail.sink.KEPT_MESSAGES", 10)
        sink = Sink()
        for number in range(25):
            content = write_letter(notification("confirmation", external_id=f"#{number}"), SENDER, URL, NOON).content
            sink.keep("orders@northwind.example", ["Ada@example.com", "copy@example.com"] if number % 2 else ["ada@example.com"], content)
        assert (len(sink.mails), sink.accepted) == (10, 25)
        assert sink.kept_bytes == sum(len(mail.content) for mail in sink.mails)
        async with TestClient(TestServer(build_application(sink))) as client:
            assert (await client.get("/readyz")).status == 200
            found = await (await client.get("/messages?to=ada@example.com&limit=3")).json()
            assert [mail["subject"].split("#")[1] for mail in found] == ["24", "23", "22"]
            assert len(await (await client.get("/messages?to=COPY@example.com")).json()) == 5
            assert await (await client.get("/messages?to=nobody@example.com")).json() == []
            assert (await client.get("/messages?limit=many")).status == 422
            assert await (await client.get("/count")).json() == {"accepted": 25, "rejected": 0, "kept": 10}

    async def test_takes_its_behaviour_and_refuses_nonsense(self) -> None:
        sink = Sink()
        async with TestClient(TestServer(build_application(sink))) as client:
            answer = await client.post("/behaviour", json={"reject_rate": 0.5, "reject_code": 550})
            assert (answer.status, sink.behaviour) == (200, Behaviour(0.0, 0.5, 550))
            for nonsense in ({"reject_rate": 2}, {"delay": 1}, {"reject_code": 200}):
                assert (await client.post("/behaviour", json=nonsense)).status == 422
            await client.post("/behaviour", json={})
            assert sink.behaviour == Behaviour()

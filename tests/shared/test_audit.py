"""The audit engine: what is wrong is named, what is only under way is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.returns.__main__ import SERVICE as RETURNS
from services.returns.audit import FACTS, INVARIANTS
from shared.audit import Report, audit, audit_until_settled
from shared.audit.messages import names_in
from shared.audit.report import VIOLATIONS_PRINTED, Violation, check_of
from shared.audit.snapshot import SchemaMissing
from shared.audit.statements import Statements, load_statements
from shared.audit_model import Fact, Invariant
from shared.contracts.orders import OrderCancelled, OrderEdited, OrderPlaced
from shared.messaging.message import Connection
from shared.messaging.topology import ServiceMessages
from shared.migrate import AUDITOR
from shared.service import Service
from tests.conftest import PASSWORD, ROOT, Databases, with_database
from tests.returns.messages import a_cancellation, an_order
from tests.shared.loopback import Loopback, open_loopback

ORDERED_HERE = "SELECT order_id || '|' || line_id, quantity::bigint FROM order_lines"
ORDERED_THERE = """
SELECT d ->> 'order_id' || '|' || (line ->> 'line_id'), (line ->> 'quantity')::bigint
FROM outbox, LATERAL (SELECT convert_from(body, 'UTF8')::jsonb -> 'data' AS d) AS data, jsonb_array_elements(d -> 'lines') AS line
WHERE type = 'order.placed.v1'
"""


@dataclass
class Stage:
    """The returns service, and a sync that only says what a test has it say."""

    loopback: Loopback
    url: str
    admin: Connection
    services: list[Statements]

    async def audit(self, *, strict: bool = False) -> Report:
        """One audit of these two."""
        return await audit(self.url, services=self.services, strict=strict)

    async def place(self, order: OrderPlaced | None = None, *, deliver: bool = True) -> OrderPlaced:
        """Sync tells of an order."""
        placed = order or an_order()
        await self.loopback.say("sync", placed, subject=str(placed.order_id))
        if deliver:
            await self.loopback.settle()
        return placed


@pytest.fixture
async def stage(databases: Databases) -> AsyncIterator[Stage]:
    """Two services on one database; sync's own books are left out."""
    talker = Service(name="sync", consumes=[], publishes=[OrderPlaced])
    services = [
        Statements("returns", INVARIANTS, FACTS, ServiceMessages([item.message for item in RETURNS.consumes], list(RETURNS.publishes))),
        Statements("sync", (), (Fact("units_ordered", ORDERED_THERE),), ServiceMessages([], [OrderPlaced, OrderEdited, OrderCancelled])),
    ]
    async with open_loopback(databases, [RETURNS, talker]) as loopback:
        yield Stage(loopback, databases.admin_url, await databases.connect_as_admin(), services)


def named(report: Report) -> list[tuple[str, str]]:
    """The checks that do not hold."""
    return [(check.service, check.id) for check in report.violated()]


async def test_books_that_balance_are_called_so_with_what_was_looked_at(stage: Stage) -> None:
    await stage.place()
    report = await stage.audit()
    assert named(report) == []
    counts = {(check.service, check.id): check.counts for check in report.checks}
    assert counts[("returns", "I7-handled")] == {"deliveries": 1, "done": 1, "retry": 0, "parked": 0, "under way": 0}
    assert counts[("returns+sync", "F-units_ordered")] == {"keys compared": 1, "under way": 0}


async def test_what_is_under_way_is_counted_and_not_reported_until_there_was_time_enough(stage: Stage) -> None:
    await stage.place(deliver=False)
    report = await stage.audit()
    assert (named(report), report.under_way) == ([], 1)
    assert named(await stage.audit(strict=True)) == [("sync", "I7-sent")]


async def test_a_message_between_outbox_and_inbox_is_under_way(stage: Stage) -> None:
    await stage.place(deliver=False)
    await stage.admin.execute("UPDATE sync.outbox SET sent_at = now()")
    report = await stage.audit()
    assert (named(report), report.under_way) == ([], 1)
    strict = await stage.audit(strict=True)
    assert named(strict) == [("returns", "I7-handled")]
    assert "sent by sync" in strict.violated()[0].violations[0].detail


async def test_a_message_that_a_much_later_one_has_overtaken_is_lost(stage: Stage) -> None:
    lost = await stage.place()
    await stage.place()
    await stage.admin.execute("DELETE FROM returns.inbox WHERE subject = $1", str(lost.order_id))
    await stage.admin.execute("UPDATE sync.outbox SET sent_at = sent_at - interval '59 seconds' WHERE subject = $1", str(lost.order_id))
    assert named(await stage.audit()) == []
    await stage.admin.execute("UPDATE sync.outbox SET sent_at = sent_at - interval '5 seconds' WHERE subject = $1", str(lost.order_id))
    report = await stage.audit()
    assert named(report) == [("returns", "I7-handled")]
    assert str(lost.order_id) in report.violated()[0].violations[0].subject


async def test_a_deferred_message_is_under_way_and_named_with_its_reason_when_it_waits_too_long(stage: Stage) -> None:
    order = an_order()
    await stage.loopback.say("sync", a_cancellation(order))
    await stage.loopback.settle()
    assert named(await stage.audit()) == []
    report = await stage.audit(strict=True)
    assert named(report) == [("returns", "I7-retry")]
    assert f"order {order.order_id} has not arrived" in report.violated()[0].violations[0].detail


async def test_a_difference_that_a_message_under_way_explains_is_not_reported(stage: Stage) -> None:
    order = await stage.place()
    await stage.admin.execute("UPDATE returns.order_lines SET quantity = quantity + 1")
    report = await stage.audit()
    assert named(report) == [("returns+sync", "F-units_ordered")]
    assert report.violated()[0].violations == (Violation(f"{order.order_id}|1", "returns says 4, sync says 3"),)
    await stage.loopback.say("sync", a_cancellation(order))
    report = await stage.audit()
    assert named(report) == []
    assert next(check for check in report.checks if check.id == "F-units_ordered").counts["under way"] == 1


@pytest.mark.parametrize("status", ["parked", "dismissed"])
async def test_a_message_about_a_difference_that_nobody_handled_is_named_beside_it(stage: Stage, status: str) -> None:
    order = await stage.place()
    await stage.loopback.say("sync", a_cancellation(order))
    await stage.loopback.settle()
    await stage.admin.execute("UPDATE returns.order_lines SET quantity = quantity + 1")
    await stage.admin.execute(
        "UPDATE returns.inbox i SET status = $1, reason = 'test', body = o.body FROM sync.outbox o "
        "WHERE o.event_id = i.event_id AND i.type = 'order.cancelled.v1'",
        status,
    )
    report = await stage.audit()
    assert f"{status}: order.cancelled.v1" in report.violated()[0].violations[0].detail
    assert next(check.counts for check in report.checks if (check.service, check.id) == ("returns", "I7-handled"))[status] == 1


async def test_keys_that_only_one_service_knows_are_not_compared(stage: Stage) -> None:
    await stage.place()
    await stage.admin.execute("DELETE FROM returns.order_lines")
    await stage.admin.execute("UPDATE returns.orders SET captured_cents = shipping_captured_cents")
    assert named(await stage.audit()) == []


async def test_many_keys_are_compared_in_chunks_and_in_one_order(stage: Stage) -> None:
    stage.services = [
        replace(stage.services[0], invariants=(), facts=(Fact("n", "SELECT 'K' || i, i::bigint FROM generate_series(1, 12000) i"),)),
        replace(
            stage.services[1],
            facts=(Fact("n", "SELECT 'K' || i, (i + (i = 11999)::int)::bigint FROM generate_series(2000, 14000) i ORDER BY i DESC"),),
        ),
    ]
    report = await stage.audit()
    check = next(check for check in report.checks if check.id == "F-n")
    assert check.counts["keys compared"] == 10_001
    assert [violation.subject for violation in check.violations] == ["K11999"]


async def test_a_fact_that_states_a_key_twice_is_itself_wrong(stage: Stage) -> None:
    twice = Fact("n", "SELECT * FROM (VALUES ('a', 1::bigint), ('a', 2)) v")
    once = Fact("n", "SELECT 'a', 1::bigint")
    stage.services = [replace(stage.services[0], facts=(twice,)), replace(stage.services[1], facts=(once,))]
    report = await stage.audit()
    assert "key a is stated twice" in report.violated()[0].violations[0].detail


async def test_a_rule_that_can_not_be_run_is_a_violation_and_the_others_still_run(stage: Stage) -> None:
    broken = Invariant("I1-broken", "reads what is not there", "SELECT a, b FROM nowhere")
    writing = Invariant("I1-writing", "writes", "DELETE FROM orders RETURNING order_id::text, ''")
    stage.services[0] = replace(stage.services[0], invariants=(broken, writing, *INVARIANTS))
    report = await stage.audit()
    assert named(report) == [("returns", "I1-broken"), ("returns", "I1-writing")]
    assert "read-only" in report.violated()[1].violations[0].detail
    assert len([check for check in report.checks if check.service == "returns"]) > len(INVARIANTS)


async def test_a_missing_schema_is_told_with_the_way_out(stage: Stage) -> None:
    stage.services.append(Statements("nowhere", (), (), ServiceMessages([], [])))
    with pytest.raises(SchemaMissing, match="no schema nowhere"):
        await stage.audit()


async def test_what_is_older_than_the_inbox_remembers_is_not_asked_for(stage: Stage) -> None:
    forgotten, lost = await stage.place(), await stage.place()
    await stage.admin.execute("DELETE FROM returns.inbox")
    old = "00000000-0000-7000-8000-000000000000"
    await stage.admin.execute("UPDATE sync.outbox SET event_id = $1::uuid WHERE subject = $2", old, str(forgotten.order_id))
    report = await stage.audit(strict=True)
    handled = next(check for check in report.checks if (check.service, check.id) == ("returns", "I7-handled"))
    assert (handled.counts["deliveries"], handled.violation_count) == (1, 1)
    assert str(lost.order_id) in handled.violations[0].subject


async def test_waiting_ends_as_soon_as_the_system_has_come_to_rest(stage: Stage) -> None:
    await stage.place()
    started = datetime.now(UTC)
    report = await audit_until_settled(stage.url, wait_seconds=60, services=stage.services)
    assert named(report) == []
    assert datetime.now(UTC) - started < timedelta(seconds=30)


async def test_what_does_not_come_to_rest_in_time_is_reported(stage: Stage) -> None:
    await stage.place(deliver=False)
    report = await audit_until_settled(stage.url, wait_seconds=0.1, services=stage.services)
    assert named(report) == [("sync", "I7-sent")]


def test_the_report_has_a_line_per_check_and_names_what_is_wrong() -> None:
    many = [Violation(f"order {number}", "1 cent too much") for number in range(VIOLATIONS_PRINTED + 5)]
    checks = [check_of("I1-a", "allocation", "a holds", []), check_of("I4-b", "returns", "b holds", many, {"keys": 7})]
    report = Report(datetime(2026, 3, 2, tzinfo=UTC), 0.5, checks, 2)
    lines = list(report.lines())
    assert lines[0] == "ok        allocation  I1-a  a holds"
    assert lines[1] == "VIOLATED  returns     I4-b  b holds (7 keys)"
    assert lines[2].strip() == "returns I4-b: order 0: 1 cent too much"
    assert lines[-2].strip() == "... and 5 more"
    assert lines[-1].startswith("2 checks, 25 violations, 2 messages under way")
    assert report.as_json()["checks"][1]["violations"][0] == {"subject": "order 0", "detail": "1 cent too much"}


def test_the_names_in_a_message_are_all_its_texts_however_deep() -> None:
    assert names_in(b'{"a": "x", "b": [{"c": "y"}, 3, null], "d": {"e": ["z"]}}') == {"x", "y", "z"}
    assert names_in(b"no json") == set()


def test_every_service_states_rules_with_ids_of_their_own() -> None:
    for statements in load_statements():
        ids = [invariant.id for invariant in statements.invariants]
        assert len(ids) == len(set(ids)), statements.service
        names = [fact.name for fact in statements.facts]
        assert len(names) == len(set(names)), statements.service


def run_command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m shared.audit`` as a person runs it."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "shared.audit", *arguments],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_an_address_the_command_says_what_to_set() -> None:
    answer = run_command({})
    assert answer.returncode == 2
    assert "ORDERMESH_AUDIT_DATABASE_URL" in answer.stderr


def test_an_unknown_service_is_named_with_those_there_are(servers: dict[str, str]) -> None:
    answer = run_command({"ADMIN_DATABASE_URL": servers["ADMIN_DATABASE_URL"]}, "--service", "billing")
    assert answer.returncode == 2
    assert "returns" in answer.stderr


async def test_the_command_prints_the_report_writes_it_and_says_by_its_exit_code_whether_the_books_balance(
    databases: Databases, tmp_path: Path
) -> None:
    url = {"ORDERMESH_AUDIT_DATABASE_URL": with_database(databases.admin_url, databases.name, user=AUDITOR, password=PASSWORD)}
    file = tmp_path / "deep" / "audit.json"
    answer = run_command(url, "--json", str(file), "--wait", "1")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 violations" in answer.stdout
    admin = await databases.connect_as_admin()
    await admin.execute(
        "INSERT INTO returns.orders (order_id, channel, external_id, currency, segment, placed_at, lines_version, captured_cents, "
        "shipping_captured_cents) VALUES (gen_random_uuid(), 'shopify', '1', 'USD', 'dtc', now(), 1, 7, 0)"
    )
    answer = run_command(url, "--json", str(file), "--service", "returns")
    assert answer.returncode == 1
    assert "I4-captured-conserved" in answer.stdout
    found = json.loads(file.read_text())
    assert found["violations"] == 1
    assert {check["service"].split("+")[0] for check in found["checks"] if check["id"].startswith("I4")} == {"returns"}

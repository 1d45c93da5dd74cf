"""One trace per order: who caused what can be found again from the messages alone, and spans are exported only when somebody wants them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from uuid import UUID

import pytest
import structlog
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.envelope import new_id
from shared.telemetry import (
    HandledEvent,
    SpanRecorder,
    configure_logging,
    handling_span_id,
    is_sampled,
    service_number,
    trace_id_of,
    traceparent_of,
)

uuids = st.uuids()


@given(uuids, uuids)
def test_what_an_event_causes_stays_in_its_trace_below_the_span_that_handled_it(first: UUID, second: UUID) -> None:
    number = service_number("routing")
    root = traceparent_of(None, first, number)
    below = traceparent_of(root, second, number)
    assert below[3:35] == root[3:35] == trace_id_of(None, first)
    assert below[36:52] == handling_span_id(second, number)
    assert below[53:55] == root[53:55]


@given(uuids)
def test_two_services_that_handle_one_event_have_two_spans_and_never_the_invalid_one(event_id: UUID) -> None:
    spans = {handling_span_id(event_id, service_number(name)) for name in ("allocation", "routing", "portal")}
    assert len(spans) == 3
    assert "0" * 16 not in spans


def test_about_as_many_traces_are_recorded_as_the_ratio_says() -> None:
    assert all(is_sampled(new_id(), 1.0) for _ in range(100))
    assert not any(is_sampled(new_id(), 0.0) for _ in range(100))
    assert 300 < sum(is_sampled(new_id(), 0.5) for _ in range(1_000)) < 700


async def test_spans_reach_the_endpoint_and_unsampled_ones_do_not() -> None:
    received: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response()

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    recorder = SpanRecorder("routing", f"http://127.0.0.1:{port}/v1/traces")
    wanted, unwanted = new_id(), new_id()
    events = [
        HandledEvent(wanted, "order.placed.v1", traceparent_of(None, wanted, 1)),
        HandledEvent(unwanted, "order.placed.v1", traceparent_of(None, unwanted, 1, sample_ratio=0.0)),
    ]
    recorder.record_batch(new_id(), "order.placed.v1", events, 1, "done")
    await asyncio.to_thread(recorder.close)
    await runner.cleanup()
    sent = b"".join(received)
    assert str(wanted).encode() in sent
    assert str(unwanted).encode() not in sent
    assert b"batch order.placed.v1" in sent


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    structlog.reset_defaults()
    yield capsys
    structlog.reset_defaults()
    configure_logging("tests", "ERROR")
    logging.getLogger().handlers.clear()


def test_a_logged_failure_tells_where_and_never_what_was_in_its_variables(logged: pytest.CaptureFixture[str]) -> None:
    configure_logging("routing", "INFO")
    secret = "ada@example.com"
    try:
        raise ValueError(f"no rate for {len(secret)} things")
    except ValueError:
        structlog.get_logger().exception("work_failed")
    line = logged.readouterr().out
    assert "ValueError" in line
    assert "test_telemetry" in line
    assert secret not in line

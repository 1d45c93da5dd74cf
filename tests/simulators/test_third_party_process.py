"""The 3PL simulator as a process of its own, with a 3PL's real rights on a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import aiohttp
import pytest

from deploy.local.ports import choose_ports
from shared.contracts.envelope import Envelope, new_id
from shared.contracts.fulfillment import FulfillmentCancelRequested, FulfillmentRequested, PickLine
from shared.contracts.orders import Address
from tests.simulators.conftest import Bench
from tests.tcp_proxy import TcpProxy, proxy_to

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"accept_delay_seconds": 0.02, "label_delay_seconds": 0.02, "ship_delay_seconds": 0.02, "deliver_delay_seconds": 0.02}


def request_body(fulfillment_id: UUID, quantity: int = 2) -> bytes:
    """A pick list as routing publishes it."""
    now = datetime.now(UTC)
    command = FulfillmentRequested(
        fulfillment_id=fulfillment_id,
        order_number="1001",
        location="reno-nv",
        carrier="UPS",
        service="ground",
        service_level="standard",
        ship_to=Address(name="A", line1="1 St", city="Reno", region="NV", postal_code="89506", country="US"),
        lines=[PickLine(line_id="1", sku="MUG", title="Mug", quantity=quantity)],
        ship_by=now,
        expires_at=now + timedelta(days=1),
    )
    envelope = Envelope[FulfillmentRequested](
        id=new_id(), source="routing", type=FulfillmentRequested.type, subject=str(fulfillment_id), time=now, data=command
    )
    return envelope.model_dump_json().encode()


def cancel_body(fulfillment_id: UUID) -> bytes:
    """A cancellation as routing publishes it."""
    envelope = Envelope[FulfillmentCancelRequested](
        id=new_id(),
        source="routing",
        type=FulfillmentCancelRequested.type,
        time=datetime.now(UTC),
        data=FulfillmentCancelRequested(fulfillment_id=fulfillment_id, reason="changed mind"),
    )
    return envelope.model_dump_json().encode()


class Simulator:
    """A running simulator process and its HTTP side."""

    def __init__(self, bench: Bench, directory: Path) -> None:
        self.bench = bench
        self.port = choose_ports(["http"], {})["http"]
        self.process: asyncio.subprocess.Process | None = None
        self._directory = directory
        self._session = aiohttp.ClientSession(base_url=f"http://127.0.0.1:{self.port}")

    async def start(self, behaviour: dict[str, Any] | None = None) -> None:
        """Starts the process and waits until both 3PLs consume."""
        codes = {self.bench.codes[name]: self.bench.urls[name] for name in ("west", "east")}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ORDERMESH_")},
            "PYTHONPATH": str(ROOT),
            "ORDERMESH_PARTNER_AMQP_URLS": json.dumps(codes),
            "ORDERMESH_HTTP_PORT": str(self.port),
            "ORDERMESH_STATE_FILE": str(self._directory / "journal"),
            "ORDERMESH_THIRD_PARTY_BEHAVIOUR": json.dumps({**QUICK, **(behaviour or {})}),
        }
        with (self._directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "simulators.third_party_logistics", env=environment, stdout=log, stderr=log, cwd=ROOT
            )
        async with asyncio.timeout(20):
            while not await self._is_ready():  # noqa: ASYNC110 - another process: there is nothing here to wait for
                await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            async with self._session.get("/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process is None or self.process.returncode is not None:
            return 0
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 10)

    async def get(self, path: str) -> Any:
        """The JSON at a path."""
        async with self._session.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def until_delivered(self, partner: str, count: int) -> Any:
        """Waits until so many parcels of a 3PL are delivered and all is said; returns its state."""
        async with asyncio.timeout(30):
            while True:
                state = (await self.get("/state"))[partner]
                if state["fulfillments"] == {"delivered": count} and not state["unsaid"]:
                    return state
                await asyncio.sleep(0.1)

    async def post(self, path: str, body: dict[str, Any], expect: int = 200) -> Any:
        """Posts JSON."""
        async with self._session.post(path, json=body) as answer:
            assert answer.status == expect, await answer.text()
            return await answer.json() if expect == 200 else await answer.text()

    async def close(self) -> None:
        """Ends the process, if it still runs, and the session."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self._session.close()


@pytest.fixture
async def simulator(bench: Bench, tmp_path: Path) -> AsyncIterator[Simulator]:
    running = Simulator(bench, tmp_path)
    yield running
    await running.close()


def short(heard: list[dict[str, Any]]) -> Counter[str]:
    """How often each type was heard."""
    return Counter(envelope["type"] for envelope in heard)


async def test_pick_lists_are_answered_through_the_partners_own_keys_and_acknowledged(simulator: Simulator) -> None:
    bench = simulator.bench
    await simulator.start()
    west = bench.codes["west"]
    ids = [new_id() for _ in range(200)]
    for fulfillment_id in ids:
        await bench.say(FulfillmentRequested, west, request_body(fulfillment_id))
    heard = await bench.hear(800)
    kinds = ("accepted", "label_printed", "shipped", "delivered")
    assert short(heard) == {f"3pl.{kind}.v1": 200 for kind in kinds}
    assert {envelope["routing_key"] for envelope in heard} == {f"3pl.{west}.{kind}.v1" for kind in kinds}
    assert {envelope["subject"] for envelope in heard} == {str(fulfillment_id) for fulfillment_id in ids}
    sequences = [envelope["data"]["sequence"] for envelope in heard if envelope["type"] == "3pl.shipped.v1"]
    assert sorted(sequences) == list(range(1, 201))
    state = (await simulator.get("/state"))[west]
    assert state["fulfillments"] == {"delivered": 200}
    assert state["units"]["oversold"] == 400
    assert await bench.waiting(f"3pl.{west}.commands") == 0
    assert await simulator.stop() == 0


async def test_each_3pl_works_on_its_own_queue(simulator: Simulator) -> None:
    bench = simulator.bench
    await simulator.start()
    await bench.say(FulfillmentRequested, bench.codes["west"], request_body(new_id()))
    await bench.say(FulfillmentRequested, bench.codes["east"], request_body(new_id()))
    heard = await bench.hear(8)
    assert Counter(envelope["source"] for envelope in heard) == {f"3pl.{bench.codes['west']}": 4, f"3pl.{bench.codes['east']}": 4}


async def test_a_kill_in_the_middle_loses_no_parcel_and_ships_none_twice(simulator: Simulator) -> None:
    bench = simulator.bench
    await simulator.start({"accept_delay_seconds": 0.3, "ship_delay_seconds": 0.3})
    west = bench.codes["west"]
    ids = [new_id() for _ in range(150)]
    for fulfillment_id in ids:
        await bench.say(FulfillmentRequested, west, request_body(fulfillment_id))
    await asyncio.sleep(0.35)
    await simulator.kill()
    await simulator.start({"accept_delay_seconds": 0.05})
    await simulator.until_delivered(west, 150)
    heard = await bench.hear_now()
    parcels = {
        (envelope["data"]["fulfillment_id"], envelope["data"]["sequence"]) for envelope in heard if envelope["type"] == "3pl.shipped.v1"
    }
    assert {fulfillment_id for fulfillment_id, _ in parcels} == {str(fulfillment_id) for fulfillment_id in ids}
    assert sorted(sequence for _, sequence in parcels) == list(range(1, 151))
    assert (await simulator.get("/state"))[west]["units"]["shipped"] == 300


async def test_it_notices_that_its_queue_was_deleted_and_consumes_the_new_one(simulator: Simulator) -> None:
    bench = simulator.bench
    await simulator.start()
    west = bench.codes["west"]
    await bench.say(FulfillmentRequested, west, request_body(new_id()))
    await bench.hear(4)
    # Taking the queue away closes nothing: the consumer is cancelled in silence, which it must notice by itself.
    await bench.channel.queue_delete(f"3pl.{west}.commands")
    # RabbitMQ 3.10 forgets to cancel the consumer when the queue is back within milliseconds.
    await asyncio.sleep(1)
    queue = await bench.channel.declare_queue(
        f"3pl.{west}.commands",
        durable=True,
        arguments={"x-queue-type": "quorum", "x-dead-letter-exchange": "oms.dead", "x-dead-letter-routing-key": "partners"},
    )
    await queue.bind("oms.commands", f"3pl.{west}.#")
    await bench.say(FulfillmentRequested, west, request_body(new_id()))
    assert short(await bench.hear(4)) == {f"3pl.{kind}.v1": 1 for kind in ("accepted", "label_printed", "shipped", "delivered")}


@asynccontextmanager
async def proxy_before(bench: Bench) -> AsyncIterator[TcpProxy]:
    """A proxy between the broker and the 3PL in the west."""
    parts = urlsplit(bench.urls["west"])
    async with proxy_to(parts.hostname or "", parts.port or 0) as proxy:
        bench.urls["west"] = urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"))
        yield proxy


async def test_it_comes_back_when_its_connections_are_cut_and_says_what_was_unsaid(simulator: Simulator) -> None:
    bench = simulator.bench
    west = bench.codes["west"]
    async with proxy_before(bench) as proxy:
        await simulator.start()
        ids = [new_id() for _ in range(60)]
        for number, fulfillment_id in enumerate(ids):
            await bench.say(FulfillmentRequested, west, request_body(fulfillment_id))
            if number % 20 == 10:
                proxy.cut()
        state = await simulator.until_delivered(west, 60)
    heard = await bench.hear_now()
    shipped = [envelope["data"]["fulfillment_id"] for envelope in heard if envelope["type"] == "3pl.shipped.v1"]
    assert set(shipped) == {str(fulfillment_id) for fulfillment_id in ids}
    assert state["units"]["shipped"] == 120


async def test_a_connection_that_dies_while_the_other_one_opens_is_not_the_end_of_a_3pl(simulator: Simulator) -> None:
    bench = simulator.bench
    west = bench.codes["west"]
    async with proxy_before(bench) as proxy:
        # A session opens one connection to read and then one to write: twice the second is the end of the first.
        proxy.jealous_connections = 4
        await simulator.start()
        await bench.say(FulfillmentRequested, west, request_body(new_id()))
        await simulator.until_delivered(west, 1)
    assert proxy.connections == 6


async def test_what_nobody_can_read_is_counted_and_disturbs_nothing(simulator: Simulator) -> None:
    bench = simulator.bench
    await simulator.start()
    west = bench.codes["west"]
    for body in (b"no json", b"[]", b'{"type": "fulfillment.requested.v1"}', b'{"type": "something.else.v1"}'):
        await bench.say(FulfillmentRequested, west, body)
    await bench.say(FulfillmentRequested, west, request_body(new_id()))
    assert len(await bench.hear(4)) == 4
    statistics = (await simulator.get("/state"))[west]["statistics"]
    assert (statistics["unreadable"], statistics["unknown_type"]) == (3, 1)
    assert await bench.waiting(f"3pl.{west}.commands") == 0


async def test_the_admin_moves_stock_and_the_3pl_says_so(simulator: Simulator) -> None:
    bench = simulator.bench
    await simulator.start()
    place = {"partner": bench.codes["west"], "location": "reno-nv"}
    goods = [{"sku": "MUG", "quantity": 10}]
    await simulator.post("/stock", {**place, "lines": goods})
    await simulator.post("/receipt", {"location": "reno-nv", "lines": goods})
    await simulator.post("/adjustment", {**place, "sku": "MUG", "quantity_delta": -3, "reason": "broken"})
    assert await simulator.post("/snapshot", place) == {"messages": 1, "watermark": 2}
    by_type = {envelope["type"]: envelope["data"] for envelope in await bench.hear(3)}
    assert by_type["3pl.receipt.v1"]["sequence"] == 1
    assert by_type["3pl.stock_adjusted.v1"]["sequence"] == 2
    assert by_type["3pl.stock_snapshot.v1"]["watermark"] == 2
    assert by_type["3pl.stock_snapshot.v1"]["lines"] == [{"sku": "MUG", "on_hand": 17, "damaged": 0, "quality_control": 0, "set_aside": 0}]
    (row,) = (await simulator.get("/stock"))["rows"]
    assert (row["received"], row["adjusted"], row["on_hand"]) == (20, -3, 17)
    assert await simulator.post("/repeat", {}) == {"messages": 2}


async def test_behaviour_can_be_changed_while_it_runs(simulator: Simulator) -> None:
    bench = simulator.bench
    await simulator.start()
    west = bench.codes["west"]
    await simulator.post("/behaviour", {"partner": west, "accept_delay_seconds": 30})
    fulfillment_id = new_id()
    await bench.say(FulfillmentRequested, west, request_body(fulfillment_id))
    await bench.say(FulfillmentCancelRequested, west, cancel_body(fulfillment_id))
    assert short(await bench.hear(1)) == {"3pl.cancel_accepted.v1": 1}
    shown = await simulator.get(f"/fulfillments/{fulfillment_id}")
    assert (shown["status"], [word["type"] for word in shown["said"]]) == ("cancelled", ["3pl.cancel_accepted.v1"])


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/behaviour", {"reject_rate": 2}, "reject_rate"),
        ("/behaviour", {"no_such": 1}, "no_such"),
        ("/stock", {"location": "reno-nv"}, "lines"),
        ("/stock", {"location": "reno-nv", "lines": [{"sku": "MUG", "quantity": 0}]}, "quantity"),
        ("/snapshot", {"location": "nowhere"}, "name the 3PL"),
    ],
)
async def test_a_wrong_wish_is_refused_by_field(simulator: Simulator, path: str, body: dict[str, Any], words: str) -> None:
    await simulator.start()
    assert words in await simulator.post(path, body, expect=400)

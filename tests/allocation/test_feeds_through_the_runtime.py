"""Feeds as they come off the queue: contract violations, waiting beyond the deferral time, and closing a gap while a count waits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from asyncpg import Record

from services.allocation.__main__ import SERVICE
from shared.config import Settings
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.feeds import FeedGapCloseRequested, FeedSettingsRequested
from shared.contracts.stock import ThirdPartyStockAdjusted, ThirdPartyStockSnapshot
from shared.database import open_pool
from shared.messaging.batching import Processor, Surroundings
from shared.messaging.reading import Delivery
from shared.telemetry import Metrics
from tests.allocation.conftest import Desk
from tests.allocation.messages import NOW, at, location, products, receipt, received
from tests.conftest import Databases


@dataclass
class Dock:
    """Where a 3PL's messages arrive, with a clock that the test moves."""

    processors: dict[type[Message], Processor]
    desk: Desk
    clock: list[datetime]

    async def hear(self, kind: type[Message], data: dict[str, Any], partner: str = "acme") -> None:
        """One delivery from the partner's queue."""
        envelope = {"specversion": "1.0", "id": str(new_id()), "source": partner, "type": kind.type, "time": NOW.isoformat(), "data": data}
        rest = kind.type.removeprefix("3pl.")
        key = f"3pl.{partner}.{rest}" if kind.type.startswith("3pl.") else kind.type
        await self.processors[kind].process([Delivery(json.dumps(envelope).encode(), key)])

    async def retry(self, kind: type[Message], minutes: float) -> None:
        """Moves the clock and tries what is due."""
        self.clock[0] = at(minutes)
        await self.processors[kind].retry_due(100)

    async def waiting(self) -> list[Record]:
        return list(await self.desk.connection.fetch("SELECT status, reason, due_at FROM inbox WHERE status <> 'done'"))


@pytest.fixture
async def dock(desk: Desk, databases: Databases) -> AsyncIterator[Dock]:
    """Ten mugs and ten cups in the east."""
    config = Settings(
        database_url=databases.url("allocation"), amqp_url="amqp://unused", operator_token="only-for-this-test", deferral_seconds=600
    )
    pool = await open_pool(config.database_url, application_name="test", size=2, command_timeout_seconds=30)
    clock = [NOW]
    around = Surroundings("allocation", pool, config, Metrics("allocation"), lambda: clock[0], lambda: None)
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    await desk.hear(received(receipt(10), time=at(-60)), received(receipt(10, "CUP"), time=at(-60)))
    yield Dock({item.message: Processor(item, around) for item in SERVICE.consumes}, desk, clock)
    await pool.close()


def count(*lines: dict[str, Any], minute: float = 1, watermark: int = 0) -> dict[str, Any]:
    return {"location": "east", "as_of": at(minute).isoformat(), "watermark": watermark, "lines": list(lines)}


@pytest.mark.parametrize("units", [-1, 2.5, "7", None], ids=["negative", "fractional", "text", "null"])
async def test_units_that_are_no_count_stop_the_whole_snapshot_and_name_the_line(dock: Dock, units: Any) -> None:
    await dock.hear(ThirdPartyStockSnapshot, count({"sku": "CUP", "on_hand": 3}, {"sku": "MUG", "on_hand": units}))
    (parked,) = await dock.waiting()
    assert (parked["status"], parked["due_at"]) == ("parked", None)
    assert "data.lines.1.on_hand" in parked["reason"]
    assert "(see contracts/schemas/3pl.stock_snapshot.v1.json)" in parked["reason"]
    assert (await dock.desk.available(), await dock.desk.available("CUP")) == (10, 10)


async def test_a_fractional_correction_is_refused_and_shows_as_a_gap_of_its_feed(dock: Dock) -> None:
    wrong = {"location": "east", "adjustment_id": str(new_id()), "sku": "MUG", "quantity_delta": -0.5, "reason": "broken", "sequence": 1}
    await dock.hear(ThirdPartyStockAdjusted, wrong)
    assert "quantity_delta" in (await dock.waiting())[0]["reason"]
    await dock.hear(ThirdPartyStockSnapshot, count({"sku": "MUG", "on_hand": 9}, watermark=1))
    (waiting,) = [row for row in await dock.waiting() if row["status"] == "retry"]
    assert "the first is 1" in waiting["reason"]


async def test_a_count_waits_beyond_the_deferral_time_and_is_never_parked_in_silence(dock: Dock) -> None:
    settings = {
        "decision_id": str(new_id()),
        "location": "east",
        "patience_seconds": 7_200,
        "reason": "slow partner",
        "operator": "kim",
    }
    await dock.hear(FeedSettingsRequested, settings)
    await dock.hear(ThirdPartyStockSnapshot, count({"sku": "MUG", "on_hand": 6}, watermark=1))
    for minutes in (5, 11, 60, 119):
        await dock.retry(ThirdPartyStockSnapshot, minutes)
        (waiting,) = await dock.waiting()
        assert waiting["status"] == "retry"
    await dock.retry(ThirdPartyStockSnapshot, 122)
    assert await dock.waiting() == []
    assert await dock.desk.available() == 6


async def test_closing_a_gap_has_the_waiting_count_tried_again_at_once(dock: Dock) -> None:
    await dock.hear(ThirdPartyStockSnapshot, count({"sku": "MUG", "on_hand": 6}, watermark=2))
    for minutes in (1, 2, 4, 8):
        await dock.retry(ThirdPartyStockSnapshot, minutes)
    assert (await dock.waiting())[0]["due_at"] > dock.clock[0] + timedelta(seconds=2)
    given_up = {"decision_id": str(new_id()), "location": "east", "up_to_sequence": 2, "reason": "lost", "operator": "kim"}
    await dock.hear(FeedGapCloseRequested, given_up)
    assert (await dock.waiting())[0]["due_at"] <= dock.clock[0]
    await dock.processors[ThirdPartyStockSnapshot].retry_due(100)
    assert await dock.waiting() == []
    assert await dock.desk.available() == 6

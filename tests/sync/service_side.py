"""The sync service's HTTP side, put together by the real runtime, for tests that talk to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from services.sync.__main__ import SERVICE
from services.sync.settings import Settings
from shared.database import open_pool
from shared.http import build_application, build_runner
from shared.messaging.batching import Processor, Surroundings
from shared.running import Environment
from shared.telemetry import Metrics

SECRET, OLD_SECRET, TOKEN = "the-live-webhook-secret", "the-secret-before-it", "an-operators-token-for-tests"
OPERATOR = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@dataclass
class SyncHttp:
    """What a client sees of the service."""

    base_url: str
    http: aiohttp.ClientSession
    environment: Environment

    def now(self) -> datetime:
        """The service's clock."""
        return self.environment.now()

    async def post(self, path: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a POST."""
        async with self.http.post(self.base_url + path, data=body, headers=headers) as response:
            return response.status, await response.json()

    async def get(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a GET."""
        async with self.http.get(self.base_url + path, headers=headers) as response:
            return response.status, await response.json()


def write_partners(path: Path, *, shop_url: str = "http://127.0.0.1:9/shop") -> Path:
    """A partners file with three channels, one of them without webhooks."""
    channels = [
        {"code": "shop", "base_url": shop_url, "webhook_secrets": [SECRET, OLD_SECRET], "requests_per_second": 500},
        {"code": "outlet", "base_url": "http://127.0.0.1:9/outlet", "webhook_secrets": ["the-outlets-own-secret"]},
        {"code": "silent", "base_url": "http://127.0.0.1:9/silent"},
    ]
    path.write_text(json.dumps({"channels": channels}))
    return path


async def _no_problems() -> dict[str, str]:
    return {}


@asynccontextmanager
async def serve(database_url: str, partners_file: Path, http: aiohttp.ClientSession) -> AsyncIterator[SyncHttp]:
    """Serves sync's routes, and its handlers behind ``POST /messages``, until left."""
    settings = Settings(database_url=database_url, amqp_url="amqp://unused", operator_token=TOKEN, partners_file=partners_file)
    pool = await open_pool(database_url, application_name="sync", size=6, command_timeout_seconds=10)
    around = Surroundings(
        service="sync",
        pool=pool,
        settings=settings,
        metrics=Metrics("sync"),
        now=lambda: datetime.now(UTC),
        committed=lambda *_: None,
    )
    processors = {item.message.type: Processor(item, around) for item in SERVICE.consumes}
    environment = Environment(around, http, processors)
    application = build_application(environment, SERVICE.routes, live=_no_problems, ready=_no_problems)
    runner = build_runner(application, shutdown_seconds=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield SyncHttp(f"http://127.0.0.1:{runner.addresses[0][1]}", http, environment)
    finally:
        await runner.cleanup()
        await pool.close()

"""Every number that a service shows to Prometheus can be shown."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest

from shared.config import Settings
from shared.database import open_pool
from shared.messaging.batching import Surroundings
from shared.migrate import service_names
from shared.running import declare_gauges, measure_gauges
from shared.service import Service
from shared.telemetry import Metrics
from tests.conftest import Databases


@pytest.mark.parametrize("name", service_names())
async def test_every_gauge_of_a_service_can_be_set(databases: Databases, name: str) -> None:
    service: Service = importlib.import_module(f"services.{name}.__main__").SERVICE
    settings = Settings(database_url=databases.url(name), amqp_url="amqp://unused", operator_token="only-for-this-test")
    pool = await open_pool(settings.database_url, application_name="test", size=2, command_timeout_seconds=10)
    around = Surroundings(name, pool, settings, Metrics(name), lambda: datetime.now(UTC), lambda: None)
    try:
        declare_gauges(around, service.gauges)
        await measure_gauges(around, service.gauges)
    finally:
        await pool.close()
    shown = generate_latest(around.metrics.registry).decode()
    for gauges in service.gauges:
        assert all(f"# TYPE ordermesh_{gauge} gauge" in shown for gauge in gauges.names)

"""What was measured on: figures without their machine mean nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import aio_pika
import psutil

from benchmarks.databases import Databases
from deploy.local.stack import Stack

LIBRARIES = ("faststream", "aio-pika", "asyncpg", "pydantic", "uvloop", "aiohttp")


def describe_processor() -> dict[str, str]:
    """What there is to tell of a measurement without servers."""
    return {
        "processors": f"{os.cpu_count()} x {_processor_model()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
    }


async def describe_machine(stack: Stack, databases: Databases) -> dict[str, str]:
    """The machine and the versions of everything that matters, as text for a person."""
    return {
        **describe_processor(),
        "Postgres": await databases.server_version(),
        "RabbitMQ": await _broker_version(stack),
        **{library: version(library) for library in LIBRARIES},
    }


def _processor_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


async def _broker_version(stack: Stack) -> str:
    connection = await aio_pika.connect(stack.rabbitmq.url, timeout=10)
    async with connection:
        transport = connection.transport
        properties: Mapping[str, object] = {} if transport is None else getattr(transport.connection, "server_properties", {})
        found = properties.get("version", "unknown")
        return found.decode() if isinstance(found, bytes) else str(found)

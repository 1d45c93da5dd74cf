"""`python -m simulators.third_party_logistics`: plays one or several 3PLs until SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import uvloop
from aiohttp import web
from pydantic import ValidationError

from shared.errors import BadConfiguration
from shared.messaging.trouble import first_ended
from simulators.third_party_logistics.admin import Admin
from simulators.third_party_logistics.journal import Journal
from simulators.third_party_logistics.link import PartnerLink
from simulators.third_party_logistics.settings import SimulatorSettings
from simulators.third_party_logistics.warehouse import Warehouse

GC_THRESHOLD = 50_000
"""Objects allocated before a collection: messages die young, pick lists stay."""


def _now() -> datetime:
    return datetime.now(UTC)


def _link(settings: SimulatorSettings, code: str, state_file: Path | None) -> PartnerLink:
    journal = None if state_file is None else Journal(state_file, f"3pl.{code}")
    warehouse = Warehouse(code, settings.third_party_behaviour, Random(f"{settings.seed}:{code}"), journal)
    return PartnerLink(warehouse, settings.partner_amqp_urls[code], prefetch=settings.prefetch, clock=_now, journal=journal)


def _state_file(settings: SimulatorSettings, code: str) -> Path | None:
    """Each 3PL has a journal of its own beside the named file."""
    return None if settings.state_file is None else settings.state_file.with_name(f"{settings.state_file.name}.{code}")


async def play(settings: SimulatorSettings) -> None:
    """Runs all 3PLs and the admin's HTTP side until SIGTERM or SIGINT, or until one of them ends by a mistake."""
    links = {code: _link(settings, code, _state_file(settings, code)) for code in settings.codes()}
    runner = web.AppRunner(Admin(links, _now).application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, settings.http_host, settings.http_port)
    await site.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    work = [asyncio.create_task(link.run(), name=f"3PL {code}") for code, link in links.items()]
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    await asyncio.wait([stopped, *work], return_when=asyncio.FIRST_COMPLETED)
    failure = first_ended(work)
    for task in (stopped, *work):
        task.cancel()
    await asyncio.gather(stopped, *work, return_exceptions=True)
    await runner.cleanup()
    if failure is not None:
        raise failure


def main() -> int:
    """Reads the settings; bad ones end it with one line."""
    try:
        settings = SimulatorSettings()
        settings.codes()
    except (BadConfiguration, ValidationError) as error:
        print(f"simulators.third_party_logistics: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s")
    uvloop.run(play(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())

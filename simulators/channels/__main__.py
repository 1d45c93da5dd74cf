"""``python -m simulators.channels``: all channels on ORDERMESH_HTTP_PORT, until SIGTERM or SIGINT.

ORDERMESH_SEED (default 1) fixes what chance there is; each channel has its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop
from aiohttp import web

from simulators.channels.api import Simulator


def _port() -> int:
    text = os.environ.get("ORDERMESH_HTTP_PORT", "8060")
    if not (text.isascii() and text.isdigit()) or int(text) > 65_535:
        sys.exit(f"ORDERMESH_HTTP_PORT: {text!r} is no port: set a number from 0 to 65535")
    return int(text)


async def run() -> None:
    """Listens until it is told to stop."""
    runner = web.AppRunner(Simulator(os.environ.get("ORDERMESH_SEED", "1")).application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, os.environ.get("ORDERMESH_HTTP_HOST", "127.0.0.1"), _port()).start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print("channels simulator: ready", flush=True)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(run())

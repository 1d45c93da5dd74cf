"""``python -m simulators.mail``: SMTP on ORDERMESH_SMTP_PORT, HTTP on ORDERMESH_HTTP_PORT, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop
from aiohttp import web
from aiosmtpd.smtp import SMTP

from simulators.mail.pages import build_application
from simulators.mail.sink import Sink

LARGEST_MAIL_BYTES = 10 * 1024 * 1024


def port_from(name: str, default: int) -> int:
    """A port from the environment."""
    text = os.environ.get(name, str(default))
    if not text.isdigit() or int(text) > 65_535:
        sys.exit(f"{name}: {text!r} is no port: set a number from 0 to 65535")
    return int(text)


async def run() -> None:
    """Listens until it is told to stop."""
    host = os.environ.get("ORDERMESH_HTTP_HOST", "127.0.0.1")
    smtp_port, http_port = port_from("ORDERMESH_SMTP_PORT", 2525), port_from("ORDERMESH_HTTP_PORT", 8025)
    sink = Sink()
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(build_application(sink), access_log=None)
    await runner.setup()
    try:
        smtp = await loop.create_server(
            lambda: SMTP(sink, hostname="mail-simulator", enable_SMTPUTF8=True, data_size_limit=LARGEST_MAIL_BYTES, loop=loop),
            host,
            smtp_port,
        )
        await web.TCPSite(runner, host, http_port).start()
    except OSError as error:
        sys.exit(f"mail simulator: cannot listen on ORDERMESH_SMTP_PORT {smtp_port} or ORDERMESH_HTTP_PORT {http_port}: {error}")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print("mail simulator: ready", flush=True)
    await stop.wait()
    smtp.close()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(run())

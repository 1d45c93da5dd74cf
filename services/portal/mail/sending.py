"""Connections to the mail server: a few, kept open, each used by one mail at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiosmtplib
import structlog
from aiosmtplib import SMTP

from services.portal.decide.mail import Delivered, MailOutcome, NotTried, Postponed, Refused
from services.portal.mail.letters import Letter
from services.portal.settings import PortalSettings

log = structlog.get_logger()

PERMANENT_CODES = range(500, 600)
MAILS_PER_CONNECTION = 1_000
"""Then a fresh one is opened: mail servers commonly limit how many mails one connection may carry, and load balancers get a chance."""


class MailServer:
    """Sends mails over at most ``smtp_connections`` connections."""

    def __init__(self, settings: PortalSettings) -> None:
        self._free: asyncio.LifoQueue[_Line] = asyncio.LifoQueue()
        for _ in range(settings.smtp_connections):
            self._free.put_nowait(_Line(settings))

    async def send(self, letter: Letter, still_ours: Callable[[], bool]) -> MailOutcome:
        """Hands one mail to the server. Every failure that a server or a network can cause becomes an outcome.

        When the connection is lost after the mail was sent but before the answer came, the mail goes out again under the same message id.

        Args:
            letter: the mail.
            still_ours: asked once a connection is free: whether there is time to send before another worker may claim the same mail.
        """
        line = await self._free.get()
        try:
            return await line.send(letter) if still_ours() else NotTried()
        finally:
            self._free.put_nowait(line)

    async def close(self) -> None:
        """Says goodbye on every open connection that is not in use."""
        while not self._free.empty():
            self._free.get_nowait().hang_up()


class _Line:
    """One connection, opened when it is needed and opened again when it was lost."""

    def __init__(self, settings: PortalSettings) -> None:
        self._settings = settings
        self._client: SMTP | None = None
        self._carried = 0

    async def _connected(self) -> SMTP:
        client = self._client
        if client is not None and client.is_connected and self._carried < MAILS_PER_CONNECTION:
            return client
        self.hang_up()
        settings = self._settings
        fresh = SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username,
            password=settings.smtp_password,
            start_tls=True if settings.smtp_starttls else None,
            timeout=settings.smtp_timeout_seconds,
        )
        await fresh.connect()
        self._client, self._carried = fresh, 0
        return fresh

    def hang_up(self) -> None:
        """Drops the connection; a mail server does not mind."""
        if self._client is not None:
            self._client.close()
        self._client = None

    async def send(self, letter: Letter) -> MailOutcome:
        """Sends one mail."""
        try:
            client = await self._connected()
        except (aiosmtplib.SMTPException, OSError) as error:
            # A server that does not let us in says nothing about this mail, whatever its code: try again later.
            self.hang_up()
            return Postponed(f"mail server {self._settings.smtp_host}: {type(error).__name__}: {error}")
        options = [] if letter.recipient.isascii() else ["SMTPUTF8"]
        try:
            await client.sendmail(self._settings.mail_from, letter.recipient, letter.content, mail_options=options)
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            return self._judge(refusal.code, refusal.message)
        except aiosmtplib.SMTPResponseException as error:
            return self._judge(error.code, error.message)
        except aiosmtplib.SMTPNotSupported as error:
            return Refused(f"mail server: {error}")
        except ValueError as error:
            return Refused(f"address: {error}")
        except (aiosmtplib.SMTPException, OSError) as error:
            self.hang_up()
            return Postponed(f"mail server {self._settings.smtp_host}: {type(error).__name__}: {error}")
        finally:
            self._carried += 1
        return Delivered()

    def _judge(self, code: int, message: str) -> MailOutcome:
        if code == 421:
            self.hang_up()
        return Refused(f"mail server: {code} {message}") if code in PERMANENT_CODES else Postponed(f"mail server: {code} {message}")

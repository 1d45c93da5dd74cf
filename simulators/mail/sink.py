"""What the mail sink received, and how it treats its senders."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY
from itertools import islice
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

KEPT_MESSAGES = 50_000
KEPT_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the sink treats every mail: it waits, then refuses some.

    ``reject_code`` from 400 means "try again later", from 500 "never".
    """

    delay_seconds: float = 0.0
    reject_rate: float = 0.0
    reject_code: int = 451


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as it came over the wire."""

    number: int
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    def as_json(self) -> dict[str, Any]:
        """The mail as tests and people want to see it."""
        message = BytesParser(EmailMessage, policy=SMTP_POLICY).parsebytes(self.content)
        text, html = message.get_body(("plain",)), message.get_body(("html",))
        return {
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "from": self.sender,
            "to": list(self.recipients),
            "subject": str(message["Subject"] or ""),
            "message_id": str(message["Message-ID"] or ""),
            "language": str(message["Content-Language"] or ""),
            "text": text.get_content() if text is not None else "",
            "html": html.get_content() if html is not None else "",
        }


@dataclass
class Sink:
    """The aiosmtpd handler: keeps the newest mails within fixed bounds and counts everything."""

    behaviour: Behaviour = Behaviour()
    accepted: int = 0
    rejected: int = 0
    kept_bytes: int = 0
    mails: deque[Mail] = field(default_factory=deque)
    by_recipient: dict[str, deque[Mail]] = field(default_factory=dict)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd finds it by this name
        """Takes or refuses one mail."""
        behaviour = self.behaviour
        if behaviour.delay_seconds:
            await asyncio.sleep(behaviour.delay_seconds)
        if behaviour.reject_rate and random.random() < behaviour.reject_rate:
            self.rejected += 1
            return f"{behaviour.reject_code} the sink was told to refuse"
        self.keep(envelope.mail_from or "", envelope.rcpt_tos, bytes(envelope.original_content or b""))
        return "250 kept"

    def keep(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Remembers one mail and forgets the oldest beyond the bounds."""
        self.accepted += 1
        mail = Mail(self.accepted, datetime.now(UTC), sender, tuple(recipients), content)
        self.mails.append(mail)
        self.kept_bytes += len(content)
        for recipient in mail.recipients:
            self.by_recipient.setdefault(recipient.lower(), deque()).append(mail)
        while len(self.mails) > KEPT_MESSAGES or self.kept_bytes > KEPT_BYTES:
            self._forget(self.mails.popleft())

    def _forget(self, mail: Mail) -> None:
        self.kept_bytes -= len(mail.content)
        for recipient in mail.recipients:
            theirs = self.by_recipient[recipient.lower()]
            theirs.popleft()
            if not theirs:
                del self.by_recipient[recipient.lower()]

    def newest(self, recipient: str | None, limit: int) -> list[Mail]:
        """The newest mails first, of one recipient if one is named."""
        found = self.mails if recipient is None else self.by_recipient.get(recipient.lower(), ())
        return list(islice(reversed(found), limit))

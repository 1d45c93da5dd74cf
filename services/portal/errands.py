"""What the portal does in the outside world: it sends mails."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asyncpg import Record

from services.portal import queries
from services.portal.access import LinkSigner
from services.portal.decide.mail import MailOutcome, Refused, next_step
from services.portal.links import order_url, signer_of
from services.portal.mail.letters import Notification, Sender, UnusableAddress, write_letter
from services.portal.mail.sending import MailServer
from services.portal.queries import Settled
from services.portal.settings import PortalSettings
from shared.messaging.message import Outgoing, Transaction
from shared.service import Environment, Errand

LEASE = timedelta(minutes=5)
MAILS_AT_ONCE = 200
STEPS_OF_A_MAIL = 5
"""MAIL, RCPT, DATA, the mail itself, and opening the connection: each may take the timeout."""


@dataclass(frozen=True, slots=True)
class MailTask:
    """One claimed notification and how long it is ours."""

    notification: Notification
    leased_until: datetime


def notification_of(row: Record) -> Notification:
    """What a claimed row says."""
    return Notification(
        order_id=row["order_id"],
        kind=row["kind"],
        cause_id=row["cause_id"],
        created_at=row["created_at"],
        attempts=row["attempts"],
        external_id=row["external_id"],
        placed_at=row["placed_at"],
        currency=row["currency"],
        shipping_paid_cents=row["shipping_paid_cents"],
        customer_email=row["customer_email"],
        customer_name=row["customer_name"],
        locale=row["locale"],
        data=row["data"],
        lines=row["lines"] or [],
    )


class Post:
    """Claims notifications, writes and sends the mails, records what became of them."""

    def __init__(self, environment: Environment, settings: PortalSettings, server: MailServer) -> None:
        self._environment = environment
        self._settings = settings
        self._server = server
        self._signer: LinkSigner = signer_of(settings)
        self._sender = Sender(settings.shop_name, settings.mail_from)
        self._time_for_a_mail = timedelta(seconds=settings.smtp_timeout_seconds * STEPS_OF_A_MAIL)

    async def claim(self, transaction: Transaction, limit: int) -> Sequence[MailTask]:
        """Due mails, oldest first."""
        leased_until = transaction.now + LEASE
        rows = await queries.claim_notifications(transaction.connection, transaction.now, leased_until, limit)
        return [MailTask(notification_of(row), leased_until) for row in rows]

    async def perform(self, task: MailTask) -> MailOutcome:
        """Writes and sends one mail, unless another worker might claim it before that is done."""
        now = self._environment.now()
        notification = task.notification
        url = order_url(self._settings, self._signer, notification.order_id, now)
        try:
            letter = write_letter(notification, self._sender, url, now)
        except UnusableAddress as error:
            return Refused(str(error))
        return await self._server.send(letter, lambda: self._environment.now() + self._time_for_a_mail < task.leased_until)

    async def settle(self, transaction: Transaction, done: Sequence[tuple[MailTask, MailOutcome]]) -> Sequence[Outgoing]:
        """Records sent and failed mails and when to try the others again."""
        settled = []
        for task, outcome in done:
            item = task.notification
            step = next_step(
                outcome,
                attempts=item.attempts,
                created_at=item.created_at,
                now=transaction.now,
                give_up_after=timedelta(hours=self._settings.mail_give_up_hours),
                jitter=random.random(),  # noqa: S311 - spreading load needs no secrecy
            )
            settled.append(Settled(item.order_id, item.kind, item.cause_id, step.status, step.due_at, step.reason))
        await queries.settle_notifications(transaction.connection, settled, transaction.now)
        return ()


def errands(environment: Environment) -> Sequence[Errand[Any, Any]]:
    """The mail errand; none without a mail server, then notifications wait for one."""
    settings: PortalSettings = environment.settings
    if settings.smtp_host is None:
        return ()
    post = Post(environment, settings, MailServer(settings))
    return [Errand("mail", claim=post.claim, perform=post.perform, settle=post.settle, poll_seconds=0.5, concurrency=MAILS_AT_ONCE)]

"""From a notification to a mail: templates per kind and language, text and HTML."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime, formataddr
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from services.portal.decide.bought import stored_items, stored_title
from services.portal.wording import day, language_of, minute, money

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
FALLBACK_LANGUAGE = "en"
SUBJECT_LENGTH = 200

USABLE_ADDRESS = re.compile(r"[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+@[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+")
"""Addresses that need no quoting in an SMTP command. Anything else is refused, never sent half understood."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail, ready to go: envelope and bytes."""

    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """Everything one mail is written from."""

    order_id: UUID
    kind: str
    cause_id: UUID
    created_at: datetime
    attempts: int
    external_id: str
    placed_at: datetime
    currency: str
    shipping_paid_cents: int
    customer_email: str
    customer_name: str | None
    locale: str
    data: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom mails come from."""

    shop_name: str
    address: str

    @property
    def domain(self) -> str:
        """The right side of message ids."""
        return self.address.rpartition("@")[2]


class UnusableAddress(ValueError):
    """The customer's address is none that a mail server takes: correct it at the channel."""


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(("html",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["money"] = money
    environment.filters["day"] = day
    environment.filters["minute"] = minute
    return environment


_ENVIRONMENT = _templates()


@cache
def _template(kind: str, language: str, extension: str) -> Template:
    return _ENVIRONMENT.select_template([f"mail/{language}/{kind}.{extension}", f"mail/{FALLBACK_LANGUAGE}/{kind}.{extension}"])


@cache
def _language_of_template(kind: str, language: str) -> str:
    return language if (TEMPLATES / "mail" / language / f"{kind}.txt").is_file() else FALLBACK_LANGUAGE


def _one_line(text: str) -> str:
    """Text that can stand in a header: no control characters, no line ends."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:SUBJECT_LENGTH]


def _header(text: str) -> str:
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=76).encode(linesep="\r\n")


def _units(notification: Notification) -> list[dict[str, Any]]:
    """The units that the fact speaks of, by the names of the order's lines; lines of one name and date are one."""
    titles = {line["line_id"]: stored_title(line) for line in notification.lines}
    spoken_of = notification.data.get("lines")
    if not isinstance(spoken_of, list):
        return []
    units: dict[tuple[str, str | None], int] = {}
    for unit in spoken_of:
        name = (titles.get(unit["line_id"], unit["sku"]), unit.get("new_ship_at") or unit.get("promised_ship_at"))
        units[name] = units.get(name, 0) + unit["quantity"]
    return [{"title": title, "quantity": quantity, "ship_at": ship_at} for (title, ship_at), quantity in units.items()]


def _part(content_type: str, text: str) -> bytes:
    encoded = binascii.b2a_qp(text.replace("\r\n", "\n").replace("\n", "\r\n").encode(), istext=True)
    return (
        f"Content-Type: {content_type}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode() + encoded + b"\r\n"
    )


def write_letter(notification: Notification, sender: Sender, order_url: str, now: datetime) -> Letter:
    """The mail of one notification.

    The MIME structure is written by hand: ``email.message.EmailMessage`` took three times as long for the same bytes. The message id
    follows from the notification, so a mail that had to be sent again is recognised as the same by mail servers and programs.

    Raises:
        UnusableAddress: the customer's address is none.
    """
    if not USABLE_ADDRESS.fullmatch(notification.customer_email):
        raise UnusableAddress("the customer's e-mail address cannot be used: correct it at the channel")
    language = _language_of_template(notification.kind, language_of(notification.locale))
    total = sum(line["quantity"] * line["unit_price_cents"] + line["tax_cents"] for line in notification.lines)
    context: dict[str, Any] = {
        "language": language,
        "locale": notification.locale if language == language_of(notification.locale) else FALLBACK_LANGUAGE,
        "shop_name": sender.shop_name,
        "order_number": _one_line(notification.external_id),
        "customer_name": _one_line(notification.customer_name or ""),
        "order_url": order_url,
        "currency": notification.currency,
        "lines": stored_items(notification.lines),
        "units": _units(notification),
        "total_cents": total + notification.shipping_paid_cents,
        "data": notification.data,
    }
    head, _, text = _template(notification.kind, language, "txt").render(context).partition("\n")
    subject = _one_line(head.removeprefix("Subject: "))
    html = _template(notification.kind, language, "html").render(context, subject=subject)
    boundary = f"=_{notification.cause_id.hex}_{notification.kind}"
    headers = (
        f"From: {formataddr((_one_line(sender.shop_name), sender.address))}\r\n"
        f"To: {notification.customer_email}\r\n"
        f"Subject: {_header(subject)}\r\n"
        f"Date: {format_datetime(now)}\r\n"
        f"Message-ID: <{notification.kind}.{notification.order_id}.{notification.cause_id}@{sender.domain}>\r\n"
        f"Auto-Submitted: auto-generated\r\n"
        f"Content-Language: {language}\r\n"
        f"MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'
    )
    delimiter = f"--{boundary}\r\n".encode()
    content = b"".join(
        (
            headers.encode(),
            delimiter,
            _part("text/plain", text.strip() + "\n"),
            delimiter,
            _part("text/html", html),
            f"--{boundary}--\r\n".encode(),
        )
    )
    return Letter(notification.customer_email, content)

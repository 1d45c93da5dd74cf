"""What all pages of the console have around them, and how its forms are answered."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from aiohttp import web

from services.portal.asking import Reply, ServiceAway
from services.portal.pages.rendering import page, see_other
from services.portal.pages.sessions import Session


def console_page(session: Session, template: str, section: str, *, status: int = 200, **values: Any) -> web.Response:
    """A page of the console, with what it was told to say at its top."""
    return page(
        session.environment,
        template,
        status=status,
        section=section,
        logout_token=session.token("logout"),
        notice=session.notice,
        **values,
    )


def back_to(session: Session, path: str, notice: str) -> web.Response:
    """After a form: a page that says what became of it."""
    return see_other(session.environment, session.address_with(path, notice))


def stale_form(session: Session, address: str) -> web.Response:
    """A form that we did not show to this operator, or not lately."""
    return page(session.environment, "stale_form.html", status=403, address=address)


async def document_of(reply: Awaitable[Reply]) -> tuple[Any, str | None]:
    """An owner's document; None where it has none, with the reason where it did not answer."""
    try:
        answer = await reply
    except ServiceAway as away:
        return None, str(away)
    return (answer.document if answer.succeeded else None), None

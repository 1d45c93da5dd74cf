"""HTML answers: templates, the style sheet, and the headers that keep pages safe."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from aiohttp import web
from jinja2 import ChainableUndefined, FileSystemLoader
from jinja2 import Environment as Templates

from services.portal import wording
from services.portal.settings import PortalSettings
from shared.service import Environment

FOLDER = Path(__file__).resolve().parent.parent
STYLE_SHEET = FOLDER / "static" / "portal.css"
MARK = FOLDER / "static" / "mark.svg"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

RouteFunction = Callable[[Environment, web.Request], Awaitable[web.StreamResponse]]

FORM_FIELDS_LIMIT = 5_000
"""Two per line of the largest order, and the hidden ones."""

TRACKING_PAGES = {
    "ups": "https://www.ups.com/track?tracknum=",
    "usps": "https://tools.usps.com/go/TrackConfirmAction?tLabels=",
    "fedex": "https://www.fedex.com/fedextrack/?trknbr=",
    "dhl": "https://www.dhl.com/en/express/tracking.html?AWB=",
}


def tracking_url(carrier: str | None, tracking_number: str | None) -> str | None:
    """The carrier's own page about a parcel, for carriers we know."""
    page = TRACKING_PAGES.get((carrier or "").strip().lower())
    return page + quote(tracking_number, safe="") if page and tracking_number else None


@cache
def static_version() -> str:
    """Changes when a static file does, so that browsers may keep them for ever."""
    return hashlib.sha256(STYLE_SHEET.read_bytes() + MARK.read_bytes()).hexdigest()[:12]


@cache
def templates() -> Templates:
    """The page templates; every value is escaped."""
    environment = Templates(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        # Other services' documents are shown as they are: a field that an older or newer one does not have is an empty cell.
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        money=wording.money,
        day=wording.day,
        minute=wording.minute,
        clock=wording.clock,
        duration=wording.duration,
        sentence=wording.sentence,
        tail=wording.tail,
    )
    environment.globals.update(
        tracking_url=tracking_url,
        static_version=static_version(),
        event_labels=wording.EVENT_LABELS,
        shopper_words=wording.shopper_words,
        status_labels=wording.STATUS_LABELS,
    )
    return environment


def security_headers(settings: PortalSettings) -> dict[str, str]:
    """Headers of every page.

    The referrer goes to our own pages only: the address of an order page is its key. ``no-referrer`` would hide it as well, but browsers
    then send ``Origin: null`` with our own forms, and forms from elsewhere could not be told apart by it.
    """
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        "Cache-Control": "no-store",
        "X-Robots-Tag": "noindex, nofollow",
    }
    if settings.public_base_url.startswith("https://"):
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return headers


def page(environment: Environment, template: str, *, status: int = 200, **values: Any) -> web.Response:
    """A rendered page."""
    settings: PortalSettings = environment.settings
    text = templates().get_template(f"pages/{template}").render(shop_name=settings.shop_name, **values)
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status, headers=security_headers(settings))


def see_other(environment: Environment, location: str) -> web.Response:
    """After a form: look there. A reload of what follows repeats nothing."""
    headers = security_headers(environment.settings)
    headers["Location"] = location
    return web.Response(status=303, headers=headers)


def comes_from_our_page(environment: Environment, request: web.Request) -> bool:
    """Whether a browser says that a form was sent from one of our pages. Browsers that say nothing are judged by the form's token alone."""
    settings: PortalSettings = environment.settings
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    return origin in (settings.public_base_url.rstrip("/"), f"{request.scheme}://{request.host}")


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form as our own pages send them; anything else is a form without fields. No browser sends a NUL character, and none
    is kept."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    text = (await request.read()).decode("utf-8", "replace")
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_LIMIT)
    except ValueError:
        return {}
    return {name.replace("\x00", ""): value.replace("\x00", "") for name, value in fields}


def _file(path: Path, content_type: str) -> RouteFunction:
    content = path.read_bytes()

    async def serve(_: Environment, request: web.Request) -> web.StreamResponse:
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if request.query.get("v") == static_version() else "public, max-age=300",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=content, content_type=content_type, headers=headers)

    return serve


read_style_sheet = _file(STYLE_SHEET, "text/css")
read_mark = _file(MARK, "image/svg+xml")

"""Operators signing in to the console: with the operator token, once; then a cookie that browsers show to nobody else."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from aiohttp import web

from services.portal import queries
from services.portal.files import UploadedFile, file_in_form
from services.portal.links import signer_of
from services.portal.pages.rendering import comes_from_our_page, page, read_form, see_other
from services.portal.settings import PortalSettings
from shared.service import Environment

FAILURES_ALLOWED = 5
FAILURE_WINDOW = timedelta(minutes=1)
ADDRESSES_REMEMBERED = 10_000


@dataclass(frozen=True)
class Session:
    """A signed-in operator."""

    environment: Environment
    request: web.Request
    secret: str

    def address_with(self, path: str, notice: str, **query: str) -> str:
        """A page with something to say at its top; signed, so that nobody else can have our page say something."""
        return f"{path}?{urlencode({**query, 'notice': notice, 'said': self.token(f'notice:{notice}')})}"

    @property
    def notice(self) -> str:
        """What this page was told to say."""
        notice, said = self.request.query.get("notice", ""), self.request.query.get("said", "")
        ours = signer_of(self.environment.settings).form_is_ours(said, self.secret, f"notice:{notice}")
        return notice if ours else ""

    def token(self, purpose: str) -> str:
        """The hidden token of a form shown to this operator."""
        return signer_of(self.environment.settings).form_token(self.secret, purpose)

    async def form(self, purpose: str, *, of: str | None = None) -> dict[str, str] | None:
        """The fields of a form that one of our pages showed to this operator; None for any other.

        ``of`` names the field that the form's token was made for as well.
        """
        fields = await read_form(self.request)
        if of is not None:
            purpose = f"{purpose}:{fields.get(of, '')}"
        signer = signer_of(self.environment.settings)
        ours = comes_from_our_page(self.environment, self.request) and signer.form_is_ours(fields.get("token", ""), self.secret, purpose)
        return fields if ours else None

    async def file(self, purpose: str) -> UploadedFile | None:
        """The file of a form that one of our pages showed to this operator; None for any other. The token comes before the file."""
        if self.request.content_type != "multipart/form-data" or not comes_from_our_page(self.environment, self.request):
            return None
        file = await file_in_form(self.request)
        signer = signer_of(self.environment.settings)
        ours = file is not None and signer.form_is_ours(file.fields.get("token", ""), self.secret, purpose)
        return file if ours else None


ConsolePage = Callable[[Session], Awaitable[web.StreamResponse]]
RouteFunction = Callable[[Environment, web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FailedLogins:
    """Recent wrong tokens by network address: slows guessing down. Bounded, and forgotten with the process."""

    by_address: OrderedDict[str, list[datetime]] = field(default_factory=OrderedDict)

    def too_many(self, address: str, now: datetime) -> bool:
        """Whether an address must wait."""
        recent = [moment for moment in self.by_address.get(address, []) if now - moment < FAILURE_WINDOW]
        return len(recent) >= FAILURES_ALLOWED

    def note(self, address: str, now: datetime) -> None:
        """Remembers one wrong token."""
        recent = [moment for moment in self.by_address.pop(address, []) if now - moment < FAILURE_WINDOW]
        self.by_address[address] = [*recent, now]
        while len(self.by_address) > ADDRESSES_REMEMBERED:
            self.by_address.popitem(last=False)


FAILED_LOGINS = FailedLogins()


def _secure(settings: PortalSettings) -> bool:
    return settings.public_base_url.startswith("https://")


def cookie_name(settings: PortalSettings) -> str:
    """``__Host-`` binds the cookie to this host and to https; plain http, as on a developer's machine, cannot have it."""
    return "__Host-ordermesh_console" if _secure(settings) else "ordermesh_console"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def console(function: ConsolePage) -> RouteFunction:
    """A page for signed-in operators; everybody else is asked to sign in first."""

    async def serve(environment: Environment, request: web.Request) -> web.StreamResponse:
        secret = request.cookies.get(cookie_name(environment.settings), "")
        if secret and secret.isascii():
            async with environment.database.acquire(timeout=10) as connection:
                live = await queries.session_is_live(connection, _hash(secret), environment.now())
            if live:
                return await function(Session(environment, request, secret))
        return see_other(environment, "/console/login")

    return serve


async def read_login(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /console/login``: asks for the operator token."""
    return page(environment, "login.html", problem=None)


async def sign_in(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /console/login``: a right token starts a new session; wrong ones are counted."""
    settings: PortalSettings = environment.settings
    address, now = request.remote or "", environment.now()
    if FAILED_LOGINS.too_many(address, now):
        answer = page(environment, "login.html", status=429, problem="Too many tries. Please wait a minute.")
        answer.headers["Retry-After"] = str(int(FAILURE_WINDOW.total_seconds()))
        return answer
    if not comes_from_our_page(environment, request):
        return page(environment, "login.html", status=403, problem="Please use the form on this page.")
    given = (await read_form(request)).get("operator_token", "")
    if not hmac.compare_digest(given.encode(), settings.operator_token.encode()):
        FAILED_LOGINS.note(address, now)
        return page(environment, "login.html", status=401, problem="This is not the operator token.")
    secret = secrets.token_urlsafe(32)
    lifetime = timedelta(hours=settings.console_session_hours)
    async with environment.database.acquire(timeout=10) as connection:
        await queries.start_session(connection, _hash(secret), now, now + lifetime)
    answer = see_other(environment, "/console")
    answer.set_cookie(
        cookie_name(settings),
        secret,
        max_age=int(lifetime.total_seconds()),
        path="/",
        secure=_secure(settings),
        httponly=True,
        samesite="Strict",
    )
    return answer


async def sign_out(session: Session) -> web.StreamResponse:
    """``POST /console/logout``: ends the session on the server, whatever the browser keeps."""
    settings: PortalSettings = session.environment.settings
    if await session.form("logout") is None:
        return see_other(session.environment, "/console")
    async with session.environment.database.acquire(timeout=10) as connection:
        await queries.end_session(connection, _hash(session.secret))
    answer = see_other(session.environment, "/console/login")
    answer.del_cookie(cookie_name(settings), path="/", secure=_secure(settings), httponly=True, samesite="Strict")
    return answer

"""RabbitMQ's management API, as far as the topology needs it."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from shared.errors import BadConfiguration, OrdermeshError

ANSWER_TIMEOUT_SECONDS = 60.0


class ManagementRefused(OrdermeshError):
    """The management API said no; the text carries its words."""


class Management:
    """One administrator's session with the management API of one broker, for one virtual host.

    Args:
        url: ``http://user:password@host:15672``.
        vhost: the virtual host that holds the topology.
    """

    def __init__(self, url: str, vhost: str = "/") -> None:
        address = URL(url)
        if not address.host or not address.user or not address.password:
            raise BadConfiguration("RABBITMQ_MANAGEMENT_URL must look like http://user:password@host:15672")
        self.user = address.user
        self.vhost = vhost
        self._base = str(address.with_user(None)).rstrip("/")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth(address.user, address.password)},
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS),
        )

    async def __aenter__(self) -> Management:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self._session.close()

    async def rows(self, *path: str) -> list[dict[str, Any]]:
        """Reads a list of things; each part of the path is quoted.

        Raises:
            ManagementRefused: the API answered with an error.
        """
        answer: list[dict[str, Any]] = await self._call("GET", path)
        return answer

    async def post(self, content: dict[str, Any], *path: str) -> None:
        """Sends a document."""
        await self._call("POST", path, content)

    async def put(self, content: dict[str, Any], *path: str) -> None:
        """Creates or replaces one resource."""
        await self._call("PUT", path, content)

    async def delete(self, *path: str) -> None:
        """Deletes one resource; that it is already gone is fine."""
        await self._call("DELETE", path)

    async def _call(self, method: str, path: tuple[str, ...], content: dict[str, Any] | None = None) -> Any:
        url = URL("/".join([self._base, "api", *(quote(part, safe="") for part in path)]), encoded=True)
        async with self._session.request(method, url, json=content) as answer:
            if answer.status == 404 and method == "DELETE":
                return None
            if answer.status >= 400:
                raise ManagementRefused(f"{method} /api/{'/'.join(path)}: {answer.status} {(await answer.text())[:500]}")
            return await answer.json() if answer.status == 200 else None

"""Addresses with text that no database holds are refused by name, by every service and before anybody asks a database."""

from __future__ import annotations

import asyncio
import re
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from shared.http import build_application
from shared.service import Service

TOKEN = "only-for-this-test"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


async def no_problem() -> dict[str, str]:
    return {}


def client_of(name: str) -> TestClient[Any, Any]:
    """The service without a database: whoever asks one fails."""
    service: Service = import_module(f"services.{name}.__main__").SERVICE
    environment: Any = SimpleNamespace(settings=SimpleNamespace(operator_token=TOKEN))
    return TestClient(TestServer(build_application(environment, service.routes, live=no_problem, ready=no_problem)))


@pytest.mark.parametrize("name", ["sync", "allocation", "routing", "returns", "portal"])
async def test_text_that_no_database_holds_is_refused_by_the_name_of_its_parameter(name: str) -> None:
    service: Service = import_module(f"services.{name}.__main__").SERVICE
    async with client_of(name) as client:
        for route in service.routes:
            # The innermost part of the path that is a parameter, and without one a parameter of the query.
            parts = re.findall(r"\{(\w+)[^}]*\}", route.path)
            path = re.sub(r"\{\w+[^}]*\}", "1", re.sub(r"\{\w+[^}]*\}(?!.*\{)", "%00", route.path))
            address = URL(path if parts else f"{path}?sku=MUG&after=%00", encoded=True)
            async with client.request(route.method, address, headers=OPERATOR) as response:
                answer = await response.json()
            assert (response.status, answer["error"]["code"]) == (422, "invalid"), route.path
            [problem] = answer["error"]["problems"]
            assert (problem["field"], problem["remedy"]) == (parts[-1] if parts else "after", "send the text without it"), route.path


async def test_a_parameter_whose_name_cannot_be_stored_is_told_without_what_cannot_be_shown() -> None:
    async with client_of("allocation") as client, client.get(URL("/holds?a%00b=1&%00=", encoded=True), headers=OPERATOR) as response:
        problems = (await response.json())["error"]["problems"]
    assert (response.status, [problem["field"] for problem in problems]) == (422, ["ab", "''"])


async def test_a_token_that_is_no_text_is_a_wrong_token() -> None:
    async with client_of("allocation") as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        # No client sends such bytes.
        writer.write(b"GET /holds HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()

"""The portal's schema of a freshly migrated database, used with the portal's own role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.database import Pool, open_pool
from shared.messaging.message import Connection
from tests.conftest import Databases
from tests.portal.world import World, build_world


@pytest.fixture
async def connection(databases: Databases) -> Connection:
    """A connection with the portal's own rights."""
    return await databases.connect("portal")


@pytest.fixture
async def admin(databases: Databases) -> Connection:
    """A superuser's connection into the portal's schema."""
    connection = await databases.connect_as_admin()
    await connection.execute("SET search_path = portal")
    return connection


@pytest.fixture
async def pool(databases: Databases) -> AsyncIterator[Pool]:
    """The portal's connection pool."""
    opened = await open_pool(databases.url("portal"), application_name="portal-test", size=4, command_timeout_seconds=10)
    yield opened
    await opened.close()


@pytest.fixture
async def world(pool: Pool) -> AsyncIterator[World]:
    """The portal among its neighbours."""
    built, closers = await build_world(pool)
    yield built
    for close in closers:
        await close()

"""Connections to Postgres: one pool per service, opened with that service's own role."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from shared.messaging.message import Connection

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Pool: TypeAlias = asyncpg.Pool

ACQUIRE_TIMEOUT_SECONDS = 10.0
STATEMENT_LIFETIME_SECONDS = 10

_UNAVAILABLE = (
    # What a connection says whose server was killed in the middle of a reply; the pool replaces it.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    OSError,
    TimeoutError,
)
_CONTENTION = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.QueryCanceledError,
)


def is_unavailable(error: BaseException) -> bool:
    """The database is away, or says so: nothing is wrong with the message, so hold it and try again.

    asyncpg's InterfaceError also stands for mistakes in our code; only its words about closed connections and pools count here.
    """
    if isinstance(error, asyncpg.InterfaceError):
        return "clos" in str(error)
    return isinstance(error, _UNAVAILABLE)


def is_contention(error: BaseException) -> bool:
    """Somebody else was in the way, or a migration ran underneath: the same transaction may succeed at once when run again."""
    return isinstance(error, _CONTENTION)


async def prepare_connection(connection: Connection) -> None:
    """Lets jsonb travel as Python values on one connection."""
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _keep_session(_: Connection) -> None:
    """What the pool does to a connection that comes back: nothing.

    asyncpg's own way is one more round trip per transaction, to undo session settings, session locks, cursors and LISTENs. No service has
    any of these (locks and settings are of a transaction), and open transactions are rolled back without it.
    """


async def open_pool(database_url: str, *, application_name: str, size: int, command_timeout_seconds: float) -> Pool:
    """Opens the pool of one process. The role's search_path is its service's schema (set by ``shared.migrate``).

    Postgres plans a prepared statement once and for all after a few uses. One that was planned while its tables were empty would read them
    from end to end for each row for as long as the connection lives: the more orders, the slower. So every statement is prepared anew after
    some seconds, and plans prefer indexes even where a table is still small.
    """
    return await asyncpg.create_pool(
        database_url,
        min_size=min(2, size),
        max_size=size,
        command_timeout=command_timeout_seconds,
        timeout=ACQUIRE_TIMEOUT_SECONDS,
        max_inactive_connection_lifetime=300,
        max_cached_statement_lifetime=STATEMENT_LIFETIME_SECONDS,
        server_settings={"application_name": application_name, "jit": "off", "enable_seqscan": "off"},
        init=prepare_connection,
        reset=_keep_session,
    )

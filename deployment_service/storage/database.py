"""The pool of connections, one per database role, and the transaction that retries a deadlock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Self, TypeVar

import asyncpg

API_ROLE = "deployment_api"
WORKER_ROLE = "deployment_worker"

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
T = TypeVar("T")

# What a transaction may meet through no fault of its own: run again, it will go through.
_RETRIED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_TRIES = 5

# The database is away, restarting or refuses more connections: the caller waits or says so.
AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InternalClientError,
    TimeoutError,
)


class Database:
    """Connections under one role. ``statement_timeout_s`` bounds each statement, as does the acquire."""

    def __init__(self, pool: asyncpg.Pool, acquire_timeout_s: float) -> None:
        self._pool = pool
        self._acquire_timeout_s = acquire_timeout_s

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        role: str,
        max_connections: int,
        statement_timeout_s: float = 20.0,
        acquire_timeout_s: float = 10.0,
    ) -> Self:
        """Open a pool. It connects lazily: a database that is away now is fine once it is back."""
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=max_connections,
            init=_set_up,
            timeout=5.0,
            server_settings={
                "role": role,
                "application_name": f"deployment-service/{role.removeprefix('deployment_')}",
                "statement_timeout": str(int(statement_timeout_s * 1000)),
                "idle_in_transaction_session_timeout": "60000",
                "timezone": "UTC",
            },
        )
        _ = await pool  # sets up the (empty) pool, connects to nothing yet
        return cls(pool, acquire_timeout_s)

    async def close(self) -> None:
        """Close every connection; those still in use are cut after a few seconds."""
        try:
            async with asyncio.timeout(5.0):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def acquire(self) -> asyncpg.pool.PoolAcquireContext:
        """A connection for reading: ``async with database.acquire() as connection``."""
        return self._pool.acquire(timeout=self._acquire_timeout_s)

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction, again from the start after a deadlock.

        ``work`` must have no effect outside the transaction but through ``after_commit``.
        """
        for attempt in range(1, _TRIES + 1):
            actions: list[Callable[[], None]] = []
            token = _AFTER_COMMIT.set(actions)
            try:
                async with self.acquire() as connection, connection.transaction():
                    result = await work(connection)
                for action in actions:
                    action()
                return result
            except _RETRIED:
                if attempt == _TRIES:
                    raise
            finally:
                _AFTER_COMMIT.reset(token)
        raise AssertionError("unreachable")


_AFTER_COMMIT: ContextVar[list[Callable[[], None]]] = ContextVar("after_commit")


def after_commit(action: Callable[[], None]) -> None:
    """Run ``action`` once the transaction of this task has committed; never if it rolls back.

    ``action`` must not raise. Raises LookupError outside ``Database.transaction``.
    """
    _AFTER_COMMIT.get().append(action)


async def _set_up(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
    )

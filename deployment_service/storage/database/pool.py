"""The pool of connections, one per database role, and the transaction that retries a deadlock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Self, TypeVar, cast

import asyncpg
import structlog
from asyncpg.transaction import Transaction

from deployment_service.storage.database.failures import (
    UNAVAILABLE_ERRORS,
    SessionMismatch,
    failure_of,
    is_about_the_connection,
)
from deployment_service.storage.database.sessions import (
    BEGIN_TIMEOUT_S,
    Connector,
    ServiceConnection,
)

_log = structlog.get_logger(__name__)

API_ROLE = "deployment_api"
WORKER_ROLE = "deployment_worker"

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
T = TypeVar("T")
_Begin = Callable[[ServiceConnection], Awaitable[Transaction | None]]

# Errors of a transaction that conflicts with others: a retry succeeds.
_RETRIED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_TRIES = 5

# A connection that was idle for longer is checked before single statements: its peer may no longer answer.
_UNCHECKED_IDLE_S = 1.0
_RELEASE_TIMEOUT_S = 2.0
_SILENT_AFTER_S = 2.0
# These errors concern all connections to the same server.
_OTHERS_TOO = (SessionMismatch, asyncpg.ReadOnlySQLTransactionError, TimeoutError)
# Of connections that wait for an answer: those for which the server waits for the client. Between the messages
# that prepare a statement and those that execute it the server is 'active' and reads from the client; no timeout of
# the server applies then (PostgreSQL 16, tcop/postgres.c: timers of idle sessions begin at ReadyForQuery).
_SILENT = """
    SELECT waiting.pid FROM unnest($1::int[]) AS waiting (pid) LEFT JOIN pg_stat_activity AS activity USING (pid)
    WHERE activity.pid IS NULL
        OR (activity.state <> 'active' OR activity.wait_event = 'ClientRead')
            AND clock_timestamp() - activity.state_change > interval '2 seconds'
"""
# Sessions of abandoned connections: on the server they may still wait for a lock, get it and hold it.
_END = """
    SELECT pg_terminate_backend(given_up.pid) FROM unnest($1::int[], $2::timestamptz[]) AS given_up (pid, start_time)
    JOIN pg_stat_activity AS activity ON activity.pid = given_up.pid AND backend_start = given_up.start_time
"""
_MOST_ORPHANS = 1_000


class Database:
    """Connections under one role. ``statement_timeout_s`` bounds each statement, as does the acquire."""

    def __init__(
        self, pool: asyncpg.Pool, connector: Connector, *, name: str, acquire_timeout_s: float
    ) -> None:
        self._pool = pool
        self._connector = connector
        self._acquire_timeout_s = acquire_timeout_s
        self._in_use: set[ServiceConnection] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._valid_from = 0.0
        # The sessions on the server of connections that were closed without having answered.
        self._orphans: dict[int, datetime | None] = {}
        self.name = name

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        role: str,
        max_connections: int,
        statement_timeout_s: float = 20.0,
        acquire_timeout_s: float = 10.0,
        name: str = "",
    ) -> Self:
        """Open a pool. It connects lazily, so the database may be unavailable now."""
        connector = Connector(url, role=role, statement_timeout_s=statement_timeout_s)
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=max_connections,
            connect=connector.connect,
            connection_class=ServiceConnection,
            reset=_keep,
        )
        _ = await pool  # sets up the (empty) pool, connects to nothing yet
        return cls(
            pool,
            connector,
            name=name or role.removeprefix("deployment_"),
            acquire_timeout_s=acquire_timeout_s,
        )

    async def close(self) -> None:
        """Close every connection; those in use are terminated after a few seconds."""
        try:
            async with asyncio.timeout(5.0):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def acquire(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        """Return a connection for reading: ``async with database.acquire() as connection``.

        Behind a transaction pooler its statements share a transaction.
        """
        return self._acquired()

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction, and retry it from the start after a deadlock.

        ``work`` must have no effect outside the transaction, except through ``after_commit``.
        """
        for attempt in range(1, _TRIES + 1):
            actions: list[Callable[[], None]] = []
            token = _AFTER_COMMIT.set(actions)
            try:
                async with self._checked_out(_begin) as connection:
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

    async def check(self) -> None:
        """Prove that the pool can write, and close connections that have fallen silent.

        Takes a few seconds at most. Raises what is wrong.
        """
        async with asyncio.timeout(2 * BEGIN_TIMEOUT_S + 2.0):
            if self._pool.get_idle_size() or self._pool.get_size() < self._pool.get_max_size():
                async with self._checked_out(_begin) as proxy:
                    await self._clean_up(_raw(proxy))
                return
            # Every connection is busy. That is no failure, unless they do not answer.
            connection = await self._connector.connect()
            try:
                async with connection.transaction(isolation="read_committed"):
                    await self._clean_up(connection)
            finally:
                connection.terminate()

    @contextlib.asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        async with self._checked_out(_prepare_reading) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _checked_out(self, begin: _Begin) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Return a connection on which ``begin`` has succeeded; unusable connections are closed."""
        proxy, transaction = await self._check_out(begin)
        raw = _raw(proxy)
        try:
            yield proxy
            if transaction is not None:
                await transaction.commit()
        except BaseException as error:
            if is_about_the_connection(error):
                self._discard(raw, error)
            elif transaction is not None:
                await self._roll_back(raw, transaction)
            raise
        finally:
            raw.used_at = _now()
            self._in_use.discard(raw)
            await self._release(proxy)

    async def _check_out(
        self, begin: _Begin
    ) -> tuple[asyncpg.pool.PoolConnectionProxy, Transaction | None]:
        """Nothing has been done on the connection yet, so the next replaces one that has become stale."""
        deadline = _now() + self._acquire_timeout_s
        while True:
            proxy = await self._pool.acquire(timeout=max(deadline - _now(), 0.001))
            raw = _raw(proxy)
            fresh, raw.fresh = raw.fresh, False
            self._in_use.add(raw)
            try:
                if raw.born < self._valid_from:
                    raise asyncpg.ConnectionDoesNotExistError("as old as one that was unusable")
                return proxy, await begin(raw)
            except BaseException as error:
                self._in_use.discard(raw)
                self._discard(raw, error)
                await self._release(proxy)
                if fresh or not isinstance(error, UNAVAILABLE_ERRORS):
                    raise

    async def _release(self, proxy: asyncpg.pool.PoolConnectionProxy) -> None:
        """Return a connection to the pool, also if the caller is cancelled meanwhile. Raises nothing."""
        task = asyncio.create_task(self._release_or_close(proxy))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
        await asyncio.shield(task)

    async def _release_or_close(self, proxy: asyncpg.pool.PoolConnectionProxy) -> None:
        raw = _raw(proxy)
        try:
            await self._pool.release(proxy, timeout=_RELEASE_TIMEOUT_S)
        except Exception as error:
            # A statement was cancelled and the server did not confirm it: asyncpg has closed the connection.
            self._discard(raw, error)

    def _discard(self, connection: ServiceConnection, error: BaseException) -> None:
        """Close a connection; if it was silent or led to the wrong server, also all that are as old."""
        if connection.silent or isinstance(error, _OTHERS_TOO):
            self._valid_from = _now()
            reason = "silent" if connection.silent else failure_of(error).what
            _log.warning("database.connections_discarded", pool=self.name, reason=reason)
        self._close(connection)

    async def _roll_back(self, connection: ServiceConnection, transaction: Transaction) -> None:
        """Leave no open transaction behind: without an answer, the connection is closed."""
        try:
            with connection.closed_after(BEGIN_TIMEOUT_S):
                await transaction.rollback()
        except Exception as error:
            self._discard(connection, error)

    def _close(self, connection: ServiceConnection) -> None:
        known = connection.start_time is not None and not connection.pooled
        if known and len(self._orphans) < _MOST_ORPHANS:
            self._orphans[connection.server_pid] = connection.start_time
        connection.terminate()

    async def _clean_up(self, connection: ServiceConnection) -> None:
        """Close connections that will get no answer, and end the sessions of connections that were closed before."""
        longest = _now() - _SILENT_AFTER_S
        waiting = {
            one.server_pid: one
            for one in self._in_use
            if one.waiting_since is not None and one.waiting_since < longest and not one.is_closed()
        }
        if connection.pooled:
            # The process ids are those of the pooler, so connections of the same age are the evidence.
            silent = [one for one in waiting.values() if one.born < self._valid_from]
        elif waiting or self._orphans:
            # The sessions are the login user's.
            await connection.execute("SET LOCAL ROLE NONE")
            pids = [row["pid"] for row in await connection.fetch(_SILENT, list(waiting))]
            silent = [waiting[pid] for pid in pids]
        else:
            return
        if silent:
            _log.warning("database.silent_connections_closed", pool=self.name, count=len(silent))
        for one in silent:
            self._close(one)
        if self._orphans:
            # Their transactions would keep their locks.
            orphans = self._orphans
            await connection.execute(_END, list(orphans), list(orphans.values()))
            self._orphans = {}


_AFTER_COMMIT: ContextVar[list[Callable[[], None]]] = ContextVar("after_commit")


def after_commit(action: Callable[[], None]) -> None:
    """Run ``action`` once the transaction of this task has committed; never if it rolls back.

    ``action`` must not raise. Raises LookupError outside ``Database.transaction``.
    """
    _AFTER_COMMIT.get().append(action)


async def _begin(connection: ServiceConnection) -> Transaction | None:
    transaction = connection.transaction(isolation="read_committed")
    await transaction.start()
    return transaction


async def _prepare_reading(connection: ServiceConnection) -> Transaction | None:
    if connection.pooled:
        return await _begin(connection)
    if _now() - connection.used_at > _UNCHECKED_IDLE_S:
        await connection.ensure()
    return None


async def _keep(_connection: object) -> None:
    """No state of the session has to be reset: transactions set theirs for themselves only."""


def _raw(proxy: asyncpg.pool.PoolConnectionProxy) -> ServiceConnection:
    return cast("ServiceConnection", proxy._con)  # type: ignore[attr-defined]


def _now() -> float:
    return asyncio.get_running_loop().time()

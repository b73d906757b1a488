"""Connections that ensure their session state by the statement that begins each transaction.

A pooler rejects or drops startup parameters and gives a server's session to other clients between two transactions,
and ``ALTER DATABASE … SET`` changes defaults. So the statement that begins a transaction sets the role, the timeouts
and the schema for this transaction, and checks user, isolation and read-only. Without a pooler the same is also set
once for the session, for single statements.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, cast

import asyncpg
import structlog

from deployment_service.storage.database.failures import (
    UNAVAILABLE_ERRORS,
    BadDatabaseUrl,
    SessionMismatch,
)
from deployment_service.storage.database.url import check_files, single_hosts, target_session_attrs

_log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 3.0
# BEGIN never waits for a lock: without an answer within this time the connection is dead or the server stalls.
BEGIN_TIMEOUT_S = 2.5
# How much longer than the server's statement_timeout the client waits for a statement.
_CLIENT_MARGIN_S = 2.0
# A connection whose peer vanished during a transaction holds its locks until the server ends the transaction.
_IDLE_IN_TRANSACTION_S = 5
_STATEMENT_CACHE = 100
_LISTENER_TIMEOUT_S = 5.0
# The server closes the connection of a peer that does not acknowledge. Otherwise sessions of a dead host keep locks.
_SERVER_KEEPALIVE = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "8000",
}

_FACTS = """
    SELECT pg_backend_pid() AS pid,
        (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS start_time,
        array_to_string(ARRAY(SELECT quote_ident(name) FROM unnest(current_schemas(false)) AS name), ', ') AS schemas
"""
_STATE = """
    SELECT current_user AS user, current_setting('transaction_isolation') AS isolation,
        current_setting('transaction_read_only') AS read_only, pg_is_in_recovery() AS standby
"""
# A pooler that supports prepared statements gives them names of its own.
_CANNOT_PREPARE = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
_PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE name = '{name}'"


class ServiceConnection(asyncpg.Connection):
    """A connection of a pool. ``pooled``: a transaction pooler is in between."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pooled = False
        self.server_pid = 0
        self.start_time: datetime | None = None
        """When the session on the server began. It identifies the session together with the process id."""
        # Until the state is known.
        self.begin = "BEGIN; SET LOCAL statement_timeout = '5s'; SELECT WHERE true"
        self.check = ""
        self.born = self.used_at = asyncio.get_running_loop().time()
        self.fresh = True
        self.silent = False
        self.waiting_since: float | None = None
        """Since when an answer is due, as loop time; None while no statement runs."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Execute a statement as asyncpg does; BEGIN also ensures the session state."""
        with self._waiting():
            if not query.startswith("BEGIN"):
                return await super().execute(query, *args, timeout=timeout)
            with self.closed_after(BEGIN_TIMEOUT_S):
                ensured = await super().execute(self.begin) == "SELECT 1"
        if not ensured:
            raise await self.mismatch()
        return "BEGIN"

    async def ensure(self) -> None:
        """Check the session state outside of a transaction.

        Raises:
            SessionMismatch: the state is wrong.
        """
        with self._waiting(), self.closed_after(BEGIN_TIMEOUT_S):
            ensured = await super().execute(self.check) == "SELECT 1"
        if not ensured:
            raise await self.mismatch()

    async def mismatch(self) -> SessionMismatch:
        """Return an error that names the difference."""
        state = await self.fetchrow(_STATE, timeout=BEGIN_TIMEOUT_S)
        assert state is not None
        if state["standby"]:
            return SessionMismatch("the server is a standby, which cannot write")
        if state["read_only"] == "on":
            return SessionMismatch("the session is read-only (default_transaction_read_only)")
        return SessionMismatch(f"user {state['user']}, isolation {state['isolation']}")

    @contextlib.contextmanager
    def closed_after(self, seconds: float) -> Iterator[None]:
        """Close the connection unless the block ends in time; a pending statement then fails at once."""
        timer = asyncio.get_running_loop().call_later(seconds, self._close_as_silent)
        try:
            yield
        finally:
            timer.cancel()

    def _close_as_silent(self) -> None:
        self.silent = True
        self.terminate()

    async def _execute(self, *args: Any, **kwargs: Any) -> Any:
        with self._waiting():
            return await super()._execute(*args, **kwargs)  # type: ignore[misc]

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        if self.waiting_since is not None:
            yield
            return
        self.waiting_since = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self.waiting_since = None


class Connector:
    """Connects for one pool, as ``role``. Finds out whether a pooler is in between."""

    def __init__(self, url: str, *, role: str, statement_timeout_s: float) -> None:
        self._url = url
        # Changed by what answers: the next connection need not wait for a host that is down.
        self._hosts: list[str] = []
        self._role = role
        self._statement_timeout_s = statement_timeout_s
        # Until it is known what is in between: a statement left behind in a pooler's session disturbs others.
        self._statement_cache = 0
        self._described = "none"

    async def connect(self, *_: object, **kwargs: Any) -> ServiceConnection:
        """Return a connection with ensured state. The pool calls it with arguments of its own."""
        connection = await self._connect(**kwargs)
        with contextlib.suppress(*_CANNOT_PREPARE):
            if await self._set_up(connection):
                return connection
        # What is in between is known by now, and takes other statements than this connection was made for.
        connection.terminate()
        connection = await self._connect(**kwargs)
        await self._set_up(connection)
        return connection

    async def _connect(self, **kwargs: Any) -> ServiceConnection:
        self._hosts = self._hosts or hosts_of(self._url)
        made = await connect(
            self._url,
            hosts=self._hosts,
            application=self._name,
            command_timeout_s=self._statement_timeout_s + _CLIENT_MARGIN_S,
            statement_cache=self._statement_cache,
            **kwargs | {"connection_class": ServiceConnection},
        )
        return cast("ServiceConnection", made)

    @property
    def _name(self) -> str:
        return self._role.removeprefix("deployment_")

    async def _set_up(self, connection: ServiceConnection) -> bool:
        """Set up a new connection; False if it prepares statements and must not, or the other way round."""
        cache = self._statement_cache
        try:
            with connection.closed_after(CONNECT_TIMEOUT_S):
                prepares = await self._find_out(connection)
        except BaseException as error:
            connection.terminate()
            if isinstance(error, _CANNOT_PREPARE):
                self._statement_cache = 0
            raise
        self._statement_cache = _STATEMENT_CACHE if prepares else 0
        self._describe(connection, prepares=prepares)
        return cache == self._statement_cache

    async def _find_out(self, connection: ServiceConnection) -> bool:
        """Set the session's state; return whether statements can be prepared."""
        # In one transaction: a pooler keeps it on one server.
        async with connection.transaction():
            facts = await connection.fetchrow(_FACTS)
            assert facts is not None
            await connection.set_type_codec(
                "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
            )
            connection.pooled = facts["pid"] != connection.get_server_pid()
            connection.server_pid, connection.start_time = facts["pid"], facts["start_time"]
            prepares = not connection.pooled or await _is_prepared_by_pooler(connection)
        settings = self._settings(facts["schemas"])
        if not connection.pooled:
            await connection.execute(_set_all(settings | _SERVER_KEEPALIVE, local=False))
        connection.check = self._check
        connection.begin = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED; {_set_all(settings, local=True)}; {self._check}"
        )
        return prepares

    def _settings(self, schemas: str) -> dict[str, str]:
        timeout_ms = str(int(self._statement_timeout_s * 1000))
        settings = {
            "role": self._role,
            "statement_timeout": timeout_ms,
            # What a unit of work that shortens the timeout goes back to.
            "deployment_service.statement_timeout": timeout_ms,
            "lock_timeout": "0",
            "idle_in_transaction_session_timeout": f"{_IDLE_IN_TRANSACTION_S}s",
            "default_transaction_isolation": "read committed",
            "timezone": "UTC",
        }
        # As the login user finds them: "$user" means another schema once the role is set.
        return settings | ({"search_path": schemas} if schemas else {})

    @property
    def _check(self) -> str:
        return (
            f"SELECT WHERE current_user = '{self._role}'"
            " AND current_setting('transaction_read_only') = 'off'"
            " AND current_setting('transaction_isolation') = 'read committed'"
        )

    def _describe(self, connection: ServiceConnection, *, prepares: bool) -> None:
        """Log what is between us and the server, whenever it changes."""
        found = "none"
        if connection.pooled:
            found = "prepares statements" if prepares else "cannot prepare statements"
        if found != self._described:
            _log.info("database.pooler", pool=self._name, pooler=found)
        self._described = found


async def connect(
    url: str,
    *,
    application: str,
    command_timeout_s: float | None,
    statement_cache: int = 0,
    hosts: list[str] | None = None,
    **kwargs: Any,
) -> asyncpg.Connection:
    """Connect as the login user, with nothing set, to the first host of the URL that answers and takes writes.

    Each has ``CONNECT_TIMEOUT_S``. ``hosts``: as ``hosts_of(url)`` returns them; the one that answered becomes the
    first. Raises BadDatabaseUrl without quoting the URL, else the error of the last host.
    """
    hosts = hosts_of(url) if hosts is None else hosts
    check_files(url)
    options = kwargs | {
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": command_timeout_s,
        "statement_cache_size": statement_cache,
        # Only what poolers pass on: everything else is set by the transactions themselves.
        "server_settings": {"application_name": f"deployment-service/{application}"},
        "target_session_attrs": target_session_attrs(url),
    }
    order = tuple(hosts)
    for host in order:
        try:
            connection: asyncpg.Connection = await asyncpg.connect(host, **options)
        except ValueError as error:
            raise BadDatabaseUrl(type(error).__name__) from None
        except UNAVAILABLE_ERRORS:
            if host == order[-1]:
                raise
        else:
            hosts.sort(key=host.__ne__)
            keep_alive(connection)
            return connection
    raise AssertionError("unreachable")


def connect_listener(url: str) -> Callable[[], Awaitable[asyncpg.Connection]]:
    """Return what makes the connection of a replica that listens."""
    return partial(connect, url, application="listener", command_timeout_s=_LISTENER_TIMEOUT_S)


def hosts_of(url: str) -> list[str]:
    """Return a URL for each host. Raises BadDatabaseUrl without quoting the URL."""
    try:
        return single_hosts(url)
    except ValueError as error:
        raise BadDatabaseUrl(type(error).__name__) from None


async def _is_prepared_by_pooler(connection: ServiceConnection) -> bool:
    """Whether the pooler takes care of prepared statements: then the server has them under other names."""
    statement = await connection.prepare("SELECT 1", name="deployment_service_probe")
    ours = await connection.fetchval(_PREPARED.format(name=statement.get_name()))
    if ours:
        await connection.execute(f"DEALLOCATE {statement.get_name()}")
    return not ours


def _set_all(settings: dict[str, str], *, local: bool) -> str:
    calls = (
        f"set_config('{name}', {_literal(value)}, {str(local).lower()})"
        for name, value in settings.items()
    )
    return f"SELECT {', '.join(calls)}"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def keep_alive(connection: asyncpg.Connection) -> None:
    """Have the kernel give up a connection whose peer does not acknowledge, in seconds instead of minutes."""
    transport = getattr(connection, "_transport", None)
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None or peer.family == getattr(socket, "AF_UNIX", None):
        return
    with contextlib.suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", 5),
            ("TCP_KEEPINTVL", 2),
            ("TCP_KEEPCNT", 2),
            ("TCP_USER_TIMEOUT", 8_000),
        ):
            if hasattr(socket, option):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

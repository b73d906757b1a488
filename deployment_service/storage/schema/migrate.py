"""Brings a database's schema to a revision. Any number of replicas may try at once: one does it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deployment_service.storage.database.sessions import connect
from deployment_service.storage.schema.preconditions import (
    Prepared,
    check_preconditions,
    ensure_roles,
)
from deployment_service.storage.schema.revisions import SchemaProblem, quoted, revisions, scripts

_log = structlog.get_logger(__name__)

# Unique in the database: all its advisory locks share one key space.
_LOCK = 0x64657031
_LOCK_POLL_S = 0.2
_TELL_EVERY_S = 10.0

_HOLDER = """
    SELECT activity.pid, application_name, host(client_addr) AS client, backend_start FROM pg_locks
    JOIN pg_stat_activity AS activity USING (pid)
    WHERE locktype = 'advisory' AND objid = $1 AND granted AND pg_locks.database = (
        SELECT oid FROM pg_database WHERE datname = current_database())
"""
_BLOCKERS = """
    SELECT pid, application_name, host(client_addr) AS client, state, xact_start FROM pg_stat_activity
    WHERE pid = ANY (pg_blocking_pids($1))
"""
# Migrations may take long, whatever the login user's sessions are limited to.
_UNLIMITED = """
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    SET default_transaction_isolation = 'read committed'
"""
_REVISION = "SELECT version_num FROM alembic_version"


async def migrate(url: str, revision: str = "head") -> Prepared:
    """Upgrade the database at ``url`` to ``revision``; nothing happens if it is there already.

    Raises SchemaProblem, with what a DBA has to do, before anything is changed.
    """
    async with _guarded(url) as guard:
        prepared = await _prepare(guard, revision)
        if await _is_behind(guard, revision):
            await ensure_roles(guard)
            await _run(url, guard, prepared, lambda config: command.upgrade(config, revision))
        return prepared


async def downgrade(url: str, revision: str) -> None:
    """Downgrade the database at ``url`` to ``revision`` (``base``: to nothing)."""
    async with _guarded(url) as guard:
        prepared = await check_preconditions(guard)
        await _run(url, guard, prepared, lambda config: command.downgrade(config, revision))


async def _prepare(guard: asyncpg.Connection, revision: str) -> Prepared:
    """Check what is needed; raises SchemaProblem."""
    if guard.get_server_pid() != await guard.fetchval("SELECT pg_backend_pid()"):
        raise SchemaProblem(
            "The database URL leads through a pooler, which does not keep the lock of a migration. "
            "Set DEPLOYMENT_SERVICE_DATABASE_DIRECT_URL to a URL of the server itself."
        )
    return await check_preconditions(guard)


async def _is_behind(guard: asyncpg.Connection, revision: str) -> bool:
    """Whether there is something to do. A schema of a newer version stays as it is."""
    try:
        current = await guard.fetchval(_REVISION)
    except asyncpg.UndefinedTableError:
        return True
    if current is not None and current not in revisions():
        _log.warning("migrate.schema_is_newer", revision=current, known=revisions()[-1])
        return False
    return bool(current is None or revision != "head" or current != revisions()[-1])


@contextlib.asynccontextmanager
async def _guarded(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that holds the lock which only one migration at a time has."""
    guard = await connect(url, application="migrate", command_timeout_s=10.0)
    try:
        await guard.execute(_UNLIMITED)
        tell_at = 0.0
        # Tried again and again, not waited for in the database: a waiting statement holds a snapshot, which
        # CREATE INDEX CONCURRENTLY in the migration that runs meanwhile would wait for, for ever.
        while not await guard.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            now = asyncio.get_running_loop().time()
            if now >= tell_at:
                tell_at = now + _TELL_EVERY_S
                holders = [dict(row) for row in await guard.fetch(_HOLDER, _LOCK)]
                _log.info("migrate.waits", waits_for="another migration", holders=_texts(holders))
            await asyncio.sleep(_LOCK_POLL_S)
        yield guard
        await guard.close(timeout=5)
    finally:
        guard.terminate()


async def _run(
    url: str, guard: asyncpg.Connection, prepared: Prepared, work: Callable[[Config], None]
) -> None:
    pids: list[int] = []

    async def open_connection() -> asyncpg.Connection:
        connection = await connect(
            url, application="migrate", command_timeout_s=None, statement_cache=100
        )
        await connection.execute(_UNLIMITED)
        pids.append(connection.get_server_pid())
        return connection

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
        config.attributes["connection"] = connection
        work(config)

    # The connection is made by asyncpg itself, so that a URL means here what it means to the service.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=open_connection, poolclass=NullPool
    )
    event.listen(
        engine.sync_engine, "before_cursor_execute", _adapter(prepared.schema), retval=True
    )
    watcher = asyncio.create_task(_tell_what_it_waits_for(guard, pids), name="migrate-watcher")
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    except DBAPIError as error:
        # SQLAlchemy's text contains the statement; the table of failures classifies the original error.
        cause = error.orig.__cause__ if error.orig is not None else None
        raise (cause if isinstance(cause, Exception) else error) from None
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        await engine.dispose()


def _adapter(schema: str) -> Callable[..., tuple[str, Any]]:
    """Fit the first revisions, which no longer change, to this database.

    They create the roles, which `ensure_roles` has done as far as the login user may, and name the schema
    ``public``.
    """

    def adapt(
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        _many: bool,
    ) -> tuple[str, Any]:
        if "CREATE ROLE" in statement:
            return "SELECT 1", parameters
        return re.sub(r"\bSCHEMA public\b", f"SCHEMA {quoted(schema)}", statement), parameters

    return adapt


async def _tell_what_it_waits_for(guard: asyncpg.Connection, pids: list[int]) -> None:
    """Log, now and then, whose locks the migration waits for."""
    while True:
        await asyncio.sleep(1.0)
        for pid in pids:
            blockers = [dict(row) for row in await guard.fetch(_BLOCKERS, pid)]
            if blockers:
                _log.info("migrate.waits", waits_for="locks of others", holders=_texts(blockers))
                await asyncio.sleep(_TELL_EVERY_S)


def _texts(rows: list[dict[str, Any]]) -> list[str]:
    return [", ".join(f"{name}={value}" for name, value in row.items()) for row in rows]

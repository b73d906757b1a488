"""Brings a database's schema to a revision. Any number of replicas may try at once: one does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deployment_service.storage.schema import scripts
from deployment_service.storage.sessions import connect

# Any number nobody else uses: advisory locks of a database share one space of numbers.
_LOCK = 0x64657031
_LOCK_POLL_S = 0.2


async def migrate(url: str, revision: str = "head") -> None:
    """Upgrade the database at ``url`` to ``revision``; nothing happens if it is there already."""
    await _alone(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Downgrade the database at ``url`` to ``revision`` (``base``: to nothing)."""
    await _alone(url, lambda config: command.downgrade(config, revision))


async def _alone(url: str, work: Callable[[Config], None]) -> None:
    guard = await connect(url, application="migrate", command_timeout_s=10)
    try:
        # Tried again and again, not waited for in the database: a waiting statement holds a snapshot, which
        # CREATE INDEX CONCURRENTLY in the migration that runs meanwhile would wait for, for ever.
        while not await guard.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110
            await asyncio.sleep(_LOCK_POLL_S)
        await _run(url, work)
    finally:
        await guard.close()


async def _run(url: str, work: Callable[[Config], None]) -> None:
    async def open_connection() -> asyncpg.Connection:
        return await connect(
            url, application="migrate", command_timeout_s=None, statement_cache=100
        )

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
        config.attributes["connection"] = connection
        work(config)

    # The connection is made by asyncpg itself, so that a URL means here what it means to the service.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=open_connection, poolclass=NullPool
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()

"""Fixtures on a real PostgreSQL: one server for all tests, a database of its own for each test.

``database_url``   the URL of a fresh, migrated database, dropped after the test
``empty_database_url``  the same without the schema
``databases``      that database opened under the service's roles: ``databases.api``, ``databases.worker``
``stack``          the whole system, fresh: PostgreSQL, simulator, service and gateway as real processes
``postgres``       the server, shared: a test that stops or kills one starts its own EmbeddedPostgres
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio

from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE, Database
from deployment_service.storage.schema.migrate import migrate
from devstack.options import StackOptions
from devstack.postgres import EmbeddedPostgres
from devstack.stack import DevStack

TEMPLATE = "migrated_template"


@dataclass(frozen=True)
class Databases:
    url: str
    api: Database
    worker: Database


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(durable=False) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(postgres: EmbeddedPostgres) -> str:
    """The name of a database that was migrated once; the tests get copies of it."""
    await run_sql(postgres.url(), f"CREATE DATABASE {TEMPLATE}")
    await migrate(postgres.url(TEMPLATE))
    return TEMPLATE


@pytest_asyncio.fixture
async def database_url(postgres: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[str]:
    async with fresh_database(postgres, template=migrated_template) as url:
        yield url


@pytest_asyncio.fixture
async def empty_database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    async with fresh_database(postgres, template="template1") as url:
        yield url


@pytest_asyncio.fixture
async def databases(database_url: str) -> AsyncIterator[Databases]:
    api = await Database.open(database_url, role=API_ROLE, max_connections=10)
    worker = await Database.open(database_url, role=WORKER_ROLE, max_connections=10)
    try:
        yield Databases(database_url, api, worker)
    finally:
        await api.close()
        await worker.close()


@pytest_asyncio.fixture
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[DevStack]:
    """Options of its own: ``@pytest.mark.parametrize("stack", [StackOptions(...)], indirect=True)``.

    What the processes said is shown if the test fails.
    """
    options = getattr(request, "param", StackOptions())
    async with DevStack(options, sink=lambda name, line: print(f"{name:>8} | {line}")) as stack:
        yield stack


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres, *, template: str) -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    await run_sql(server.url(), f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.url(name)
    finally:
        await run_sql(server.url(), f"DROP DATABASE {name} WITH (FORCE)")


async def run_sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()

"""P10: the service behind Debian's PgBouncer: the state of one transaction's session is gone in the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deployment_service.storage.database.failures import Kind, failure_of
from deployment_service.storage.database.pool import API_ROLE, Connection, Database
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.postgres import EmbeddedPostgres
from tests.fixtures_stack import run_sql
from tests.platform.pgbouncer import pgbouncer, prepares_statements
from tests.support.api import running_api, seed_deployment

STATE = """
    SELECT current_user, current_setting('transaction_isolation'), current_setting('statement_timeout'),
        current_setting('idle_in_transaction_session_timeout')
"""
ENSURED = (API_ROLE, "read committed", "20s", "5s")


@asynccontextmanager
async def opened(url: str, size: int = 5) -> AsyncIterator[Database]:
    database = await Database.open(url, role=API_ROLE, max_connections=size)
    try:
        yield database
    finally:
        await database.close()


async def state(connection: Connection) -> tuple[object, ...]:
    row = await connection.fetchrow(STATE)
    assert row is not None
    return tuple(row)


@pytest.mark.parametrize(
    ("pool_mode", "settings"),
    [
        ("transaction", {}),
        ("session", {}),
        ("transaction", {"ignore_startup_parameters": "extra_float_digits,role,statement_timeout"}),
        ("transaction", {"default_pool_size": 1, "server_reset_query_always": 1}),
    ],
)
async def test_each_transaction_has_its_state(
    postgres: EmbeddedPostgres, database_url: str, pool_mode: str, settings: dict[str, object]
) -> None:
    name = database_url.rpartition("/")[2]
    async with pgbouncer(postgres, pool_mode=pool_mode, settings=settings) as pooler:
        async with opened(pooler.url(name)) as database:

            async def one() -> None:
                assert await database.transaction(state) == ENSURED
                async with database.acquire() as connection:
                    assert await state(connection) == ENSURED

            await asyncio.gather(*(one() for _ in range(30)))
            await database.check()
            other = await asyncpg.connect(pooler.url(name), statement_cache_size=0)
            try:
                assert await other.fetchval("SELECT current_user") == "postgres"
            finally:
                await other.close()


@pytest.mark.parametrize("wanted", [True, False])
async def test_what_the_pooler_can_is_found_out_and_logged(
    postgres: EmbeddedPostgres, database_url: str, capsys: pytest.CaptureFixture[str], wanted: bool
) -> None:
    """A pooler that keeps prepared statements gets them; with any other no statement is left behind."""
    settings = {"max_prepared_statements": 200 if wanted else 0} if prepares_statements() else None
    prepares = wanted and prepares_statements()
    async with (
        pgbouncer(postgres, settings=settings) as pooler,
        opened(pooler.url(database_url.rpartition("/")[2])) as one,
    ):
        for _ in range(3):
            async with one.acquire() as connection:
                left = await connection.fetchval(
                    "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"
                )
                assert (left > 0) == prepares
    said = capsys.readouterr().out
    assert said.count("database.pooler") == 1
    assert ("cannot prepare statements" in said) != prepares


async def test_defaults_of_the_database_change_nothing(
    postgres: EmbeddedPostgres, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    await run_sql(
        postgres.url(), f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
    )
    async with pgbouncer(postgres) as pooler, opened(pooler.url(name)) as database:
        assert await database.transaction(state) == ENSURED


async def test_a_pooler_that_lends_single_statements_is_named(
    postgres: EmbeddedPostgres, database_url: str
) -> None:
    async with pgbouncer(postgres, pool_mode="statement") as pooler:
        async with opened(pooler.url(database_url.rpartition("/")[2])) as database:
            with pytest.raises(asyncpg.PostgresError) as caught:
                await database.check()
    assert failure_of(caught.value).kind is Kind.WRONG_SETTINGS
    assert "pool_mode" in failure_of(caught.value).remedy


async def test_the_service_creates_runs_and_watches_through_the_pooler(
    postgres: EmbeddedPostgres, database_url: str
) -> None:
    """P5: with a direct URL for LISTEN; forty creations at once, as many as failed with other defaults."""
    async with pgbouncer(postgres, settings={"default_pool_size": 4}) as pooler:
        url = pooler.url(database_url.rpartition("/")[2])
        async with running_api(url, database_direct_url=database_url) as api:
            await api.admin.CreateTenant(
                admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
            )
            await seed_deployment(api, "demo")

            async def rename(number: int) -> None:
                await api.deployments.UpdateDeployment(
                    pb.UpdateDeploymentRequest(
                        deployment=pb.Deployment(
                            name="tenants/demo/deployments/web", display_name=f"number {number}"
                        )
                    ),
                    metadata=api.as_admin,
                )

            watch = api.deployments.WatchDeployments(
                pb.WatchDeploymentsRequest(parent="tenants/demo"),
                metadata=api.as_admin,
            )
            events: list[int] = []

            async def follow() -> None:
                async for message in watch:
                    if message.HasField("event"):
                        events.append(message.event.sequence)
                    if len(events) >= 40:
                        return

            follower = asyncio.create_task(follow())
            await asyncio.gather(*(rename(number) for number in range(40)))
            async with asyncio.timeout(30):
                await follower
            assert events == list(range(events[0], events[0] + 40))

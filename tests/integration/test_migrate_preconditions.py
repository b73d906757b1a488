"""P10: `migrate` as an ordinary owner of its database: it names all that a DBA has to do, and that is enough."""

from __future__ import annotations

import contextlib
import re
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio

from deployment_service.storage.schema.migrate import migrate
from deployment_service.storage.schema.preconditions import NotReady
from deployment_service.storage.schema.revisions import check_schema
from deployment_service.v1 import admin_service_pb2 as admin
from devstack.postgres import EmbeddedPostgres
from tests.fixtures_stack import run_sql
from tests.support.api import running_api
from tests.support.processes import running
from tests.support.tcp_proxy import tcp_proxy

PREFIX = "DEPLOYMENT_SERVICE_"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[EmbeddedPostgres]:
    """A server of its own: roles belong to a whole server."""
    async with EmbeddedPostgres(durable=False) as server:
        yield server


@asynccontextmanager
async def owned(cluster: EmbeddedPostgres, *options: str) -> AsyncIterator[tuple[str, str]]:
    """A login user with ``options`` and a database that it owns; their name, and the URL."""
    name = f"team_{uuid.uuid4().hex[:8]}"
    await run_sql(cluster.url(), f"CREATE ROLE {name} LOGIN PASSWORD 'x' {' '.join(options)}")
    await run_sql(cluster.url(), f"CREATE DATABASE {name} OWNER {name}")
    try:
        yield name, cluster.url(name).replace(f"postgres:{cluster.password}", f"{name}:x")
    finally:
        await run_sql(cluster.url(), f"DROP DATABASE {name} WITH (FORCE)")
        for role in ("deployment_api", "deployment_worker"):
            # Another installation may still need it.
            with contextlib.suppress(asyncpg.DependentObjectsStillExistError):
                await run_sql(cluster.url(), f"DROP ROLE IF EXISTS {role}")
        await run_sql(cluster.url(), f"DROP OWNED BY {name}; DROP ROLE {name}")


def printed(text: str) -> list[str]:
    return re.findall(r"^  ((?:CREATE|GRANT|ALTER) .*;)", text, re.MULTILINE)


async def as_told(cluster: EmbeddedPostgres, database: str, error: NotReady) -> list[str]:
    """Run, as a DBA, exactly what the message says."""
    statements = printed(str(error))
    assert statements == error.statements
    for statement in statements:
        await run_sql(cluster.url(database), statement)
    return statements


async def serves(url: str) -> None:
    await check_schema(url)
    async with running_api(url) as api:
        await api.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("exist", [True, False])
async def test_an_ordinary_owner_is_told_the_statements(
    cluster: EmbeddedPostgres, exist: bool
) -> None:
    async with owned(cluster) as (name, url):
        if exist:
            for role in ("deployment_api", "deployment_worker"):
                await run_sql(cluster.url(), f"CREATE ROLE {role}")
        with pytest.raises(NotReady) as caught:
            await migrate(url)
        statements = await as_told(cluster, name, caught.value)
        assert any(one.startswith("CREATE ROLE") for one in statements) is not exist
        assert f'GRANT deployment_api TO "{name}";' in statements
        assert any("IN DATABASE" in one and "statement_timeout" in one for one in statements)
        assert not (await migrate(url)).constants
        await migrate(url)
        await serves(url)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_owner_that_may_create_roles_needs_nobody(cluster: EmbeddedPostgres) -> None:
    async with owned(cluster, "CREATEROLE") as (_, url):
        await migrate(url)
        await serves(url)


@pytest.mark.asyncio(loop_scope="module")
async def test_several_installations_in_one_cluster(cluster: EmbeddedPostgres) -> None:
    async with owned(cluster) as (first, first_url), owned(cluster) as (second, second_url):
        for name, url in ((first, first_url), (second, second_url)):
            with pytest.raises(NotReady) as caught:
                await migrate(url)
            await as_told(cluster, name, caught.value)
        await migrate(first_url)
        await migrate(second_url)
        await serves(first_url)
        await serves(second_url)


SCHEMAS = {
    "that the search path of the user names": (
        "schema_one",
        "ALTER ROLE {user} SET search_path = schema_one",
    ),
    "that the search path of the database names": (
        "schema_two",
        "ALTER DATABASE {user} SET search_path = schema_two, public",
    ),
    "of the user's own name": ("{user}", "SELECT 1"),
    "whose name must be quoted": ("Our Schema", 'ALTER ROLE {user} SET search_path = "Our Schema"'),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("created", ["by the user", "by a DBA", "as told"])
@pytest.mark.parametrize("which", SCHEMAS)
async def test_a_schema(cluster: EmbeddedPostgres, which: str, created: str) -> None:
    schema, setting = SCHEMAS[which]
    if created == "as told" and "{user}" in schema:
        pytest.skip("nothing says that it is wanted")
    async with owned(cluster, "CREATEROLE") as (name, url):
        schema = schema.format(user=name)
        await run_sql(cluster.url(), setting.format(user=name))
        if created == "by the user":
            await run_sql(url, f'CREATE SCHEMA "{schema}"')
        elif created == "by a DBA":
            await run_sql(
                cluster.url(name),
                f'CREATE SCHEMA "{schema}"; GRANT USAGE ON SCHEMA "{schema}" TO {name}',
            )
        for _ in range(2):
            try:
                await migrate(url)
                break
            except NotReady as error:
                await as_told(cluster, name, error)
        tables = await fetch(
            cluster.url(name), "SELECT schemaname FROM pg_tables WHERE tablename = 'deployments'"
        )
        assert tables == [schema]
        await serves(url)


async def fetch(url: str, query: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_another_encoding_is_refused_before_anything_is_changed(
    cluster: EmbeddedPostgres, encoding: str
) -> None:
    async with owned(cluster) as (name, url):
        await run_sql(cluster.url(), f"DROP DATABASE {name}")
        await run_sql(
            cluster.url(),
            f"CREATE DATABASE {name} OWNER {name} ENCODING '{encoding}' TEMPLATE template0 "
            "LOCALE_PROVIDER libc LOCALE 'C'",
        )
        with pytest.raises(NotReady, match=f"{encoding}.*UTF8"):
            await migrate(url)
        assert await fetch(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_database_that_takes_no_writes_is_refused(cluster: EmbeddedPostgres) -> None:
    async with owned(cluster) as (name, url):
        await run_sql(
            cluster.url(), f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        )
        with pytest.raises(NotReady, match="takes no writes"):
            await migrate(f"{url}?target_session_attrs=any")


@pytest.mark.asyncio(loop_scope="module")
async def test_tables_of_another_owner_are_named(cluster: EmbeddedPostgres) -> None:
    async with owned(cluster, "CREATEROLE") as (first, url):
        await migrate(url, "0004")
        other = f"{first}_other"
        await run_sql(cluster.url(), f"CREATE ROLE {other} LOGIN PASSWORD 'x'")
        await run_sql(
            cluster.url(first),
            f"GRANT USAGE, CREATE ON SCHEMA public TO {other};"
            f"GRANT deployment_api, deployment_worker TO {other}",
        )
        try:
            with pytest.raises(NotReady, match=f'owned by "{first}"') as caught:
                await migrate(url.replace(f"{first}:x", f"{other}:x"))
            await as_told(cluster, first, caught.value)
            await migrate(url.replace(f"{first}:x", f"{other}:x"))
        finally:
            await run_sql(cluster.url(first), f"DROP OWNED BY {other} CASCADE")
            await run_sql(cluster.url(), f"DROP OWNED BY {other}; DROP ROLE {other}")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("held", ["the lock of migrations", "a table"])
async def test_it_says_what_it_waits_for_and_stops(
    cluster: EmbeddedPostgres, number: signal.Signals, held: str
) -> None:
    async with owned(cluster, "CREATEROLE") as (_, url):
        await migrate(url, "0004")
        holder = await asyncpg.connect(url, server_settings={"application_name": "the holder"})
        try:
            if held == "a table":
                await holder.execute("BEGIN; LOCK TABLE deployments, deployment_runs")
            else:
                await holder.execute(f"SELECT pg_advisory_lock({0x64657031})")
            env = {f"{PREFIX}DATABASE_URL": url}
            async with running("-m", "deployment_service", "migrate", env=env) as process:
                await process.says("migrate.waits")
                assert "the holder" in process.text
                process.process.send_signal(number)
                assert await process.ends(timeout_s=15) == 1
            assert "stopped" in process.text
            assert "Traceback" not in process.text
        finally:
            await holder.close()
        await migrate(url)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_command_prints_what_a_dba_has_to_run(cluster: EmbeddedPostgres) -> None:
    async with owned(cluster) as (_, url):
        env = {f"{PREFIX}DATABASE_URL": url}
        async with running("-m", "deployment_service", "migrate", env=env) as process:
            assert await process.ends() == 1
        assert "CREATE ROLE deployment_api NOLOGIN;" in printed(process.text)
        assert "Traceback" not in process.text


@pytest.mark.asyncio(loop_scope="module")
async def test_limits_of_the_login_user_do_not_end_a_migration(cluster: EmbeddedPostgres) -> None:
    async with owned(cluster, "CREATEROLE") as (name, url):
        for setting in ("lock_timeout = '1ms'", "default_transaction_isolation = 'serializable'"):
            await run_sql(cluster.url(), f"ALTER ROLE {name} SET {setting}")
        await migrate(url)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_newer_schema_is_left_as_it_is(cluster: EmbeddedPostgres) -> None:
    async with owned(cluster, "CREATEROLE") as (_, url):
        await migrate(url)
        await run_sql(url, "UPDATE alembic_version SET version_num = '9999'")
        await migrate(url)
        assert await fetch(url, "SELECT version_num FROM alembic_version") == ["9999"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_that_never_answers_is_named(cluster: EmbeddedPostgres) -> None:
    async with tcp_proxy(None) as proxy:
        proxy.silent_from_start = True
        env = {f"{PREFIX}DATABASE_URL": proxy.url(cluster.url())}
        async with running("-m", "deployment_service", "migrate", env=env) as process:
            assert await process.ends(timeout_s=20) == 1
        assert "did not answer in time" in process.text

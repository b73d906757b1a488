"""The schema goes up, down and up again, and refuses what the code relies on never being there."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from alembic.script import ScriptDirectory

from deployment_service.storage.schema.migrate import downgrade, migrate
from deployment_service.storage.schema.revisions import revisions, scripts

SCHEMA = """
    SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' '
        || coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'grant ' || table_name || ' ' || grantee || ' ' || privilege_type
        FROM information_schema.role_table_grants WHERE table_schema = 'public'
    ORDER BY 1
"""


async def schema_of(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(SCHEMA)]
    finally:
        await connection.close()


async def test_up_down_and_up_again_is_the_same_schema(empty_database_url: str):
    await migrate(empty_database_url)
    first = await schema_of(empty_database_url)
    assert any("deployment_events" in line for line in first)

    await downgrade(empty_database_url, "base")
    left = {line.split()[1].split(".")[0] for line in await schema_of(empty_database_url)}
    assert left <= {"alembic_version", "CREATE", "UNIQUE"}, (
        "downgrade leaves nothing but its own table"
    )

    await migrate(empty_database_url)
    assert await schema_of(empty_database_url) == first


async def test_replicas_may_all_migrate_at_once(empty_database_url: str):
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(5)))
    assert await schema_of(empty_database_url)


async def test_migrating_twice_changes_nothing(database_url: str):
    before = await schema_of(database_url)
    await migrate(database_url)
    assert await schema_of(database_url) == before


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def add_deployment(connection: asyncpg.Connection) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID]:
    tenant = await connection.fetchval(
        "INSERT INTO tenants (slug) VALUES ('t') RETURNING tenant_id"
    )
    provider = await connection.fetchval(
        "INSERT INTO cicd_providers (tenant_id, slug, base_url) VALUES ($1, 'p', 'http://ci/') RETURNING provider_id",
        tenant,
    )
    deployment = await connection.fetchval(
        """INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec)
            VALUES ($1, 'd', $2, 'FREESTYLE_SHELL', '{}') RETURNING deployment_id""",
        tenant,
        provider,
    )
    return tenant, provider, deployment


RUN = """
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
        generation, build_number, end_time, failure_cause, certainty)
    VALUES ($1, $2, $3, $4, 'EXTERNAL', 'ENDED', $5, $6, 1, $7, $8::timestamptz, $9, $10)
"""


async def test_a_build_has_one_owner(connection: asyncpg.Connection):
    """P3: two runs can't have the same build."""
    tenant, _, deployment = await add_deployment(connection)
    job = uuid.uuid4()
    rest = ("RUNNING", 200, 7, None, None, None)
    await connection.execute(RUN, tenant, deployment, 1, job, *rest)
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(RUN, tenant, deployment, 2, job, *rest)


@pytest.mark.parametrize(
    ("status", "rank", "cause", "certainty"),
    [
        ("RUNNING", 355, None, None),
        ("RUNNING", 200, None, "REPORTED"),
        ("RUNNING", 200, "BUILD_FAILED", None),
        ("SUCCESS", 200, None, None),
    ],
)
async def test_a_run_can_not_contradict_itself(connection, status, rank, cause, certainty):
    """P2: status, rank, cause and confirmation speak of the same point in the order."""
    tenant, _, deployment = await add_deployment(connection)
    rest = (status, rank, 7, None, cause, certainty)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(RUN, tenant, deployment, 1, uuid.uuid4(), *rest)


async def test_a_deployment_can_not_use_another_tenants_provider(connection: asyncpg.Connection):
    """P6: references carry the tenant."""
    _, provider, _ = await add_deployment(connection)
    other = await connection.fetchval("INSERT INTO tenants (slug) VALUES ('o') RETURNING tenant_id")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute(
            """INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec)
                VALUES ($1, 'd', $2, 'FREESTYLE_SHELL', '{}')""",
            other,
            provider,
        )


@pytest.mark.parametrize("slug", ["", "Upper", "-a", "a-", "a_b", "a" * 64, "1a"])
async def test_ids_have_one_form(connection: asyncpg.Connection, slug: str):
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("INSERT INTO tenants (slug) VALUES ($1)", slug)


def test_the_revisions_are_those_of_the_scripts() -> None:
    """A service that starts tells them by the scripts' names."""
    directory = ScriptDirectory(str(scripts()))
    known = [script.revision for script in directory.walk_revisions()]
    assert known[::-1] == revisions()
    assert directory.get_current_head() == revisions()[-1]

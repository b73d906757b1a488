"""Pairs of writers of one job or deployment, on the real database: whoever comes first, it stays consistent."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.domain.errors import NotFound, ServiceError
from deployment_service.storage.jobs import jobs as store
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import FakeJenkins, Jobs, adopt, eventually, jobs_of, shell

ROUNDS = 12


@pytest.fixture
def fake() -> FakeJenkins:
    return FakeJenkins()


@pytest_asyncio.fixture
async def jobs(databases: Databases, fake: FakeJenkins) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client) as process:
        yield process


def _outcomes(results: list[object]) -> Counter[str]:
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, ServiceError):
            raise result
    return Counter(r.reason if isinstance(r, ServiceError) else "done" for r in results)


async def test_one_of_many_that_create_the_same_deployment_succeeds(
    jobs: Jobs, fake: FakeJenkins
) -> None:
    results = await asyncio.gather(*(jobs.create() for _ in range(8)), return_exceptions=True)
    assert _outcomes(list(results)) == {"done": 1, "DEPLOYMENT_EXISTS": 7}
    assert fake.count("create_job") == 1


async def test_one_of_many_that_want_the_same_job_gets_it(jobs: Jobs, fake: FakeJenkins) -> None:
    results = await asyncio.gather(
        *(jobs.create(f"web-{n}", shell("wanted")) for n in range(8)), return_exceptions=True
    )
    assert _outcomes(list(results)) == {"done": 1, "JOB_EXISTS": 7}
    assert fake.count("create_job") == 1
    assert len(await jobs.sql("SELECT FROM deployments")) == 1


async def test_the_same_call_at_once_has_one_effect(jobs: Jobs) -> None:
    request = jobs.request()
    results = await asyncio.gather(*(jobs.create(request=request) for _ in range(6)))
    assert len(set(results)) == 1
    assert len(await jobs.events()) == 2


async def test_one_of_many_deletions_deletes(jobs: Jobs) -> None:
    await jobs.create()
    results = await asyncio.gather(*(jobs.delete() for _ in range(6)), return_exceptions=True)
    assert _outcomes(list(results)) == {"done": 1, "DEPLOYMENT_NOT_FOUND": 5}
    assert (await jobs.events())[-1] == ("web", "DELETED", 3)


async def test_sharing_a_job_and_leaving_it_at_once(jobs: Jobs, fake: FakeJenkins) -> None:
    """The row of an adopted job is there exactly as long as a deployment is mapped to it."""
    fake.descriptions["shared"] = ""
    await jobs.create("old-0", adopt("shared"))
    for n in range(ROUNDS):
        await asyncio.gather(
            jobs.delete(f"old-{n}"),
            jobs.create(f"old-{n + 1}", adopt("shared")),
            jobs.create(f"extra-{n}", adopt("shared")),
        )
        mapped = await jobs.sql("SELECT DISTINCT job_id FROM deployment_cicd_mappings")
        assert [row["job_id"] for row in await jobs.rows()] == [row["job_id"] for row in mapped]
        await jobs.delete(f"extra-{n}")
    await jobs.delete(f"old-{ROUNDS}")
    assert await jobs.rows() == []


async def test_deleting_while_the_keeper_finishes(jobs: Jobs, fake: FakeJenkins) -> None:
    """Nothing is said of a deployment after its deletion, and nothing of it is left in Jenkins."""
    for n in range(ROUNDS):
        name = f"web-{n}"
        await asyncio.gather(jobs.create(name, remaining_s=0.002 * n), _delete_soon(jobs, name))
    await jobs.sql("UPDATE cicd_jobs SET update_time = '2020-01-01', next_try_time = now()")
    await jobs.until_no_rows()
    assert fake.descriptions == {}
    last: dict[str, str] = {}
    for name, kind, _ in await jobs.events():
        assert last.get(name) != "DELETED"
        last[name] = kind
    assert set(last.values()) == {"DELETED"}


async def _delete_soon(jobs: Jobs, name: str) -> None:
    async def deleted() -> bool:
        try:
            await jobs.delete(name)
        except NotFound:
            return False
        return True

    await eventually(deleted, "the deployment is there to be deleted")


async def test_many_of_everything_at_once_never_deadlock_for_good(
    jobs: Jobs, fake: FakeJenkins
) -> None:
    fake.descriptions["shared"] = ""

    async def live(n: int) -> None:
        job = adopt("shared") if n % 2 else shell(f"own-{n}")
        for _ in range(4):
            await jobs.create(f"web-{n}", job)
            await jobs.delete(f"web-{n}")

    await asyncio.gather(*(live(n) for n in range(10)))
    await jobs.until_no_rows()
    assert set(fake.descriptions) == {"shared"}
    revisions: dict[str, int] = {}
    for name, kind, revision in await jobs.events():
        assert revision == (1 if kind == "CREATED" else revisions[name] + 1)
        revisions[name] = revision


async def test_claiming_reads_only_what_is_due(databases: Databases, fake: FakeJenkins) -> None:
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client, keep=False) as jobs:
        await jobs.sql(
            """
            INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time)
            SELECT tenant_id, provider_id, 'job-' || n, 'ADOPTED',
                CASE WHEN n % 100 = 0 THEN 'CREATING' ELSE 'READY' END,
                CASE WHEN n % 100 = 0 THEN now() + (n - 10000) * interval '1 second' END
            FROM cicd_providers, generate_series(1, 20000) AS n
            """
        )
        await jobs.sql("ANALYZE cicd_jobs")
        async with databases.worker.acquire() as connection, connection.transaction():
            plan = await connection.fetch(
                f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {store.CLAIM}",
                8,
                jobs.tenant.tenant_id,
                60.0,
                [],
            )
        text = "\n".join(row[0] for row in plan)
        assert "Index Scan using cicd_jobs_to_do" in text
        assert "Seq Scan on cicd_jobs" not in text


async def test_a_job_that_somebody_is_claiming_is_passed_over(
    databases: Databases, fake: FakeJenkins
) -> None:
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client, keep=False) as jobs:
        for n in range(3):
            await jobs.create(f"web-{n}", remaining_s=0)
        async with databases.worker.acquire() as one, databases.worker.acquire() as two:
            async with one.transaction():
                first = await store.claim(one, owner=uuid.uuid4(), limit=2, lease_s=60)
                async with asyncio.timeout(5):
                    second = await store.claim(two, owner=uuid.uuid4(), limit=2, lease_s=60)
        assert (len(first), len(second)) == (2, 1)
        assert {claimed.attempt for claimed in (*first, *second)} == {1}
        assert len({claimed.job_id for claimed in (*first, *second)}) == 3

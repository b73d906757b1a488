"""What fails or is busy in a call of ReportBuilds is that tenant's, and that job's, alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from deployment_service.domain.attribution import Observation, Verdict
from deployment_service.domain.events import EventSource
from deployment_service.domain.reports import RefreshRequest
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.reports import reports as store
from deployment_service.unit_of_work.run_unit_of_work import observe_builds
from jenkins_simulator import JenkinsSimulator
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import eventually, jobs_of, shell
from tests.integration.runs_harness import Runs, plugin, runs_of


@pytest_asyncio.fixture
async def runs(databases: Databases) -> AsyncIterator[Runs]:
    """A deployment `web` whose job is there; nothing triggers or reads."""
    async with (
        JenkinsSimulator() as jenkins,
        jobs_of(databases, jenkins.url) as jobs,
        runs_of(jobs, dispatch=False, reconcile=False) as process,
    ):
        await jobs.create("web", shell())
        yield process


async def job_of_another_tenant(runs: Runs) -> uuid.UUID:
    """Its job isn't mapped to anything; that its reports are NO_MAPPING is written down all the same."""
    tenant_id, provider_id, job_id = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    await runs.jobs.sql("INSERT INTO tenants (slug, tenant_id) VALUES ('other', $1)", tenant_id)
    await runs.jobs.sql(
        "INSERT INTO cicd_providers (tenant_id, provider_id, slug, base_url) VALUES ($1, $2, 'p', 'http://ci/')",
        tenant_id,
        provider_id,
    )
    await runs.jobs.sql(
        "INSERT INTO cicd_jobs (tenant_id, provider_id, job_id, full_name, origin, state)"
        " VALUES ($1, $2, $3, 'job', 'ADOPTED', 'READY')",
        tenant_id,
        provider_id,
        job_id,
    )
    return job_id


def break_for(monkeypatch: pytest.MonkeyPatch, job_id: uuid.UUID, error: Exception) -> None:
    """Have every transaction fail that a report of this job is in."""

    async def breaking(
        connection: Connection,
        tenant_id: uuid.UUID,
        seen: Sequence[Observation],
        *,
        source: EventSource,
    ) -> Any:
        if any(one.job_id == job_id for one in seen):
            raise error
        return await observe_builds(connection, tenant_id, seen, source=source)

    monkeypatch.setattr("deployment_service.actions.report.observe_builds", breaking)


@asynccontextmanager
async def held(runs: Runs, jobs: Sequence[uuid.UUID]) -> AsyncIterator[None]:
    """While somebody else holds these jobs."""
    async with runs.jobs.databases.api.acquire() as connection, connection.transaction():
        await locks.lock_jobs(connection, runs.jobs.tenant.tenant_id, jobs)
        yield


async def test_a_tenant_whose_part_fails_is_to_try_again_and_the_others_are_done(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6"""
    broken, theirs = (await runs.jobs.row())["job_id"], await job_of_another_tenant(runs)
    break_for(monkeypatch, broken, RuntimeError("told to fail"))
    results = await runs.tell(
        plugin(broken, 1, "FINALIZED", "SUCCESS"),
        replace(plugin(theirs, 1, "FINALIZED", "SUCCESS"), tenant="tenants/other"),
    )
    assert [result.verdict for result in results] == [Verdict.RETRY, Verdict.NO_MAPPING]
    rows = await runs.jobs.sql("SELECT job_id FROM webhook_deliveries")
    assert [row["job_id"] for row in rows] == [theirs]


@pytest.mark.parametrize("error", [RuntimeError("told to fail"), asyncpg.CannotConnectNowError()])
async def test_a_call_of_which_nothing_comes_fails_as_what_made_it_fail(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """P1: so that it can be told from others that the database is away."""
    job_id = (await runs.jobs.row())["job_id"]
    break_for(monkeypatch, job_id, error)
    with pytest.raises(type(error)) as failure:
        await runs.tell(plugin(job_id, 1, "FINALIZED", "SUCCESS"))
    assert failure.value is error


async def test_many_busy_jobs_take_no_longer_than_one(runs: Runs) -> None:
    """P6: the gateway and all other tenants in the call wait for the answer."""
    for number in range(10):
        await runs.jobs.create(f"busy-{number}", shell())
    jobs = [row["job_id"] for row in await runs.jobs.rows()]
    for job_id in jobs:
        await runs.show(job_id, 1)
    reports = [plugin(job_id, 1, "FINALIZED", "SUCCESS") for job_id in jobs]
    loop = asyncio.get_running_loop()
    async with held(runs, jobs[:10]):
        begun = loop.time()
        results = await runs.tell(*reports)
        took_s = loop.time() - begun
    assert [result.verdict for result in results] == [Verdict.RETRY] * 10 + [Verdict.APPLIED]
    assert took_s < 1.5
    results = await runs.tell(*reports)
    assert [result.verdict for result in results] == [Verdict.APPLIED] * 10 + [Verdict.DUPLICATE]


async def test_a_job_that_is_busy_for_a_moment_is_waited_for(runs: Runs) -> None:
    """P1: even beside one that stays busy."""
    await runs.jobs.create("other", shell())
    long, short = [row["job_id"] for row in await runs.jobs.rows()]
    await runs.show(short, 1)
    async with held(runs, [long]):
        async with held(runs, [short]):
            call = asyncio.create_task(
                runs.tell(*(plugin(job, 1, "FINALIZED", "SUCCESS") for job in (long, short)))
            )
            await asyncio.sleep(0.1)
        results = await call
    assert [result.verdict for result in results] == [Verdict.RETRY, Verdict.APPLIED]


async def test_a_refresh_request_waits_for_no_lock_and_is_not_lost(runs: Runs) -> None:
    """P4, P6: neither does one of a job that is busy hold up the call, nor is it forgotten."""
    await runs.jobs.create("other", shell())
    busy, free = [row["job_id"] for row in await runs.jobs.rows()]
    await runs.show(free, 1)
    refresh_requests = [RefreshRequest("tenants/demo", str(job)) for job in (busy, free)]

    async def refresh_requested() -> set[uuid.UUID]:
        rows = await runs.jobs.sql(
            "SELECT job_id FROM cicd_jobs WHERE refresh_request_time IS NOT NULL"
        )
        return {row["job_id"] for row in rows}

    async def both() -> bool:
        return await refresh_requested() == {busy, free}

    async with held(runs, [busy]):
        async with asyncio.timeout(2):
            results = await runs.report([plugin(free, 1, "FINALIZED", "SUCCESS")], refresh_requests)
        assert [result.verdict for result in results] == [Verdict.APPLIED]
        assert await refresh_requested() == {free}
    await eventually(both, "the refresh request is written when its job is free")


async def test_a_refresh_request_that_cannot_be_written_fails_no_call(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P4, P6"""
    job_id = (await runs.jobs.row())["job_id"]
    write, failures = store.request_refresh, 2

    async def failing(*arguments: Any) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError("told to fail")
        await write(*arguments)

    monkeypatch.setattr(store, "request_refresh", failing)

    async def refresh_requested() -> bool:
        return (await runs.jobs.row())["refresh_request_time"] is not None

    assert await runs.report([], [RefreshRequest("tenants/demo", str(job_id))]) == []
    await eventually(refresh_requested, "the refresh request is written in the end")
    assert failures == 0

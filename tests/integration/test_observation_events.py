"""P4: watchers are told once of a problem that lasts, and once of its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import pytest_asyncio

from deployment_service.server import Service
from deployment_service.storage import problems
from deployment_service.storage.database.pool import WORKER_ROLE, Database
from deployment_service.storage.events import problem_events
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.workers.reconciler.problem_steps import append_problem_events
from jenkins_simulator import SimulatedUser
from tests.integration.jobs_harness import eventually
from tests.integration.observation_harness import DEMO, QUICK, Observed, observed
from tests.support.api import settings_for

TYPE = pb.DeploymentEvent.DEPLOYMENT_OBSERVATION_PROBLEM


@pytest_asyncio.fixture
async def one(database_url: str) -> AsyncIterator[Observed]:
    async with observed(database_url) as running:
        yield running


@asynccontextmanager
async def replica(one: Observed) -> AsyncIterator[Service]:
    service = await Service.open(settings_for(one.database_url, **QUICK))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def told(one: Observed, slug: str = "-") -> list[pb.DeploymentEvent]:
    request = pb.ListEventsRequest(parent=f"{DEMO}/deployments/{slug}", types=[TYPE])
    answer = await one.api.deployments.ListEvents(request, metadata=one.viewer)
    return list(answer.events)


async def until_told(one: Observed, count: int, slug: str = "-") -> list[pb.DeploymentEvent]:
    async def check() -> bool:
        return len(await told(one, slug)) >= count

    await eventually(check, f"{count} events are there")
    return await told(one, slug)


def mend(one: Observed) -> None:
    one.jenkins.faults.clear()
    one.jenkins.set_user("admin", SimulatedUser())


async def test_a_problem_that_lasts_is_told_once_and_so_is_its_end(one: Observed) -> None:
    name = await one.building()
    one.revoke_token()
    one.jenkins.release("demo.web")
    problem = await one.until_problem(name, "REFUSED")
    await one.cycles()
    assert await told(one) == []  # not for a problem that may pass
    await one.sql("UPDATE deployment_runs SET waiting_for = 'INPUT', waiting_reason = 'Approve?'")
    await one.age_problems()
    (event,) = await until_told(one, 1)
    assert event.run == name
    assert (event.old_run_status, event.run_status) == (pb.DEPLOYMENT_STATUS_RUNNING,) * 2
    assert event.observation_problem.reason == problem.reason
    assert event.observation_problem.since.seconds == problem.since.seconds - 60
    assert event.message == event.observation_problem.message
    assert (event.waiting_for, event.waiting_reason) == (pb.WAITING_FOR_INPUT, "Approve?")
    assert event.build_url.endswith("/job/demo.web/1/")
    assert "valid API token" in event.message
    await one.cycles()
    assert len(await told(one)) == 1
    mend(one)
    begun, over = await until_told(one, 2)
    assert begun == event
    assert not over.HasField("observation_problem")
    assert "over" in over.message
    await one.until_settled(name)
    await one.cycles()
    assert len(await told(one)) == 2
    # Numbers are dense: nothing was told in between and lost.
    answer = await one.api.deployments.ListEvents(
        pb.ListEventsRequest(parent=f"{DEMO}/deployments/web"), metadata=one.viewer
    )
    assert [e.revision for e in answer.events] == list(range(1, len(answer.events) + 1))


async def test_a_problem_is_told_without_help_after_the_detection_bound(one: Observed) -> None:
    """Nobody moves its beginning here: the bound is 6 s with these settings."""
    name = await one.building()
    one.fault(status=403)
    problem = await one.until_problem(name, "NOT_JENKINS")
    (event,) = await until_told(one, 1)
    assert event.create_time.seconds - problem.since.seconds >= 5
    assert "HTTP" not in event.message


async def test_each_deployment_is_told_once_however_many_runs_it_has(one: Observed) -> None:
    await one.create("other")
    await one.create("idle")
    await one.building()
    second = await one.start(allow_concurrent=True)
    other = await one.building("other")
    one.revoke_token()
    await one.until_problem(second, "REFUSED")
    await one.until_problem(other, "REFUSED")
    await one.age_problems()
    events = await until_told(one, 2)
    await one.cycles()
    assert len(await told(one)) == 2
    assert sorted(event.deployment for event in events) == [
        f"{DEMO}/deployments/other",
        f"{DEMO}/deployments/web",
    ]


@pytest.mark.parametrize("stopped", [False, True])
async def test_two_replicas_and_a_restart_tell_it_once(one: Observed, stopped: bool) -> None:
    name = await one.building()
    async with replica(one) as second:
        one.revoke_token()
        await one.until_problem(name, "REFUSED")
        await one.age_problems()
        await until_told(one, 1)
        if stopped:
            await second.stop()
        # Whoever decides next finds that it was told.
        await one.sql("UPDATE cicd_controllers SET lease_owner = NULL, lease_until = NULL")
        await one.cycles()
        assert len(await told(one)) == 1
    async with replica(one):
        await one.cycles()
        assert len(await told(one)) == 1
        mend(one)
        await until_told(one, 2)
        await one.cycles()
    assert len(await told(one)) == 2


async def test_replicas_that_decide_at_the_same_time_tell_it_once(one: Observed) -> None:
    """Both have read that it is to be told; the deployment's lock lets one of them do it."""
    name = await one.building()
    one.revoke_token()
    await one.until_problem(name, "REFUSED")
    (provider,) = await one.sql("SELECT tenant_id, provider_id FROM cicd_providers")
    database = await Database.open(one.database_url, role=WORKER_ROLE, max_connections=8)
    try:
        await asyncio.gather(
            *(append_problem_events(database, *provider, after_s=0) for _ in range(8))
        )
    finally:
        await database.close()
    assert len(await told(one)) == 1


async def test_a_run_that_is_settled_meanwhile_ends_it(one: Observed) -> None:
    """The problem lasts, but no run of the deployment depends on Jenkins any more."""
    name = await one.building()
    one.revoke_token()
    await one.until_problem(name, "REFUSED")
    await one.age_problems()
    await until_told(one, 1)
    await one.sql(
        "UPDATE deployment_runs SET status = 'FAILED', rank = 310, certainty = 'UNVERIFIABLE', settle_time = now(),"
        " end_time = now(), failure_cause = 'BUILD_LOST', failure_message = 'Gone.'"
    )
    _, over = await until_told(one, 2)
    assert not over.HasField("observation_problem")
    assert "settled" in over.message
    # The fold of its events is the run as it is.
    assert (over.run_status, over.failure_cause, over.certainty) == (
        pb.DEPLOYMENT_STATUS_FAILED,
        pb.FAILURE_CAUSE_BUILD_LOST,
        pb.CERTAINTY_UNVERIFIABLE,
    )
    assert over.failure_message == "Gone."
    assert (await one.provider()).HasField("observation_problem")


async def test_nothing_follows_the_deletion_of_a_deployment(one: Observed) -> None:
    """DEPLOYMENT_DELETED stays its last event."""
    name = await one.building()
    one.revoke_token()
    await one.until_problem(name, "REFUSED")
    await one.age_problems()
    await until_told(one, 1)
    await one.api.deployments.DeleteDeployment(
        pb.DeleteDeploymentRequest(name=f"{DEMO}/deployments/web", force=True),
        metadata=one.api.as_admin,
    )
    mend(one)
    await one.cycles()
    events = await one.sql("SELECT type FROM deployment_events ORDER BY sequence DESC LIMIT 1")
    assert events[0]["type"] == "DEPLOYMENT_DELETED"
    assert len(await told(one)) == 1


async def test_watchers_see_it_live_and_in_their_snapshot(one: Observed) -> None:
    name = await one.building()
    watch = one.api.deployments.WatchDeployments(
        pb.WatchDeploymentsRequest(parent=DEMO), metadata=one.viewer
    )
    one.revoke_token()
    await one.until_problem(name, "REFUSED")
    await one.age_problems()
    async with asyncio.timeout(20):
        async for message in watch:
            if message.event.type == TYPE:
                break
    watch.cancel()
    fresh = one.api.deployments.WatchDeployments(
        pb.WatchDeploymentsRequest(parent=DEMO), metadata=one.viewer
    )
    async with asyncio.timeout(20):
        async for message in fresh:
            if message.WhichOneof("response") == "deployment":
                break
    fresh.cancel()
    refused = pb.OBSERVATION_PROBLEM_REASON_REFUSED
    assert message.deployment.observation_problem.reason == refused
    assert message.deployment.cicd_job.observation_problem.reason == refused


async def test_what_a_cycle_asks_about_problems_reads_few_rows(one: Observed) -> None:
    """20,000 settled runs of 2,000 jobs beside: the plans stay on the indexes of what is unsettled."""
    (provider,) = await one.sql("SELECT tenant_id, provider_id FROM cicd_providers")
    await one.sql(
        """
        WITH d AS (INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec)
            SELECT $1, 'd' || n, $2, 'EXISTING', '{}' FROM generate_series(1, 2000) AS n
            RETURNING tenant_id, deployment_id, provider_id, slug),
        j AS (INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time, next_sweep_time)
            SELECT tenant_id, provider_id, slug, 'ADOPTED', 'READY', NULL, now() + interval '1 day' FROM d
            RETURNING tenant_id, job_id, full_name)
        INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
            certainty, settle_time, shown, generation, build_number, end_time)
        SELECT d.tenant_id, d.deployment_id, n, j.job_id, 'EXTERNAL', 'ENDED', 'COMPLETED', 351, 'CONFIRMED', now(),
            true, 1, n, now()
        FROM d JOIN j ON j.full_name = d.slug, generate_series(1, 10) AS n
        """,
        provider["tenant_id"],
        provider["provider_id"],
    )
    await one.sql("ANALYZE")
    key = (provider["tenant_id"], provider["provider_id"])
    for statement, arguments in (
        (problem_events.TO_BEGIN, (*key, timedelta(seconds=30), 200)),
        (problem_events.TO_END, (*key, 200)),
        (problems.PROVIDER, key),
        (problems.JOBS, key),
    ):
        plan = await one.sql(f"EXPLAIN {statement}", *arguments)
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan on deployment_runs" not in text, text
        assert "Seq Scan on deployments" not in text, text

"""What a deployment says of its current run, how long its runs take, and what events say of a run."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from itertools import pairwise

import asyncpg
import pytest
import pytest_asyncio

from deployment_service.api.deployment_messages import deployment_message, run_message
from deployment_service.domain.actors import key_actor
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.lists import View
from deployment_service.domain.run_requests import RunRequest
from deployment_service.storage.deployments import deployments
from deployment_service.storage.deployments.deployments import DeploymentFilter
from deployment_service.storage.runs import run_records
from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import JenkinsSimulator
from tests.integration.jobs_harness import Jobs, shell
from tests.integration.runs_harness import Runs, runs_of

KEY = key_actor(uuid.UUID(int=7), "ci", "alice")


async def shown(jobs: Jobs) -> pb.Deployment:
    async with jobs.databases.api.acquire() as connection:
        chunk = await deployments.page(
            connection,
            jobs.tenant.tenant_id,
            DeploymentFilter(),
            after_resource_id="",
            limit=10,
            view=View.FULL,
        )
    (row,) = chunk.rows
    return deployment_message(jobs.tenant, row)


async def run_shown(jobs: Jobs, run_id: uuid.UUID) -> pb.Run:
    async with jobs.databases.api.acquire() as connection:
        row = await run_records.by_id(connection, jobs.tenant.tenant_id, run_id)
    assert row is not None
    return run_message(jobs.tenant, row)


async def events_of(jobs: Jobs) -> list[asyncpg.Record]:
    return await jobs.sql("SELECT * FROM deployment_events ORDER BY sequence")


async def test_the_summary_is_what_the_run_itself_says(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", shell())
    before = await shown(runs.jobs)
    assert not before.HasField("current_run_summary")
    assert not before.HasField("typical_duration")
    jenkins.hold("demo.web")
    started = await runs.start("web", about=RunRequest(KEY, "Why."))
    await runs.until(started.run_id, build_number=1, shown=True)
    await check_summary(runs, started.run_id)
    building = await run_shown(runs.jobs, started.run_id)
    assert building.build_start_time.seconds
    assert building.queue_time.seconds
    jenkins.release("demo.web", 1)
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    await check_summary(runs, started.run_id)
    after = await shown(runs.jobs)
    took = (await run_shown(runs.jobs, started.run_id)).end_time.ToDatetime() - (
        building.queue_time.ToDatetime()
    )
    assert after.typical_duration.ToTimedelta() == took


async def check_summary(runs: Runs, run_id: uuid.UUID) -> None:
    deployment, run = await shown(runs.jobs), await run_shown(runs.jobs, run_id)
    summary = deployment.current_run_summary
    assert summary.name == deployment.current_run == run.name
    assert summary.number == 1
    same = {field.name for field in pb.RunSummary.DESCRIPTOR.fields} - {"name", "number"}
    for name in same - {"last_observed_time"}:
        assert getattr(summary, name) == getattr(run, name), name
    assert summary.requested_by.on_behalf_of == "alice"


async def test_the_typical_duration_is_the_median_of_our_completed_runs(runs: Runs) -> None:
    """Failed runs and those of others don't count; a later run replaces what is stored."""
    jobs = runs.jobs
    await jobs.create("web", shell())
    first = await runs.start("web")
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")
    await jobs.sql("UPDATE deployment_runs SET start_time = end_time - interval '5 s'")
    for number, seconds, source in ((2, 9, "SERVICE"), (3, 900, "EXTERNAL"), (4, 7, "SERVICE")):
        await jobs.sql(
            """
            INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status,
                rank, certainty, settle_time, shown, generation, build_number, start_time, end_time)
            SELECT tenant_id, deployment_id, $1, job_id, $2, 'ENDED', 'COMPLETED', 351, 'CONFIRMED', now(), true, -1,
                $1 + 100, now() - $3 * interval '1 s', now()
            FROM deployment_runs WHERE number = 1
            """,
            number,
            source,
            seconds,
        )
    last = await runs.start("web")
    row = await runs.until(last.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert row["number"] == 5
    typical = (await shown(jobs)).typical_duration.ToTimedelta().total_seconds()
    # Of 5, 9, 7 and the last one, which takes far less than five seconds.
    assert typical == pytest.approx(5, abs=0.1)


@pytest_asyncio.fixture
async def undispatched(jobs: Jobs) -> AsyncIterator[Runs]:
    async with runs_of(jobs, dispatch=False) as runs:
        yield runs


async def test_an_event_says_what_its_run_waits_for(undispatched: Runs) -> None:
    jobs = undispatched.jobs
    await jobs.create("web", shell())
    await undispatched.start("web", remaining_s=0.0)
    event = (await events_of(jobs))[-1]
    assert (event["waiting_for"], event["status"]) == ("TRIGGER", "PENDING")


async def test_events_hold_the_statuses_and_the_build(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", JobDefinition(JobKind.FREESTYLE_SHELL, text="exit 1"))
    started = await runs.start("web")
    await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    events = [event for event in await events_of(runs.jobs) if event["run_number"]]
    steps = [(event["old_deployment_status"], event["deployment_status"]) for event in events]
    changes = [step for step in steps if step[0] != step[1]]
    assert changes == [("PENDING", "RUNNING"), ("RUNNING", "FAILED")]
    assert all(old == new for (_, old), (new, _) in pairwise(steps))
    end = events[-1]
    url = (await run_shown(runs.jobs, started.run_id)).build_url
    assert (end["build_url"], end["waiting_for"]) == (url, None)
    assert url.endswith("/job/demo.web/1/")
    row = await runs.run(started.run_id)
    assert end["failure_message"] == row["failure_message"] != ""


@pytest.mark.parametrize(
    "wrong",
    [
        "waiting_for = 'X'",
        "waiting_reason = 'x', waiting_for = NULL",
        "build_url = 'x', build_number = NULL",
        "failure_message = 'x', failure_cause = NULL",
        "old_deployment_status = 'X'",
        "run_number = NULL, waiting_for = 'QUEUE'",
    ],
)
async def test_the_store_refuses_what_no_event_says(undispatched: Runs, wrong: str) -> None:
    await undispatched.jobs.create("web", shell())
    with pytest.raises(asyncpg.CheckViolationError):
        await undispatched.jobs.sql(f"UPDATE deployment_events SET {wrong}")

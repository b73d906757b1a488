"""P4 and its price: 1,000 active runs on one controller in 200 folders, and not one webhook."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.workers.reconciler.detection import Detection
from deployment_service.workers.reconciler.settings import ReconcilerSettings
from jenkins_simulator import (
    Build,
    Cause,
    JenkinsSimulator,
    NotificationFault,
    ParameterKind,
    ParameterValue,
    Result,
    SimulatorConfig,
)
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, eventually, jobs_of
from tests.integration.runs_harness import Runs, runs_of

FOLDERS, RUNS = 200, 1000
CYCLE = ReconcilerSettings(read_interval_s=1.0, polling_interval_s=1.0)
# As it is published, with the harness' request timeout of 1 s.
BOUND_S = Detection(read_interval_s=1.0, polling_interval_s=1.0, request_timeout_s=1.0).bound_s(
    polled=False
)
LISTS = ("/queue/api/json", "/computer/api/json")
JOB = """
    <project><concurrentBuild>true</concurrentBuild><properties>
      <hudson.model.ParametersDefinitionProperty><parameterDefinitions>
        <hudson.model.StringParameterDefinition><name>DEPLOYMENT_RUN_ID</name>
        </hudson.model.StringParameterDefinition>
      </parameterDefinitions></hudson.model.ParametersDefinitionProperty>
    </properties></project>
"""
_SEED = """
    WITH job AS (
        INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time, correlation,
            next_build_number, next_sweep_time)
        VALUES ($1, $2, $3, 'ADOPTED', 'READY', NULL, 'RUN_ID', 100, now() + interval '1 day') RETURNING job_id
    ), deployment AS (
        INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec, status)
        VALUES ($1, $4, $2, 'EXISTING', '{}', 'RUNNING') RETURNING deployment_id
    ), mapping AS (
        INSERT INTO deployment_cicd_mappings (tenant_id, deployment_id, job_id)
        SELECT $1, deployment_id, job_id FROM job, deployment
    )
    INSERT INTO deployment_runs (tenant_id, run_id, deployment_id, number, job_id, source, trigger_state, status,
        rank, queue_id, first_build_number, start_time)
    SELECT $1, r.id, deployment_id, r.place, job_id, 'SERVICE', 'ACCEPTED', 'RUNNING', 100, r.item, 1, now()
    FROM job, deployment, unnest($5::uuid[], $6::text[]) WITH ORDINALITY AS r (id, item, place)
"""


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    config = SimulatorConfig(quiet_period_s=0.0, executors=RUNS)
    async with JenkinsSimulator(config) as simulator:
        simulator.faults.add(NotificationFault(drop=True))
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url, webhook_base_url="", keep=False) as process:
        yield process


@pytest.mark.alone
@pytest.mark.timeout(180)
async def test_a_cycle_costs_two_requests_and_one_for_each_run_that_changed(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P4: every result is found within the bound, with all webhooks lost."""
    builds = await seed(jobs, jenkins)
    dice = random.Random(1)
    async with runs_of(jobs, dispatch=False, reconciler_settings=CYCLE) as runs:
        await eventually(lambda: all_have(runs, "build_number IS NOT NULL"), "all builds are known")
        # Nothing changes: two requests for each cycle, whatever is going on.
        jenkins.requests.clear()
        await cycles(jenkins, 4)
        paths = [entry.path.partition("?")[0] for entry in jenkins.requests.entries]
        assert set(paths) == set(LISTS)
        assert abs(paths.count(LISTS[0]) - paths.count(LISTS[1])) <= 1
        # Some end in each of a few cycles: one request more for each of them.
        jenkins.requests.clear()
        ended = dice.sample(sorted(builds.values(), key=lambda build: build.queue_id), 150)
        for start in range(0, len(ended), 30):
            for build in ended[start : start + 30]:
                jenkins.controller.release(build, dice.choice(list(Result)))
            await cycles(jenkins, 1)
        await eventually(lambda: confirmed(runs, len(ended)), "every end is known")
        asked = [e for e in jenkins.requests.entries if e.path.partition("?")[0] not in LISTS]
        assert len(asked) == len(ended), [entry.path for entry in asked][:5]
        late_s = await detection(runs, jenkins)
        print(
            f"{len(ended)} ends: median {late_s[len(late_s) // 2]:.2f} s, slowest {late_s[-1]:.2f} s"
        )
        assert late_s[-1] <= BOUND_S


async def seed(jobs: Jobs, jenkins: JenkinsSimulator) -> dict[uuid.UUID, Build]:
    """Builds that go on, and runs that Jenkins has accepted: five in each folder's job."""
    items = {}
    tenant_id = jobs.tenant.tenant_id
    async with jobs.databases.api.acquire() as connection:
        for number in range(FOLDERS):
            name = f"f{number:03}/app"
            job = jenkins.create_job(name, JOB)
            jenkins.hold(name)
            ids = [uuid.uuid4() for _ in range(RUNS // FOLDERS)]
            for run_id in ids:
                value = ParameterValue(ParameterKind.STRING, "DEPLOYMENT_RUN_ID", str(run_id))
                items[run_id], _ = jenkins.controller.schedule(job, (value,), Cause("admin"))  # type: ignore[arg-type]
            queue_ids = [str(items[run_id].id) for run_id in ids]
            arguments = (tenant_id, jobs.provider_id, name, f"d{number:03}", ids, queue_ids)
            await connection.execute(_SEED, *arguments)

    async def started() -> bool:
        return all(item.build is not None for item in items.values())

    await eventually(started, "all builds run")
    return {run_id: item.build for run_id, item in items.items() if item.build}


async def cycles(jenkins: JenkinsSimulator, count: int) -> None:
    """Wait for ``count`` further cycles to be read to their end."""
    lists = jenkins.requests.count("GET", LISTS[1])

    async def read() -> bool:
        return jenkins.requests.count("GET", LISTS[1]) >= lists + count

    await eventually(read, "cycles go on")
    await asyncio.sleep(0)


async def all_have(runs: Runs, condition: str) -> bool:
    (row,) = await runs.jobs.sql(f"SELECT count(*) FROM deployment_runs WHERE {condition}")
    return bool(row["count"] == RUNS)


async def confirmed(runs: Runs, count: int) -> bool:
    (row,) = await runs.jobs.sql(
        "SELECT count(*) FROM deployment_runs WHERE certainty = 'CONFIRMED'"
    )
    return bool(row["count"] == count)


async def detection(runs: Runs, jenkins: JenkinsSimulator) -> list[float]:
    """How late each end was known, shortest first."""
    ends = {
        build.parameters["DEPLOYMENT_RUN_ID"]: build.ended_at for build in jenkins.ledger.builds()
    }
    rows = await runs.jobs.sql(
        "SELECT run_id, end_time FROM deployment_runs WHERE certainty = 'CONFIRMED'"
    )
    return sorted(row["end_time"].timestamp() - (ends[str(row["run_id"])] or 0) for row in rows)

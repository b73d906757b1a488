"""One Jenkins that is slow, and another one that is not: neither runs nor their ends wait for it (P3, P4, P6)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator, RequestFault, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, eventually, jobs_of, shell
from tests.integration.runs_harness import QUICK, runs_of

pytestmark = pytest.mark.alone

WAITING = 100


@pytest_asyncio.fixture
async def other() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(SimulatorConfig(quiet_period_s=0.0)) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(
    databases: Databases, jenkins: JenkinsSimulator, other: JenkinsSimulator
) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url, webhook_base_url="") as process:
        await process.create("web", shell())
        await process.sql(
            "INSERT INTO cicd_providers (tenant_id, slug, base_url, username, api_token_encrypted)"
            " SELECT tenant_id, 'other', $1, username, $2 FROM cicd_providers",
            other.url,
            process.box.encrypt(DEFAULT_API_TOKEN.encode()),
        )
        await process.create("theirs", shell("theirs"))
        yield process


async def let_many_wait(jobs: Jobs) -> None:
    """As many runs of `web` as an outage may leave behind."""
    await jobs.sql(
        "INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, waiting_for, trigger_state,"
        " next_try_time, trigger_deadline)"
        " SELECT d.tenant_id, d.deployment_id, 100 + n, m.job_id, 'SERVICE', 'TRIGGER', 'WAITING', now(),"
        " now() + interval '10 min' FROM generate_series(1, $1) AS n, deployments AS d"
        " JOIN deployment_cicd_mappings AS m USING (tenant_id, deployment_id) WHERE d.slug = 'web'",
        WAITING,
    )


async def test_many_runs_that_wait_for_a_slow_jenkins_hold_up_no_other(
    jobs: Jobs, jenkins: JenkinsSimulator, other: JenkinsSimulator
) -> None:
    """P3, P6"""
    await jobs.sql(
        "UPDATE deployments SET provider_id = (SELECT provider_id FROM cicd_providers WHERE slug = 'other')"
        " WHERE slug = 'theirs'"
    )
    await jobs.sql(
        "UPDATE cicd_jobs SET provider_id = (SELECT provider_id FROM cicd_providers WHERE slug = 'other')"
        " WHERE full_name = 'theirs'"
    )
    other.create_job("theirs", "<project><builders/></project>")
    await let_many_wait(jobs)
    jenkins.faults.add(RequestFault(path="/job/", delay_before_s=3.0))
    settings = replace(QUICK, request_timeout_s=4.0, lease_s=60.0)
    async with runs_of(jobs, dispatcher_settings=settings, wait_s=10.0) as runs:

        async def under_way() -> bool:
            (row,) = await jobs.sql(
                "SELECT count(*) FROM deployment_runs WHERE lease_owner IS NOT NULL"
            )
            return bool(row["count"] >= 8)

        await eventually(under_way, "the slow one has all that it gets")
        begun = time.monotonic()
        started = await runs.start("theirs")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert time.monotonic() - begun < 3.0


async def test_runs_that_wait_to_be_sent_leave_room_to_read_how_others_end(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P4: to the same Jenkins, whose jobs are slow to answer."""
    jenkins.hold("demo.web")
    async with runs_of(jobs) as runs:
        started = await runs.start("web")
        await runs.until(started.run_id, build_number=1)
        await let_many_wait(jobs)
        jenkins.faults.add(
            RequestFault("GET", r"/job/demo.web/api/json\?tree=fullName", delay_before_s=3.0)
        )
        runs.dispatcher.wake()
        jenkins.release("demo.web", 1)
        begun = time.monotonic()
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert time.monotonic() - begun < 3.0

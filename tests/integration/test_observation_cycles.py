"""Cycles that end early: what of that is a problem of Jenkins, and what is not."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from deployment_service.workers.controllers.controllers import Controller
from jenkins_simulator import JenkinsSimulator, RequestFault
from tests.integration.jobs_harness import Jobs, eventually, shell
from tests.integration.runs_harness import OFTEN, Runs, runs_of


async def provider_problem(jobs: Jobs) -> str | None:
    (row,) = await jobs.sql("SELECT problem_reason FROM cicd_providers")
    reason: str | None = row["problem_reason"]
    return reason


async def building(runs: Runs, jenkins: JenkinsSimulator) -> None:
    await runs.jobs.create("web", shell())
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)


async def test_a_cycle_that_takes_too_long_is_a_problem_of_the_provider(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """Each answer comes in time, and all together they take too long."""
    async with runs_of(jobs) as runs:
        await building(runs, jenkins)
    jenkins.faults.add(RequestFault("GET", delay_before_s=0.4))
    async with runs_of(jobs, reconciler_settings=replace(OFTEN, longest_cycle_s=0.6)):

        async def slow() -> bool:
            return await provider_problem(jobs) == "SLOW"

        await eventually(slow, "the provider has the problem SLOW")
        jenkins.faults.clear()

        async def over() -> bool:
            return await provider_problem(jobs) is None

        await eventually(over, "the problem ends")


@pytest.mark.parametrize("error", [TimeoutError("acquire"), ConnectionRefusedError("database")])
async def test_a_database_that_does_not_answer_is_no_problem_of_jenkins(
    jobs: Jobs, jenkins: JenkinsSimulator, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with runs_of(jobs) as runs:
        await building(runs, jenkins)
        found = 0

        async def find(tenant_id: uuid.UUID, provider_id: uuid.UUID) -> Controller:
            nonlocal found
            found += 1
            raise error

        monkeypatch.setattr(runs.reconciler._cycle, "_find_controller", find)

        async def tried() -> bool:
            await jobs.sql("UPDATE cicd_controllers SET lease_owner = NULL, lease_until = NULL")
            return found >= 3

        await eventually(tried, "three cycles have failed")
        assert await provider_problem(jobs) is None

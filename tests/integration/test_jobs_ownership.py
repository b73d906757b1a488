"""A job is deleted or rewritten only with two of three signs that it is ours, whatever people edited (P9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest
import pytest_asyncio

from jenkins_simulator import JenkinsSimulator
from tests.fixtures_stack import Databases
from tests.integration.job_edits import NAME, Edit, description, edit, endpoint, parameters
from tests.integration.jobs_harness import Jobs, jobs_of, shell
from tests.integration.runs_harness import runs_of


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url, webhook_base_url="http://hooks.invalid") as jobs:
        yield jobs


@pytest.mark.parametrize(
    "edits",
    [(), (description,), (parameters,), (endpoint,)],
    ids=lambda edits: "+".join(one.__name__ for one in edits) or "none",
)
async def test_one_edit_leaves_no_job_behind(
    jobs: Jobs, jenkins: JenkinsSimulator, edits: tuple[Edit, ...]
) -> None:
    await jobs.create("web", shell())
    edit(jenkins, *edits)
    await jobs.delete()
    await jobs.until_no_rows()
    assert jenkins.controller.find(NAME) is None
    await jobs.create("web", shell())
    assert (await jobs.row())["state"] == "READY"


@pytest.mark.parametrize(
    "edits",
    [
        (description, parameters),
        (description, endpoint),
        (parameters, endpoint),
        (description, parameters, endpoint),
    ],
    ids=lambda edits: "+".join(one.__name__ for one in edits),
)
async def test_a_job_with_fewer_signs_is_not_deleted(
    jobs: Jobs, jenkins: JenkinsSimulator, edits: tuple[Edit, ...]
) -> None:
    """It may be another's by now: somebody else may have made it with a part of ours."""
    await jobs.create("web", shell())
    edit(jenkins, *edits)
    await jobs.delete()
    await jobs.until_no_rows()
    assert jenkins.controller.find(NAME) is not None


@pytest.mark.parametrize("first", [description, endpoint])
async def test_a_job_that_is_ours_gets_its_parameter_back_for_a_run(
    jobs: Jobs, jenkins: JenkinsSimulator, first: Edit
) -> None:
    """With the mark or the endpoint beside it, the parameter alone may be gone."""
    await jobs.create("web", shell())
    edit(jenkins, parameters)
    async with runs_of(jobs) as runs:
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert jenkins.ledger.builds(run_id=str(started.run_id))
        edit(jenkins, first)
        again = await runs.start("web")
        await runs.until(again.run_id, status="COMPLETED", certainty="CONFIRMED")


async def test_a_job_that_a_seed_job_overwrote_is_not_rewritten(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P9: its own parameters are missing, but nothing says that it is ours."""
    await jobs.create("web", shell())
    edit(jenkins, description, parameters)
    before = ElementTree.tostring(jenkins.job(NAME).xml)
    async with runs_of(jobs) as runs:
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED")
    assert ElementTree.tostring(jenkins.job(NAME).xml) == before


async def test_a_job_is_repaired_three_times_an_hour_and_each_time_is_told(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P9: what overwrites it again and again, such as a seed job, wins in the end."""
    await jobs.create("web", shell())
    async with runs_of(jobs) as runs:
        for number in range(1, 6):
            edit(jenkins, parameters)
            started = await runs.start("web")
            await runs.until(started.run_id, status="COMPLETED")
            names = [one.name for one in jenkins.job(NAME).config.parameters or ()]
            assert names == (["DEPLOYMENT_RUN_ID"] if number <= 3 else [])
    told = await jobs.sql(
        "SELECT message FROM deployment_events WHERE type = 'DEPLOYMENT_JOB_DRIFTED' ORDER BY sequence"
    )
    repaired = [row["message"] for row in told if "repair " in row["message"]]
    assert len(repaired) == 3
    assert "repair 3 of at most 3" in repaired[-1]
    assert "no longer defines DEPLOYMENT_RUN_ID" in told[-1]["message"]

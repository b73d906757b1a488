"""Adopting jobs that exist: they are looked up, shared, and never written to or deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.domain.errors import AlreadyExists, InvalidArgument, NotFound
from jenkins_simulator import JenkinsSimulator
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, adopt, jobs_of, shell
from tests.support.parameters import strings

PLAIN = "<project><builders/></project>"
WITH_RUN_ID = (
    "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
    "<hudson.model.StringParameterDefinition><name>DEPLOYMENT_RUN_ID</name>"
    "</hudson.model.StringParameterDefinition></parameterDefinitions>"
    "</hudson.model.ParametersDefinitionProperty></properties></project>"
)


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url) as process:
        yield process


@pytest.mark.parametrize(("xml", "correlation"), [(PLAIN, "QUEUE_ITEM"), (WITH_RUN_ID, "RUN_ID")])
async def test_an_adopted_job_is_only_read_and_its_grade_of_correlation_known(
    jobs: Jobs, jenkins: JenkinsSimulator, xml: str, correlation: str
) -> None:
    jenkins.create_job("shop/web prod", xml)
    jenkins.job("shop/web prod").next_build_number = 7
    await jobs.create("web", adopt("shop/web prod", ENVIRONMENT="prod"))
    row = await jobs.row()
    assert (row["origin"], row["state"], row["correlation"]) == ("ADOPTED", "READY", correlation)
    assert row["sends_webhooks"] is False
    assert row["next_build_number"] == 7
    mapping = await jobs.mapping("web")
    # Builds that are older than the deployment never become its runs.
    assert mapping["first_build_number"] == 7
    assert mapping["fixed_parameters"] == '{"ENVIRONMENT": "prod"}'
    assert {entry.method for entry in jenkins.requests.entries} == {"GET"}


async def test_a_branch_is_adopted_by_its_encoded_name(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job(
        "shop/web",
        "<org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject/>",
    )
    jenkins.add_branch("shop/web", "feature/log in", "node {}")
    await jobs.create("web", adopt("shop/web/feature%2Flog%20in"))
    assert (await jobs.row())["state"] == "READY"


@pytest.mark.parametrize("name", ["missing", "shop"])
async def test_what_isnt_a_job_is_not_found_and_nothing_is_left(
    jobs: Jobs, jenkins: JenkinsSimulator, name: str
) -> None:
    jenkins.create_job("shop/web", PLAIN)
    with pytest.raises(NotFound) as refused:
        await jobs.create("web", adopt(name))
    assert refused.value.reason == "JOB_NOT_FOUND"
    assert await jobs.rows() == []
    assert await jobs.sql("SELECT FROM deployments") == []


async def test_several_deployments_share_one_adopted_job(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("shared", WITH_RUN_ID)
    await jobs.create("prod", adopt("shared", ENVIRONMENT="prod"))
    # Meanwhile the service has heard of its build 4.
    await jobs.sql("UPDATE cicd_jobs SET status_generation = 1, status_build_number = 4")
    await jobs.create("test", adopt("shared", ENVIRONMENT="test"))
    assert (await jobs.row())["state"] == "READY"
    assert (await jobs.mapping("prod"))["first_build_number"] == 1
    assert (await jobs.mapping("test"))["first_build_number"] == 5
    assert jenkins.requests.count("GET", "job/shared/api") == 1

    await jobs.delete("prod")
    assert (await jobs.row())["state"] == "READY"
    await jobs.delete("test")
    assert await jobs.rows() == []
    assert jenkins.job("shared")


async def test_adopting_a_job_of_a_deployment_is_refused(jobs: Jobs) -> None:
    await jobs.create("web", shell("web"))
    with pytest.raises(AlreadyExists) as refused:
        await jobs.create("other", adopt("web"))
    assert refused.value.reason == "JOB_EXISTS"


async def test_creating_over_an_adopted_job_is_refused(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("web", PLAIN)
    await jobs.create("web", adopt("web"))
    with pytest.raises(AlreadyExists) as refused:
        await jobs.create("other", shell("web"))
    assert refused.value.reason == "JOB_EXISTS"


async def test_a_lookup_that_failed_is_tried_again_for_the_next_deployment(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    # Nobody waits for the first, so it stays, with its job in FAILED.
    await jobs.create("first", adopt("late"), remaining_s=0)
    await jobs.until_row(lambda row: row["state"] == "FAILED", "the lookup fails")
    assert (await jobs.row())["state_fault"] == "JOB_NOT_FOUND"
    jenkins.create_job("late", PLAIN)
    await jobs.create("second", adopt("late"))
    assert (await jobs.row())["state"] == "READY"
    # The first one hears of it, too.
    assert set(await jobs.events()) == {
        ("first", "CREATED", 1),
        ("first", "JOB_UPDATE", 2),
        ("second", "CREATED", 1),
        ("first", "JOB_UPDATE", 3),
        ("second", "JOB_UPDATE", 2),
    }


async def test_a_parameter_cant_be_fixed_and_free_at_once(jobs: Jobs) -> None:
    with pytest.raises(InvalidArgument):
        await jobs.create(
            "web", adopt("web", STAGE="prod"), parameter_definitions=strings(STAGE="test")
        )

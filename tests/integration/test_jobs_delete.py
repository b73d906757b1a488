"""Deleting deployments: their own jobs go from Jenkins, in the background; everything else stays there."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.cicd.address import ControllerAddress
from deployment_service.domain.errors import Aborted, FailedPrecondition, NotFound
from deployment_service.domain.etags import etag
from jenkins_simulator import (
    ALL_PERMISSIONS,
    DEFAULT_API_TOKEN,
    JenkinsSimulator,
    Permission,
    RequestFault,
)
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, jenkins_client, jobs_of
from tests.support.waiting import until

RUN = """
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, build_number,
        generation)
    SELECT m.tenant_id, m.deployment_id, 1, m.job_id, $1, 'ENDED', $2, $3 FROM deployment_cicd_mappings m
"""


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url) as process:
        yield process


async def test_the_job_is_deleted_in_jenkins_and_history_stays(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    await jobs.create()
    request = jobs.request("DeleteDeployment")
    sequence = await jobs.delete(request=request)
    await jobs.until_no_rows()
    assert jenkins.controller.find("demo.web") is None
    assert await jobs.events() == [
        ("web", "CREATED", 1),
        ("web", "JOB_UPDATE", 2),
        ("web", "DELETED", 3),
    ]
    assert sequence == 3
    assert await jobs.delete(request=request) == 3, "a repeated call has no second effect"
    with pytest.raises(NotFound):
        await jobs.delete()


async def test_a_job_that_lost_our_mark_is_left_alone(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    await jobs.create()
    jenkins.controller.delete(jenkins.job("demo.web"))
    theirs = jenkins.create_job("demo.web", "<project/>")
    await jobs.delete()
    await jobs.until_no_rows()
    assert jenkins.job("demo.web") is theirs
    assert jenkins.requests.count("POST", "demo.web/doDelete") == 0


async def test_a_running_build_is_not_stopped_by_a_deletion(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    created = await jobs.create()
    jenkins.hold("demo.web")
    client = jenkins_client(ControllerAddress(jenkins.url, "admin", DEFAULT_API_TOKEN))
    run_id = {"DEPLOYMENT_RUN_ID": str(created.deployment_uid)}
    await client.trigger("demo.web", run_id, parameterised=True, timeout_s=5)
    await client.close()
    job = jenkins.job("demo.web")
    await until(job.is_building, what="a build runs")
    await jobs.delete()
    await jobs.until_row(lambda row: "running" in row["state_message"], "the keeper saw the build")
    assert jenkins.job("demo.web") is job
    (build,) = jenkins.release("demo.web")
    assert (await jenkins.wait_for(build)).name == "SUCCESS"
    # Somebody who wants the name makes the keeper look at once.
    await jobs.create()
    assert jenkins.job("demo.web") is not job


async def test_a_name_is_free_again_as_soon_as_its_job_is_deleted(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    await jobs.create()
    first = jenkins.job("demo.web")
    await jobs.delete()
    await jobs.create()
    assert (await jobs.row())["state"] == "READY"
    assert jenkins.job("demo.web") is not first


async def test_a_job_that_cant_be_deleted_yet_keeps_its_name(
    databases: Databases, jenkins: JenkinsSimulator
) -> None:
    async with jobs_of(databases, jenkins.url, wait_s=0.3) as jobs:
        await jobs.create(remaining_s=10)
        await jobs.until_row(lambda row: row["state"] == "READY", "it is ready")
        jenkins.set_permissions(
            "admin", ALL_PERMISSIONS - {Permission.ITEM_DELETE, Permission.ADMINISTER}
        )
        await jobs.delete()
        await jobs.until_row(lambda row: "Job/Delete" in row["state_message"], "Jenkins refuses")
        with pytest.raises(FailedPrecondition) as refused:
            await jobs.create()
        assert refused.value.reason == "JOB_BEING_DELETED"
        assert "Job/Delete" in refused.value.message
        jenkins.set_permissions("admin", ALL_PERMISSIONS)
        await jobs.until_no_rows()


@pytest.mark.parametrize(
    "fault",
    [
        RequestFault(path="job/demo.web", status=503, count=2),
        RequestFault(path="job/demo.web/doDelete", status=400, count=2),
    ],
    ids=["away", "builds that won't stop"],
)
async def test_a_deletion_is_tried_until_it_is_done(
    jobs: Jobs, jenkins: JenkinsSimulator, fault: RequestFault
) -> None:
    await jobs.create()
    jenkins.faults.add(fault)
    await jobs.delete()
    await jobs.until_no_rows()
    assert jenkins.controller.find("demo.web") is None


async def test_an_active_run_forbids_it_unless_forced(jobs: Jobs) -> None:
    await jobs.create()
    await jobs.sql(RUN, "SERVICE", None, None)
    with pytest.raises(FailedPrecondition) as refused:
        await jobs.delete()
    assert refused.value.reason == "RUN_ACTIVE"
    await jobs.delete(force=True)
    (run,) = await jobs.sql("SELECT * FROM deployment_runs")
    assert (run["status"], run["failure_cause"]) == ("CANCELLED", "DEPLOYMENT_DELETED")


async def test_a_build_that_somebody_else_started_doesnt_forbid_it(jobs: Jobs) -> None:
    await jobs.create()
    await jobs.sql(RUN, "EXTERNAL", 1, 1)
    await jobs.delete()
    assert await jobs.sql("SELECT FROM deployments WHERE delete_time IS NULL") == []


async def test_an_outdated_etag_forbids_it(jobs: Jobs) -> None:
    created = await jobs.create()
    for other in (etag(created.deployment_uid, 2), etag(uuid.uuid4(), 1), "x"):
        with pytest.raises(Aborted) as refused:
            await jobs.delete(etag=other)
        assert refused.value.reason == "ETAG_MISMATCH"
    await jobs.delete(etag=etag(created.deployment_uid, 1))

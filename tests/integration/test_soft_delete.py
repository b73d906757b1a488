"""A deletion keeps what happened: runs end with a cause, and stay readable until the purge time."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from deployment_service.domain.access import TenantRef
from deployment_service.domain.attribution import Verdict
from deployment_service.domain.errors import FailedPrecondition
from deployment_service.domain.lists import View
from deployment_service.domain.names import DeploymentName, RunName
from deployment_service.storage.deployments import deployments
from deployment_service.storage.runs import run_records
from deployment_service.workers.retention import Retention, RetentionSettings
from jenkins_simulator import JenkinsSimulator, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, adopt, eventually, jobs_of, shell
from tests.integration.runs_harness import Runs, plugin, runs_of
from tests.support.waiting import until


async def deleted_events(jobs: Jobs) -> list[tuple[str, str, str | None]]:
    rows = await jobs.sql("SELECT * FROM deployment_events ORDER BY sequence")
    return [
        (row["type"].removeprefix("DEPLOYMENT_"), row["status"], row["failure_cause"])
        for row in rows
        if row["failure_cause"] or row["type"] == "DEPLOYMENT_DELETED"
    ]


async def read_run(jobs: Jobs, uid: uuid.UUID, number: int = 1) -> Any:
    async with jobs.databases.api.acquire() as connection:
        return await run_records.by_number(connection, jobs.tenant.tenant_id, f"uid:{uid}", number)


async def test_a_run_that_builds_ends_before_its_deployment_and_its_build_goes_on(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    created = await runs.jobs.create("web", shell())
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    await runs.jobs.delete(force=True)
    assert await deleted_events(runs.jobs) == [
        ("STATUS_UPDATE", "CANCELLED", "DEPLOYMENT_DELETED"),
        ("DELETED", "CANCELLED", None),
    ]
    run = await read_run(runs.jobs, created.deployment_uid)
    assert (run.status, run.failure_cause) == ("CANCELLED", "DEPLOYMENT_DELETED")
    assert run.failure_message == "The deployment was deleted during the run."
    (build,) = jenkins.release("demo.web")
    assert (await jenkins.wait_for(build)).name == "SUCCESS"


async def test_a_run_that_was_never_sent_is_not_sent_after_the_deletion(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    async with runs_of(jobs, dispatch=False) as runs:
        await runs.jobs.create("web", shell())
        started = await runs.start("web")
        await runs.jobs.delete(force=True)
        row = await runs.run(started.run_id)
        assert (row["trigger_state"], row["failure_cause"]) == ("ENDED", "DEPLOYMENT_DELETED")
        assert row["failure_message"].startswith("The deployment was deleted before")
        async with runs_of(jobs) as others:
            await others.jobs.create("other", shell())
            other = await others.start("other")
            await others.until(other.run_id, status="COMPLETED")
    assert jenkins.ledger.builds(run_id=str(started.run_id)) == []


async def test_an_active_run_forbids_a_deletion_without_force(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", shell())
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    with pytest.raises(FailedPrecondition) as refused:
        await runs.jobs.delete()
    assert refused.value.reason == "RUN_ACTIVE"
    assert (await runs.run(started.run_id))["end_time"] is None
    jenkins.release("demo.web")


async def test_cancel_builds_stops_a_running_build_of_a_created_job(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", shell())
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    (build,) = jenkins.job("demo.web").builds.values()
    await runs.jobs.delete(force=True, cancel_builds=True)
    assert (await jenkins.wait_for(build)).name == "ABORTED"
    await until(lambda: jenkins.controller.find("demo.web") is None, what="the job is deleted")


async def test_cancel_builds_keeps_an_adopted_job_until_its_build_was_stopped(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("theirs", "<project><builders/></project>")
    await runs.jobs.create("web", adopt("theirs"))
    jenkins.hold("theirs")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    (build,) = jenkins.job("theirs").builds.values()
    await runs.jobs.delete(force=True, cancel_builds=True)
    assert (await jenkins.wait_for(build)).name == "ABORTED"
    await runs.jobs.until_no_rows()
    assert jenkins.controller.find("theirs") is not None


async def test_cancel_builds_takes_a_waiting_item_out_of_the_queue(
    databases: Databases,
) -> None:
    config = SimulatorConfig(quiet_period_s=0.0, executors=1)
    async with (
        JenkinsSimulator(config) as jenkins,
        jobs_of(databases, jenkins.url, webhook_base_url="") as jobs,
        runs_of(jobs) as runs,
    ):
        await runs.jobs.create("busy", shell())
        jenkins.hold("demo.busy")
        busy = await runs.start("busy")
        await runs.until(busy.run_id, build_number=1)
        jenkins.create_job("theirs", "<project><builders/></project>")
        await runs.jobs.create("web", adopt("theirs"))
        started = await runs.start("web")
        await runs.until(started.run_id, status="RUNNING")
        await runs.jobs.delete(force=True, cancel_builds=True)

        async def is_released() -> bool:
            rows = await runs.jobs.sql("SELECT FROM cicd_jobs WHERE full_name = 'theirs'")
            return not rows

        await eventually(is_released, "the adopted job's row is gone")
        jenkins.release("demo.busy")
        await runs.until(busy.run_id, status="COMPLETED")
        assert jenkins.ledger.builds(run_id=str(started.run_id)) == []
        assert [build.job for build in jenkins.ledger.builds()] == ["demo.busy"]


async def test_the_name_is_free_at_once_and_the_old_runs_stay_apart(runs: Runs) -> None:
    first = await runs.jobs.create("web", shell())
    started = await runs.start("web")
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    await runs.jobs.delete()
    second = await runs.jobs.create("web", shell())
    assert second.deployment_uid != first.deployment_uid
    run = await read_run(runs.jobs, first.deployment_uid)
    assert (run.status, run.deployment_resource_id) == ("COMPLETED", f"uid:{first.deployment_uid}")
    assert await read_run(runs.jobs, second.deployment_uid) is None


async def test_a_report_about_a_build_of_a_deleted_deployment_changes_nothing(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """The job is shared: another deployment must not get the build either."""
    jenkins.create_job("shared", "<project><builders/></project>")
    await runs.jobs.create("web", adopt("shared"))
    await runs.jobs.create("other", adopt("shared"))
    jenkins.hold("shared")
    started = await runs.start("web")
    row = await runs.until(started.run_id, build_number=1)
    await runs.jobs.delete(force=True)
    (result,) = await runs.tell(
        plugin(row["job_id"], 1, "FINALIZED", "FAILURE", run_id=str(started.run_id))
    )
    assert result.verdict is Verdict.NO_MAPPING
    assert "deleted" in result.message
    assert len(await runs.runs()) == 1
    jenkins.release("shared")


async def test_a_read_after_the_deletion_gives_the_build_to_no_other_deployment(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("shared", "<project><builders/></project>")
    await runs.jobs.create("web", adopt("shared"))
    other = await runs.jobs.create("other", adopt("shared"))
    started = await runs.start("web")
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    await runs.jobs.delete()
    await runs.jobs.sql("UPDATE cicd_jobs SET refresh_request_time = now()")

    async def was_read() -> bool:
        (row,) = await runs.jobs.sql("SELECT refresh_request_time IS NULL AS done FROM cicd_jobs")
        return bool(row["done"])

    await eventually(was_read, "the job was read")
    assert {row["deployment_id"] for row in await runs.runs()} == {
        (await runs.run(started.run_id))["deployment_id"]
    }
    assert other.deployment_uid not in {row["deployment_id"] for row in await runs.runs()}


async def test_retention_purges_after_the_purge_time_and_not_before(
    databases: Databases, runs: Runs
) -> None:
    created = await runs.jobs.create("web", shell())
    started = await runs.start("web")
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    await runs.jobs.delete()
    retention = Retention(databases.worker, RetentionSettings(pause_s=0.0))
    await retention.one_round()
    assert await read_run(runs.jobs, created.deployment_uid) is not None
    await runs.jobs.sql("UPDATE deployments SET purge_time = now() - interval '1 s'")
    await retention.one_round()
    assert await runs.runs() == []
    assert await runs.jobs.sql("SELECT FROM deployments") == []


@pytest.mark.parametrize("parse", [DeploymentName.parse, RunName.parse])
def test_the_name_of_a_deleted_deployment_is_refused_where_something_would_change(
    parse: Any,
) -> None:
    text = f"tenants/demo/deployments/uid:{uuid.uuid4()}"
    text += "/runs/7" if parse == RunName.parse else ""
    assert str(parse(text, field="name", allow_deleted=True)) == text
    with pytest.raises(FailedPrecondition) as refused:
        parse(text, field="name")
    assert refused.value.reason == "DEPLOYMENT_DELETED"


async def test_lists_show_deleted_deployments_only_if_asked(runs: Runs) -> None:
    created = await runs.jobs.create("web", shell())
    await runs.jobs.create("zoo", shell())
    await runs.jobs.delete()

    async def names(*, show_deleted: bool) -> list[str]:
        wanted = deployments.DeploymentFilter(show_deleted=show_deleted)
        tenant: TenantRef = runs.jobs.tenant
        async with runs.jobs.databases.api.acquire() as connection:
            page = await deployments.page(
                connection,
                tenant.tenant_id,
                wanted,
                after_resource_id="",
                limit=10,
                view=View.BASIC,
            )
        return [row.resource_id for row in page.rows]

    assert await names(show_deleted=False) == ["zoo"]
    assert await names(show_deleted=True) == [f"uid:{created.deployment_uid}", "zoo"]

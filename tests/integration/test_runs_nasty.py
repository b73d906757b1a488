"""Jenkins is killed, jobs are made again, builds are repeated or aborted: the end becomes known (P2, P3, P4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import fromstring, tostring

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.storage.runs import reconcile
from jenkins_simulator import JenkinsSimulator, NotificationFault, RequestFault, Result
from tests.integration.jobs_harness import Jobs, adopt, eventually, shell
from tests.integration.runs_harness import Runs, plugin, runs_of

TRIGGER = "/buildWithParameters"


@pytest_asyncio.fixture(autouse=True)
async def web(jobs: Jobs) -> None:
    """The deployment that most tests run."""
    await jobs.create("web", shell())


def configure(jenkins: JenkinsSimulator, **changes: Any) -> None:
    job = jenkins.job("demo.web")
    job.config = replace(job.config, **changes)


async def test_cancelled_in_the_queue(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P4: a build that is cancelled while queued sends no webhook at all."""
    jenkins.hold("demo.web")
    first = await runs.start("web")
    await runs.until(first.run_id, build_number=1)
    second = await runs.start("web", allow_concurrent=True)
    row = await runs.until(second.run_id, waiting_for="QUEUE")
    await client.cancel_queue_item(row["queue_id"])
    row = await runs.until(second.run_id, status="CANCELLED")
    assert row["failure_cause"] == "CANCELLED_IN_JENKINS"
    assert (await runs.history())[-1] == ("RUN_FAILURE", "RUNNING", "CANCELLED")


@pytest.mark.parametrize("ends", ["deadline", "cancel"])
async def test_a_run_that_must_not_be_sent_any_more_ends_before_its_lease(
    runs: Runs, jenkins: JenkinsSimulator, ends: str
) -> None:
    """P4: its deadline passes, or its cancel is requested, while its job is read before the trigger."""
    change = "UPDATE deployment_runs SET trigger_deadline = now() - interval '1 s'"
    if ends == "cancel":
        change = "UPDATE deployment_runs SET cancel_request_time = now()"
    trigger = jenkins.requests.count("POST", TRIGGER)

    job_view = JenkinsProvider.read_job

    async def late(self: JenkinsProvider, full_name: str) -> Any:
        view = await job_view(self, full_name)
        await runs.jobs.sql(f"{change} WHERE trigger_state = 'WAITING'")
        return view

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JenkinsProvider, "read_job", late)
        started = await runs.start("web", remaining_s=0.1)
        row = await runs.until(started.run_id, certainty="CONFIRMED")
    assert row["failure_cause"] == {"deadline": "TRIGGER_DEADLINE", "cancel": "CANCELLED"}[ends]
    assert jenkins.requests.count("POST", TRIGGER) == trigger


async def test_aborted_while_building(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P4"""
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    await client.stop_build("demo.web", 1)
    row = await runs.until(started.run_id, status="CANCELLED", certainty="CONFIRMED")
    assert row["result"] == "ABORTED"


async def test_jenkins_is_killed_while_it_builds(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P4: a freestyle build ended by SIGKILL sends nothing and is 404 for ever."""
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    await jenkins.restart(hard=True)
    row = await runs.until(started.run_id, status="FAILED")
    assert row["failure_cause"] == "BUILD_LOST"
    assert (await runs.history())[-1] == ("STATUS_UPDATE", "RUNNING", "FAILED")


async def test_jenkins_is_stopped_while_it_builds(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P4: SIGTERM aborts a freestyle build and sends nothing either."""
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    await jenkins.restart()
    await runs.until(started.run_id, status="CANCELLED", certainty="CONFIRMED")


async def test_jenkins_is_killed_right_after_it_accepted(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P3: the queue item of the last seconds is gone: a failure that says so, and no second request."""
    jenkins.hold("demo.web")
    first = await runs.start("web")
    await runs.until(first.run_id, build_number=1)
    second = await runs.start("web", allow_concurrent=True)
    await runs.until(second.run_id, waiting_for="QUEUE")
    await jenkins.restart(hard=True)
    row = await runs.until(second.run_id, status="FAILED")
    assert row["failure_cause"] == "BUILD_LOST"
    assert jenkins.ledger.builds(run_id=str(second.run_id)) == []
    # The first run is lost as well, sooner or later than this one.
    (event,) = await runs.jobs.sql(
        "SELECT type FROM deployment_events WHERE run_number = 2 ORDER BY sequence DESC LIMIT 1"
    )
    assert event["type"] == "DEPLOYMENT_RUN_FAILURE"


async def test_a_stranger_under_our_queue_id_is_not_ours(
    jobs: Jobs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P3: after a crash queue ids start again at 1."""
    async with runs_of(jobs, reconcile=False) as runs:
        jenkins.hold("demo.web")
        started = await runs.start("web")
        queue_id = (await runs.run(started.run_id))["queue_id"]
        jenkins.forget_queue_item(int(queue_id))
        await jenkins.restart(hard=True)
        reply = await client.trigger(
            "demo.web", {"DEPLOYMENT_RUN_ID": ""}, parameterised=True, timeout_s=5
        )
        assert reply.queue_id == queue_id
    async with runs_of(jobs, dispatch=False) as runs:
        row = await runs.until(started.run_id, status="FAILED")
        assert row["failure_cause"] == "BUILD_LOST"


async def test_a_rebuild_of_a_running_build_is_an_external_run(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P3: it repeats our parameter under a new number and never overwrites the run."""
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    configure(jenkins, concurrent=True)
    await client.trigger(
        "demo.web", {"DEPLOYMENT_RUN_ID": str(started.run_id)}, parameterised=True, timeout_s=5
    )

    async def two() -> bool:
        return len(await runs.runs()) == 2

    await eventually(two, "the rebuild is a run of its own")
    jenkins.release("demo.web", 2, Result.FAILURE)
    jenkins.release("demo.web", 1)
    await runs.until(started.run_id, status="COMPLETED", build_number=1, certainty="CONFIRMED")
    (_, rebuild) = await runs.runs()
    await runs.until(rebuild["run_id"], status="FAILED", build_number=2, source="EXTERNAL")
    assert (await runs.deployment())["status"] == "FAILED"


async def test_the_rebuild_is_heard_of_first(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P2: the lowest number that carries the id is the run's, whatever came first."""
    async with runs_of(jobs, reconcile=False) as runs:
        jenkins.hold("demo.web")
        started = await runs.start("web")
        job_id = (await jobs.row())["job_id"]
        ours = {"run_id": str(started.run_id), "parameters_known": True}
        await runs.show(job_id, 2, run_id=started.run_id)
        await runs.tell(plugin(job_id, 2, "FINALIZED", "FAILURE", **ours))
        assert (await runs.run(started.run_id))["build_number"] == 2
        await runs.show(job_id, 1, run_id=started.run_id)
        await runs.tell(plugin(job_id, 1, "FINALIZED", "SUCCESS", **ours))
        row, stranger = await runs.runs()
        assert (row["build_number"], row["status"]) == (1, "COMPLETED")
        assert (stranger["build_number"], stranger["status"]) == (2, "FAILED")
        assert stranger["source"] == "EXTERNAL"
        assert (await runs.deployment())["status"] == "COMPLETED", "our run is not settled yet"


async def test_the_job_is_made_again_with_number_one(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P2: the new #1 is another build than the old one."""
    first = await runs.start("web")
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")
    second = await runs.start("web")
    await runs.until(second.run_id, status="COMPLETED", certainty="CONFIRMED")
    xml = tostring(jenkins.job("demo.web").xml, encoding="unicode")
    await client.delete_job("demo.web")
    jenkins.create_job("demo.web", xml)
    third = await runs.start("web")
    row = await runs.until(third.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert (row["build_number"], row["generation"]) == (1, 2)
    assert (await runs.deployment())["current_run_id"] == third.run_id


async def test_reading_finds_builds_nobody_told_us_of(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P4: a poke reads the whole job."""
    await client.trigger("demo.web", {}, parameterised=True, timeout_s=5)
    job_id = (await runs.jobs.row())["job_id"]
    await runs.tell(plugin(job_id, 9, "STARTED", job_path="job/wrong/"))

    async def found() -> bool:
        return [row["status"] for row in await runs.runs()] == ["COMPLETED"]

    await eventually(found, "the build is an external run")


async def test_a_disabled_job_is_refused_at_once(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P3: permanent refusals fail at once, in words that help."""
    configure(jenkins, disabled=True)
    started = await runs.start("web")
    row = await runs.run(started.run_id)
    assert (row["status"], row["failure_cause"]) == ("FAILED", "TRIGGER_REJECTED")
    assert "Enable it" in row["failure_message"]


async def test_the_trigger_deadline(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P3: with Jenkins away the run fails in the end, and nothing was started."""
    async with runs_of(jobs, trigger_deadline_s=0.5) as runs:
        await jenkins.stop()
        started = await runs.start("web", remaining_s=0.1)
        row = await runs.until(started.run_id, status="FAILED")
        assert (row["failure_cause"], row["certainty"]) == ("TRIGGER_DEADLINE", "CONFIRMED")


async def test_two_replicas_share_the_work(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P3: never two triggers for one run."""
    async with runs_of(jobs) as one, runs_of(jobs) as other:
        for number in range(5):
            await jobs.create(f"d{number}", shell())
        started = [
            await (one if number % 2 else other).start(f"d{number}", remaining_s=0.0)
            for number in range(5)
        ]
        for start in started:
            await one.until(start.run_id, status="COMPLETED", certainty="CONFIRMED")
            assert len(jenkins.ledger.builds(run_id=str(start.run_id))) == 1


async def test_webhooks_dropped_doubled_and_disordered(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P4: with all webhooks lost, reading finds the end."""
    jenkins.faults.add(NotificationFault(drop=True))
    async with runs_of(jobs) as runs:
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")


async def test_a_job_that_drifts_is_noticed(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P3: a Jenkinsfile can drop our parameter; an adopted job is then tied by its queue items, and watchers know."""
    with_it = (
        "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
        "<hudson.model.StringParameterDefinition><name>DEPLOYMENT_RUN_ID</name>"
        "</hudson.model.StringParameterDefinition></parameterDefinitions>"
        "</hudson.model.ParametersDefinitionProperty></properties><builders/></project>"
    )
    jenkins.create_job("theirs", with_it)
    await runs.jobs.create("theirs", adopt("theirs"))
    first = await runs.start("theirs")
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")
    jenkins.job("theirs").update(fromstring("<project><builders/></project>"), "1.1")
    second = await runs.start("theirs")
    row = await runs.until(second.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert row["build_number"] == 2
    messages = await runs.jobs.sql(
        "SELECT message FROM deployment_events WHERE type = 'DEPLOYMENT_JOB_DRIFTED' ORDER BY sequence"
    )
    assert "no longer defines DEPLOYMENT_RUN_ID" in messages[-1]["message"]


async def test_the_bound_is_published_and_missed_webhooks_are_counted(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P4: what reading finds first is a webhook that was lost; where none are expected it isn't."""
    registry = CollectorRegistry()
    provider = {"provider": "tenants/demo/providers/main"}
    async with runs_of(jobs, registry=registry) as runs:
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert registry.get_sample_value("detection_bound_seconds", provider) == pytest.approx(6.1)
        assert registry.get_sample_value("webhook_missed_total", provider) is None
        await jobs.sql("UPDATE cicd_providers SET reporting = 'WEBHOOK'")
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert registry.get_sample_value("webhook_missed_total", provider) == 1


async def test_a_stopped_reconciler_gives_its_controllers_back(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P4: the next process doesn't wait for the lease of the one that was stopped in the middle of a cycle."""
    jenkins.hold("demo.web")
    async with runs_of(jobs) as runs:
        started = await runs.start("web")
        await runs.until(started.run_id, build_number=1)
        jenkins.faults.add(RequestFault("GET", "/queue/", count=1, delay_before_s=3.0))

        async def leased() -> bool:
            rows = await jobs.sql("SELECT FROM cicd_controllers WHERE lease_owner IS NOT NULL")
            return bool(rows) and not jenkins.faults.requests[0].count

        await eventually(leased, "a cycle is under way")
    assert not await jobs.sql("SELECT FROM cicd_controllers WHERE lease_owner IS NOT NULL")


async def test_what_ended_without_jenkins_is_asked_about_more_and_more_seldom(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P3: a presumption stays under observation, without a call in each cycle of a day."""
    async with runs_of(jobs) as runs:
        jenkins.hold("demo.web")
        started = await runs.start("web")
        await runs.until(started.run_id, build_number=1)
        await jenkins.restart(hard=True)
        await runs.until(started.run_id, status="FAILED", certainty="UNVERIFIABLE")

    async def asked_after(ended: str, asked: str) -> int:
        await jobs.sql(
            f"UPDATE deployment_runs SET end_time = now() - interval '{ended}',"
            f" last_observed_time = now() - interval '{ended}', probe_time = now() - interval '{asked}'"
        )
        key = (jobs.tenant.tenant_id, jobs.provider_id)
        async with jobs.databases.worker.acquire() as connection:
            return len(await reconcile.unconfirmed(connection, *key))

    assert await asked_after("8 s", "3 s") == 1
    assert await asked_after("1 hour", "4 min") == 0
    assert await asked_after("1 hour", "6 min") == 1
    assert await asked_after("25 hours", "6 min") == 0

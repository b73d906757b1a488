"""CancelRun: the wish is kept until Jenkins says what came of it (promise P3)."""

from __future__ import annotations

import pytest
import pytest_asyncio

from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.errors import FailedPrecondition, NotFound
from deployment_service.storage.runs import explain
from jenkins_simulator import JenkinsSimulator, RequestFault
from tests.integration.jobs_harness import Jobs, eventually, shell
from tests.integration.runs_harness import Runs, plugin, runs_of


@pytest_asyncio.fixture(autouse=True)
async def web(jobs: Jobs) -> None:
    """The deployment that most tests run."""
    await jobs.create("web", shell())


async def test_a_building_run_is_stopped(runs: Runs, jenkins: JenkinsSimulator) -> None:
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    await runs.cancel()
    row = await runs.until(started.run_id, status="CANCELLED", certainty="CONFIRMED")
    assert row["failure_cause"] == "CANCELLED_IN_JENKINS"
    (build,) = jenkins.ledger.builds()
    assert build.result == "ABORTED"


async def test_a_queued_run_is_taken_out_of_the_queue(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.hold("demo.web")
    first = await runs.start("web")
    await runs.until(first.run_id, build_number=1)
    second = await runs.start("web", allow_concurrent=True)
    await runs.cancel(number=2)
    await runs.until(second.run_id, status="CANCELLED")
    jenkins.release("demo.web")
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert jenkins.ledger.builds(run_id=str(second.run_id)) == []


async def test_a_run_that_was_never_sent_is_cancelled_without_jenkins(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    await jenkins.stop()
    async with runs_of(jobs) as runs:
        started = await runs.start("web", remaining_s=0.1)
        await runs.cancel()
        row = await runs.run(started.run_id)
        assert (row["status"], row["failure_cause"], row["certainty"]) == (
            "CANCELLED",
            "CANCELLED",
            "CONFIRMED",
        )
        assert (await runs.history())[-1] == ("RUN_FAILURE", "PENDING", "CANCELLED")
        await jenkins.start(port=jenkins.port)
        again = await runs.start("web")
        await runs.until(again.run_id, status="COMPLETED")
    assert jenkins.ledger.builds(run_id=str(started.run_id)) == []


async def test_the_wish_is_kept_while_jenkins_is_away(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    jenkins.faults.add(RequestFault(status=503))
    await runs.cancel(remaining_s=0.2)
    assert (await runs.run(started.run_id))["status"] == "RUNNING"
    jenkins.faults.clear()
    await runs.until(started.run_id, status="CANCELLED", certainty="CONFIRMED")


async def test_a_build_that_shows_up_for_a_cancelled_run_is_stopped(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """The answer to the trigger was lost; the wish came while nobody knew what became of it."""
    jenkins.hold("demo.web")
    jenkins.faults.add(
        RequestFault("POST", "/buildWithParameters", count=1, reset=True, do_work=True)
    )
    started = await runs.start("web", remaining_s=0.1)

    async def sending() -> bool:
        return bool((await runs.run(started.run_id))["trigger_state"] != "WAITING")

    await eventually(sending, "the request was announced")
    await runs.cancel(remaining_s=0.1)
    await runs.until(started.run_id, status="CANCELLED", certainty="CONFIRMED")
    (build,) = jenkins.ledger.builds(run_id=str(started.run_id))
    assert build.result == "ABORTED"


async def test_a_lost_request_of_a_cancelled_run_is_not_repeated(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.faults.add(RequestFault("POST", "/buildWithParameters", count=1, reset=True))
    started = await runs.start("web", remaining_s=0.1)

    async def sending() -> bool:
        return bool((await runs.run(started.run_id))["trigger_state"] == "SENDING")

    await eventually(sending, "the request was announced")
    await runs.cancel(remaining_s=0.1)
    row = await runs.until(started.run_id, status="CANCELLED")
    assert row["failure_cause"] == "CANCELLED"
    assert jenkins.ledger.builds() == []


async def test_a_build_that_finishes_first_stays_what_it_became(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """Cancel against success."""
    async with runs_of(jobs, reconcile=False) as runs:
        jenkins.hold("demo.web")
        started = await runs.start("web")
        await runs.cancel(remaining_s=0.0)
        await eventually(_has_build(jenkins), "it builds")
        jenkins.release("demo.web")
        job_id = (await jobs.row())["job_id"]
        ours = {"run_id": str(started.run_id), "parameters_known": True}
        await runs.tell(plugin(job_id, 1, "FINALIZED", "SUCCESS", **ours))
    async with runs_of(jobs, dispatch=False) as runs:
        row = await runs.until(started.run_id, certainty="CONFIRMED")
        assert row["status"] == "COMPLETED"
        with pytest.raises(FailedPrecondition) as refusal:
            await runs.cancel()
        assert refusal.value.reason == "RUN_ENDED"


async def test_a_repeated_wish_answers_the_same(runs: Runs, jenkins: JenkinsSimulator) -> None:
    jenkins.hold("demo.web")
    await runs.start("web")
    request = runs.jobs.request("CancelRun")
    first = await runs.cancel(request=request)
    assert await runs.cancel(request=request) == first


async def test_a_run_that_does_not_exist(runs: Runs) -> None:
    with pytest.raises(NotFound):
        await runs.cancel(number=9)


async def test_a_pipeline_at_an_input_step_waits_for_a_person_and_can_be_cancelled(
    runs: Runs,
) -> None:
    script = "node { input 'Go?' }"
    await runs.jobs.create("ask", JobDefinition(JobKind.PIPELINE_SCRIPT, text=script))
    started = await runs.start("ask")
    await runs.until(started.run_id, status="RUNNING", waiting_for="INPUT")
    await runs.cancel("ask")
    await runs.until(started.run_id, status="CANCELLED", certainty="CONFIRMED")


async def test_the_trail_of_a_run(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P8: attempts, reports and events of a run can be read in one call."""
    jenkins.faults.add(RequestFault("POST", "/buildWithParameters", count=1, reset=True))
    started = await runs.start("web", remaining_s=0.1)
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    job_id = (await runs.jobs.row())["job_id"]
    await runs.tell(plugin(job_id, 1, "FINALIZED", "SUCCESS"))
    async with runs.jobs.databases.api.acquire() as connection:
        trail = await explain.trail(connection, runs.jobs.tenant.tenant_id, started.run_id)
    outcomes = [row["outcome"] for row in trail.attempts]
    assert outcomes == ["UNCLEAR", "LOOKED", "NOT_FOUND", "ACCEPTED"]
    assert [row["verdict"] for row in trail.reports] == ["STALE"]
    assert [str(event.type) for event in trail.events] == [
        "DEPLOYMENT_STATUS_UPDATE",
        "DEPLOYMENT_RUN_START",
        "DEPLOYMENT_STATUS_UPDATE",
    ]


def _has_build(jenkins: JenkinsSimulator):
    async def check() -> bool:
        return bool(jenkins.ledger.builds())

    return check

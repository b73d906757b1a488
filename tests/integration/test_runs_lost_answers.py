"""Whatever answer is lost or late, a run gets one build at most, and none only with a reason (promise P3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_asyncio

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from jenkins_simulator import JenkinsSimulator, RequestFault
from tests.integration.jobs_harness import Jobs, adopt, eventually, shell
from tests.integration.runs_harness import QUICK, Runs, runs_of

TRIGGER = "/buildWithParameters"


@pytest_asyncio.fixture(autouse=True)
async def web(jobs: Jobs) -> None:
    """The deployment that most tests run."""
    await jobs.create("web", shell())


@pytest.mark.parametrize(
    "fault",
    [
        RequestFault("POST", TRIGGER, count=1, reset=True, do_work=True),
        RequestFault("POST", TRIGGER, count=1, reset=True),
        RequestFault("POST", TRIGGER, count=1, status=502, do_work=True),
        RequestFault("POST", TRIGGER, count=1, status=503),
        RequestFault("POST", TRIGGER, count=1, status=500, do_work=True),
        RequestFault("POST", TRIGGER, count=1, status=500),
        RequestFault("POST", TRIGGER, count=1, login_page=True),
        RequestFault("POST", TRIGGER, count=1, delay_after_s=1.5),
        RequestFault("GET", "/job/demo.web/api/json", count=2, status=502),
        RequestFault("GET", "/queue/", count=5, reset=True),
        RequestFault("GET", "/computer/", count=5, status=500),
    ],
    ids=lambda fault: (
        f"{fault.method}-{fault.status or ('reset' if fault.reset else 'slow')}-{fault.do_work}"
    ),
)
async def test_a_lost_answer_runs_nothing_twice(
    runs: Runs, jenkins: JenkinsSimulator, fault: RequestFault
) -> None:
    """P3, P4: the answer to a trigger is lost, or what is asked later fails for a while."""
    jenkins.faults.add(fault)
    started = await runs.start("web", remaining_s=0.1)
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1
    assert [kind for kind, _, _ in await runs.history()] == [
        "STATUS_UPDATE",
        "RUN_START",
        "STATUS_UPDATE",
    ]


async def test_an_answer_that_comes_after_a_read_has_shown_the_build_is_noted(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P3, P9: the attempt counts as answered, though the run has moved on by itself."""
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, delay_after_s=2.0))
    jenkins.hold("demo.web")
    async with runs_of(jobs, dispatcher_settings=replace(QUICK, request_timeout_s=10.0)) as runs:
        started = await runs.start("web", remaining_s=0.1)

        async def building() -> bool:
            return bool(jenkins.ledger.builds())

        await eventually(building, "Jenkins builds it, and has not answered")
        await runs.jobs.sql("UPDATE cicd_jobs SET refresh_request_time = now()")
        await runs.until(started.run_id, build_number=1, shown=True)

        async def answered() -> bool:
            (attempt,) = await runs.jobs.sql("SELECT outcome, queue_id FROM run_attempts")
            return (attempt["outcome"], attempt["queue_id"]) == ("ACCEPTED", "1")

        await eventually(answered, "the attempt has its answer")
        jenkins.release("demo.web", 1)
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")


async def test_two_internal_errors_are_a_refusal(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P3: none only together with a DEPLOYMENT_RUN_FAILURE that says why."""
    jenkins.faults.add(RequestFault("POST", TRIGGER, oops=True))
    started = await runs.start("web", remaining_s=0.1)
    row = await runs.until(started.run_id, status="FAILED")
    assert row["failure_cause"] == "TRIGGER_REJECTED"
    assert jenkins.ledger.builds() == []


async def test_an_unclear_request_is_not_repeated_if_numbers_are_missing(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P3: log rotation of 1: a build may have been ours and is gone."""
    jenkins.faults.add(RequestFault("POST", TRIGGER, reset=True))
    job = jenkins.job("demo.web")
    started = await runs.start("web", remaining_s=0.1)
    await runs.until_announced(started.run_id)
    job.next_build_number += 1
    row = await runs.until(started.run_id, status="FAILED")
    assert (row["failure_cause"], row["certainty"]) == ("TRIGGER_OUTCOME_UNKNOWN", "UNVERIFIABLE")
    assert jenkins.ledger.builds() == []


async def test_a_job_that_can_not_name_runs_is_never_triggered_twice(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P3: correlation QUEUE_ITEM: after an unclear outcome nothing is posted again."""
    jenkins.create_job("plain", "<project><builders/></project>")
    await runs.jobs.create("plain", adopt("plain"))
    jenkins.faults.add(RequestFault("POST", "/job/plain/build", count=1, reset=True))
    started = await runs.start("plain", remaining_s=0.1)
    row = await runs.until(started.run_id, status="FAILED")
    assert row["failure_cause"] == "TRIGGER_OUTCOME_UNKNOWN"
    assert jenkins.ledger.builds(job="plain") == []


async def test_a_job_that_can_not_name_runs_is_tied_by_its_queue_item(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("plain", "<project><builders/></project>")
    await runs.jobs.create("plain", adopt("plain"))
    started = await runs.start("plain")
    row = await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert (row["build_number"], row["queue_id"]) == (1, "1")


async def test_a_second_run_that_jenkins_folds_gets_no_build_of_its_own(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P3: a Location that another run owns never gets a second owner."""
    jenkins.create_job("plain", "<project><builders/></project>")
    await jobs.create("plain", adopt("plain"))
    jenkins.hold("plain")
    async with runs_of(jobs) as runs:
        first = await runs.start("plain")
        await runs.until(first.run_id, build_number=1)
        second = await runs.start("plain", allow_concurrent=True)
        third = await runs.start("plain", allow_concurrent=True)
        row = await runs.until(third.run_id, status="FAILED")
        assert row["failure_cause"] == "TRIGGER_REJECTED"
        jenkins.release("plain", 1)

        async def second_builds() -> bool:
            return bool(jenkins.release("plain", 2)) if 2 in jenkins.job("plain").builds else False

        await eventually(second_builds, "the second build starts")
        await runs.until(second.run_id, status="COMPLETED", build_number=2)

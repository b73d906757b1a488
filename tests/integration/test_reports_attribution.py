"""A build that Jenkins has not shown never decides; what its reports say waits for reads (promises P2 and P7)."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import pytest_asyncio

from deployment_service.actions.report import MAX_PENDING_REPORTS
from deployment_service.domain.attribution import Verdict
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.reports import BuildReport
from jenkins_simulator import JenkinsSimulator, Result
from tests.integration.jobs_harness import Jobs, eventually, shell
from tests.integration.runs_harness import Runs, guide, plugin, runs_of

HUGE = 2**31 - 1
NEVER_ISSUED: dict[str, Callable[[uuid.UUID], BuildReport]] = {
    "a step's failure": lambda job: guide(job, 200, "FAILURE"),
    "the highest number": lambda job: plugin(job, HUGE, "FINALIZED", "SUCCESS"),
    "a start": lambda job: plugin(job, 2, "STARTED"),
    "a status that no one knows": lambda job: guide(job, 7, "no such status"),
}


@pytest_asyncio.fixture(autouse=True)
async def web(jobs: Jobs) -> None:
    await jobs.create("web", shell())


async def verdicts(runs: Runs) -> list[str]:
    rows = await runs.jobs.sql("SELECT verdict FROM webhook_deliveries ORDER BY delivery_id")
    return [row["verdict"] for row in rows]


async def until_verdict(runs: Runs, verdict: Verdict) -> None:
    async def check() -> bool:
        return set(await verdicts(runs)) == {str(verdict)}

    await eventually(check, f"the reports are {verdict}")


@pytest.mark.parametrize("report", NEVER_ISSUED.values(), ids=NEVER_ISSUED.keys())
async def test_a_build_that_jenkins_never_had_decides_nothing(
    runs: Runs, report: Callable[[uuid.UUID], BuildReport]
) -> None:
    """Stored, and settled as NO_SUCH_BUILD by two reads; neither deployment nor job is changed."""
    first = await runs.start("web")
    await runs.until(first.run_id, certainty="CONFIRMED")
    job_id = (await runs.jobs.row())["job_id"]
    (answer,) = await runs.tell(report(job_id))
    assert (answer.verdict, answer.status) == (Verdict.PENDING_ATTRIBUTION, None)
    await until_verdict(runs, Verdict.NO_SUCH_BUILD)
    assert (await runs.deployment())["status"] == "COMPLETED"
    assert len(await runs.runs()) == 1
    second = await runs.start("web")
    await runs.until(second.run_id, certainty="CONFIRMED", build_number=2)
    job = await runs.jobs.row()
    assert (job["status"], job["status_build_number"], job["generation"]) == ("SUCCESS", 2, 1)


@pytest.mark.parametrize("phase", ["STARTED", "COMPLETED", "FINALIZED"])
async def test_an_external_build_is_a_run_once_jenkins_shows_it(
    jobs: Jobs, jenkins: JenkinsSimulator, phase: str
) -> None:
    async with runs_of(jobs) as runs:
        first = await runs.start("web")
        await runs.until(first.run_id, certainty="CONFIRMED")
        jenkins.rebuild("demo.web", 1, user="anna")
        await eventually(lambda: _there(jenkins, 2), "it is built")
        job_id = (await jobs.row())["job_id"]
        (answer,) = await runs.tell(
            plugin(job_id, 2, phase, "" if phase == "STARTED" else "SUCCESS")
        )
        assert answer.verdict in (Verdict.PENDING_ATTRIBUTION, Verdict.APPLIED, Verdict.STALE)

        async def settled() -> bool:
            external = [row for row in await runs.runs() if row["source"] == "EXTERNAL"]
            return [(row["build_number"], row["certainty"]) for row in external] == [
                (2, "CONFIRMED")
            ]

        await eventually(settled, "the external run is settled")
        assert "PENDING_ATTRIBUTION" not in await verdicts(runs)


async def _there(jenkins: JenkinsSimulator, number: int) -> bool:
    build = jenkins.job("demo.web").builds.get(number)
    return build is not None and not build.building


@pytest.mark.parametrize("result", ["SUCCESS", "FAILURE", "ABORTED"])
async def test_a_build_that_was_removed_before_any_read_is_never_current(
    jobs: Jobs, jenkins: JenkinsSimulator, result: str
) -> None:
    """Issued, reported and gone: an EXTERNAL run keeps the result as UNVERIFIABLE."""
    async with runs_of(jobs) as runs:
        first = await runs.start("web")
        await runs.until(first.run_id, certainty="CONFIRMED")
    jenkins.rebuild("demo.web", 1, user="anna")
    await eventually(lambda: _there(jenkins, 2), "it is built")
    jenkins.discard_build("demo.web", 2)
    job_id = (await jobs.row())["job_id"]
    async with runs_of(jobs) as runs:
        await runs.tell(plugin(job_id, 2, "FINALIZED", result))

        async def settled() -> bool:
            return [
                (row["source"], row["build_number"], row["certainty"], row["result"], row["shown"])
                for row in await runs.runs()
                if row["source"] == "EXTERNAL"
            ] == [("EXTERNAL", 2, "UNVERIFIABLE", result, False)]

        await eventually(settled, "the external run is settled")
        deployment = await runs.deployment()
        assert (deployment["current_run_id"], deployment["status"]) == (first.run_id, "COMPLETED")


async def test_a_job_has_so_many_pending_reports(jobs: Jobs) -> None:
    """What goes beyond is DEFERRED: nothing is kept of it."""
    async with runs_of(jobs, reconcile=False) as runs:
        job_id = (await jobs.row())["job_id"]
        reports = [guide(job_id, n, "success") for n in range(1, MAX_PENDING_REPORTS + 3)]
        answers = await runs.tell(*reports[: MAX_PENDING_REPORTS - 1])
        answers += await runs.tell(*reports[MAX_PENDING_REPORTS - 1 :])
        found = [answer.verdict for answer in answers]
        assert found[:MAX_PENDING_REPORTS] == [Verdict.PENDING_ATTRIBUTION] * MAX_PENDING_REPORTS
        assert found[MAX_PENDING_REPORTS:] == [Verdict.DEFERRED] * 2


@pytest.mark.parametrize("named", ["another run of ours", "a run that no one has"])
async def test_a_report_that_names_another_run_for_a_shown_number_changes_nothing(
    jobs: Jobs, jenkins: JenkinsSimulator, named: str
) -> None:
    jenkins.hold("demo.web")
    async with runs_of(jobs) as runs:
        first = await runs.start("web")
        await runs.until(first.run_id, build_number=1, shown=True)
        second = await runs.start("web", allow_concurrent=True)
        job_id = (await jobs.row())["job_id"]
        other = second.run_id if named == "another run of ours" else uuid.uuid4()
        (answer,) = await runs.tell(plugin(job_id, 1, "FINALIZED", "FAILURE", run_id=str(other)))
        assert answer.verdict is Verdict.PENDING_ATTRIBUTION
        await until_verdict(runs, Verdict.STALE)
        assert (await runs.run(first.run_id))["status"] == "RUNNING"
        jenkins.release("demo.web", 1, Result.SUCCESS)
        await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")


@pytest.mark.parametrize("hard", [False, True])
async def test_a_pipeline_that_resumes_with_another_queue_id_is_the_same_build(
    jobs: Jobs, jenkins: JenkinsSimulator, hard: bool
) -> None:
    """A queue id is an attribute, the identity of a build is its number and its start."""
    await jobs.create("pipe", JobDefinition(JobKind.PIPELINE_SCRIPT, text="node { sleep 600 }"))
    jenkins.hold("demo.pipe")
    async with runs_of(jobs) as runs:
        started = await runs.start("pipe")
        row = await runs.until(started.run_id, build_number=1, shown=True)
        await jenkins.restart(hard=hard)
        build = jenkins.job("demo.pipe").builds[1]
        assert hard or str(build.queue_id) != row["queue_id"]
        job_id = row["job_id"]
        jenkins.release("demo.pipe", 1, Result.SUCCESS)
        await jenkins.wait_for(build)
        await runs.tell(plugin(job_id, 1, "FINALIZED", "SUCCESS", queue_id=str(build.queue_id)))
        row = await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert row["generation"] == 1
        assert len(await runs.runs()) == 1

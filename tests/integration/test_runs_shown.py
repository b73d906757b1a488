"""A build number that was only reported: the first read that shows the build sets ``shown``, while it still runs."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from deployment_service.domain.definition import JobDefinition, JobKind
from jenkins_simulator import JenkinsSimulator
from tests.integration.jobs_harness import Jobs, adopt, eventually, shell
from tests.integration.runs_harness import Runs, plugin, runs_of

ASKS = JobDefinition(JobKind.PIPELINE_SCRIPT, text="node { input 'Go?' }", full_name="demo.web")


async def reported(
    jobs: Jobs, jenkins: JenkinsSimulator, job: JobDefinition, number: int = 1
) -> uuid.UUID:
    """A run whose build Jenkins has started, of which only a webhook has told so far."""
    await jobs.create("web", job)
    name = (await jobs.row())["full_name"]
    if job is not ASKS:
        jenkins.hold(name)
    async with runs_of(jobs, reconcile=False) as runs:
        started = await runs.start("web")

        async def builds() -> bool:
            return 1 in jenkins.job(name).builds

        await eventually(builds, "Jenkins builds")
        queue_id = (await runs.run(started.run_id))["queue_id"]
        named = {"run_id": str(started.run_id)} if job.kind is not JobKind.EXISTING else {}
        job_id = (await jobs.row())["job_id"]
        await runs.tell(plugin(job_id, number, "STARTED", queue_id=queue_id, **named))
        row = await runs.run(started.run_id)
        assert (row["build_number"], row["shown"]) == (number, False)
    # So that nothing but the lists of the runs is read.
    await jobs.sql(
        "UPDATE cicd_jobs SET refresh_request_time = NULL, next_sweep_time = now() + interval '1 h'"
    )
    return started.run_id


async def shown_while_it_builds(runs: Runs, run_id: uuid.UUID) -> None:
    row = await runs.until(run_id, shown=True)
    assert (row["status"], row["end_time"], row["build_number"]) == ("RUNNING", None, 1)


@pytest.mark.parametrize(
    "job",
    [shell(), ASKS, adopt("nightly")],
    ids=["its builds carry the run's id", "it waits for a person", "by its queue item"],
)
async def test_the_first_read_shows_it(
    jobs: Jobs, jenkins: JenkinsSimulator, job: JobDefinition
) -> None:
    if job.kind is JobKind.EXISTING:
        jenkins.create_job("nightly", "<project/>")
    run_id = await reported(jobs, jenkins, job)
    async with runs_of(jobs, dispatch=False) as runs:
        await shown_while_it_builds(runs, run_id)
        if job is ASKS:
            await runs.until(run_id, waiting_for="INPUT")
        else:
            jenkins.release((await jobs.row())["full_name"], 1)
            await runs.until(run_id, status="COMPLETED", certainty="CONFIRMED")
        assert len(await runs.runs()) == 1


async def test_a_number_that_jenkins_gave_another_build_is_corrected(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """The report named the run and a wrong number."""
    run_id = await reported(jobs, jenkins, shell(), number=7)
    async with runs_of(jobs, dispatch=False) as runs:
        await shown_while_it_builds(runs, run_id)


async def test_a_run_whose_number_was_only_reported_is_cancelled(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """Its build is shown first, then stopped."""
    run_id = await reported(jobs, jenkins, shell())
    async with runs_of(jobs, dispatch=False) as runs:
        await runs.cancel()
        row = await runs.until(run_id, status="CANCELLED", certainty="CONFIRMED")
        assert row["shown"]


async def test_a_report_that_gives_a_run_the_number_of_another_build(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """Somebody's build came first; the report gives its number to the run, whose own build runs beside it."""
    await jobs.create("web", shell())
    job = jenkins.job("demo.web")
    job.config = replace(job.config, concurrent=True)
    jenkins.hold("demo.web")
    async with runs_of(jobs, reconcile=False) as runs:
        jenkins.controller.quieting_down = True
        jenkins.start_by_timer("demo.web")
        started = await runs.start("web")
        job_id = (await jobs.row())["job_id"]
        jenkins.controller.quieting_down = False
        jenkins.controller.queue.maintain()

        async def builds() -> bool:
            return set(job.builds) == {1, 2}

        await eventually(builds, "Jenkins builds both")
        assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1
        (own,) = jenkins.ledger.builds(run_id=str(started.run_id))
        other = 3 - own.number
        await runs.tell(plugin(job_id, other, "STARTED", run_id=str(started.run_id)))
        assert (await runs.run(started.run_id))["build_number"] == other
    await jobs.sql(
        "UPDATE cicd_jobs SET refresh_request_time = NULL, next_sweep_time = now() + interval '1 h'"
    )
    async with runs_of(jobs, dispatch=False) as runs:
        await runs.until(started.run_id, shown=True, build_number=own.number)
        jenkins.release("demo.web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")

        async def both_ended() -> bool:
            return all(row["end_time"] for row in await runs.runs())

        await eventually(both_ended, "the end of the other build is read too")
        rows = [(r["source"], r["build_number"], r["status"]) for r in await runs.runs()]
        assert rows == [("SERVICE", own.number, "COMPLETED"), ("EXTERNAL", other, "COMPLETED")]
    told = await jobs.sql(
        "SELECT FROM deployment_events WHERE type = 'DEPLOYMENT_POSSIBLE_DUPLICATE'"
    )
    assert told == []

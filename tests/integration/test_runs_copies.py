"""A copy of a run's build carries the run's id too: the run's own build is the lowest number with it (P2, P3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployment_service.actions.run_deployment import Started
from jenkins_simulator import JenkinsSimulator, Result
from tests.integration.jobs_harness import Jobs, eventually, shell
from tests.integration.runs_harness import Runs, plugin, runs_of

JOB = "demo.web"


async def run_with_a_copy(runs: Runs, jenkins: JenkinsSimulator, *, rebuilt: bool) -> Started:
    """Return a run whose build 1 has failed unseen, and was started again as build 2, which runs.

    ``rebuilt``: by a person; else by a retry plugin.
    """
    await runs.jobs.create("web", shell())
    job = jenkins.job(JOB)
    job.config = replace(job.config, concurrent=True)
    jenkins.hold(JOB)
    jenkins.set_conditions(retry_times=0 if rebuilt else 1)
    run = await runs.start("web")

    async def runs_in_jenkins(number: int) -> bool:
        return number in job.builds and job.builds[number] in jenkins.controller.running_builds()

    await eventually(lambda: runs_in_jenkins(1), "build 1 runs")
    (build,) = jenkins.release(JOB, 1, Result.FAILURE)
    await jenkins.wait_for(build)
    if rebuilt:
        jenkins.rebuild(JOB, 1, user="alice")
    await eventually(lambda: runs_in_jenkins(2), "build 2 runs")
    # No sweep of the job comes to help.
    await runs.jobs.sql("UPDATE cicd_jobs SET next_sweep_time = now() + interval '1 hour'")
    return run


async def judged(runs: Runs, jenkins: JenkinsSimulator, run: Started) -> None:
    row = await runs.until(run.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["build_number"] == 1
    jenkins.release(JOB, 2)
    await runs.jobs.sql("UPDATE cicd_jobs SET next_sweep_time = now()")

    async def copy_ended() -> bool:
        rows = [row for row in await runs.runs() if row["build_number"] == 2]
        return bool(rows) and rows[0]["certainty"] == "CONFIRMED"

    await eventually(copy_ended, "the copy is confirmed")
    (copy,) = [row for row in await runs.runs() if row["build_number"] == 2]
    assert (copy["source"], copy["status"]) == ("EXTERNAL", "COMPLETED")
    row = await runs.run(run.run_id)
    assert (row["build_number"], row["status"]) == (1, "FAILED")
    assert jenkins.requests.count("POST", "/stop") == 0


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("item_known", [False, True])
async def test_only_the_copy_runs_when_jenkins_is_read_first(
    jobs: Jobs, jenkins: JenkinsSimulator, rebuilt: bool, item_known: bool
) -> None:
    """``item_known``: Jenkins still shows the queue item of the run's own build."""
    async with runs_of(jobs, reconcile=False) as runs:
        run = await run_with_a_copy(runs, jenkins, rebuilt=rebuilt)
        if not item_known:
            jenkins.forget_queue_item(jenkins.ledger.items()[0].queue_id)
        await runs.reconciler.start()
        await judged(runs, jenkins, run)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("confirm", [False, True])
async def test_only_the_copy_is_reported(
    jobs: Jobs, jenkins: JenkinsSimulator, ended: bool, confirm: bool
) -> None:
    """The reports about the run's own build were lost; those about the copy name the run as well."""
    async with runs_of(jobs, reconcile=False, confirm=confirm) as runs:
        run = await run_with_a_copy(runs, jenkins, rebuilt=False)
        job_id = (await jobs.row())["job_id"]
        said = {"run_id": str(run.run_id)}
        await runs.tell(plugin(job_id, 2, "STARTED", **said))
        if ended:
            (build,) = jenkins.release(JOB, 2)
            await jenkins.wait_for(build)
            await runs.tell(plugin(job_id, 2, "FINALIZED", "SUCCESS", **said))
        await runs.reconciler.start()
        await judged(runs, jenkins, run)

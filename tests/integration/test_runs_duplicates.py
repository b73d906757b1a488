"""A second build with a run's id is stopped only if it is a late request of ours (promise P9)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from deployment_service.actions.run_deployment import Started
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from jenkins_simulator import Cause, JenkinsSimulator, RequestFault, Result
from tests.integration.jobs_harness import eventually, shell
from tests.integration.runs_harness import Runs
from tests.support.front_proxy import FrontProxy

JOB = "demo.web"
TRIGGER = "/buildWithParameters"


async def started(
    runs: Runs, jenkins: JenkinsSimulator, *, lost: FrontProxy | None = None
) -> Started:
    """A run whose build goes on. ``lost``: its first request never got an answer and made nothing so far."""
    await runs.jobs.create("web", shell())
    job = jenkins.job(JOB)
    job.config = replace(job.config, concurrent=True)
    jenkins.hold(JOB)
    if lost is not None:
        lost.answer("POST", TRIGGER, 502, count=1)
    run = await runs.start("web", remaining_s=0.1)
    await runs.until(run.run_id, build_number=1)

    async def shown() -> bool:
        return bool((await runs.run(run.run_id))["build_timestamp_ms"])

    await eventually(shown, "Jenkins has shown the run's own build")
    return run


async def external(runs: Runs, number: int) -> uuid.UUID:
    async def there() -> bool:
        return any(row["build_number"] == number for row in await runs.runs())

    await eventually(there, f"build {number} is a run")
    (row,) = [row for row in await runs.runs() if row["build_number"] == number]
    assert row["source"] == "EXTERNAL"
    return uuid.UUID(str(row["run_id"]))


async def duplicates_told(runs: Runs) -> list[str]:
    rows = await runs.jobs.sql(
        "SELECT message FROM deployment_events WHERE type = 'DEPLOYMENT_POSSIBLE_DUPLICATE' ORDER BY sequence"
    )
    return [row["message"] for row in rows]


async def go_on(runs: Runs, jenkins: JenkinsSimulator, numbers: list[int]) -> None:
    """These builds end by themselves, well after they could have been stopped."""
    judged = [await external(runs, number) for number in numbers]
    for run_id in judged:
        await runs.jobs.sql("UPDATE deployment_runs SET probe_count = 7 WHERE run_id = $1", run_id)

        async def read_twice(run_id: uuid.UUID = run_id) -> bool:
            return bool((await runs.run(run_id))["probe_count"] == 0)

        await eventually(read_twice, "a later cycle has read it")
    for number in numbers:
        jenkins.release(JOB, number)
    for run_id in judged:
        row = await runs.until(run_id, status="COMPLETED")
        assert row["cancel_request_time"] is None
    assert jenkins.requests.count("POST", "/stop") == 0


async def test_a_late_request_of_ours_is_stopped_and_a_copy_of_it_is_not(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, client: JenkinsProvider
) -> None:
    """One unanswered request justifies one stop."""
    run = await started(behind, jenkins, lost=proxy)
    named = {"DEPLOYMENT_RUN_ID": str(run.run_id)}
    await client.trigger(JOB, named, parameterised=True, timeout_s=5)
    late = await external(behind, 2)
    await behind.until(late, status="CANCELLED", certainty="CONFIRMED")
    told = await duplicates_told(behind)
    assert told[0].startswith("A possible duplicate of run 1, which has #1")
    assert told[1].startswith("A second build of run 1, which has #1")
    jenkins.rebuild(JOB, 2)
    copy = await external(behind, 3)
    jenkins.release(JOB)
    await behind.until(copy, status="COMPLETED")
    await behind.until(run.run_id, status="COMPLETED", certainty="CONFIRMED", build_number=1)
    assert jenkins.requests.count("POST", "/stop") == 1


Copy = Callable[[JenkinsSimulator], None]


def with_second_cause(jenkins: JenkinsSimulator) -> None:
    controller, build = jenkins.controller, jenkins.job(JOB).builds[1]
    causes = [*build.causes, Cause(by_timer=True)]
    controller._enqueue(build.job, build.parameters, causes, 0.0)


COPIES = [
    pytest.param(
        False, lambda jenkins: jenkins.rebuild(JOB, 1), id="copied causes, none unanswered"
    ),
    pytest.param(True, lambda jenkins: jenkins.rebuild(JOB, 1, "alice"), id="a person's rebuild"),
    pytest.param(True, with_second_cause, id="our cause and another one"),
]


@pytest.mark.parametrize(("unanswered", "copy"), COPIES)
async def test_a_copy_is_left_alone_while_the_own_build_runs(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, unanswered: bool, copy: Copy
) -> None:
    run = await started(behind, jenkins, lost=proxy if unanswered else None)
    copy(jenkins)
    await go_on(behind, jenkins, [2])
    jenkins.release(JOB)
    await behind.until(run.run_id, status="COMPLETED", certainty="CONFIRMED", build_number=1)
    (told,) = await duplicates_told(behind)
    assert told.startswith("A possible duplicate of run 1, which has #1")


@pytest.mark.parametrize("unanswered", [False, True])
async def test_a_retry_plugins_build_is_left_alone(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, unanswered: bool
) -> None:
    """Same parameters, same causes, started after the own build failed."""
    run = await started(behind, jenkins, lost=proxy if unanswered else None)
    jenkins.set_conditions(retry_times=1)
    jenkins.release(JOB, 1, Result.FAILURE)
    await go_on(behind, jenkins, [2])
    row = await behind.until(run.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "BUILD_FAILED"
    assert len(await duplicates_told(behind)) == 1


async def test_the_own_build_explains_the_request_that_it_came_of(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """The only request lost its answer and made the run's build: a copy of that is none of ours."""
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, status=502, do_work=True))
    run = await started(runs, jenkins)
    jenkins.rebuild(JOB, 1)
    await go_on(runs, jenkins, [2])
    jenkins.release(JOB)
    await runs.until(run.run_id, status="COMPLETED", certainty="CONFIRMED", build_number=1)


async def test_a_cancelled_run_stops_its_own_build_only(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """The lowest number that carries the id is the run's, though a copy runs beside it."""
    run = await started(runs, jenkins)
    jenkins.rebuild(JOB, 1)
    copy = await external(runs, 2)
    await runs.cancel("web", 1)
    await runs.until(run.run_id, status="CANCELLED", certainty="CONFIRMED")
    jenkins.release(JOB, 2)
    await runs.until(copy, status="COMPLETED")

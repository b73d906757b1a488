"""ResolveRun: an operator ends a run whose Jenkins can't say how it ended; nothing else changes that again."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from deployment_service.actions.resolve_run import Resolved, ResolveRun, resolve_run
from deployment_service.domain.actors import key_actor
from deployment_service.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from deployment_service.domain.names import RunName
from deployment_service.domain.resolution import Resolution
from deployment_service.storage.runs import explain
from jenkins_simulator import JenkinsSimulator, RequestFault, Result
from tests.integration.jobs_harness import Jobs, eventually, shell
from tests.integration.runs_harness import Runs, plugin, runs_of

JOB = "demo.web"
TRIGGER = "/buildWithParameters"
KEY = uuid.UUID(int=7)
ENDS = ["COMPLETED", "FAILED", "CANCELLED"]


@pytest_asyncio.fixture(autouse=True)
async def web(jobs: Jobs) -> None:
    await jobs.create("web", shell())


async def resolve(
    jobs: Jobs, status: str, reason: str = "Seen on the servers.", number: int = 1, **fields: Any
) -> Resolved:
    command = ResolveRun(
        jobs.tenant,
        RunName(jobs.tenant.slug, "web", number),
        Resolution.of(status, reason),
        key_actor(KEY, ""),
        **fields,
    )
    return await resolve_run(jobs.databases.api, command)


async def events_of(jobs: Jobs) -> list[asyncpg.Record]:
    return await jobs.sql(
        "SELECT * FROM deployment_events WHERE run_number IS NOT NULL ORDER BY sequence"
    )


def end_of(row: asyncpg.Record) -> tuple[Any, ...]:
    return tuple(
        row[name]
        for name in ("status", "certainty", "settle_time", "end_time", "failure_message", "rank")
    )


async def another_run_completes(jobs: Jobs) -> None:
    """Whatever the dispatcher still had to send before has been sent by then."""
    async with runs_of(jobs) as runs:
        again = await runs.start("web")
        await runs.until(again.run_id, status="COMPLETED", certainty="CONFIRMED")


@pytest.mark.parametrize("status", ENDS)
async def test_a_run_that_was_never_sent_is_not_sent_any_more(
    jobs: Jobs, jenkins: JenkinsSimulator, status: str
) -> None:
    await jenkins.stop()
    async with runs_of(jobs, reconcile=False) as runs:
        started = await runs.start("web", remaining_s=0.1)
        await resolve(jobs, status)
        row = await runs.run(started.run_id)
    assert (row["status"], row["certainty"], row["trigger_state"]) == (status, "CONFIRMED", "ENDED")
    assert (row["lease_owner"], row["waiting_for"], row["waiting_reason"]) == (None, None, "")
    event = (await events_of(jobs))[-1]
    kind = "DEPLOYMENT_STATUS_UPDATE" if status == "COMPLETED" else "DEPLOYMENT_RUN_FAILURE"
    assert (event["type"], event["source"], event["correction"]) == (kind, "API", False)
    assert (event["status"], event["certainty"]) == (status, "CONFIRMED")
    await jenkins.start(port=jenkins.port)
    await another_run_completes(jobs)
    assert jenkins.ledger.builds(run_id=str(started.run_id)) == []
    async with runs_of(jobs, dispatch=False, reconcile=False) as runs:
        assert end_of(await runs.run(started.run_id)) == end_of(row)


async def test_a_lost_request_of_a_resolved_run_is_not_repeated(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, reset=True))
    async with runs_of(jobs, reconcile=False) as runs:
        started = await runs.start("web", remaining_s=0.1)
        await runs.until_announced(started.run_id)
        await resolve(jobs, "FAILED")
    await another_run_completes(jobs)
    assert jenkins.ledger.builds(run_id=str(started.run_id)) == []


async def lost_but_arrived(runs: Runs, jenkins: JenkinsSimulator) -> uuid.UUID:
    """Jenkins has taken the request, and its answer was lost."""
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, reset=True, do_work=True))
    started = await runs.start("web", remaining_s=0.1)
    await eventually(arrived(jenkins), "the request is with Jenkins")
    return started.run_id


def arrived(jenkins: JenkinsSimulator) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return jenkins.requests.count("POST", TRIGGER) == 1

    return check


async def late_answer(runs: Runs, jenkins: JenkinsSimulator) -> uuid.UUID:
    """The dispatcher waits for the answer while the operator decides."""
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, delay_after_s=0.5))
    started = await runs.start("web", remaining_s=0.1)
    await eventually(arrived(jenkins), "the request is with Jenkins")
    return started.run_id


async def queued(runs: Runs, jenkins: JenkinsSimulator) -> uuid.UUID:
    """It is in Jenkins' queue, accepted, and has no build yet."""
    jenkins.controller.quieting_down = True
    started = await runs.start("web")
    await runs.until(started.run_id, trigger_state="ACCEPTED")
    return started.run_id


@pytest.mark.parametrize("situation", [lost_but_arrived, late_answer, queued])
async def test_a_build_that_shows_up_after_all_is_an_external_run(
    jobs: Jobs, jenkins: JenkinsSimulator, situation: Any
) -> None:
    """P9: it is shown, with an event, and goes on; the operator's end stays."""
    jenkins.hold(JOB)
    async with runs_of(jobs, reconcile=False) as runs:
        run_id = await situation(runs, jenkins)
        await resolve(jobs, "CANCELLED", "The cluster was wiped.")
        decided = await runs.run(run_id)
    async with runs_of(jobs) as runs:
        jenkins.controller.quieting_down = False
        jenkins.controller.queue.maintain()

        async def started() -> bool:
            return bool(jenkins.job(JOB).builds)

        await eventually(started, "Jenkins builds")
        await runs.tell(plugin(decided["job_id"], 1, "STARTED", run_id=str(run_id)))

        async def shown() -> bool:
            return len(await runs.runs()) == 2

        await eventually(shown, "its build is a run")
        (external,) = [row for row in await runs.runs() if row["run_id"] != run_id]
        assert (external["source"], external["build_number"]) == ("EXTERNAL", 1)
        assert (await runs.deployment())["status"] == "RUNNING"
        jenkins.release(JOB)
        await runs.until(external["run_id"], status="COMPLETED", certainty="CONFIRMED")
        row = await runs.run(run_id)
        assert (end_of(row), row["build_number"]) == (end_of(decided), None)
        assert (await runs.deployment())["status"] == "COMPLETED"
    told = [e for e in await events_of(jobs) if e["type"] == "DEPLOYMENT_POSSIBLE_DUPLICATE"]
    assert len(told) == 1
    assert "run 1, which an operator had resolved" in told[0]["message"]
    assert jenkins.requests.count("POST", "/stop") == 0


async def test_a_report_about_a_build_that_has_gone_changes_no_resolved_run(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """It names the run. The build becomes an external run that is never current."""
    async with runs_of(jobs, reconcile=False) as runs:
        jenkins.faults.add(RequestFault("POST", TRIGGER, status=503))
        started = await runs.start("web", remaining_s=0.1)
        await resolve(jobs, "COMPLETED")
        decided = await runs.run(started.run_id)
        run_id = str(started.run_id)
        (result,) = await runs.tell(
            plugin(decided["job_id"], 1, "FINALIZED", "FAILURE", run_id=run_id)
        )
        assert result.verdict == "PENDING_ATTRIBUTION"
        jenkins.job(JOB).next_build_number = 5
    async with runs_of(jobs, dispatch=False) as runs:

        async def settled() -> bool:
            return len(await runs.runs()) == 2

        await eventually(settled, "the build is a run")
        own, external = await runs.runs()
        assert (end_of(own), own["build_number"]) == (end_of(decided), None)
        assert (external["status"], external["certainty"]) == ("FAILED", "UNVERIFIABLE")
        deployment = await runs.deployment()
        assert (deployment["status"], deployment["current_run_id"]) == ("COMPLETED", own["run_id"])


async def building(runs: Runs, jenkins: JenkinsSimulator) -> tuple[uuid.UUID, uuid.UUID]:
    """A run whose build Jenkins has shown, and its job."""
    jenkins.hold(JOB)
    started = await runs.start("web")
    row = await runs.until(started.run_id, build_number=1, shown=True)
    return started.run_id, row["job_id"]


@pytest.mark.parametrize(
    ("status", "result"),
    [("COMPLETED", Result.FAILURE), ("FAILED", Result.SUCCESS), ("CANCELLED", Result.SUCCESS)],
)
async def test_neither_a_report_nor_a_read_changes_the_end_that_an_operator_decided(
    jobs: Jobs, jenkins: JenkinsSimulator, status: str, result: Result
) -> None:
    """The controller was gone, and comes back with another result."""
    async with runs_of(jobs) as runs:
        run_id, job_id = await building(runs, jenkins)
        jenkins.faults.add(RequestFault(status=503))
        await resolve(jobs, status)
        decided = await runs.run(run_id)
        events = await events_of(jobs)
        await runs.tell(
            plugin(job_id, 1, "COMPLETED", result.name),
            plugin(job_id, 1, "FINALIZED", result.name, run_id=str(run_id)),
        )
        deployment = await runs.deployment()
        assert deployment["status"] == status
        assert deployment["last_completed_run_id"] == (run_id if status == "COMPLETED" else None)
        jenkins.faults.clear()
        jenkins.release(JOB, 1, result)
        await jenkins.wait_for(jenkins.job(JOB).builds[1])
        await jobs.sql("UPDATE cicd_jobs SET refresh_request_time = now()")
        again = await runs.start("web")
        await runs.until(again.run_id, build_number=2, shown=True)
        jenkins.release(JOB, 2)
        await runs.until(again.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert end_of(await runs.run(run_id)) == end_of(decided)
        assert (await events_of(jobs))[: len(events)] == events
        assert {e["run_number"] for e in (await events_of(jobs))[len(events) :]} == {2}


@pytest.mark.parametrize(
    ("number", "names_it"),
    [(6, True), (4, True), (6, False), (5, True)],
    ids=["another run's build", "a lower build", "an external build", "its own build"],
)
async def test_what_jenkins_shows_under_a_number_that_was_only_reported(
    jobs: Jobs, jenkins: JenkinsSimulator, number: int, names_it: bool
) -> None:
    """The run may lose the number that a report gave it, or get its build; it keeps its end."""
    async with runs_of(jobs) as runs:
        jenkins.controller.quieting_down = True
        started = await runs.start("web")
        row = await runs.until(started.run_id, trigger_state="ACCEPTED")
    async with runs_of(jobs, dispatch=False, reconcile=False) as runs:
        reported = 5 if number != 6 else 6
        await runs.tell(
            plugin(row["job_id"], reported, "STARTED", run_id=str(started.run_id)),
        )
        assert (await runs.run(started.run_id))["build_number"] == reported
        await resolve(jobs, "FAILED")
        decided = await runs.run(started.run_id)
        await runs.show(row["job_id"], number, run_id=started.run_id if names_it else None)
        row = await runs.run(started.run_id)
        assert end_of(row) == end_of(decided)
        assert row["build_number"] == (number if names_it else None)
        assert row["shown"] == names_it


async def test_a_lower_build_of_a_resolved_run_takes_nothing_of_the_operator_with_it(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """Somebody's rebuild was shown first: it becomes an external run that is read like any other."""
    async with runs_of(jobs) as runs:
        jenkins.controller.quieting_down = True
        started = await runs.start("web")
        row = await runs.until(started.run_id, trigger_state="ACCEPTED")
    async with runs_of(jobs, dispatch=False, reconcile=False) as runs:
        await runs.show(row["job_id"], 9, run_id=started.run_id)
        await resolve(jobs, "COMPLETED")
        decided = await runs.run(started.run_id)
        await runs.show(row["job_id"], 8, run_id=started.run_id)
        own, external = await runs.runs()
        assert (end_of(own), own["build_number"]) == (end_of(decided), 8)
        assert (external["build_number"], external["source"]) == (9, "EXTERNAL")
        assert (external["status"], external["certainty"]) == ("RUNNING", None)


async def test_an_external_run_is_resolved_as_well(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    async with runs_of(jobs) as runs:
        jenkins.hold(JOB)
        jenkins.start_by_timer(JOB)
        await jobs.sql("UPDATE cicd_jobs SET refresh_request_time = now()")

        async def shown() -> bool:
            return len(await runs.runs()) == 1

        await eventually(shown, "the build is a run")
        await jenkins.stop()
        await resolve(jobs, "FAILED")
        (row,) = await runs.runs()
        assert (row["status"], row["certainty"]) == ("FAILED", "CONFIRMED")
        await jenkins.start(port=jenkins.port)


async def test_a_repeated_call_has_one_effect_and_another_one_corrects(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    async with runs_of(jobs, dispatch=False, reconcile=False) as runs:
        started = await runs.start("web", remaining_s=0.0)
        request = jobs.request("ResolveRun")
        first = await resolve(jobs, "CANCELLED", "Thought so.", request=request)
        assert await resolve(jobs, "CANCELLED", "Thought so.", request=request) == first
        with pytest.raises(FailedPrecondition) as refused:
            await resolve(jobs, "CANCELLED", "Again.")
        assert refused.value.reason == "RUN_ENDED"
        with capture_logs() as logged:
            await resolve(jobs, "COMPLETED", "It ran after all.")
        assert [one["actor"] for one in logged if one["event"] == "run.resolved"] == [
            f"apiKeys/{KEY}"
        ]
        row = await runs.run(started.run_id)
        assert (row["status"], row["failure_cause"]) == ("COMPLETED", None)
        assert row["failure_message"] == "An operator resolved the run: It ran after all."
        cancelled, completed = (await events_of(jobs))[-2:]
        assert (cancelled["status"], cancelled["correction"]) == ("CANCELLED", False)
        assert (completed["status"], completed["correction"]) == ("COMPLETED", True)
        assert completed["message"] == row["failure_message"]
        assert {event["actor_subject"] for event in (cancelled, completed)} == {f"apiKeys/{KEY}"}
        async with jobs.databases.api.acquire() as connection:
            trail = await explain.trail(connection, jobs.tenant.tenant_id, started.run_id)
        assert [
            (one["status"], one["reason"], one["old_status"], one["old_certainty"])
            for one in trail.resolutions
        ] == [
            ("CANCELLED", "Thought so.", "PENDING", None),
            ("COMPLETED", "It ran after all.", "CANCELLED", "CONFIRMED"),
        ]


async def test_a_refused_resolution_leaves_nothing(jobs: Jobs) -> None:
    async with runs_of(jobs, dispatch=False, reconcile=False) as runs:
        started = await runs.start("web", remaining_s=0.0)
        before = end_of(await runs.run(started.run_id))
        with pytest.raises(NotFound):
            await resolve(jobs, "FAILED", number=9)
        for status, reason in (("RUNNING", "x"), ("FAILED", " "), ("FAILED", "x" * 501)):
            with pytest.raises(InvalidArgument):
                await resolve(jobs, status, reason)
        assert end_of(await runs.run(started.run_id)) == before
        assert await jobs.sql("SELECT FROM run_resolutions") == []

"""Every pair of writers of one run, at the same time, on the real database (promises P2, P8)."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from deployment_service.cicd.port import (
    BuildView,
    JobView,
    ParameterDefinition,
    TriggerOutcome,
    TriggerReply,
)
from deployment_service.domain.attribution import BuildRef, Observation, Verdict
from deployment_service.domain.errors import FailedPrecondition
from deployment_service.domain.events import EventSource
from deployment_service.domain.reports import BuildReport
from deployment_service.domain.status import FailureCause, from_read
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.runs import dispatch, reconcile
from deployment_service.storage.runs.dispatch import Claimed
from deployment_service.storage.runs.reconcile import Unconfirmed
from deployment_service.unit_of_work.run_unit_of_work import observe_builds
from deployment_service.workers.dispatcher.steps import LeaseLost, TriggerSteps
from deployment_service.workers.reconciler.steps import ReconcileSteps
from jenkins_simulator import JenkinsSimulator
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import jobs_of, shell
from tests.integration.runs_harness import Runs, plugin, runs_of

OWNER = uuid.uuid4()
AS_READ = JobView(
    full_name="demo.web",
    url="",
    job_class="",
    buildable=True,
    next_build_number=1,
    in_queue=False,
    concurrent=False,
    parameters=(ParameterDefinition("DEPLOYMENT_RUN_ID", "StringParameterDefinition"),),
    description="",
    owner=None,
    has_notification_property=False,
    discards_builds=False,
    last_build_number=None,
    session="s",
)


class Scene:
    """A run whose request has been announced, and everybody who may write to it."""

    def __init__(self, runs: Runs, claimed: Claimed, item: Unconfirmed) -> None:
        self.runs = runs
        self.claimed = claimed
        self.item = item
        database = runs.jobs.databases.worker
        self.steps = TriggerSteps(database, OWNER, lambda _: None)
        self.reading = ReconcileSteps(database, lambda _: None)

    def build(self, result: str | None) -> BuildView:
        return BuildView(
            self.claimed.full_name,
            1,
            "7",
            result is None,
            result is None,
            result,
            1,
            1,
            {"DEPLOYMENT_RUN_ID": str(self.claimed.run_id)},
        )

    def seen(self, result: str | None) -> Observation:
        build_ref = BuildRef(1, self.claimed.run_id, True, "7", {}, read=True)
        known = from_read(finished=result is not None, result=result)
        return Observation(self.claimed.job_id, build_ref, known, result or "RUNNING", 1)

    async def accepted(self) -> None:
        reply = TriggerReply(TriggerOutcome.ACCEPTED, 201, "7")
        await self.steps.accepted(self.claimed, reply, named=True)

    async def rejected(self) -> None:
        await self.steps.no_build(self.claimed, FailureCause.TRIGGER_REJECTED, "no", certain=False)

    async def found(self) -> None:
        await self.steps.found_build(self.claimed, self.build("FAILURE"))

    async def unclear(self) -> None:
        await self.steps.unclear(self.claimed, TriggerReply(TriggerOutcome.UNCLEAR))

    async def webhook_started(self) -> None:
        await self._deliver(self._report("STARTED"))

    async def webhook_finalized(self) -> None:
        await self._deliver(self._report("FINALIZED", "SUCCESS"))

    async def _deliver(self, report: BuildReport) -> None:
        """Report it again as long as the other writer holds the job for too long, as the gateway does."""
        while (await self.runs.tell(report))[0].verdict is Verdict.RETRY:
            pass

    async def read_final(self) -> None:
        await self.reading.observe(self.claimed.tenant_id, [self.seen("SUCCESS")])

    async def read_lost(self) -> None:
        await self.reading.end(self.item, FailureCause.BUILD_LOST, "lost", certain=False)

    async def unchanged(self) -> None:
        await self.reading.unchanged(self.claimed.tenant_id, [(self.item.run, None, "")])

    async def another_run(self) -> None:
        try:
            await self.runs.start("web", remaining_s=0.0)
        except FailedPrecondition as error:
            assert error.reason == "RUN_ACTIVE"  # noqa: PT017 - either outcome is fine, no other is

    def _report(self, phase: str, status: str = "") -> BuildReport:
        return plugin(
            self.claimed.job_id,
            1,
            phase,
            status,
            run_id=str(self.claimed.run_id),
            parameters_known=True,
        )


WRITERS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "accepted": Scene.accepted,
    "rejected": Scene.rejected,
    "found": Scene.found,
    "unclear": Scene.unclear,
    "webhook_started": Scene.webhook_started,
    "webhook_finalized": Scene.webhook_finalized,
    "read_final": Scene.read_final,
    "read_lost": Scene.read_lost,
    "going_on": Scene.unchanged,
    "another_run": Scene.another_run,
}


@pytest_asyncio.fixture
async def runs(databases: Databases) -> AsyncIterator[Runs]:
    async with (
        JenkinsSimulator() as jenkins,
        jobs_of(databases, jenkins.url) as jobs,
        runs_of(jobs, dispatch=False, reconcile=False) as process,
    ):
        await jobs.create("web", shell())
        yield process


@pytest.mark.parametrize(
    "pair", list(itertools.combinations_with_replacement(WRITERS, 2)), ids="+".join
)
async def test_two_writers_at_once(runs: Runs, pair: tuple[str, str]) -> None:
    """P2, P8: whoever comes first, the best word stands and history leads to it."""
    scene = await _scene(runs)
    await asyncio.gather(*(_tolerating_lost(WRITERS[name](scene)) for name in pair))
    await _check(runs, scene, pair)


@pytest.mark.parametrize("since", ["unsaved", "read_running", "webhook_completed"])
@pytest.mark.parametrize("conclusion", ["read_lost", "not_its_build"])
async def test_what_became_known_since_a_read_began_outweighs_the_absence_that_it_found(
    runs: Runs, since: str, conclusion: str
) -> None:
    """P2: another replica has seen the build, or a report came, without changing the rank; absence is probed again."""
    scene = await _scene(runs)
    if since == "webhook_completed":
        # Reports decide nothing before Jenkins has shown the build.
        await scene.reading.observe(scene.claimed.tenant_id, [scene.seen(None)])
    await scene.webhook_finalized()
    stale = Scene(runs, scene.claimed, await _as_read(runs, scene.claimed))
    if since == "webhook_completed":
        await runs.tell(scene._report("COMPLETED", "SUCCESS"))
    else:
        seen = scene.seen(None)
        unsaved = "SUCCESS" if since == "unsaved" else ""
        seen = replace(seen, unsaved_result=unsaved, read_time=scene.claimed.claim_time)
        await scene.reading.observe(scene.claimed.tenant_id, [seen])
    if conclusion == "read_lost":
        await stale.read_lost()
    else:
        await stale.reading.not_its_build(stale.item)
    row = await runs.run(scene.claimed.run_id)
    assert (row["status"], row["certainty"], row["build_number"]) == ("COMPLETED", "REPORTED", 1)


@pytest.mark.alone  # each call waits 0.3 s for its jobs at the most
async def test_a_batch_and_a_single_report_of_several_jobs_never_deadlock(runs: Runs) -> None:
    """P2: many writers over the same jobs in different orders."""
    for name in ("a", "b", "c"):
        await runs.jobs.create(name, shell())
    jobs = [row["job_id"] for row in await runs.jobs.rows()]
    calls = []
    for job in jobs:
        for number in range(1, 9):
            await runs.show(job, number)
    for number in range(1, 9):
        order = jobs if number % 2 else jobs[::-1]
        calls.append(
            runs.tell(
                *(plugin(j, number, "FINALIZED", "SUCCESS", parameters_known=True) for j in order)
            )
        )
        calls += [runs.tell(plugin(j, number, "STARTED", parameters_known=True)) for j in order]
    answers = [result.verdict for results in await asyncio.gather(*calls) for result in results]
    assert "RETRY" not in answers
    assert {row["status"] for row in await runs.runs()} == {"COMPLETED"}
    await _history_is_whole(runs)


async def _scene(runs: Runs) -> Scene:
    started = await runs.start("web", remaining_s=0.0)
    async with runs.jobs.databases.worker.acquire() as connection:
        (claimed,) = await dispatch.claim(connection, OWNER, lease_s=60, limit=1)
        assert claimed.run_id == started.run_id
    scene = Scene(runs, claimed, await _as_read(runs, claimed))
    await scene.steps.begin_send(claimed, send_within_s=5, unclear_s=20, job=AS_READ)
    return scene


async def _as_read(runs: Runs, claimed: Claimed) -> Unconfirmed:
    from deployment_service.storage.runs import runs as store

    async with runs.jobs.databases.worker.acquire() as connection:
        (run,) = await store.read(connection, claimed.tenant_id, [claimed.run_id])
    job = reconcile.ReadJob(
        claimed.tenant_id,
        claimed.job_id,
        claimed.provider_id,
        claimed.full_name,
        1,
        1,
        claimed.claim_time,
        "tenants/demo/providers/main",
        True,
    )
    return Unconfirmed(run, job, 0, None)


async def _tolerating_lost(work: Awaitable[None]) -> None:
    try:
        await work
    except LeaseLost:
        pass


RANKS = {
    "accepted": 100,
    "rejected": 313,
    "found": 353,
    "unclear": 0,
    "webhook_started": 200,
    "webhook_finalized": 341,
    "read_final": 351,
    "read_lost": 313,
    "going_on": 0,
    "another_run": 0,
}


async def _check(runs: Runs, scene: Scene, pair: tuple[str, str]) -> None:
    if any(name.startswith("webhook") for name in pair):
        # Reports of a run that Jenkins has not accepted yet wait until its build is shown.
        await scene.reading.observe(scene.claimed.tenant_id, [scene.seen(None)])
    row = await runs.run(scene.claimed.run_id)
    # A step that lost its fence, or that decided on what has changed since, does nothing: a worse word may be
    # missing, a better one never.
    strict = [
        RANKS[name] for name in pair if name not in ("accepted", "rejected", "found", "read_lost")
    ]
    assert row["rank"] >= max(strict, default=0)
    assert row["rank"] in {RANKS[name] for name in pair} | {0, 100, 200}
    await _history_is_whole(runs)


async def _history_is_whole(runs: Runs) -> None:
    """P8: dense, and its fold is the state."""
    events = await runs.jobs.sql("SELECT * FROM deployment_events ORDER BY sequence")
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    status: dict[Any, str] = {}
    revision: dict[Any, int] = {}
    by_run: dict[Any, str] = {}
    for event in events:
        uid = event["deployment_id"]
        assert event["revision"] == revision.get(uid, 0) + 1
        revision[uid] = event["revision"]
        status[uid] = event["deployment_status"]
        if event["run_number"] is not None:
            key = (uid, event["run_number"])
            assert key not in by_run or event["old_status"] == by_run[key]
            by_run[key] = event["status"]
    for row in await runs.jobs.sql("SELECT * FROM deployments"):
        assert status[row["deployment_id"]] == row["status"]
        assert revision[row["deployment_id"]] == row["revision"]
    for row in await runs.runs():
        assert by_run[row["deployment_id"], row["number"]] == row["status"]


async def test_a_step_whose_lease_has_passed_changes_nothing(runs: Runs) -> None:
    """P3: the attempt number fences a process that was stopped for too long."""
    scene = await _scene(runs)
    await runs.jobs.sql(
        "UPDATE deployment_runs SET lease_until = now() - interval '1 s', next_try_time = now()"
    )
    async with runs.jobs.databases.worker.acquire() as connection:
        (taken_over,) = await dispatch.claim(connection, uuid.uuid4(), lease_s=60, limit=1)
    assert taken_over.attempt == scene.claimed.attempt + 1
    with pytest.raises(LeaseLost):
        await scene.accepted()
    with pytest.raises(LeaseLost):
        await scene.rejected()
    assert (await runs.run(scene.claimed.run_id))["status"] == "PENDING"


async def test_the_guard_in_sql_holds_against_a_stale_decision(runs: Runs) -> None:
    """P2: even a writer that decided without a lock can't move a run backwards."""
    from deployment_service.storage.runs import runs as store

    scene = await _scene(runs)
    stale = replace(scene.item.run, waiting_reason="stale")
    await scene.read_final()
    async with runs.jobs.databases.worker.acquire() as connection:
        await store.update(connection, scene.claimed.tenant_id, [stale])
    row = await runs.run(scene.claimed.run_id)
    assert (row["status"], row["waiting_reason"]) == ("COMPLETED", "")


async def test_a_blocked_job_does_not_delay_its_neighbours(runs: Runs) -> None:
    """P6: rows locked by somebody else go in a transaction of their own; the report is to be sent again."""
    await runs.jobs.create("other", shell())
    blocked, free = (row["job_id"] for row in await runs.jobs.rows())
    await runs.show(free, 1)
    async with runs.jobs.databases.api.acquire() as connection, connection.transaction():
        await locks.lock_jobs(connection, runs.jobs.tenant.tenant_id, [blocked])
        results = await runs.tell(
            plugin(blocked, 1, "FINALIZED", "SUCCESS", parameters_known=True),
            plugin(free, 1, "FINALIZED", "SUCCESS", parameters_known=True),
        )
    assert [result.verdict for result in results] == ["RETRY", "APPLIED"]


async def test_a_bad_report_is_found_by_halving(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: what the database refuses fails alone."""
    job_id = (await runs.jobs.row())["job_id"]
    real = observe_builds

    async def refusing(
        connection: Connection,
        tenant_id: uuid.UUID,
        seen: list[Observation],
        *,
        source: EventSource,
        **more: Any,
    ) -> Any:
        if any(o.build_ref.number == 3 for o in seen):
            await connection.execute("SELECT 1 / 0")
        return await real(connection, tenant_id, seen, source=source, **more)

    monkeypatch.setattr("deployment_service.actions.report.observe_builds", refusing)
    for number in range(1, 8):
        await runs.show(job_id, number)
    results = await runs.tell(
        *(plugin(job_id, n, "FINALIZED", "SUCCESS", parameters_known=True) for n in range(1, 8))
    )
    verdicts = [str(result.verdict) for result in results]
    assert verdicts == ["APPLIED", "APPLIED", "INVALID", "APPLIED", "APPLIED", "APPLIED", "APPLIED"]

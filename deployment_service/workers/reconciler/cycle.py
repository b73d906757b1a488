"""One reading cycle of a controller, in the order in which it happens.

One call for the queue, one for the executors, one for each run that changed; then the jobs whose refresh was
requested, and those that are due for a sweep.
"""

from __future__ import annotations

import asyncio
import math
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.port import BuildView, JobBuilds
from deployment_service.domain.attribution import Observation
from deployment_service.domain.sessions import SessionSeen, note_sessions, restart_time
from deployment_service.storage.controllers import ControllerLease
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs import reconcile
from deployment_service.storage.runs.reconcile import ReadJob, Unconfirmed
from deployment_service.workers.controllers.controllers import Controller, ControllerUnavailable
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.each import for_each
from deployment_service.workers.reconciler.cancels import Cancels
from deployment_service.workers.reconciler.classify import classify, observation
from deployment_service.workers.reconciler.cycle_problems import CycleProblems
from deployment_service.workers.reconciler.detection import Detection
from deployment_service.workers.reconciler.duplicates import DuplicateBuilds
from deployment_service.workers.reconciler.probe import BuildProbe
from deployment_service.workers.reconciler.settings import ReconcilerSettings
from deployment_service.workers.reconciler.sources import Sources, read_pending, read_sources
from deployment_service.workers.reconciler.steps import ReconcileSteps

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_BATCH = 200
_RUNS_WITHOUT_LISTS = 50


@dataclass(frozen=True, slots=True)
class CycleResult:
    """``sessions`` of the controller; ``polled``: whether any of its jobs is polled.

    ``at``: when its runs were read, by the event loop's clock. ``wait_s``: when the runs that could not be read now
    can be.
    """

    sessions: Sequence[SessionSeen]
    polled: bool
    at: float
    wait_s: float = math.inf


class ReadingCycle:
    """Reads controllers, one cycle at a time each. One per reconciler."""

    def __init__(
        self,
        database: Database,
        find_controller: FindController,
        committed: Callable[[uuid.UUID], None],
        settings: ReconcilerSettings,
        detection: Detection,
    ) -> None:
        """``committed(tenant_id)`` is called after new events."""
        self._database = database
        self._find_controller = find_controller
        self._settings = settings
        self._detection = detection
        self._steps = ReconcileSteps(database, committed)
        self._duplicates = DuplicateBuilds(database, committed)
        self._cancels = Cancels(self._steps)
        self._probe = BuildProbe(
            self._steps,
            detection,
            self._cancels,
            lost_after_s=settings.lost_after_s,
            probe_interval_s=settings.probe_interval_s,
        )

    async def run(self, lease: ControllerLease, problems: CycleProblems) -> CycleResult:
        """Read a leased controller once; note in ``problems`` which calls failed."""
        async with self._database.acquire() as connection:
            runs = await reconcile.unconfirmed(connection, *lease.key)
            jobs = await reconcile.jobs_to_read(connection, *lease.key)
        for job in (*(item.job for item in runs), *(job for job, _ in jobs)):
            self._detection.publish(job.provider_name, polled=job.polled)
        sessions, wait_s = lease.sessions, math.inf
        if runs or problems.to_probe:
            # Jobs are read even if this fails: by requests of their own.
            try:
                with problems.of_provider():
                    controller = await self._find_controller(*lease.key)
                    lists = await read_sources(controller)
                problems.lists_read(lists.failure)
                # Without lists each run takes a call of its own: read those that were not observed for longest.
                items = runs if lists.failure is None else runs[:_RUNS_WITHOUT_LISTS]
                sessions = await self._read_runs(lease, controller, items, lists, problems)
            except ControllerUnavailable as error:
                wait_s = error.wait_s
                _log.info("reconciler.cycle_deferred", wait_s=wait_s, error=str(error))
            except ProviderError as error:
                _log.warning("reconciler.cycle_cut_short", error=str(error))
        # Without runs a cycle costs Jenkins nothing: the next one begins soon.
        polled = not runs or any(item.job.polled for item in runs)
        result = CycleResult(sessions, polled, asyncio.get_running_loop().time(), wait_s)
        if jobs:
            controller = await self._find_controller(*lease.key)
            await self._read_jobs(jobs[: await controller.allow(len(jobs))], problems)
        return result

    async def _read_runs(
        self,
        lease: ControllerLease,
        controller: Controller,
        items: Sequence[Unconfirmed],
        lists: Sources,
        problems: CycleProblems,
    ) -> tuple[SessionSeen, ...]:
        found = classify(items, lists.queue, lists.running)
        for job in (
            *(item.job for item, *_ in found.unchanged),
            *(job for job, _ in found.started),
        ):
            problems.job_read(job, shown=True)
        shown_sessions = {lists.queue.session, lists.running.session}
        sessions = note_sessions(lease.sessions, shown_sessions, lease.now)
        restarted = restart_time(sessions, lease.now)
        if found.unchanged:
            await self._steps.unchanged(
                lease.tenant_id, [(item.run, waits, why) for item, waits, why in found.unchanged]
            )
        await self._write_observations(
            lease,
            [observation(job, build, by_executor=True) for job, build in found.started],
            problems,
        )
        await self._write_unknown_builds(lease, found.unknown_builds, problems)
        await self._each(found.to_cancel, lambda pair: self._cancels.carry_out(*pair, controller))
        probe = partial(self._probe.probe, queue_read=lists.queue_read)

        async def probe_run(item: Unconfirmed) -> None:
            with problems.of_job(item.job):
                shown = await probe(item, controller, restarted)
            problems.job_read(item.job, shown=shown)

        changed = found.changed
        if (allowed := await controller.allow(len(changed))) < len(changed):
            # At random: otherwise runs that cannot be concluded yet would be probed each time, and the others never.
            changed = random.sample(changed, allowed)
        await self._each(changed, probe_run)
        await self._duplicates.stop_ours(items, controller)
        return sessions

    async def _write_observations(
        self, lease: ControllerLease, observations: Sequence[Observation], problems: CycleProblems
    ) -> None:
        for start in range(0, len(observations), _BATCH):
            batch = observations[start : start + _BATCH]
            outcomes = await self._steps.observe(lease.tenant_id, batch)
            self._detection.runs_deferred(problems.note_outcomes(batch, outcomes))

    async def _write_unknown_builds(
        self, lease: ControllerLease, unknown_builds: Sequence[BuildView], problems: CycleProblems
    ) -> None:
        """Write running builds of our jobs that a person or another program started."""
        if not unknown_builds:
            return
        async with self._database.acquire() as connection:
            jobs = await reconcile.jobs_named(
                connection, *lease.key, {build.job_full_name for build in unknown_builds}
            )
        await self._write_observations(
            lease,
            [
                observation(job, build, by_executor=True)
                for job in jobs
                for build in unknown_builds
                if build.job_full_name == job.full_name
            ],
            problems,
        )

    async def _read_jobs(
        self, jobs: Sequence[tuple[ReadJob, datetime | None]], problems: CycleProblems
    ) -> None:
        """Read whole jobs until the next cycle is due, which reads the rest."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._settings.polling_interval_s

        async def read(pair: tuple[ReadJob, datetime | None]) -> None:
            if clock() > until:
                return
            try:
                with problems.of_job(pair[0]):
                    shown = await self._read_job(*pair, problems)
                problems.job_read(pair[0], shown=shown)
            except ControllerUnavailable:
                raise
            except ProviderError:
                await self._steps.job_not_read(pair[0], again_in_s=self._settings.sweep_s / 10)
                raise

        await self._each(jobs, read)

    async def _read_job(
        self, job: ReadJob, refresh_request_time: datetime | None, problems: CycleProblems
    ) -> bool:
        """Read a whole job and write its builds; return whether Jenkins shows the job.

        Its refresh was requested, or a sweep is due for builds that no report named.
        """
        controller = await self._find_controller(job.tenant_id, job.provider_id)
        async with controller.slot() as client:
            builds = await client.list_builds(job.full_name, limit=50)
            pending = await self._steps.pending_numbers(job) if builds is not None else []
            shown, absent = await read_pending(client, job.full_name, builds, pending)
        job_is_shown = builds is not None
        if builds is None:
            # Deleted, or hidden from our account: the next run of the deployment reports it.
            builds = JobBuilds(job.full_name, job.next_build_number or 1, ())
        observations = [observation(job, build) for build in (*shown, *reversed(builds.builds))]
        outcomes = await self._steps.job_read(
            job,
            builds.next_build_number,
            observations,
            refresh_request_time=refresh_request_time,
            sweep_s=self._settings.sweep_s,
            absent=absent,
            probe_interval_s=self._settings.probe_interval_s,
        )
        self._detection.runs_deferred(problems.note_outcomes(observations, outcomes))
        return job_is_shown

    async def _each(self, things: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
        await for_each(things, work, at_once=self._settings.reads_at_once)

"""The reconciler: asks Jenkins about every run until its end is confirmed (promise P4).

Webhooks are fast, reading is true: a webhook that was lost, forged or early changes nothing for
longer than a cycle. Per controller and cycle one call for the queue, one for the executors, and one
for each run that changed. Replicas share controllers by leases.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.port import (
    BuildView,
    JobBuilds,
)
from deployment_service.domain.attribution import Observation
from deployment_service.domain.sessions import SessionSeen, note_sessions, restart_time
from deployment_service.storage import controllers
from deployment_service.storage.controllers import ControllerLease
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs import reconcile
from deployment_service.storage.runs.reconcile import ReadJob, Unconfirmed
from deployment_service.workers.controllers.controllers import Controller, ControllerUnavailable
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.each import for_each
from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room
from deployment_service.workers.reconciler.cancels import Cancels
from deployment_service.workers.reconciler.classify import (
    classify,
    observation,
)
from deployment_service.workers.reconciler.cycle_problems import CycleProblems
from deployment_service.workers.reconciler.detection import TICK_S, Detection
from deployment_service.workers.reconciler.duplicates import DuplicateBuilds
from deployment_service.workers.reconciler.probe import BuildProbe
from deployment_service.workers.reconciler.sources import Sources, read_pending, read_sources
from deployment_service.workers.reconciler.steps import ReconcileSteps

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_BATCH = 200
_RUNS_WITHOUT_LISTS = 50


@dataclass(frozen=True, slots=True)
class ReconcilerSettings:
    """``read_interval_s`` where webhooks come, ``polling_interval_s`` where none do; ``lost_after_s``: how
    long a run must have been missing before it counts as lost; ``lease_s``: how soon another replica takes
    over the controllers of one that died. A cycle renews its lease. ``controllers_per_tenant``: how many of one
    tenant are read at once, by all replicas."""

    read_interval_s: float = 5.0
    polling_interval_s: float = 2.0
    sweep_s: float = 300.0
    lost_after_s: float = 30.0
    probe_interval_s: float = 10.0
    lease_s: float = 10.0
    longest_cycle_s: float = 60.0
    controllers_at_once: int = 32
    controllers_per_tenant: int = 8
    reads_at_once: int = 4


@dataclass(frozen=True, slots=True)
class _Read:
    """What a cycle has found of its controller.

    Its sessions, whether any job is polled, and when its runs were read. ``wait_s``: after what time the runs can be
    read that could not be now.
    """

    sessions: Sequence[SessionSeen]
    polled: bool
    at: float
    wait_s: float = math.inf


class Reconciler:
    """Runs the cycles of the controllers whose turn it is. ``wake`` makes it look at once."""

    def __init__(
        self,
        database: Database,
        find_controller: FindController,
        *,
        committed: Callable[[uuid.UUID], None],
        settings: ReconcilerSettings,
        detection: Detection,
    ) -> None:
        self._database = database
        self._committed = committed
        self._find_controller = find_controller
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
        self._settings = settings
        self._owner = uuid.uuid4()
        self._announced = False
        self._worker = LeasedWorker(
            "reconciler",
            self._claim,
            self._hold_lease,
            _names,
            limits=Limits(settings.controllers_at_once, per_tenant=settings.controllers_per_tenant),
            every_s=min(TICK_S, settings.polling_interval_s),
        )

    def wake(self) -> None:
        """Claim now: a refresh of a job was requested."""
        self._worker.wake()

    async def start(self) -> None:
        """Begin to claim controllers."""
        await self._worker.start()

    async def stop(self) -> None:
        """Cancel the cycles under way, which have no effect in Jenkins; release all leases."""
        await self._worker.stop()
        with contextlib.suppress(*UNAVAILABLE_ERRORS):
            async with self._database.acquire() as connection:
                await controllers.give_back_all(connection, self._owner)

    async def _claim(self, room: Room) -> Sequence[ControllerLease]:
        async with self._database.acquire() as connection:
            if not self._announced:
                for provider, polled in await reconcile.providers(connection):
                    self._detection.publish(provider, polled=polled)
                self._announced = True
            # The statement counts the leases of a tenant in all replicas.
            return await controllers.claim_controllers(
                connection,
                self._owner,
                lease_s=self._settings.lease_s,
                limit=room.limit,
                per_tenant=self._settings.controllers_per_tenant,
            )

    async def _hold_lease(self, lease: ControllerLease) -> None:
        read, clock = _Read(lease.sessions, True, math.inf), asyncio.get_running_loop().time
        problems = CycleProblems(*lease.key)
        limit = asyncio.timeout(self._settings.longest_cycle_s)
        try:
            async with limit, self._renewing(lease):
                await problems.begin(self._database)
                read = await self._cycle(lease, problems)
        except TimeoutError as error:
            _log.warning("reconciler.cycle_cut_short", error=str(error))
            # It may be the database's as well: that is no problem of Jenkins.
            if limit.expired():
                problems.cut_short()
        except UNAVAILABLE_ERRORS:
            raise  # the lease ends by itself
        except Exception:
            _log.exception("reconciler.cycle_failed")
        settings = self._settings
        next_in_s = settings.polling_interval_s if read.polled else settings.read_interval_s
        # What was read of whole jobs after the runs is part of the pause.
        next_in_s = min(next_in_s, read.wait_s) - max(0.0, clock() - read.at)
        if await problems.write(self._database, event_after_s=self._detection.longest_bound_s):
            self._committed(lease.tenant_id)
        async with self._database.acquire() as connection:
            await controllers.end_cycle(
                connection,
                lease,
                self._owner,
                next_in_s=max(0.0, next_in_s),
                sessions=read.sessions,
            )

    @contextlib.asynccontextmanager
    async def _renewing(self, lease: ControllerLease) -> AsyncIterator[None]:
        """Keep the lease while the block runs; a process that is dead or stopped loses it soon."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._settings.lease_s / 3)
                with contextlib.suppress(*UNAVAILABLE_ERRORS):
                    async with self._database.acquire() as connection:
                        await controllers.renew(
                            connection, lease, self._owner, lease_s=self._settings.lease_s
                        )

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _cycle(self, lease: ControllerLease, problems: CycleProblems) -> _Read:
        """Read a controller once."""
        async with self._database.acquire() as connection:
            runs = await reconcile.unconfirmed(connection, *lease.key)
            jobs = await reconcile.jobs_to_read(connection, *lease.key)
        for job in (*(item.job for item in runs), *(job for job, _ in jobs)):
            self._detection.publish(job.provider_name, polled=job.polled)
        sessions, wait_s = lease.sessions, math.inf
        if runs or problems.to_probe:
            # Jobs are read all the same: by requests of their own.
            try:
                with problems.of_provider():
                    controller = await self._find_controller(*lease.key)
                    lists = await read_sources(controller)
                problems.lists_read(lists.failure)
                # Without lists each run takes a call of its own: those that were not observed for longest.
                items = runs if lists.failure is None else runs[:_RUNS_WITHOUT_LISTS]
                sessions = await self._read_runs(lease, controller, items, lists, problems)
            except ControllerUnavailable as error:
                wait_s = error.wait_s
                _log.info("reconciler.cycle_deferred", wait_s=wait_s, error=str(error))
            except ProviderError as error:
                _log.warning("reconciler.cycle_cut_short", error=str(error))
        # Without anything to ask about a cycle costs Jenkins nothing: come back soon to see whether there is.
        polled = not runs or any(item.job.polled for item in runs)
        read = _Read(sessions, polled, asyncio.get_running_loop().time(), wait_s)
        if jobs:
            controller = await self._find_controller(*lease.key)
            await self._read_jobs(jobs[: await controller.allow(len(jobs))], problems)
        return read

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
        seen = {lists.queue.session, lists.running.session}
        sessions = note_sessions(lease.sessions, seen, lease.now)
        restarted = restart_time(sessions, lease.now)
        if found.unchanged:
            await self._steps.unchanged(
                lease.tenant_id, [(item.run, waits, why) for item, waits, why in found.unchanged]
            )
        await self._write_seen(
            lease,
            [observation(job, build, by_executor=True) for job, build in found.started],
            problems,
        )
        await self._write_unknown_builds(lease, found.unknown_builds, problems)
        await self._each(found.to_cancel, lambda pair: self._cancels.carry_out(*pair, controller))
        ask = partial(self._probe.ask, queue_read=lists.queue_read)

        async def ask_about(item: Unconfirmed) -> None:
            with problems.of_job(item.job):
                shown = await ask(item, controller, restarted)
            problems.job_read(item.job, shown=shown)

        changed = found.changed
        if (allowed := await controller.allow(len(changed))) < len(changed):
            # By chance: else those that can't be concluded yet would be asked about again, and the others never.
            changed = random.sample(changed, allowed)
        await self._each(changed, ask_about)
        await self._duplicates.stop_ours(items, controller)
        return sessions

    async def _write_seen(
        self, lease: ControllerLease, seen: Sequence[Observation], problems: CycleProblems
    ) -> None:
        for start in range(0, len(seen), _BATCH):
            batch = seen[start : start + _BATCH]
            outcomes = await self._steps.observe(lease.tenant_id, batch)
            self._detection.runs_deferred(problems.note_outcomes(batch, outcomes))

    async def _write_unknown_builds(
        self, lease: ControllerLease, unknown_builds: Sequence[BuildView], problems: CycleProblems
    ) -> None:
        """Builds that somebody else started in jobs of ours."""
        if not unknown_builds:
            return
        async with self._database.acquire() as connection:
            jobs = await reconcile.jobs_named(
                connection, *lease.key, {build.job_full_name for build in unknown_builds}
            )
        await self._write_seen(
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
        """Read whole jobs until it is time for the next cycle; the rest is read then."""
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
        """Read a whole job: it was poked, or builds are to be found that no report named.

        Return whether Jenkins shows it.
        """
        controller = await self._find_controller(job.tenant_id, job.provider_id)
        async with controller.slot() as client:
            builds = await client.list_builds(job.full_name, limit=50)
            pending = await self._steps.pending_numbers(job) if builds is not None else []
            shown, absent = await read_pending(client, job.full_name, builds, pending)
        job_is_shown = builds is not None
        if builds is None:
            # Gone, or not ours to see any more: the next run says so.
            builds = JobBuilds(job.full_name, job.next_build_number or 1, ())
        seen = [observation(job, build) for build in (*shown, *reversed(builds.builds))]
        outcomes = await self._steps.job_read(
            job,
            builds.next_build_number,
            seen,
            refresh_request_time=refresh_request_time,
            sweep_s=self._settings.sweep_s,
            absent=absent,
            probe_interval_s=self._settings.probe_interval_s,
        )
        self._detection.runs_deferred(problems.note_outcomes(seen, outcomes))
        return job_is_shown

    async def _each(self, things: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
        await for_each(things, work, at_once=self._settings.reads_at_once)


def _names(lease: ControllerLease) -> dict[str, str]:
    return {"tenant_id": str(lease.tenant_id), "provider_id": str(lease.provider_id)}

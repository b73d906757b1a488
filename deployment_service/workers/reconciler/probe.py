"""Reads one run that is not in the queue or on the executors as before, and concludes what became of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.port import BuildView, CicdProvider
from deployment_service.domain.attribution import Verdict
from deployment_service.domain.runs import Run, RunSource
from deployment_service.domain.status import FailureCause
from deployment_service.storage.runs.reconcile import Unconfirmed
from deployment_service.workers.controllers.controllers import Controller
from deployment_service.workers.reconciler.cancels import Cancels
from deployment_service.workers.reconciler.classify import (
    is_items_run,
    is_reused_number,
    may_be_a_copy,
    observation,
    own_build,
)
from deployment_service.workers.reconciler.detection import Detection
from deployment_service.workers.reconciler.sources import read_build
from deployment_service.workers.reconciler.steps import ReconcileSteps

_log = structlog.get_logger(__name__)

_UNKNOWN_END = "What became of it can't be known; run it again if in doubt."
_PATIENCE_WITH_HIDDEN_JOBS = 10


class BuildProbe:
    """Probes runs. ``lost_after_s``, ``probe_interval_s``: as in ReconcilerSettings."""

    def __init__(
        self,
        steps: ReconcileSteps,
        detection: Detection,
        cancels: Cancels,
        *,
        lost_after_s: float,
        probe_interval_s: float,
    ) -> None:
        self._steps = steps
        self._cancels = cancels
        self._detection = detection
        self._lost_after_s = lost_after_s
        self._probe_interval_s = probe_interval_s

    async def probe(
        self,
        item: Unconfirmed,
        controller: Controller,
        restarted: datetime | None,
        *,
        queue_read: bool = True,
    ) -> bool:
        """Read one run from Jenkins and commit the conclusion; return whether Jenkins shows its job.

        ``queue_read``: the queue could be read. Otherwise a run without a build may be in it, and is not missing.

        Raises:
            ProviderError: Jenkins did not show whether it has the run.
        """
        stop: BuildView | None = None
        async with controller.slot() as client:
            build = await self._find_build(item, client, queue_read=queue_read)
            if isinstance(build, _Cancelled):
                await self._steps.end(
                    item,
                    FailureCause.CANCELLED_IN_JENKINS,
                    "It was taken out of Jenkins' queue before it was built.",
                    certain=True,
                )
            elif isinstance(build, _StillQueued):
                pass
            elif build is None:
                job = await client.list_builds(item.job.full_name, limit=1)
                if job is not None and _was_never_issued(item.run, job.next_build_number):
                    await self._steps.not_its_build(item)
                else:
                    await self._not_found(item, restarted, job_is_shown=job is not None)
                return job is not None
            elif is_reused_number(item.run, build):
                await self._made_again(item, build)
            else:
                read = observation(item.job, build)
                outcomes = await self._steps.observe(item.job.tenant_id, [read])
                if not outcomes:
                    # The job was deleted since the run was claimed, and its runs with it.
                    return True
                if item.run.build is None and outcomes[0].run_id != item.run.run_id:
                    # The build is another run's: Jenkins folded this run's item into that one's.
                    await self._not_found(item, restarted, job_is_shown=True)
                    return True
                applied = any(outcome.verdict is Verdict.APPLIED for outcome in outcomes)
                if applied and read.state.final and item.run.active and not item.job.polled:
                    self._detection.missed(item.job.provider_name)
                stop = build if item.to_cancel and build.building else None
                if item.to_stop and build.finished:
                    await self._steps.stopped(item)
        if stop is not None:
            await self._cancels.carry_out(item, stop, controller)
        return True

    async def _find_build(
        self, item: Unconfirmed, client: CicdProvider, *, queue_read: bool
    ) -> BuildView | _Cancelled | _StillQueued | None:
        run, name = item.run, item.job.full_name
        if run.build is not None:
            build = await read_build(client, name, run.build.number)
            if build is None or not may_be_a_copy(run, build):
                return build
            listed = await client.list_builds(name, limit=100)
            return (own_build(item, listed) if listed is not None else None) or build
        if run.queue_id is not None and run.end_time is None:
            try:
                queued = await client.read_queue_item(run.queue_id)
            except ProviderError as error:
                _log.warning("source.failed", source="queue_item", job=name, error=str(error))
                queued, queue_read = None, False
            if queued is not None and is_items_run(queued, item):
                if queued.build_number is not None:
                    return await read_build(client, name, queued.build_number)
                return _Cancelled() if queued.cancelled else _StillQueued()
        builds = await client.list_builds(name, limit=100)
        own = own_build(item, builds) if builds is not None else None
        # While the queue cannot be read, absence from the builds proves nothing.
        return _StillQueued() if own is None and not queue_read and run.active else own

    async def _made_again(self, item: Unconfirmed, build: BuildView) -> None:
        """Handle a run whose number is another build's now. The first such run begins a new generation of the job."""
        assert item.run.build is not None
        if not item.run.shown and not item.run.settled:
            await self._steps.not_its_build(item)
            return
        if item.run.build.generation == item.job.generation:
            await self._steps.made_again(item.job, build.number + 1)
        if item.run.active:
            await self._lost(item, "Its job was deleted and made again in Jenkins.")
        else:
            await self._steps.asked(item)

    async def _not_found(
        self, item: Unconfirmed, restarted: datetime | None, *, job_is_shown: bool
    ) -> None:
        """Conclude that the run is lost when two probes, far enough apart, have not found it."""
        run = item.run
        hidden_end = run.end_time is not None and not job_is_shown
        if run.settled or hidden_end:
            await self._steps.asked(item)
            return
        await self._steps.missing(item)
        if item.probe_count == 0 or item.probe_time is None:
            return
        asked = item.job.asked_time
        if asked - item.probe_time < timedelta(seconds=self._probe_interval_s):
            return
        if run.end_time is not None:
            await self._lost(item, "Jenkins no longer has the build: its record was removed there.")
            return
        crashed = (
            restarted is not None and run.start_time is not None and restarted >= run.start_time
        )
        unseen = asked - (run.last_observed_time or run.start_time or asked)
        if unseen < self._patience(job_is_shown=job_is_shown, crashed=crashed):
            return
        if not job_is_shown:
            why = (
                "Jenkins no longer shows its job to our account: it was deleted, renamed or hidden."
            )
        elif run.build and crashed:
            why = "Jenkins was restarted while it was building, and no longer has the build."
        elif run.build:
            why = "Jenkins no longer has the build: it was deleted there."
        else:
            why = "Jenkins had queued it, but neither the queue nor the builds show it any more."
        await self._lost(item, why)

    def _patience(self, *, job_is_shown: bool, crashed: bool) -> timedelta:
        """Return for how long a run must have been missing. After a crash of Jenkins, not at all.

        A job that is not shown may be one whose permission was removed by mistake: its builds go on.
        """
        if not job_is_shown:
            return timedelta(seconds=self._lost_after_s * _PATIENCE_WITH_HIDDEN_JOBS)
        return timedelta(seconds=0 if crashed else self._lost_after_s)

    async def _lost(self, item: Unconfirmed, why: str) -> None:
        await self._steps.end(
            item,
            FailureCause.BUILD_LOST,
            why if item.run.end_time else f"{why} {_UNKNOWN_END}",
            certain=False,
        )


def _was_never_issued(run: Run, next_build_number: int) -> bool:
    """Return whether a report gave a run of ours a build number that Jenkins has not issued."""
    if run.build is None or run.shown or run.settled:
        return False
    return run.source is RunSource.SERVICE and run.build.number >= next_build_number


class _Cancelled:
    """The queue item was cancelled."""


class _StillQueued:
    """The run may still be queued, or its item has just left the queue and has no build yet: read it again."""

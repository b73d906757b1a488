"""The confirmer: reads a build as soon as a webhook has reported its end.

One request per reported end. What it cannot settle (Jenkins does not answer, the build is gone) is left to the
cycles of the reconciler, which read every unsettled run.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.port import BuildView
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs.confirm import DueRun
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.loop import Loop
from deployment_service.workers.reconciler.classify import (
    is_reused_number,
    may_be_a_copy,
    observation,
)
from deployment_service.workers.reconciler.confirm_steps import ConfirmSteps

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConfirmerSettings:
    """``poll_s``: how late an end is read that another replica stored. ``lease_s``: when a claimed end is due again.
    ``unsaved_retry_s``: the pause while Jenkins has not saved the build; ``retry_s``: after a failure.
    ``reads_per_tenant`` keeps a tenant whose Jenkins is slow from taking all of ``reads_at_once``.
    ``unverifiable_after_s``: when an end that could not be read is settled as UNVERIFIABLE."""

    poll_s: float = 0.5
    lease_s: float = 10.0
    unsaved_retry_s: float = 0.5
    retry_s: float = 2.0
    reads_at_once: int = 64
    reads_per_tenant: int = 16
    unverifiable_after_s: float = 86_400.0
    overdue_check_s: float = 60.0


class Confirmer:
    """Reads reported ends that are due. ``wake`` makes it look at once."""

    def __init__(
        self,
        database: Database,
        find_controller: FindController,
        *,
        committed: Callable[[uuid.UUID], None],
        settings: ConfirmerSettings,
    ) -> None:
        self._find_controller = find_controller
        self._steps = ConfirmSteps(database, committed)
        self._settings = settings
        self._reads: dict[asyncio.Task[None], uuid.UUID] = {}
        self._next_overdue_check = 0.0
        self._loop = Loop("confirmer", self._claim, every_s=settings.poll_s)

    def wake(self) -> None:
        """An end was reported."""
        self._loop.wake()

    async def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Cut the reads under way: reading has no effect in Jenkins."""
        await self._loop.stop()
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    async def _claim(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_overdue_check:
            self._next_overdue_check = now + self._settings.overdue_check_s
            await self._steps.settle_overdue(after_s=self._settings.unverifiable_after_s)
        settings = self._settings
        free = settings.reads_at_once - len(self._reads)
        if free <= 0:
            return
        of_tenants = Counter(self._reads.values())
        full = [
            tenant for tenant, reads in of_tenants.items() if reads >= settings.reads_per_tenant
        ]
        # All that are claimed may be one tenant's.
        most = max(
            (reads for reads in of_tenants.values() if reads < settings.reads_per_tenant), default=0
        )
        limit = min(free, settings.reads_per_tenant - most)
        claimed = await self._steps.claim(
            limit=limit, lease_s=settings.lease_s, without_tenants=full
        )
        for due in claimed:
            task = asyncio.create_task(self._confirm(due))
            self._reads[task] = due.job.tenant_id
            task.add_done_callback(self._done)
        if len(claimed) == limit:
            self._loop.wake()  # there may be more, of other tenants

    def _done(self, task: asyncio.Task[None]) -> None:
        tenant = self._reads.pop(task)
        room = self._settings.reads_at_once - len(self._reads)
        of_tenant = self._settings.reads_per_tenant - list(self._reads.values()).count(tenant)
        if 1 in (room, of_tenant):
            self._loop.wake()  # there may be more that are due

    async def _confirm(self, due: DueRun) -> None:
        try:
            await self._read(due)
        except ProviderError as error:
            _log.info("confirm.read_failed", run_id=str(due.run.run_id), error=str(error))
            await self._retry(due, self._settings.retry_s)
        except UNAVAILABLE_ERRORS as error:
            _log.warning("database away", worker="confirmer", error=type(error).__name__)
        except Exception:
            _log.exception("confirm.failed", run_id=str(due.run.run_id))

    async def _read(self, due: DueRun) -> None:
        run, job = due.run, due.job
        if run.build is None:
            await self._steps.leave(due)
            return
        controller = await self._find_controller(job.tenant_id, job.provider_id)
        async with controller.slot(ahead=True) as client:
            build = await client.read_build(job.full_name, run.build.number)
            gone = build is None and bool(run.unsaved_result)
            job_is_shown = gone and await client.list_builds(job.full_name, limit=1) is not None
        if build is None or is_reused_number(run, build):
            if job_is_shown:
                await self._steps.confirm_unsaved(due)
            else:
                await self._steps.leave(due)
            return
        if may_be_a_copy(run, build):
            # The reconciler reads the builds of the job.
            await self._steps.leave(due)
            return
        await self._steps.observe(due, observation(job, build))
        if _is_unsaved(build):
            await self._retry(due, self._settings.unsaved_retry_s)

    async def _retry(self, due: DueRun, retry_in_s: float) -> None:
        try:
            await self._steps.put_off(due, retry_in_s=retry_in_s)
        except UNAVAILABLE_ERRORS as error:
            # The claim runs out by itself.
            _log.warning("database away", worker="confirmer", error=type(error).__name__)


def _is_unsaved(build: BuildView) -> bool:
    """Whether the build has ended and Jenkins has not saved it yet, so that its result may worsen."""
    return not build.building and not build.finished

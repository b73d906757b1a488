"""The confirmer: reads a build as soon as a webhook has reported its end.

One request per reported end. Ends that it cannot settle (Jenkins does not answer, the build was deleted) are left to
the cycles of the reconciler, which read every unsettled run.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.port import BuildView
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs.confirm import DueRun
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room
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
    """Reads reported ends that are due. One per process."""

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
        self._next_overdue_check = 0.0
        self._worker = LeasedWorker(
            "confirmer",
            self._claim,
            self._confirm,
            lambda due: {"tenant_id": str(due.tenant_id), "run_id": str(due.run.run_id)},
            limits=Limits(settings.reads_at_once, per_tenant=settings.reads_per_tenant),
            every_s=settings.poll_s,
        )

    def wake(self) -> None:
        """Claim now: an end was reported."""
        self._worker.wake()

    async def start(self) -> None:
        """Begin to claim reported ends."""
        await self._worker.start()

    async def stop(self) -> None:
        """Cancel the reads under way, which have no effect in Jenkins."""
        await self._worker.stop()

    async def _claim(self, room: Room) -> Sequence[DueRun]:
        now = asyncio.get_running_loop().time()
        if now >= self._next_overdue_check:
            self._next_overdue_check = now + self._settings.overdue_check_s
            await self._steps.settle_overdue(after_s=self._settings.unverifiable_after_s)
        # One claim may take the ends of one tenant only: it must fit into what is left of any.
        limit = min(room.limit, room.left_of_tenant)
        claimed = await self._steps.claim(
            limit=limit, lease_s=self._settings.lease_s, without_tenants=room.full_tenants
        )
        if len(claimed) == limit:
            self._worker.wake()  # more may be due, of other tenants
        return claimed

    async def _confirm(self, due: DueRun) -> None:
        try:
            await self._read(due)
        except ProviderError as error:
            _log.info("confirm.read_failed", error=str(error))
            await self._steps.put_off(due, retry_in_s=self._settings.retry_s)

    async def _read(self, due: DueRun) -> None:
        run, job = due.run, due.job
        if run.build is None:
            await self._steps.leave(due)
            return
        controller = await self._find_controller(job.tenant_id, job.provider_id)
        async with controller.slot(ahead=True) as client:
            build = await client.read_build(job.full_name, run.build.number)
            was_unsaved = build is None and bool(run.unsaved_result)
            job_is_shown = (
                was_unsaved and await client.list_builds(job.full_name, limit=1) is not None
            )
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
            await self._steps.put_off(due, retry_in_s=self._settings.unsaved_retry_s)


def _is_unsaved(build: BuildView) -> bool:
    """Return whether the build has ended and Jenkins has not saved it yet, so that its result may worsen."""
    return not build.building and not build.finished

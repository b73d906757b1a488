"""The reconciler: reads every unsettled run from Jenkins until its end is confirmed (promise P4).

A webhook that was lost, forged or early changes nothing for longer than a cycle. Replicas share the controllers by
leases. `cycle.py` has the story of one cycle.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections.abc import AsyncIterator, Callable, Sequence

import structlog

from deployment_service.storage import controllers
from deployment_service.storage.controllers import ControllerLease
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs import reconcile
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room
from deployment_service.workers.reconciler.cycle import CycleResult, ReadingCycle
from deployment_service.workers.reconciler.cycle_problems import CycleProblems
from deployment_service.workers.reconciler.detection import TICK_S, Detection
from deployment_service.workers.reconciler.settings import ReconcilerSettings

_log = structlog.get_logger(__name__)


class Reconciler:
    """Leases the controllers whose cycle is due and runs their cycles. One per process."""

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
        self._detection = detection
        self._cycle = ReadingCycle(database, find_controller, committed, settings, detection)
        self._settings = settings
        self._owner = uuid.uuid4()
        self._bounds_published = False
        self._worker = LeasedWorker(
            "reconciler",
            self._claim,
            self._run_cycle,
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
            if not self._bounds_published:
                for provider, polled in await reconcile.providers(connection):
                    self._detection.publish(provider, polled=polled)
                self._bounds_published = True
            # The statement counts the leases of a tenant in all replicas.
            return await controllers.claim_controllers(
                connection,
                self._owner,
                lease_s=self._settings.lease_s,
                limit=room.limit,
                per_tenant=self._settings.controllers_per_tenant,
            )

    async def _run_cycle(self, lease: ControllerLease) -> None:
        """Read a controller once, then release its lease until the next cycle is due."""
        read, clock = CycleResult(lease.sessions, True, math.inf), asyncio.get_running_loop().time
        problems = CycleProblems(*lease.key)
        limit = asyncio.timeout(self._settings.longest_cycle_s)
        try:
            async with limit, self._renewing(lease):
                await problems.begin(self._database)
                read = await self._cycle.run(lease, problems)
        except TimeoutError as error:
            _log.warning("reconciler.cycle_cut_short", error=str(error))
            # The database's own timeouts are no problem of Jenkins.
            if limit.expired():
                problems.cut_short()
        except UNAVAILABLE_ERRORS:
            raise  # the lease ends by itself
        except Exception:
            _log.exception("reconciler.cycle_failed")
        settings = self._settings
        next_in_s = settings.polling_interval_s if read.polled else settings.read_interval_s
        # The time that whole jobs took after the runs is part of the pause.
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
        """Renew the lease while the block runs. A process that is dead or stopped loses it soon."""

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


def _names(lease: ControllerLease) -> dict[str, str]:
    return {"tenant_id": str(lease.tenant_id), "provider_id": str(lease.provider_id)}

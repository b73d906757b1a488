"""The commits of the confirmer: reads of reported ends."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from functools import partial

from deployment_service.domain.attribution import BuildRef, Observation
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.events import EventSource
from deployment_service.domain.run_transitions import end_without_build
from deployment_service.domain.status import FailureCause, from_read
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.runs import confirm
from deployment_service.storage.runs.confirm import DueRun
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork, observe_builds


class ConfirmSteps:
    """The commits of one confirmer; ``committed(tenant_id)`` follows those that appended events."""

    def __init__(self, database: Database, committed: Callable[[uuid.UUID], None]) -> None:
        self._database = database
        self._committed = committed

    async def claim(
        self, *, limit: int, lease_s: float, without_tenants: Collection[uuid.UUID]
    ) -> list[DueRun]:
        """Claim reported ends that are due, except those of ``without_tenants``."""
        return await self._database.transaction(
            lambda connection: confirm.claim_due(
                connection, limit=limit, lease_s=lease_s, without_tenants=without_tenants
            )
        )

    async def observe(self, due: DueRun, observation: Observation) -> None:
        """Merge the read."""
        tenant_id = due.job.tenant_id

        async def work(connection: Connection) -> int | None:
            if not await locks.lock_jobs(connection, tenant_id, {observation.job_id}):
                return None
            _, sequence = await observe_builds(
                connection, tenant_id, [observation], source=EventSource.READ
            )
            return sequence

        if await self._database.transaction(work) is not None:
            self._committed(tenant_id)

    async def confirm_unsaved(self, due: DueRun) -> None:
        """Settle an end with its last read: that was before Jenkins saved the build, which is deleted now."""
        run = due.run
        assert run.build is not None
        build_ref = BuildRef(run.build.number, run.run_id, read=True)
        state = from_read(finished=True, result=run.unsaved_result)
        observation = Observation(
            due.job.job_id, build_ref, state, run.unsaved_result, read_time=due.job.asked_time
        )
        await self.observe(due, observation)

    async def settle_overdue(self, *, after_s: float) -> None:
        """Settle as UNVERIFIABLE the ends that no read could settle for ``after_s`` seconds."""
        async with self._database.acquire() as connection:
            overdue = await confirm.overdue(connection, after_s=after_s)
        for tenant_id, job_id, run_id in overdue:
            work = partial(_give_up_reading, tenant_id=tenant_id, job_id=job_id, run_id=run_id)
            sequence = await self._database.transaction(work)
            if sequence is not None:
                self._committed(tenant_id)

    async def put_off(self, due: DueRun, *, retry_in_s: float) -> None:
        """Make the end due again in ``retry_in_s`` seconds."""
        await self._database.transaction(
            lambda connection: confirm.put_off(
                connection, due.job.tenant_id, due.run.run_id, retry_in_s=retry_in_s
            )
        )

    async def leave(self, due: DueRun) -> None:
        """Leave the run to the cycles of the reconciler."""
        await self._database.transaction(
            lambda connection: confirm.leave(connection, due.job.tenant_id, due.run.run_id)
        )


async def _give_up_reading(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, run_id: uuid.UUID
) -> int | None:
    if not await locks.lock_jobs(connection, tenant_id, [job_id]):
        return None
    unit = await RunUnitOfWork.open(
        connection, tenant_id, [job_id], source=EventSource.READ, run_ids=[run_id]
    )
    run = unit.run(run_id)
    if run is None or run.certainty is not Certainty.REPORTED:
        return None
    unit.move(
        *end_without_build(
            run,
            FailureCause.BUILD_LOST,
            "Jenkins could not be read for too long after the end was reported.",
            certain=False,
            highest=unit.highest_build(run.deployment_id),
            now=unit.now,
        )
    )
    return await unit.write()

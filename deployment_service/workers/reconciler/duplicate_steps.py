"""Stops a second build of a run, if it came of a request of ours that reached Jenkins late (promise P9).

This is the one exception to P3: a request that arrives after its quarantine, when the run was sent again.
``domain/duplicates.py`` has the conditions; any other build with a run's id is an external run.
"""

from __future__ import annotations

import uuid

import structlog

from deployment_service.domain.duplicates import (
    DuplicateBuild,
    possible_duplicate,
    unmet_stop_condition,
)
from deployment_service.domain.events import EventSource
from deployment_service.domain.parameters import RUN_ID_PARAMETER
from deployment_service.domain.runs import Run, RunSource
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.runs import cancel, dispatch, runs
from deployment_service.storage.runs.reconcile import Unconfirmed
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork

_log = structlog.get_logger(__name__)


def names_another_run(run: Run) -> uuid.UUID | None:
    """Return the run id that an external run's build carries; None if it carries none."""
    if run.source is not RunSource.EXTERNAL:
        return None
    try:
        return uuid.UUID(run.parameters.get(RUN_ID_PARAMETER, ""))
    except ValueError:
        return None


async def own_build_of(database: Database, item: Unconfirmed) -> Run | None:
    """Return the run whose id the external run's build carries, if it has a lower build in the same job.

    A restored store may lack the run: then nothing proves that it has a build already.
    """
    repeated, build = names_another_run(item.run), item.run.build
    if repeated is None or build is None:
        return None
    async with database.acquire() as connection:
        found = await runs.read(connection, item.job.tenant_id, [repeated])
    own = found[0] if found and found[0].job_id == item.job.job_id else None
    if own is None or own.build is None or own.source is not RunSource.SERVICE:
        return None
    lower = own.build.generation == build.generation and own.build.number < build.number
    return own if lower else None


async def stop_duplicate(
    database: Database, item: Unconfirmed, own: Run, build: DuplicateBuild
) -> bool:
    """Commit a request to stop the external run's build, if P9 allows it. The next cycle carries it out.

    ``own``: the run that it repeats. ``build``: what Jenkins shows of both builds.
    """
    job, repeat = item.job, item.run

    async def work(connection: Connection) -> bool:
        await locks.lock_jobs(connection, job.tenant_id, [job.job_id])
        unit = await RunUnitOfWork.open(
            connection,
            job.tenant_id,
            [job.job_id],
            source=EventSource.READ,
            run_ids=[repeat.run_id, own.run_id],
        )
        stored, first = unit.run(repeat.run_id), unit.run(own.run_id)
        if stored is None or first is None or not stored.active:
            return False
        if (stored.build, first.build) != (repeat.build, own.build):
            return False
        attempts = await dispatch.sent_attempts(connection, job.tenant_id, own.run_id)
        obstacle = unmet_stop_condition(attempts, build)
        if obstacle is not None:
            _log.info(
                "duplicate_build.not_stopped",
                job=job.full_name,
                build=repeat.build.number if repeat.build else None,
                run_id=str(own.run_id),
                reason=obstacle,
            )
            return False
        if not await cancel.request_once(connection, job.tenant_id, repeat.run_id):
            return False
        unit.move(stored, [possible_duplicate(first, stored.status, stopping=True)])
        await unit.write()
        return True

    return await database.transaction(work)

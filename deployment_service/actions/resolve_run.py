"""ResolveRun: an operator sets the end of a run that can no longer be read from Jenkins.

Nothing is done in Jenkins. What was not sent yet is never sent; a request that is under way already may still make
a build, which is shown as an external run.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import structlog

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.domain.access import TenantRef
from deployment_service.domain.actors import Actor
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.errors import FailedPrecondition, NotFound
from deployment_service.domain.events import EventSource
from deployment_service.domain.names import RunName
from deployment_service.domain.resolution import Resolution, resolve
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database, after_commit
from deployment_service.storage.events import events
from deployment_service.storage.reports import reports
from deployment_service.storage.runs import cancel, resolutions
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResolveRun:
    """The arguments of ResolveRun; ``actor`` is the operator."""

    tenant: TenantRef
    name: RunName
    resolution: Resolution
    actor: Actor
    request: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was committed, now or by an earlier call with the same request_id."""

    run_id: uuid.UUID
    sequence: int


async def resolve_run(database: Database, command: ResolveRun) -> Resolved:
    """Commit the end that the operator decided. Raises NotFound and FailedPrecondition (RUN_ENDED)."""
    return await database.transaction(lambda connection: _commit(connection, command))


async def _commit(connection: Connection, command: ResolveRun) -> Resolved:
    known = await begin_request(connection, command.request)
    if known is not None and known.resource_id is not None:
        return Resolved(known.resource_id, known.sequence)
    tenant_id, name = command.tenant.tenant_id, command.name
    found = await cancel.find(connection, tenant_id, name.deployment, name.number)
    if found is None:
        raise NotFound("run", str(name))
    run_id, job_id = found
    actor = command.actor
    await locks.lock_jobs(connection, tenant_id, [job_id])
    unit = await RunUnitOfWork.open(
        connection, tenant_id, [job_id], source=EventSource.API, run_ids=[run_id], actor=actor
    )
    run = unit.run(run_id)
    if run is None:
        raise NotFound("run", str(name))
    if run.certainty is Certainty.CONFIRMED and run.status is command.resolution.status:
        raise FailedPrecondition(
            "RUN_ENDED",
            f"'{name}' is {run.status}, and that is certain: there is nothing to resolve.",
            metadata={"run": str(name), "status": str(run.status)},
        )
    highest = unit.highest_build(run.deployment_id)
    ended, transition = resolve(run, command.resolution, highest=highest, now=unit.now)
    before = await events.head(connection, tenant_id)
    await resolutions.add(connection, tenant_id, run, command.resolution, actor)
    # A build that Jenkins made of it meanwhile becomes an external run.
    await reports.request_refresh(connection, tenant_id, [job_id])
    unit.move(ended, [transition])
    await unit.write()
    await remember(connection, command.request, run_id, before)
    after_commit(
        lambda: _log.warning(
            "run.resolved",
            tenant=command.tenant.slug,
            run=str(name),
            old_status=str(run.status),
            status=str(ended.status),
            actor=actor.subject,
            reason=command.resolution.reason,
        )
    )
    return Resolved(run_id, before)

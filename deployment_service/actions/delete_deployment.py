"""Deleting a deployment: its row, runs and mapping at once, its job in Jenkins in the background."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from deployment_service.actions.idempotency import RequestKey, claim, remember
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import FailedPrecondition, NotFound
from deployment_service.domain.etags import check_etag
from deployment_service.domain.events import EventSource, EventType, NewEvent
from deployment_service.domain.jobs import JobFailure, JobFault, JobOrigin, JobState
from deployment_service.domain.names import DeploymentName
from deployment_service.storage import definitions, events, jobs
from deployment_service.storage.database import Connection, Database
from deployment_service.storage.definitions import DeploymentToDelete
from deployment_service.storage.jobs import JobRow


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """What is asked for. ``etag``: what the caller has seen of it; empty: anything."""

    tenant: TenantRef
    deployment_id: str
    force: bool = False
    etag: str = ""
    request: RequestKey | None = None


class DeploymentRemover:
    """Deletes deployments. ``committed(tenant_id)`` is told of new events, ``wake_keeper`` of work on jobs."""

    def __init__(
        self,
        database: Database,
        *,
        committed: Callable[[uuid.UUID], None],
        wake_keeper: Callable[[], None],
    ) -> None:
        self._database = database
        self._committed = committed
        self._wake_keeper = wake_keeper

    async def delete(self, command: DeleteDeployment) -> int:
        """Delete, and return the sequence of the event that says so."""
        sequence = await self._database.transaction(lambda c: _delete(c, command))
        self._committed(command.tenant.tenant_id)
        self._wake_keeper()
        return sequence


async def _delete(connection: Connection, command: DeleteDeployment) -> int:
    known = await claim(connection, command.request)
    if known is not None:
        return known.sequence
    tenant_id = command.tenant.tenant_id
    name = str(DeploymentName(command.tenant.slug, command.deployment_id))
    found = await definitions.find(connection, tenant_id, command.deployment_id)
    if found is None:
        raise NotFound("deployment", name)
    deployment_uid, job_id = found
    await jobs.lock(connection, tenant_id, job_id)
    deployment = await definitions.lock_to_delete(connection, tenant_id, deployment_uid)
    job = await jobs.read(connection, tenant_id, job_id)
    if deployment is None or job is None:
        raise NotFound("deployment", name)
    check_etag(command.etag, deployment_uid, deployment.version, name=name)
    if deployment.run_active and not command.force:
        raise FailedPrecondition(
            "RUN_ACTIVE",
            f"The deployment '{name}' has an active run. Wait for its end, or set force.",
            metadata={"name": name},
        )
    sequence = await remove(connection, tenant_id, deployment_uid, deployment, job)
    await remember(connection, command.request, deployment_uid, sequence)
    return sequence


async def remove(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_uid: uuid.UUID,
    deployment: DeploymentToDelete,
    job: JobRow,
    message: str = "",
) -> int:
    """Delete a deployment; both it and its job are locked and have been read since. Return the sequence.

    The last step that locks anything.
    """
    await definitions.delete(connection, tenant_id, deployment_uid)
    await _let_go_of(connection, tenant_id, job)
    event = NewEvent(
        deployment_id=deployment_uid,
        deployment_slug=deployment.slug,
        revision=deployment.revision + 1,
        type=EventType.DEPLOYMENT_DELETED,
        source=EventSource.API,
        old_status=deployment.status,
        status=deployment.status,
        deployment_status=deployment.status,
        job_id=job.job_id,
        message=message,
    )
    return await events.append(connection, tenant_id, [event])


async def _let_go_of(connection: Connection, tenant_id: uuid.UUID, job: JobRow) -> None:
    if await jobs.mapped_deployments(connection, tenant_id, job.job_id):
        return  # other deployments share it
    if job.origin is JobOrigin.ADOPTED or not _may_be_in_jenkins(job):
        await jobs.delete(connection, tenant_id, job.job_id)
    else:
        await jobs.start_again(connection, tenant_id, job.job_id, JobState.DELETING)


def _may_be_in_jenkins(job: JobRow) -> bool:
    """Whether Jenkins may have, or may yet make, the job for us."""
    if job.state is JobState.CREATING:
        return job.attempt > 0
    if job.state is not JobState.FAILED:
        return True
    # A name that is taken, a folder that is missing or a definition that is refused: then an earlier request whose
    # answer was lost fails of the same. An account may have lost its permission after it.
    fault = JobFailure.parse(job.state_message).fault
    return fault is JobFault.PROVIDER_REFUSED and job.attempt > 1

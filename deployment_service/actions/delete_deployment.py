"""DeleteDeployment: the name can be used again at once; the job in Jenkins is deleted in the background.

The row and its runs stay readable until the purge time. Active runs end in the same transaction, before the
DELETED event, so that a watcher sees the end of each run.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.domain.access import TenantRef
from deployment_service.domain.actors import Actor
from deployment_service.domain.errors import FailedPrecondition, NotFound
from deployment_service.domain.etags import check_etag
from deployment_service.domain.events import EventSource, EventType, NewEvent
from deployment_service.domain.jobs import JobFault, JobOrigin, JobState
from deployment_service.domain.names import DeploymentName
from deployment_service.domain.run_transitions import end_without_build
from deployment_service.domain.runs import Run, TriggerState
from deployment_service.domain.status import DeploymentStatus, FailureCause
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.deployments import definitions
from deployment_service.storage.deployments.definitions import DeploymentToDelete
from deployment_service.storage.events import events
from deployment_service.storage.jobs import jobs
from deployment_service.storage.jobs.jobs import JobRow
from deployment_service.storage.runs import cancel
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """The arguments of DeleteDeployment. ``etag``: the version to delete; empty: any.

    ``cancel_builds``: stop the builds of active runs in Jenkins.
    """

    tenant: TenantRef
    deployment_id: str
    force: bool = False
    cancel_builds: bool = False
    etag: str = ""
    actor: Actor | None = None
    request: RequestKey | None = None


class DeploymentRemover:
    """Deletes deployments. Calls ``committed(tenant_id)`` after new events, ``wake_provisioner`` after changed jobs.

    ``keep_s``: seconds for which a deleted deployment can be read.
    """

    def __init__(
        self,
        database: Database,
        *,
        committed: Callable[[uuid.UUID], None],
        wake_provisioner: Callable[[], None],
        keep_s: float,
    ) -> None:
        self._database = database
        self._committed = committed
        self._wake_provisioner = wake_provisioner
        self._keep_s = keep_s

    async def delete(self, command: DeleteDeployment) -> int:
        """Delete; return the sequence of the DELETED event.

        Raises: ``NotFound``, ``Aborted`` (ETAG_MISMATCH), ``FailedPrecondition`` (RUN_ACTIVE).
        """
        sequence = await self._database.transaction(lambda c: _delete(c, command, self._keep_s))
        self._committed(command.tenant.tenant_id)
        self._wake_provisioner()
        return sequence


async def _delete(connection: Connection, command: DeleteDeployment, keep_s: float) -> int:
    known = await begin_request(connection, command.request)
    if known is not None:
        return known.sequence
    tenant_id = command.tenant.tenant_id
    name = str(DeploymentName(command.tenant.slug, command.deployment_id))
    found = await definitions.find(connection, tenant_id, command.deployment_id)
    if found is None:
        raise NotFound("deployment", name)
    deployment_uid, job_id = found
    await locks.lock_jobs(connection, tenant_id, [job_id])
    deployment = await definitions.lock_to_delete(connection, tenant_id, deployment_uid)
    job = await jobs.read(connection, tenant_id, job_id)
    if deployment is None or job is None:
        raise NotFound("deployment", name)
    check_etag(command.etag, deployment_uid, deployment.version, name=name)
    if deployment.run_active and not command.force:
        raise FailedPrecondition(
            "RUN_ACTIVE",
            f"The deployment '{name}' has a run that is not settled. Wait until it is, or set force.",
            metadata={"name": name},
            retry_after_s=1.0,
        )
    unsettled = await definitions.unsettled_runs(connection, tenant_id, deployment_uid)
    unit = await RunUnitOfWork.open(
        connection,
        tenant_id,
        [job_id],
        source=EventSource.API,
        run_ids=unsettled,
        actor=command.actor,
    )
    in_jenkins = [run.run_id for run in _settle_runs(unit, unsettled)]
    if command.cancel_builds:
        await cancel.request_stops(connection, tenant_id, in_jenkins)
    await definitions.soft_delete(connection, tenant_id, deployment_uid, keep_s=keep_s)
    await _release_job(connection, tenant_id, job)
    state = unit.deployment(deployment_uid)
    deleted = _deleted(deployment_uid, state.slug, state.status, state.revision, job_id)
    unit.append(replace(deleted, actor=command.actor))
    sequence = await unit.write()
    assert sequence is not None
    await remember(connection, command.request, deployment_uid, sequence)
    return sequence


def _settle_runs(unit: RunUnitOfWork, run_ids: Iterable[uuid.UUID]) -> list[Run]:
    """End the runs of a deployment that is deleted; return those that may have a build or queue item in Jenkins."""
    in_jenkins = []
    for run in filter(None, map(unit.run, run_ids)):
        never_sent = run.trigger_state is TriggerState.WAITING
        if not never_sent:
            in_jenkins.append(run)
        when = "before the run was sent to Jenkins" if never_sent else "during the run"
        ended, transitions = end_without_build(
            run,
            FailureCause.DEPLOYMENT_DELETED,
            f"The deployment was deleted {when}.",
            certain=never_sent,
            highest=unit.highest_build(run.deployment_id),
            now=unit.now,
        )
        unit.move(ended, transitions)
    return in_jenkins


async def remove(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_uid: uuid.UUID,
    deployment: DeploymentToDelete,
    job: JobRow,
    message: str = "",
) -> int:
    """Remove the row of a deployment that never ran; it and its job are locked. Return the event's sequence.

    Must be the last step of the transaction that takes locks.
    """
    await definitions.delete(connection, tenant_id, deployment_uid)
    await _release_job(connection, tenant_id, job)
    event = _deleted(
        deployment_uid,
        deployment.slug,
        deployment.status,
        deployment.revision,
        job.job_id,
        message,
    )
    return await events.append(connection, tenant_id, [event])


def _deleted(
    deployment_uid: uuid.UUID,
    slug: str,
    status: DeploymentStatus,
    revision: int,
    job_id: uuid.UUID,
    message: str = "",
) -> NewEvent:
    """Return the last event of a deployment whose revision is ``revision``."""
    return NewEvent(
        deployment_id=deployment_uid,
        deployment_slug=slug,
        revision=revision + 1,
        type=EventType.DEPLOYMENT_DELETED,
        source=EventSource.API,
        old_status=status,
        status=status,
        deployment_status=status,
        job_id=job_id,
        message=message,
    )


async def _release_job(connection: Connection, tenant_id: uuid.UUID, job: JobRow) -> None:
    if await jobs.mapped_deployments(connection, tenant_id, job.job_id):
        return  # other deployments share it
    needless = job.origin is JobOrigin.ADOPTED or not _may_be_in_jenkins(job)
    if needless and not await cancel.is_stopping(connection, tenant_id, job.job_id):
        await jobs.delete(connection, tenant_id, job.job_id)
    else:
        await jobs.start_again(connection, tenant_id, job.job_id, JobState.DELETING)


def _may_be_in_jenkins(job: JobRow) -> bool:
    """Return whether the job may exist in Jenkins, or may still be created by a request in flight."""
    if job.state is JobState.CREATING:
        return job.attempt > 0
    if job.failure is None:
        return True
    # An existing name, a missing folder or an invalid definition: an earlier request with a lost answer failed for the
    # same reason. But an account may have lost its permission after that request.
    return job.failure.fault is JobFault.PROVIDER_REFUSED and job.attempt > 1

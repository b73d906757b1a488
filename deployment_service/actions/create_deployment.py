"""CreateDeployment: commit the intent; the job provisioner then creates its job in Jenkins.

The call waits for that, for a short and bounded time. If Jenkins refuses the job within it, the call fails and the
deployment is removed again, so that the call can be repeated after the cause is removed. If Jenkins refuses it later,
the state of the job is FAILED.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from deployment_service.actions.delete_deployment import remove
from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.cicd.errors import DefinitionInvalid
from deployment_service.cicd.job_rules import render
from deployment_service.domain import definition
from deployment_service.domain.access import TenantRef
from deployment_service.domain.actors import Actor
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.deployment_settings import DeploymentSettings
from deployment_service.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from deployment_service.domain.events import EventSource, EventType, NewEvent
from deployment_service.domain.jobs import JobFailure, JobOrigin, JobState
from deployment_service.domain.names import DeploymentName, ProviderName, check_id
from deployment_service.domain.status import DeploymentStatus
from deployment_service.runtime.backoff import Backoff
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.deployments import definitions
from deployment_service.storage.deployments.definitions import NewDeployment
from deployment_service.storage.events import events
from deployment_service.storage.jobs import jobs
from deployment_service.storage.jobs.jobs import JobRow
from deployment_service.storage.row_signals import RowSignals

DEFAULT_WAIT_S = 3.0
# Another replica's job provisioner sends no signal here.
_POLLS = Backoff(0.05, 0.5)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class CreateDeployment:
    """The arguments of CreateDeployment, not validated yet except for the tenant."""

    tenant: TenantRef
    deployment_id: str
    provider_id: str
    job: JobDefinition
    settings: DeploymentSettings = field(default_factory=DeploymentSettings)
    caller_is_admin: bool = False
    allowed_origins: frozenset[str] | None = None
    """Those of repositories in private ranges; None: any."""
    actor: Actor | None = None
    request: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The created deployment, of this call or of an earlier one with the same request_id."""

    deployment_uid: uuid.UUID
    sequence: int


@dataclass(frozen=True, slots=True)
class _Committed:
    created: Created
    job_id: uuid.UUID | None = None
    """None: by an earlier call."""


class _BeingDeleted(Exception):
    """The job's former owner is deleted, and the job is not deleted in Jenkins yet."""

    def __init__(self, job: JobRow) -> None:
        super().__init__(job.full_name)
        self.job = job


class DeploymentCreator:
    """Creates deployments. Calls ``committed(tenant_id)`` after new events, ``wake_provisioner`` after new jobs."""

    def __init__(
        self,
        database: Database,
        signals: RowSignals,
        *,
        committed: Callable[[uuid.UUID], None],
        wake_provisioner: Callable[[], None],
        wait_s: float = DEFAULT_WAIT_S,
    ) -> None:
        self._database = database
        self._signals = signals
        self._committed = committed
        self._wake_provisioner = wake_provisioner
        self._wait_s = wait_s

    async def create(
        self, command: CreateDeployment, *, remaining_s: float | None = None
    ) -> Created:
        """Create a deployment. ``remaining_s``, from the caller's deadline, bounds the wait, not the work."""
        wait_s = self._wait_s if remaining_s is None else min(self._wait_s, remaining_s)
        until = asyncio.get_running_loop().time() + wait_s
        new = _in_normal_form(command)
        committed = await self._commit(command, new, until)
        if committed.job_id is None:
            return committed.created
        self._committed(new.tenant_id)
        self._wake_provisioner()
        job = await self._settled(new.tenant_id, committed.job_id, until, JobState.CREATING)
        if job is not None and job.failure is not None:
            await self._take_back(command, new, job, job.failure)
        return committed.created

    async def _commit(
        self, command: CreateDeployment, new: NewDeployment, until: float
    ) -> _Committed:
        while True:
            try:
                return await self._database.transaction(lambda c: _create(c, command, new))
            except _BeingDeleted as error:
                await self._wait_for_deletion(new.tenant_id, error.job, until)

    async def _wait_for_deletion(self, tenant_id: uuid.UUID, job: JobRow, until: float) -> None:
        async with self._database.acquire() as connection:
            await jobs.retry_now(connection, tenant_id, job.job_id)
        self._wake_provisioner()
        left = await self._settled(tenant_id, job.job_id, until, JobState.DELETING)
        if left is not None:
            why = f" ({left.state_message.rstrip('.')})" if left.state_message else ""
            raise FailedPrecondition(
                "JOB_BEING_DELETED",
                f"The job '{job.full_name}' of a deleted deployment is still being deleted in "
                f"Jenkins{why}. Try again in a few seconds, or choose another full_name.",
                metadata={"job": job.full_name, "retry_after": "5s"},
            )

    async def _settled(
        self, tenant_id: uuid.UUID, job_id: uuid.UUID, until: float, state: JobState
    ) -> JobRow | None:
        """Wait, until a point in time, for a job to leave a state; return it as it is then."""
        pauses = _POLLS.pauses()
        pause_s = next(pauses)
        loop = asyncio.get_running_loop()
        with self._signals.subscribe(job_id) as changed:
            while True:
                changed.clear()
                async with self._database.acquire() as connection:
                    job = await jobs.read(connection, tenant_id, job_id)
                if job is None or job.state is not state or loop.time() >= until:
                    return job
                try:
                    async with asyncio.timeout_at(min(until, loop.time() + pause_s)):
                        await changed.wait()
                except TimeoutError:
                    pause_s = next(pauses)

    async def _take_back(
        self, command: CreateDeployment, new: NewDeployment, failed: JobRow, failure: JobFailure
    ) -> None:
        """Remove the deployment and raise the cause, unless the deployment was used in the meantime."""
        taken_back = await self._database.transaction(
            lambda c: _take_back(c, command, new, failed, str(failure))
        )
        if taken_back:
            self._committed(new.tenant_id)
            self._wake_provisioner()
            raise failure.error(failed.full_name)


def _in_normal_form(command: CreateDeployment) -> NewDeployment:
    check_id(command.deployment_id, field="deployment_id")
    settings = command.settings.checked(declares=command.job.kind is not JobKind.EXISTING)
    parameters = settings.parameter_definitions
    new = NewDeployment(
        tenant_id=command.tenant.tenant_id,
        deployment_id=uuid.uuid4(),
        slug=command.deployment_id,
        settings=settings,
        job=definition.check_job(command.job, parameters, allowed_origins=command.allowed_origins),
    )
    if new.job.kind is not JobKind.EXISTING:
        # Reject a definition that cannot be rendered now, instead of later in the job provisioner.
        try:
            render(new.job, owner=new.deployment_id, parameters=parameters, webhook=None)
        except DefinitionInvalid as error:
            raise InvalidArgument("deployment.job", error.message) from None
    return new


async def _create(
    connection: Connection, command: CreateDeployment, new: NewDeployment
) -> _Committed:
    known = await begin_request(connection, command.request)
    if known is not None and known.resource_id is not None:
        return _Committed(Created(known.resource_id, known.sequence))
    provider = await definitions.provider(connection, new.tenant_id, command.provider_id)
    if provider is None:
        name = ProviderName(command.tenant.slug, command.provider_id)
        raise NotFound("provider", str(name))
    full_name = new.job.full_name or definition.default_full_name(
        provider.rules, command.tenant.slug, new.slug
    )
    definition.check_allowed(
        new.job, full_name, provider.rules, caller_is_admin=command.caller_is_admin
    )
    if not await definitions.insert(connection, new, provider.provider_id):
        raise AlreadyExists("deployment", str(DeploymentName(command.tenant.slug, new.slug)))
    job = await _take_job(connection, new, provider.provider_id, full_name)
    await jobs.map_deployment(
        connection, new.tenant_id, new.deployment_id, job, new.job.fixed_parameters
    )
    event = replace(_creation(new, job), actor=command.actor)
    sequence = await events.append(connection, new.tenant_id, [event])
    await remember(connection, command.request, new.deployment_id, sequence)
    return _Committed(Created(new.deployment_id, sequence), job.job_id)


async def _take_job(
    connection: Connection, new: NewDeployment, provider_id: uuid.UUID, full_name: str
) -> JobRow:
    """Add the row of the job, or lock the one that may be shared."""
    adopts = new.job.kind is JobKind.EXISTING
    owner = None if adopts else new.deployment_id
    for _ in range(_TRIES):
        job_id = await jobs.insert(
            connection, new.tenant_id, provider_id, full_name, owner_deployment_id=owner
        )
        if job_id is None:
            found = await jobs.find(connection, new.tenant_id, provider_id, full_name)
            if found is None:
                continue  # its deletion was committed between the two statements
            job_id = found.job_id
            await locks.lock_jobs(connection, new.tenant_id, [job_id])
        job = await jobs.read(connection, new.tenant_id, job_id)
        if job is None:
            continue
        if job.owner_deployment_id == new.deployment_id:
            return job
        if job.state is JobState.DELETING:
            raise _BeingDeleted(job)
        if not adopts or job.origin is JobOrigin.CREATED:
            raise AlreadyExists(
                "job", full_name, message=f"The job '{full_name}' belongs to another deployment."
            )
        if job.state is JobState.FAILED:
            await jobs.start_again(connection, new.tenant_id, job_id, JobState.CREATING)
            return replace(job, state=JobState.CREATING)
        return job
    raise AssertionError("unreachable: a job was deleted as often as it was found")


async def _take_back(
    connection: Connection,
    command: CreateDeployment,
    new: NewDeployment,
    failed: JobRow,
    message: str,
) -> bool:
    await locks.lock_jobs(connection, new.tenant_id, [failed.job_id])
    deployment = await definitions.lock_to_delete(connection, new.tenant_id, new.deployment_id)
    job = await jobs.read(connection, new.tenant_id, failed.job_id)
    if deployment is None or job is None or job.attempt != failed.attempt:
        return False
    key = command.request
    if key is not None:
        await definitions.forget_request(
            connection,
            tenant_id=key.tenant_id,
            caller=key.caller,
            method=key.method,
            request_id=key.request_id,
            deployment_id=new.deployment_id,
        )
    await remove(connection, new.tenant_id, new.deployment_id, deployment, job, message)
    return True


def _creation(new: NewDeployment, job: JobRow) -> NewEvent:
    status = DeploymentStatus.PENDING
    return NewEvent(
        deployment_id=new.deployment_id,
        deployment_slug=new.slug,
        revision=1,
        type=EventType.DEPLOYMENT_CREATED,
        source=EventSource.API,
        old_status=status,
        status=status,
        deployment_status=status,
        job_id=job.job_id,
    )

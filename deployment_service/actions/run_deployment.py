"""RunDeployment: the intent is committed first, then the dispatcher triggers it.

The call waits a short, bounded time for that; its deadline bounds the wait, never the attempt.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.actions.run_values import earlier_run, run_values
from deployment_service.domain.access import TenantRef
from deployment_service.domain.actors import Actor
from deployment_service.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from deployment_service.domain.events import EventSource, EventType, NewEvent, WaitingFor
from deployment_service.domain.names import DeploymentName, RunName
from deployment_service.domain.parameters import check_parameters
from deployment_service.domain.run_requests import RunRequest
from deployment_service.domain.secret_values import pack
from deployment_service.domain.status import DeploymentStatus
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.events import events
from deployment_service.storage.row_signals import RowSignals
from deployment_service.storage.runs import intents
from deployment_service.storage.runs.intents import Runnable


@dataclass(frozen=True, slots=True)
class RunDeployment:
    """The arguments of RunDeployment."""

    tenant: TenantRef
    deployment_id: str
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    from_run: str = ""
    allow_concurrent: bool = False
    about: RunRequest = field(default_factory=RunRequest)
    request: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """What was committed, now or by an earlier call with the same request_id. ``sequence`` is the position
    before the run's first event: a watch from there sees all of the run."""

    run_id: uuid.UUID
    sequence: int


# A read settles a reported end within half a second, as a rule.
_SETTLED_WITHIN_S = 3.0
_RETRY_AFTER_S = 1.0


class _EndIsReported(Exception):
    """The active runs have ended by reports that no read has confirmed yet. ``error``: the answer if none comes."""

    def __init__(self, deployment_id: uuid.UUID, error: FailedPrecondition) -> None:
        super().__init__(str(error))
        self.deployment_id = deployment_id
        self.error = error


class RunStarter:
    """Commits runs. Calls ``committed(tenant_id)`` after new events, ``wake_dispatcher`` after new runs."""

    def __init__(
        self,
        database: Database,
        signals: RowSignals,
        box: SecretBox,
        *,
        committed: Callable[[uuid.UUID], None],
        wake_dispatcher: Callable[[], None],
        wait_s: float,
        trigger_deadline_s: float,
        max_active_runs: int = 1_000,
    ) -> None:
        self._database = database
        self._signals = signals
        self._box = box
        self._committed = committed
        self._wake_dispatcher = wake_dispatcher
        self._wait_s = wait_s
        self._trigger_deadline_s = trigger_deadline_s
        self._max_active_runs = max_active_runs

    async def start(self, command: RunDeployment, *, remaining_s: float) -> Started:
        """Commit the run, wait for its trigger for at most ``remaining_s``.

        Raises InvalidArgument, NotFound, and FailedPrecondition (RUN_ACTIVE, JOB_NOT_READY).
        """
        if command.request is None:
            raise InvalidArgument(
                "request_id",
                "is required: a UUID that you make up for this run, so that a repeated call runs nothing twice",
                reason="REQUEST_ID_REQUIRED",
            )
        check_parameters(command.parameters, field="parameters")
        try:
            started = await self._database.transaction(lambda c: self._commit(c, command))
        except _EndIsReported as reported:
            wait_s = min(_SETTLED_WITHIN_S, remaining_s)
            started = await self._commit_once_settled(command, reported.deployment_id, wait_s)
        self._committed(command.tenant.tenant_id)
        self._wake_dispatcher()
        await self._wait(command.tenant.tenant_id, started.run_id, min(self._wait_s, remaining_s))
        return started

    async def _commit_once_settled(
        self, command: RunDeployment, deployment_id: uuid.UUID, wait_s: float
    ) -> Started:
        """The run before has ended by a report: wait a short time for the read that settles it."""
        tenant_id = command.tenant.tenant_id
        await self._signals.wait(
            self._database,
            deployment_id,
            lambda c: intents.is_settled(c, tenant_id, deployment_id),
            wait_s,
        )
        try:
            return await self._database.transaction(lambda c: self._commit(c, command))
        except _EndIsReported as reported:
            raise reported.error from None

    async def _commit(self, connection: Connection, command: RunDeployment) -> Started:
        known = await begin_request(connection, command.request)
        if known is not None and known.resource_id is not None:
            return Started(known.resource_id, known.sequence)
        tenant_id = command.tenant.tenant_id
        name = DeploymentName(command.tenant.slug, command.deployment_id)
        deployment_id = await locks.lock_deployment_by_slug(
            connection, tenant_id, command.deployment_id
        )
        runnable = deployment_id and await intents.read(
            connection, tenant_id, deployment_id, count_to=self._max_active_runs
        )
        if not runnable:
            raise NotFound("deployment", str(name))
        _check_may_run(name, runnable, allow_concurrent=command.allow_concurrent)
        if runnable.active_of_tenant >= self._max_active_runs:
            raise ResourceExhausted(
                "TOO_MANY_ACTIVE_RUNS",
                f"'tenants/{command.tenant.slug}' has {self._max_active_runs} active runs, the most it may "
                "have. Wait until some are settled, or cancel some.",
                retry_after_s=10.0,
            )
        earlier = earlier_run(name, command.from_run)
        values = await run_values(connection, tenant_id, runnable, command.parameters, earlier)
        run_id = uuid.uuid4()
        await intents.insert(
            connection,
            tenant_id,
            runnable,
            run_id,
            values,
            self._box.encrypt(pack(values.secret)) if values.secret else None,
            command.about,
            retry_of=earlier.number if earlier else None,
            trigger_deadline_s=self._trigger_deadline_s,
        )
        sequence = (
            await events.append(
                connection, tenant_id, [_requested(runnable, command.about.requested_by)]
            )
            - 1
        )
        await remember(connection, command.request, run_id, sequence)
        return Started(run_id, sequence)

    async def _wait(self, tenant_id: uuid.UUID, run_id: uuid.UUID, wait_s: float) -> None:
        """Return when the run has been triggered or can't be, or when the time is over."""
        await self._signals.wait(
            self._database, run_id, lambda c: intents.is_triggered(c, tenant_id, run_id), wait_s
        )


def _check_may_run(name: DeploymentName, runnable: Runnable, *, allow_concurrent: bool) -> None:
    if runnable.job_state != "READY":
        why = runnable.state_message or "it is still being created in Jenkins"
        raise FailedPrecondition(
            "JOB_NOT_READY",
            f"The job of '{name}' is not ready: {why}",
            metadata={"deployment": str(name)},
        )
    if runnable.active_number is not None and not allow_concurrent:
        run = RunName(name.tenant, name.deployment, runnable.active_number)
        ended = runnable.active_has_ended
        why = "has ended by a report that Jenkins has not confirmed yet" if ended else "is active"
        error = FailedPrecondition(
            "RUN_ACTIVE",
            f"'{run}' {why}. Wait until it is settled, or set allow_concurrent.",
            metadata={"run": str(run)},
            retry_after_s=_RETRY_AFTER_S,
        )
        raise _EndIsReported(runnable.deployment_id, error) if ended else error


def _requested(deployment: Runnable, actor: Actor | None) -> NewEvent:
    return NewEvent(
        deployment_id=deployment.deployment_id,
        deployment_slug=deployment.slug,
        revision=deployment.revision + 1,
        type=EventType.DEPLOYMENT_STATUS_UPDATE,
        source=EventSource.API,
        old_status=DeploymentStatus(deployment.status),
        status=DeploymentStatus.PENDING,
        deployment_status=DeploymentStatus.PENDING,
        old_deployment_status=DeploymentStatus(deployment.status),
        run_number=deployment.next_number,
        job_id=deployment.job_id,
        message="A run was requested.",
        waiting_for=WaitingFor.TRIGGER,
        actor=actor,
    )

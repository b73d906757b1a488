"""CancelRun: commit the cancel request; the reconciler carries it out in Jenkins and reads the result.

Only a run that was never sent to Jenkins ends at once. Any other run ends with the result of its build, so that a
build that finishes first keeps its result.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.domain.access import TenantRef
from deployment_service.domain.actors import Actor
from deployment_service.domain.errors import FailedPrecondition, NotFound
from deployment_service.domain.events import EventSource
from deployment_service.domain.names import RunName
from deployment_service.domain.run_transitions import end_without_build
from deployment_service.domain.runs import TriggerState
from deployment_service.domain.status import FailureCause
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.events import events
from deployment_service.storage.reports import reports
from deployment_service.storage.row_signals import RowSignals
from deployment_service.storage.runs import cancel
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork


@dataclass(frozen=True, slots=True)
class CancelRun:
    """The arguments of a cancel request."""

    tenant: TenantRef
    name: RunName
    actor: Actor | None = None
    request: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The committed cancel request, of this call or of an earlier one with the same request_id."""

    run_id: uuid.UUID
    sequence: int


class RunCanceller:
    """Commits cancel requests. Calls ``committed(tenant_id)`` after new events, ``wake_reconciler`` after requests."""

    def __init__(
        self,
        database: Database,
        signals: RowSignals,
        *,
        committed: Callable[[uuid.UUID], None],
        wake_reconciler: Callable[[], None],
        wait_s: float,
    ) -> None:
        self._database = database
        self._signals = signals
        self._committed = committed
        self._wake_reconciler = wake_reconciler
        self._wait_s = wait_s

    async def cancel(self, command: CancelRun, *, remaining_s: float) -> Cancelled:
        """Commit the cancel request, then wait for the run's end, at most ``remaining_s``.

        Raises: ``NotFound``, ``FailedPrecondition`` (RUN_ENDED).
        """
        cancelled = await self._database.transaction(lambda c: self._commit(c, command))
        self._committed(command.tenant.tenant_id)
        self._wake_reconciler()
        wait_s = min(self._wait_s, remaining_s)
        await self._wait(command.tenant.tenant_id, cancelled.run_id, wait_s)
        return cancelled

    async def _commit(self, connection: Connection, command: CancelRun) -> Cancelled:
        earlier = await begin_request(connection, command.request)
        if earlier is not None and earlier.resource_id is not None:
            return Cancelled(earlier.resource_id, earlier.sequence)
        tenant_id, name = command.tenant.tenant_id, command.name
        found = await cancel.find(connection, tenant_id, name.deployment, name.number)
        if found is None:
            raise NotFound("run", str(name))
        run_id, job_id = found
        await locks.lock_jobs(connection, tenant_id, [job_id])
        unit = await RunUnitOfWork.open(
            connection,
            tenant_id,
            [job_id],
            source=EventSource.API,
            run_ids=[run_id],
            actor=command.actor,
        )
        run = unit.run(run_id)
        if run is None:
            raise NotFound("run", str(name))
        if run.settled:
            raise FailedPrecondition(
                "RUN_ENDED",
                f"'{name}' has ended: it is {run.status}.",
                metadata={"run": str(name), "status": str(run.status)},
            )
        before = await events.head(connection, tenant_id)
        await cancel.request(connection, tenant_id, run_id)
        if run.trigger_state is TriggerState.WAITING:
            unit.move(
                *end_without_build(
                    run,
                    FailureCause.CANCELLED,
                    "It was cancelled before it was sent to Jenkins.",
                    certain=True,
                    highest=unit.highest_build(run.deployment_id),
                    now=unit.now,
                )
            )
            await unit.write()
        else:
            await reports.request_refresh(connection, tenant_id, [job_id])
        await remember(connection, command.request, run_id, before)
        return Cancelled(run_id, before)

    async def _wait(self, tenant_id: uuid.UUID, run_id: uuid.UUID, wait_s: float) -> None:
        """Return when the run has ended, or after ``wait_s``."""
        await self._signals.wait(
            self._database, run_id, lambda c: cancel.has_ended(c, tenant_id, run_id), wait_s
        )

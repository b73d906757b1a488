"""Refresh requests from the gateway, which cause a read of a job. They wait for no lock and fail no call."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Sequence

import structlog

from deployment_service.domain.names import TenantName
from deployment_service.domain.reports import RefreshRequest, job_id
from deployment_service.runtime.backoff import Backoff
from deployment_service.storage.database.pool import Database
from deployment_service.storage.reports import reports as store

_log = structlog.get_logger(__name__)

_BACKOFF = Backoff(0.05, 2.0, jitter=0)
# About two minutes: longer than any transaction can hold its locks.
_MAX_TRIES = 64


class RefreshRequests:
    """Stores refresh requests; those for locked jobs are queued here and retried.

    The queue is only in memory: if it is lost, the reconciler reads the job later.
    """

    def __init__(self, database: Database, refresh_requested: Callable[[], None]) -> None:
        self._database = database
        self._refresh_requested = refresh_requested
        self._queued: dict[uuid.UUID, set[uuid.UUID]] = {}
        self._task: asyncio.Task[None] | None = None

    async def place(self, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]) -> None:
        """Store the requests for unlocked jobs now, and retry the others in the background."""
        locked = set(job_ids)
        try:
            locked = await self._try(tenant_id, locked)
        except Exception as error:
            _log_retry(tenant_id, error)
        if locked:
            self._queued.setdefault(tenant_id, set()).update(locked)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._retry())

    async def _try(self, tenant_id: uuid.UUID, job_ids: set[uuid.UUID]) -> set[uuid.UUID]:
        """Store the requests for unlocked jobs; return the locked ones."""
        locked = await self._database.transaction(
            lambda connection: store.request_refresh_unlocked(connection, tenant_id, job_ids)
        )
        if locked != job_ids:
            self._refresh_requested()
        return locked

    async def _retry(self) -> None:
        for attempt in range(_MAX_TRIES):
            await asyncio.sleep(_BACKOFF.pause_s(attempt))
            for tenant_id, job_ids in list(self._queued.items()):
                del self._queued[tenant_id]
                locked = job_ids
                try:
                    locked = await self._try(tenant_id, job_ids)
                except Exception as error:
                    _log_retry(tenant_id, error)
                if locked:
                    self._queued.setdefault(tenant_id, set()).update(locked)
            if not self._queued:
                return
        _log.error("refresh_requests.dropped", jobs=sum(map(len, self._queued.values())))
        self._queued.clear()


def _log_retry(tenant_id: uuid.UUID, error: Exception) -> None:
    _log.warning("refresh_requests.retried", tenant_id=str(tenant_id), error=repr(error))


def requested_reads(refresh_requests: Sequence[RefreshRequest]) -> dict[str, set[uuid.UUID]]:
    """Return the jobs to read, by tenant; malformed requests are logged."""
    requested: dict[str, set[uuid.UUID]] = {}
    for request in refresh_requests:
        try:
            tenant = TenantName.parse(request.tenant, field="tenant").tenant
            requested.setdefault(tenant, set()).add(job_id(request.cicd_job_id))
        except Exception as error:
            _log.warning("refresh_request.invalid", error=str(error))
    return requested

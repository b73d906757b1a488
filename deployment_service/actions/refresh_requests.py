"""Refresh requests from the gateway: have a job read soon. They wait for no lock and fail no call."""

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
# About two minutes: longer than any transaction can stand still and keep its locks.
_MAX_TRIES = 64


class RefreshRequests:
    """Writes pokes down; one whose job somebody else holds is kept here until it can be written.

    Only in memory: the gateway has no better place for it either, and what a lost poke leaves behind
    the reconciler finds, later.
    """

    def __init__(self, database: Database, refresh_requested: Callable[[], None]) -> None:
        self._database = database
        self._refresh_requested = refresh_requested
        self._left: dict[uuid.UUID, set[uuid.UUID]] = {}
        self._task: asyncio.Task[None] | None = None

    async def place(self, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]) -> None:
        """Write down what can be at once, and see to the rest later."""
        left = set(job_ids)
        try:
            left = await self._try(tenant_id, left)
        except Exception as error:
            _log.warning("pokes not written yet", tenant_id=str(tenant_id), error=repr(error))
        if left:
            self._left.setdefault(tenant_id, set()).update(left)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._place_the_rest())

    async def _try(self, tenant_id: uuid.UUID, job_ids: set[uuid.UUID]) -> set[uuid.UUID]:
        """Return those whose jobs somebody else holds."""
        left = await self._database.transaction(
            lambda connection: store.request_refresh_unlocked(connection, tenant_id, job_ids)
        )
        if left != job_ids:
            self._refresh_requested()
        return left

    async def _place_the_rest(self) -> None:
        for attempt in range(_MAX_TRIES):
            await asyncio.sleep(_BACKOFF.pause_s(attempt))
            for tenant_id, job_ids in list(self._left.items()):
                del self._left[tenant_id]
                left = job_ids
                try:
                    left = await self._try(tenant_id, job_ids)
                except Exception as error:
                    _log.warning(
                        "pokes not written yet", tenant_id=str(tenant_id), error=repr(error)
                    )
                if left:
                    self._left.setdefault(tenant_id, set()).update(left)
            if not self._left:
                return
        _log.error("pokes given up", jobs=sum(map(len, self._left.values())))
        self._left.clear()


def requested_reads(refresh_requests: Sequence[RefreshRequest]) -> dict[str, set[uuid.UUID]]:
    """Return the jobs to read, by tenant; malformed requests are logged."""
    requested: dict[str, set[uuid.UUID]] = {}
    for request_refresh in refresh_requests:
        try:
            tenant = TenantName.parse(request_refresh.tenant, field="tenant").tenant
            requested.setdefault(tenant, set()).add(job_id(request_refresh.cicd_job_id))
        except Exception as error:
            _log.warning("refresh_request.invalid", error=str(error))
    return requested

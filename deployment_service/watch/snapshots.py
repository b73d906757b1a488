"""Shared reads of snapshots, so that 1,000 watches that start again do not overload the database."""

from __future__ import annotations

import asyncio
import uuid
from weakref import WeakValueDictionary

import structlog

from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import Unavailable
from deployment_service.runtime.single_flight import SingleFlight
from deployment_service.watch.ports import Selection, SnapshotPage, SnapshotReader
from deployment_service.watch.settings import WatchSettings

_log = structlog.get_logger(__name__)
_Key = tuple[uuid.UUID, Selection, str]


class Snapshots:
    """Pages of a tenant's deployments, a few at a time, and fairly between tenants.

    A request joins a read of the same page that has not begun (single flight). It does not join a read that has begun:
    such a read may miss commits from before the request, and the stream has already taken the sequence of its
    snapshot. So the reads of one page never overlap unnecessarily, however many streams request it.
    """

    def __init__(self, reader: SnapshotReader, settings: WatchSettings) -> None:
        self._reader = reader
        self._settings = settings
        self._readers = asyncio.Semaphore(settings.snapshot_readers)
        # The semaphore of a tenant exists as long as a read of the tenant uses it.
        self._lanes: WeakValueDictionary[uuid.UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._reads: SingleFlight[_Key, SnapshotPage] = SingleFlight()

    async def page(
        self, tenant: TenantRef, selection: Selection, after: str, until: float
    ) -> SnapshotPage:
        """Return a page from a read that begins after this call.

        Raises:
            Unavailable: the page could not be read by the loop time ``until``.
        """
        key = tenant.tenant_id, selection, after
        task = self._reads.task(key, lambda: self._read(tenant, key))
        try:
            async with asyncio.timeout_at(until):
                # Not ``await task``: a timeout here must not cancel the read, which other streams wait for.
                await asyncio.wait((task,))
        except TimeoutError:
            failure = "it takes too long"
        else:
            if task.cancelled():
                failure = "the replica stops"
            elif (error := task.exception()) is None:
                return task.result()
            else:
                failure = repr(error)
        _log.warning("watch.snapshot_unreadable", tenant=tenant.slug, error=failure)
        raise Unavailable("STORE_UNAVAILABLE", "The deployments can't be read at the moment.")

    async def close(self) -> None:
        """Cancel all reads."""
        await self._reads.close()

    async def _read(self, tenant: TenantRef, key: _Key) -> SnapshotPage:
        tenant_id, selection, after = key
        width = max(1, self._settings.snapshot_readers // 2)
        lane = self._lanes.setdefault(tenant_id, asyncio.Semaphore(width))
        async with lane, self._readers:
            self._reads.seal(key)
            async with asyncio.timeout(self._settings.read_timeout_s):
                return await self._reader.page(tenant, selection, after)

"""Reads of the present, shared: a thousand watchers that start afresh must not take the database from others."""

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

    Who asks for a page joins the read of it that is about to begin. One that has begun isn't joined: it may not see
    what was committed before the question, and the stream has already taken the sequence that its snapshot stands
    for. So however many ask, a page is read as often as reads of it fit one after the other.
    """

    def __init__(self, reader: SnapshotReader, settings: WatchSettings) -> None:
        self._reader = reader
        self._settings = settings
        self._readers = asyncio.Semaphore(settings.snapshot_readers)
        # A tenant has a lane as long as somebody is in it.
        self._lanes: WeakValueDictionary[uuid.UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._reads: SingleFlight[_Key, SnapshotPage] = SingleFlight()

    async def page(
        self, tenant: TenantRef, selection: Selection, after: str, until: float
    ) -> SnapshotPage:
        """A page as it now is or later; Unavailable if it can't be read by the loop's time ``until``."""
        key = tenant.tenant_id, selection, after
        task = self._reads.task(key, lambda: self._read(tenant, key))
        try:
            async with asyncio.timeout_at(until):
                # Others wait for it as well.
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
        """Stop reading."""
        await self._reads.close()

    async def _read(self, tenant: TenantRef, key: _Key) -> SnapshotPage:
        tenant_id, selection, after = key
        width = max(1, self._settings.snapshot_readers // 2)
        lane = self._lanes.setdefault(tenant_id, asyncio.Semaphore(width))
        async with lane, self._readers:
            self._reads.seal(key)
            async with asyncio.timeout(self._settings.read_timeout_s):
                return await self._reader.page(tenant, selection, after)

"""Reads of the present, bounded: a thousand watchers that start afresh must not take the database from others."""

from __future__ import annotations

import asyncio
import uuid
from weakref import WeakValueDictionary

import structlog

from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import ServiceError, Unavailable
from deployment_service.watch.ports import SnapshotPage, SnapshotReader
from deployment_service.watch.settings import WatchSettings

_log = structlog.get_logger(__name__)


class Snapshots:
    """Pages of a tenant's deployments, a few at a time, and fairly between tenants."""

    def __init__(self, reader: SnapshotReader, settings: WatchSettings) -> None:
        self._reader = reader
        self._settings = settings
        self._readers = asyncio.Semaphore(settings.snapshot_readers)
        # A tenant has a lane as long as somebody is in it.
        self._lanes: WeakValueDictionary[uuid.UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def page(
        self, tenant: TenantRef, slugs: frozenset[str] | None, after: str, until: float
    ) -> SnapshotPage:
        """A page as it now is; Unavailable if it can't be read by the loop's time ``until``."""
        width = max(1, self._settings.snapshot_readers // 2)
        lane = self._lanes.setdefault(tenant.tenant_id, asyncio.Semaphore(width))
        try:
            async with asyncio.timeout_at(until), lane, self._readers:
                return await self._reader.page(tenant, slugs, after)
        except ServiceError:
            raise
        except TimeoutError:
            failure = "it takes too long"
        except Exception as error:
            failure = repr(error)
        _log.warning("watch.snapshot_unreadable", tenant=tenant.slug, error=failure)
        raise Unavailable("STORE_AWAY", "The deployments can't be read at the moment.")

"""Shared reads of history, for streams that are behind their ring."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AsyncExitStack
from weakref import WeakValueDictionary

import structlog

from deployment_service.domain.errors import Unavailable
from deployment_service.runtime.backoff import Backoff
from deployment_service.runtime.single_flight import SingleFlight
from deployment_service.watch.ports import EventLog
from deployment_service.watch.ring import Page, Ring
from deployment_service.watch.settings import WatchSettings
from deployment_service.watch.tail import Entries, Tail

_log = structlog.get_logger(__name__)
_Key = tuple[uuid.UUID, bytes, int]
_TRIES = 6
_BACKOFF = Backoff(0.2, 2.0, jitter=0)


class History:
    """Pages of history at fixed positions, shared by all streams that are behind. Each page is read by one task."""

    def __init__(
        self,
        event_log: EventLog,
        entries: Entries,
        settings: WatchSettings,
        *,
        suspect: Callable[[], None],
    ) -> None:
        self._event_log = event_log
        self._entries = entries
        self._settings = settings
        self._suspect = suspect
        self._pages: OrderedDict[_Key, Page] = OrderedDict()
        self._bytes = 0
        self._reading: SingleFlight[_Key, Page] = SingleFlight()
        self._readers = asyncio.Semaphore(settings.history_readers)
        # The lock of a tenant exists as long as a read of the tenant uses it.
        self._lanes: WeakValueDictionary[uuid.UUID, asyncio.Lock] = WeakValueDictionary()

    def cached(self, tail: Tail, ring: Ring, position: int) -> Page | None:
        """Return the cached page with the event after ``position``; None if there is none."""
        key = self._key(tail, ring, position)
        page = self._pages.get(key)
        # The cached page was read when the history was shorter.
        if page is None or position >= page.through:
            return None
        self._pages.move_to_end(key)
        return page

    def request(self, tail: Tail, ring: Ring, position: int) -> asyncio.Task[Page]:
        """Read that page, or join a read of it (single flight). Callers must not cancel the task.

        A read that began earlier may end before ``position``: then call this again.
        """
        key = self._key(tail, ring, position)
        return self._reading.task(key, lambda: self._read(tail, ring, key))

    def forget(self) -> None:
        """Drop all pages, after a change of the epoch."""
        self._pages.clear()
        self._bytes = 0

    async def close(self) -> None:
        """Cancel all reads."""
        await self._reading.close()

    def _key(self, tail: Tail, ring: Ring, position: int) -> _Key:
        return tail.tenant.tenant_id, ring.epoch, position // self._settings.history_page

    async def _read(self, tail: Tail, ring: Ring, key: _Key) -> Page:
        """Read a page, with retries while the store is unavailable. The streams send bookmarks meanwhile."""
        after = key[2] * self._settings.history_page
        lane = self._lanes.setdefault(tail.tenant.tenant_id, asyncio.Lock())
        for attempt in range(1, _TRIES + 1):
            try:
                async with AsyncExitStack() as stack:
                    # The tenant's lock first: a read that waits for it holds no reader of other tenants.
                    await stack.enter_async_context(lane)
                    await stack.enter_async_context(self._readers)
                    # Computed after the wait, so that the page includes events that were committed during it.
                    through = min(after + self._settings.history_page, ring.last)
                    async with asyncio.timeout(self._settings.read_timeout_s):
                        epoch, events = await self._event_log.page(
                            tail.tenant.tenant_id, after, through
                        )
            except Exception as error:
                if attempt == _TRIES:
                    _log.warning("watch.history_unreadable", error=type(error).__name__)
                await asyncio.sleep(_BACKOFF.pause_s(attempt - 1))
                continue
            if epoch != ring.epoch:
                # The epoch has changed: the next poll ends the ring, and then this page is not needed.
                self._suspect()
                await asyncio.sleep(0.1)
                continue
            page = Page(after, through, self._entries.of(tail.tenant, epoch, events))
            self._keep(key, page)
            return page
        raise Unavailable(
            "STORE_UNAVAILABLE", "The history can't be read at the moment: reconnect."
        )

    def _keep(self, key: _Key, page: Page) -> None:
        replaced = self._pages.pop(key, None)
        self._bytes += page.size - (replaced.size if replaced else 0)
        self._pages[key] = page
        while self._bytes > self._settings.history_cache_bytes and len(self._pages) > 1:
            _, dropped = self._pages.popitem(last=False)
            self._bytes -= dropped.size

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
    """Pages of history at fixed places, so that all who are behind share them; each read by one at a time."""

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
        # A tenant has a lane as long as somebody is in it.
        self._lanes: WeakValueDictionary[uuid.UUID, asyncio.Lock] = WeakValueDictionary()

    def cached(self, tail: Tail, ring: Ring, position: int) -> Page | None:
        """The page with the event after ``position``, if it is at hand."""
        key = self._key(tail, ring, position)
        page = self._pages.get(key)
        # Read when history was shorter than the page.
        if page is None or position >= page.through:
            return None
        self._pages.move_to_end(key)
        return page

    def request(self, tail: Tail, ring: Ring, position: int) -> asyncio.Task[Page]:
        """Read that page, or join who is reading it. Whoever waits must not cancel the task.

        A read that had begun before may end short of ``position``: then ask again.
        """
        key = self._key(tail, ring, position)
        return self._reading.task(key, lambda: self._read(tail, ring, key))

    def forget(self) -> None:
        """Drop everything: the store isn't the one it was read from."""
        self._pages.clear()
        self._bytes = 0

    async def close(self) -> None:
        """Stop reading."""
        await self._reading.close()

    def _key(self, tail: Tail, ring: Ring, position: int) -> _Key:
        return tail.tenant.tenant_id, ring.epoch, position // self._settings.history_page

    async def _read(self, tail: Tail, ring: Ring, key: _Key) -> Page:
        """Read a page; a store that is away is asked again for a while, the streams send bookmarks meanwhile."""
        after = key[2] * self._settings.history_page
        lane = self._lanes.setdefault(tail.tenant.tenant_id, asyncio.Lock())
        for attempt in range(1, _TRIES + 1):
            try:
                async with AsyncExitStack() as stack:
                    # The tenant's own lane first: who waits in it takes no reader from others.
                    await stack.enter_async_context(lane)
                    await stack.enter_async_context(self._readers)
                    # Only now: what was committed while we waited belongs to the page.
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
                # Another store answers: the next poll ends the ring, and with it the need for this page.
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

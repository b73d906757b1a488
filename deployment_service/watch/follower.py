"""The loop of a replica that reads new events, for the tails of all tenants together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable

import structlog

from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import Unavailable
from deployment_service.runtime.backoff import Backoff
from deployment_service.watch.auto_reset_event import AutoResetEvent
from deployment_service.watch.epoch import StoreEpoch
from deployment_service.watch.frames import ResetReason
from deployment_service.watch.history import History
from deployment_service.watch.ports import EventLog
from deployment_service.watch.ring import Ring
from deployment_service.watch.settings import WatchSettings
from deployment_service.watch.tail import Entries, Tail

_log = structlog.get_logger(__name__)
_MOST_TAILS_PER_READ = 100
_FEWEST_EVENTS_PER_TAIL = 20


class Follower:
    """Keeps the tails up to date, by hints and by polling.

    A poll is one statement: the epoch, and the heads of all tenants that have a tail. New events are read in one
    statement for all tails that are behind. So the load of the database grows with replicas, not with watchers.
    """

    def __init__(
        self, event_log: EventLog, entries: Entries, epoch: StoreEpoch, settings: WatchSettings
    ) -> None:
        self._event_log = event_log
        self._entries = entries
        self._epoch = epoch
        self._settings = settings
        self.history = History(event_log, entries, settings, suspect=self.look)
        self._tails: dict[uuid.UUID, Tail] = {}
        self._behind: set[uuid.UUID] = set()
        self._asking: list[tuple[uuid.UUID, asyncio.Future[None]]] = []
        self._poll_at = 0.0
        self._wake = AutoResetEvent()

    @property
    def tails(self) -> Iterable[Tail]:
        return self._tails.values()

    def tail(self, tenant: TenantRef) -> Tail:
        """Return the tenant's tail; create it if needed. The caller increments and decrements ``tail.streams``."""
        tail = self._tails.get(tenant.tenant_id)
        if tail is None:
            tail = self._tails[tenant.tenant_id] = Tail(tenant)
            tail.idle_since = asyncio.get_running_loop().time()
        return tail

    def look(self, tenant_ids: Iterable[uuid.UUID] | None = None) -> None:
        """Read soon: events may have been committed for these tenants (None: for any tenant)."""
        if tenant_ids is None:
            self._poll_at = 0.0
        else:
            found = [one for one in tenant_ids if one in self._tails]
            if not found:
                return
            self._behind.update(found)
        self._wake.set()

    async def ask(self, tail: Tail, until: float) -> None:
        """Return after a read of the tail's head that began after this call.

        Raises:
            Unavailable: no read succeeded by the loop time ``until``.
        """
        asking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append((tail.tenant.tenant_id, asking))
        self._wake.set()
        try:
            async with asyncio.timeout_at(until):
                await asking
        except TimeoutError:
            raise Unavailable(
                "STORE_UNAVAILABLE", "The store can't be read at the moment: reconnect."
            ) from None

    async def anchored(self, tail: Tail, until: float) -> Ring:
        """Return the tail's ring, after the first read of the tenant's head.

        Raises:
            Unavailable: no read succeeded by the loop time ``until``.
        """
        while tail.ring is None:
            await self.ask(tail, until)
        return tail.ring

    def give_up(self, error: Exception) -> None:
        """Raise ``error`` in every call of ``ask`` that still waits."""
        for _, asking in self._asking:
            if not asking.done():
                asking.set_exception(error)

    def wake_all(self) -> None:
        for tail in self._tails.values():
            tail.wake_all()

    async def run(self) -> None:
        """Read for ever. While the store is unavailable the read is retried, with backoff."""
        failed_reads = 0
        backoff = Backoff(0.1, self._settings.poll_interval_s)
        while True:
            try:
                await self._round()
            except Exception as error:
                if not failed_reads:
                    _log.warning("watch.store_unavailable", error=type(error).__name__)
                failed_reads += 1
                # The comparison of all heads finds the tails that the failed read was for.
                self._poll_at = 0.0
                await asyncio.sleep(backoff.pause_s(failed_reads - 1))
            else:
                if failed_reads:
                    _log.info("watch.store_recovered", failed_reads=failed_reads)
                failed_reads = 0

    async def _round(self) -> None:
        if not self._behind and not self._asking:
            await self._wake.wait(self._poll_at)
        async with asyncio.timeout(self._settings.read_timeout_s):
            if asyncio.get_running_loop().time() >= self._poll_at:
                await self._poll()
            elif self._asking:
                # One new stream needs only its own tenant's head, not a comparison of all tenants.
                await self._read_heads({tenant_id for tenant_id, _ in self._asking})
            if self._behind:
                await self._read_news()

    async def _poll(self) -> None:
        """Compare each tail with the store, to find tails that are behind or must restart."""
        loop = asyncio.get_running_loop()
        self._drop_idle(loop.time())
        # Set before the read: a hint during the read then makes another poll due.
        self._poll_at = loop.time() + self._settings.poll_interval_s
        await self._read_heads(self._tails)
        self._shrink_rings()

    async def _read_heads(self, tenant_ids: Iterable[uuid.UUID]) -> None:
        """Read heads, and complete the calls of ``ask`` that were made before."""
        asking, self._asking = self._asking, []
        try:
            epoch, heads = await self._event_log.heads(list(tenant_ids))
        except BaseException:
            # Drop cancelled waiters; otherwise they accumulate while the database is down.
            self._asking += [one for one in asking if not one[1].done()]
            raise
        self._observe(epoch)
        for tenant_id, head in heads.items():
            if tenant_id in self._tails:
                self._compare(self._tails[tenant_id], epoch, head)
        for _, one in asking:
            if not one.done():
                one.set_result(None)

    def _compare(self, tail: Tail, epoch: bytes, head: int) -> None:
        tail.head = head
        if tail.ring is not None and head < tail.ring.last:
            # Committed events are missing: the history was rewound, even if the epoch is the same.
            _log.error("watch.history_rewound", tenant=tail.tenant.slug, head=head)
            tail.restart(ResetReason.STORE_CHANGED)
        if tail.ring is None:
            tail.anchor(self._new_ring(epoch, head))
        elif head > tail.ring.last:
            self._behind.add(tail.tenant.tenant_id)

    async def _read_news(self) -> None:
        positions: dict[uuid.UUID, int] = {}
        while self._behind and len(positions) < _MOST_TAILS_PER_READ:
            tail = self._tails.get(self._behind.pop())
            if tail is not None and tail.ring is not None:
                positions[tail.tenant.tenant_id] = tail.ring.last
        if not positions:
            return
        limit = max(_FEWEST_EVENTS_PER_TAIL, self._settings.news_limit // len(positions))
        epoch, news = await self._event_log.news(positions, limit)
        if self._observe(epoch):
            return
        for tenant_id, events in news.items():
            tail = self._tails[tenant_id]
            if tail.ring is None or tail.ring.last != positions[tenant_id]:
                self._poll_at = 0.0  # The tail was restarted during the read.
                continue
            try:
                entries = self._entries.of(tail.tenant, epoch, events)
            except Exception as error:
                # Isolate an event that cannot be serialised: only the streams of its own tenant restart behind it.
                _log.error("watch.unreadable_event", tenant=tail.tenant.slug, error=repr(error))
                tail.restart(ResetReason.HISTORY_TRIMMED)
                self._poll_at = 0.0
                continue
            if not tail.extend(tail.ring, entries):
                self._poll_at = 0.0
            elif len(events) == limit:
                self._behind.add(tenant_id)

    def _observe(self, epoch: bytes) -> bool:
        """Record the epoch of a read; return whether it has changed. A new epoch voids all earlier reads."""
        if not self._epoch.observe(epoch):
            return False
        _log.error("watch.store_changed", message="Every watcher gets a reset.")
        self.history.forget()
        self._behind.clear()
        for tail in self._tails.values():
            tail.restart(ResetReason.STORE_CHANGED)
        self.look()
        return True

    def _new_ring(self, epoch: bytes, head: int) -> Ring:
        return Ring(epoch, head, max_events=self._settings.ring_events, max_bytes=self._ring_bytes)

    def _ring_bytes(self) -> int:
        """Return the maximum size of each ring, in bytes, so that all rings stay within their total."""
        share = self._settings.rings_total_bytes // max(1, len(self._tails))
        return min(self._settings.ring_bytes, share)

    def _shrink_rings(self) -> None:
        """Shrink rings to their share, which decreases with each new tenant. Idle rings do not shrink by themselves."""
        allowed = self._ring_bytes()
        for tail in self._tails.values():
            if tail.ring is not None and tail.ring.size > allowed:
                tail.ring.shrink()

    def _drop_idle(self, now: float) -> None:
        idle = [
            tail
            for tail in self._tails.values()
            if not tail.streams and now - tail.idle_since > self._settings.linger_s
        ]
        for tail in idle:
            del self._tails[tail.tenant.tenant_id]
            self._behind.discard(tail.tenant.tenant_id)

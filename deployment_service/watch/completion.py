"""Detect that the deployments of a stream with ``until`` have reached their end, reported or settled.

One statement checks all such streams of a replica. A stream is checked after an event of its deployments, and at every
poll interval while all its runs have ended but are not settled. While a run is active only an event can change the
result, so no check is needed.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable, Iterable

import structlog

from deployment_service.domain.events import Until
from deployment_service.watch.auto_reset_event import AutoResetEvent
from deployment_service.watch.ports import EventLog
from deployment_service.watch.settings import WatchSettings

_log = structlog.get_logger(__name__)
_MOST_NAMES_PER_READ = 5000
# Also checked after this many poll intervals without an event, so that no defect makes a client wait for ever.
_POLLS_WITHOUT_EVENT = 15


class Waiter:
    """The deployments that one stream waits for.

    ``final``: the epoch and the sequence at which all of them had reached the requested end.
    """

    __slots__ = ("_completion", "due_at", "final", "slugs", "stream", "tenant_id", "until")

    def __init__(
        self,
        completion: CompletionWatcher,
        tenant_id: uuid.UUID,
        slugs: frozenset[str],
        stream: AutoResetEvent,
        until: Until,
    ) -> None:
        self._completion = completion
        self.tenant_id = tenant_id
        self.slugs = slugs
        self.stream = stream
        self.until = until
        self.due_at = 0.0
        self.final: tuple[bytes, int] | None = None

    def passed(self, slug: str) -> None:
        """Record that the stream has passed an event of this deployment."""
        if slug in self.slugs:
            self._completion.hasten(self)

    def may_end(self, epoch: bytes, position: int) -> bool:
        """Return whether the stream has sent all events up to the end."""
        if self.final is None:
            return False
        if self.final[0] != epoch:  # The result is from another epoch of the store, so it is void.
            self.final = None
            self._completion.hasten(self)
            return False
        return position >= self.final[1]


class CompletionWatcher:
    """Checks for all streams together whether their deployments have reached the end."""

    def __init__(
        self,
        event_log: EventLog,
        settings: WatchSettings,
        *,
        follow: Callable[[Iterable[uuid.UUID]], None],
    ) -> None:
        self._event_log = event_log
        self._settings = settings
        self._follow = follow
        self._waiters: set[Waiter] = set()
        self._wake = AutoResetEvent()

    def join(
        self, tenant_id: uuid.UUID, slugs: frozenset[str], stream: AutoResetEvent, until: Until
    ) -> Waiter:
        """Register a stream that waits for these deployments. Call ``leave`` afterwards."""
        waiter = Waiter(self, tenant_id, slugs, stream, until)
        self._waiters.add(waiter)
        self._wake.set()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        self._waiters.discard(waiter)

    def hasten(self, waiter: Waiter) -> None:
        """Check this stream as soon as possible."""
        waiter.due_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Check for ever. While the store is unavailable the check is retried."""
        failing = False
        while True:
            await self._wake.wait(min((one.due_at for one in self._waiters), default=None))
            try:
                async with asyncio.timeout(self._settings.read_timeout_s):
                    await self._check()
                failing = False
            except Exception as error:
                if not failing:
                    _log.warning("watch.ends_unreadable", error=type(error).__name__)
                failing = True
                await asyncio.sleep(self._settings.poll_interval_s)
            # Limits the rate of checks, independent of the rate of events.
            await asyncio.sleep(self._settings.finality_interval_s)

    async def _check(self) -> None:
        due = self._take_due()
        if not due:
            return
        names = {(one.tenant_id, slug) for one in due for slug in one.slugs}
        for one in due:
            one.due_at = math.inf  # An event during the read makes the stream due again.
        try:
            epoch, ends = await self._event_log.ends(list(names))
        except BaseException:
            for one in due:
                one.due_at = 0.0
            raise
        now = asyncio.get_running_loop().time()
        for one in due:
            found = [ends[one.tenant_id, slug] for slug in one.slugs]
            if all(end.reached(one.until) for end in found):
                one.final = epoch, max(end.sequence for end in found)
                one.stream.set()
                # The tail may not have read the last events yet.
                self._follow((one.tenant_id,))
                continue
            polls = 1 if all(end.over for end in found) else _POLLS_WITHOUT_EVENT
            one.due_at = min(one.due_at, now + polls * self._settings.poll_interval_s)

    def _take_due(self) -> list[Waiter]:
        """Return the streams that have waited longest, as many as fit into one statement."""
        now = asyncio.get_running_loop().time()
        due: list[Waiter] = []
        names = 0
        for one in sorted((w for w in self._waiters if w.due_at <= now), key=lambda w: w.due_at):
            names += len(one.slugs)
            if due and names > _MOST_NAMES_PER_READ:
                break
            due.append(one)
        return due

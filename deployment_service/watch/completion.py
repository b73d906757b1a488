"""When the deployments that a stream waits for have come to the end that it asked for, reported or settled.

Streams with ``until`` have it looked up, in one statement for all of a replica's: when an event of theirs has passed,
and every poll interval while all they wait for is over but not settled. While something still runs only an event can
change that, so they cost nothing.
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
# Asked now and then without any event too, so that no defect makes a client wait for ever.
_POLLS_ANYWAY = 15


class Waiter:
    """What one stream waits for. ``final`` is the epoch and the sequence at which all of it had ended as asked for."""

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
        """The stream has come past an event of this deployment."""
        if slug in self.slugs:
            self._completion.hasten(self)

    def may_end(self, epoch: bytes, position: int) -> bool:
        """Whether the stream has sent all that led to the end."""
        if self.final is None:
            return False
        if self.final[0] != epoch:  # Another life of the store: what was true there means nothing.
            self.final = None
            self._completion.hasten(self)
            return False
        return position >= self.final[1]


class CompletionWatcher:
    """Looks up, for all streams together, whether what they wait for has ended."""

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
        """Wait for these deployments; ``leave`` when done."""
        waiter = Waiter(self, tenant_id, slugs, stream, until)
        self._waiters.add(waiter)
        self._wake.set()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        self._waiters.discard(waiter)

    def hasten(self, waiter: Waiter) -> None:
        """Something has happened: have another look."""
        waiter.due_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Look for ever. A store that is away is asked again and again."""
        failing = False
        while True:
            await self._wake.wait(min((one.due_at for one in self._waiters), default=None))
            try:
                async with asyncio.timeout(self._settings.read_timeout_s):
                    await self._look()
                failing = False
            except Exception as error:
                if not failing:
                    _log.warning("watch.finality_unreadable", error=type(error).__name__)
                failing = True
                await asyncio.sleep(self._settings.poll_interval_s)
            # However many events pass, there are only so many looks.
            await asyncio.sleep(self._settings.finality_interval_s)

    async def _look(self) -> None:
        due = self._take_due()
        if not due:
            return
        names = {(one.tenant_id, slug) for one in due for slug in one.slugs}
        for one in due:
            one.due_at = math.inf  # An event that passes meanwhile asks for another look.
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
                # What led there may not have been heard of yet.
                self._follow((one.tenant_id,))
                continue
            polls = 1 if all(end.over for end in found) else _POLLS_ANYWAY
            one.due_at = min(one.due_at, now + polls * self._settings.poll_interval_s)

    def _take_due(self) -> list[Waiter]:
        """Those who have waited longest, as many as one statement may be about."""
        now = asyncio.get_running_loop().time()
        due: list[Waiter] = []
        names = 0
        for one in sorted((w for w in self._waiters if w.due_at <= now), key=lambda w: w.due_at):
            names += len(one.slugs)
            if due and names > _MOST_NAMES_PER_READ:
                break
            due.append(one)
        return due

"""The stream of one watch: a cursor that selects the next message."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import Unavailable
from deployment_service.domain.events import Until
from deployment_service.watch import frames
from deployment_service.watch.auto_reset_event import AutoResetEvent
from deployment_service.watch.completion import CompletionWatcher, Waiter
from deployment_service.watch.counts import Counts
from deployment_service.watch.follower import Follower
from deployment_service.watch.frames import ResetReason
from deployment_service.watch.ports import EVERYTHING, Selection
from deployment_service.watch.ring import Entry, Page, Ring
from deployment_service.watch.settings import WatchSettings
from deployment_service.watch.snapshots import Snapshots
from deployment_service.watch.tail import Tail
from deployment_service.watch.tokens import ResumeToken, ResumeTokens, TokenKind

Messages = AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Filter:
    """Matches events of the deployments ``of`` and of these types (None: any)."""

    of: Selection = EVERYTHING
    types: frozenset[str] | None = None

    def passes(self, entry: Entry) -> bool:
        return (
            (self.of.slugs is None or entry.slug in self.of.slugs)
            and (self.types is None or entry.type in self.types)
            and entry.has(self.of.labels)
        )


class _MustReset(Exception):
    def __init__(self, reason: ResetReason) -> None:
        super().__init__(reason.name)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that all streams of a replica share."""

    follower: Follower
    completion: CompletionWatcher
    snapshots: Snapshots
    tokens: ResumeTokens
    settings: WatchSettings
    counts: Counts
    closing: asyncio.Event


class Stream:
    """A cursor over the tenant's history.

    ``_position``: everything up to this sequence was sent or filtered out.
    ``_prev_sequence``: the sequence of the last event, bookmark or snapshot that was sent.
    ``_send_by``: the loop time until which the stream may wait for the store without sending, over all reads.
    """

    def __init__(
        self,
        shared: Shared,
        tail: Tail,
        event_filter: Filter,
        token: ResumeToken | None,
        token_text: str,
        *,
        until: Until | None = None,
    ) -> None:
        self._follower = shared.follower
        self._completion = shared.completion
        self._snapshots = shared.snapshots
        self._tokens = shared.tokens
        self._settings = shared.settings
        self._counts = shared.counts
        self._closing = shared.closing
        self._tail = tail
        self._filter = event_filter
        self._token = token
        self._token_text = token_text
        self._wake = AutoResetEvent()
        self._position = 0
        self._prev_sequence = 0
        self._bookmark_at = 0.0
        self._send_by = 0.0
        self._announced_current = False
        self._until = until
        self._waiter: Waiter | None = None

    @property
    def _tenant(self) -> TenantRef:
        return self._tail.tenant

    async def messages(self) -> Messages:
        """Yield the serialised messages of the stream; ends only with ``until``."""
        self._tail.attach(self._wake)
        if self._until is not None:
            slugs = self._filter.of.slugs or frozenset()
            self._waiter = self._completion.join(
                self._tenant.tenant_id, slugs, self._wake, self._until
            )
        try:
            yield self._start()
            self._message_sent()
            ring = await self._follower.anchored(self._tail, self._send_by)
            reset = await self._join(ring)
            while True:
                ring = await self._follower.anchored(self._tail, self._send_by)
                try:
                    if reset is not None:
                        self._counts.resets[reset.name] += 1
                        yield frames.reset(reset, self._tokens.snapshot(self._tenant.tenant_id))
                        self._message_sent()
                    if reset is not None or not self._resumes:
                        async with aclosing(self._snapshot(ring)) as messages:
                            async for message in messages:
                                yield message
                    async with aclosing(self._events(ring)) as messages:
                        async for message in messages:
                            yield message
                    return
                except _MustReset as must:
                    reset = must.reason
        finally:
            self._tail.detach(self._wake)
            if self._waiter is not None:
                self._completion.leave(self._waiter)

    def _start(self) -> bytes:
        """Return the first message.

        Its token leads to the beginning of this stream, so that a resumed stream repeats a reset that follows.
        """
        token = self._token_text or self._tokens.snapshot(self._tenant.tenant_id)
        sequence = self._token.sequence if self._token is not None and self._resumes else 0
        return frames.start(self._settings.max_silence_s, token, sequence)

    @property
    def _resumes(self) -> bool:
        return self._token is not None and self._token.kind is TokenKind.POSITION

    async def _join(self, ring: Ring) -> ResetReason | None:
        """Set the position from the token; return the reason for a reset if the token is not of the current history."""
        token = self._token
        if token is None or not self._resumes:
            return None
        if token.epoch != ring.epoch or token.sequence > max(ring.last, self._tail.head):
            # Either the epoch has changed, or another replica that has read more events made the token.
            await self._follower.ask(self._tail, self._send_by)
            ring = await self._follower.anchored(self._tail, self._send_by)
            if token.epoch != ring.epoch or token.sequence > self._tail.head:
                return ResetReason.STORE_CHANGED
        self._position = self._prev_sequence = token.sequence
        return None

    async def _snapshot(self, ring: Ring) -> Messages:
        """Yield the current deployments, then the sequence of the snapshot.

        The sequence is taken before the deployments are read. A commit in between shows in the deployment and comes
        again as an event; its revision shows that the deployment already contains it.
        """
        sequence = ring.last
        token = self._tokens.snapshot(self._tenant.tenant_id)
        after = ""
        while True:
            page = await self._snapshots.page(self._tenant, self._filter.of, after, self._send_by)
            for deployment in page.deployments:
                yield frames.snapshot_item(deployment, token)
                self._message_sent()
            if self._closing.is_set():
                raise shutting_down()
            after = page.next
            if not after:
                break
        if ring.ended is not None:
            raise _MustReset(ring.ended)
        self._position = self._prev_sequence = sequence
        self._announced_current = True
        yield frames.snapshot_complete(sequence, self._token_at(ring, sequence))
        self._message_sent()

    async def _events(self, ring: Ring) -> Messages:
        """Yield the events after the position, from the ring or from history, and bookmarks.

        With ``until``, end with a bookmark when all deployments have reached their end.
        """
        while True:
            batch = await self._next(ring)
            for entry in batch:
                self._position = entry.sequence
                if self._waiter is not None:
                    self._waiter.passed(entry.slug)
                if self._filter.passes(entry):
                    yield frames.with_prev_sequence(entry.shared, self._prev_sequence)
                    self._prev_sequence = entry.sequence
                    self._message_sent()
            if self._waiter is not None and self._waiter.may_end(ring.epoch, self._position):
                yield self._bookmark(ring)
                return
            if self._closing.is_set():
                yield self._bookmark(ring)
                raise shutting_down()
            reached = not batch and self._position >= ring.last
            if self._now() >= self._bookmark_at or (reached and not self._announced_current):
                self._announced_current = self._announced_current or reached
                yield self._bookmark(ring)
                self._message_sent()
            # Yield to other tasks: sending may never block.
            await asyncio.sleep(0)

    async def _next(self, ring: Ring) -> Sequence[Entry]:
        """Wait for the next events and return them; empty if a bookmark is due, or the replica stops."""
        batch = self._read(ring)
        if batch is None:
            return await self._next_of_history(ring)
        if not batch and self._announced_current and not self._closing.is_set():
            await self._wake.wait(self._bookmark_at)
            batch = self._read(ring)
        return batch or ()

    def _read(self, ring: Ring) -> list[Entry] | None:
        """Return the events after the position from the ring; None if the ring begins later."""
        if ring.ended is not None:
            raise _MustReset(ring.ended)
        return ring.read(
            self._position,
            max_events=self._settings.batch_events,
            max_bytes=self._settings.batch_bytes,
        )

    async def _next_of_history(self, ring: Ring) -> Sequence[Entry]:
        """Return the next events from shared pages of history; empty as for ``_next``.

        Raises:
            _MustReset: the next event was trimmed.
        """
        history = self._follower.history
        page = history.cached(self._tail, ring, self._position)
        if page is None:
            reading = history.request(self._tail, ring, self._position)
            reading.add_done_callback(self._wake.set)
            while not reading.done() and not self._closing.is_set():
                if not await self._wake.wait(self._bookmark_at):
                    return ()
                if ring.ended is not None:
                    raise _MustReset(ring.ended)
            if not reading.done():
                return ()
            page = _result(reading)
            if self._position >= page.through:
                return ()  # The read began when the history was shorter. Read again.
        batch = page.read(
            self._position,
            max_events=self._settings.batch_events,
            max_bytes=self._settings.batch_bytes,
        )
        if not batch:
            raise _MustReset(ResetReason.HISTORY_TRIMMED)
        return batch

    def _bookmark(self, ring: Ring) -> bytes:
        message = frames.bookmark(
            self._position, self._prev_sequence, self._token_at(ring, self._position)
        )
        self._prev_sequence = self._position
        return message

    def _token_at(self, ring: Ring, sequence: int) -> str:
        return self._tokens.position(self._tenant.tenant_id, ring.epoch, sequence)

    def _message_sent(self) -> None:
        """Restart the timers of silence after a sent message."""
        now = self._now()
        self._bookmark_at = now + self._settings.bookmark_after_s
        self._send_by = now + self._settings.read_timeout_s

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _result(reading: asyncio.Task[Page]) -> Page:
    """Return the result of a shared read.

    Each stream raises its own exception: the traceback of a shared one would grow with each raise.
    """
    if reading.cancelled():
        raise shutting_down()
    failure = reading.exception()
    if failure is not None:
        raise Unavailable(
            "STORE_UNAVAILABLE", "The history can't be read at the moment."
        ) from failure
    return reading.result()


def shutting_down() -> Unavailable:
    """Return the error that ends every stream when the replica stops.

    The retry delays are random, so that the clients do not reconnect all at once.
    """
    return Unavailable(
        "SHUTTING_DOWN",
        "This replica is shutting down: reconnect and resume.",
        retry_after_s=round(random.uniform(0.0, 0.5), 3),  # noqa: S311 - spreads load, hides nothing
    )

"""Everything about watching on one replica, put together."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import ResourceExhausted
from deployment_service.domain.events import Until
from deployment_service.watch.completion import CompletionWatcher
from deployment_service.watch.counts import Counts
from deployment_service.watch.epoch import StoreEpoch
from deployment_service.watch.follower import Follower
from deployment_service.watch.listener import Connect, Listener
from deployment_service.watch.notifier import Notifier, read_hint
from deployment_service.watch.ports import EventLog, EventSerializer, Selection, SnapshotReader
from deployment_service.watch.settings import WatchSettings
from deployment_service.watch.snapshots import Snapshots
from deployment_service.watch.stream import Filter, Shared, Stream, shutting_down
from deployment_service.watch.tail import Entries, Tail
from deployment_service.watch.tokens import ResumeTokens


class WatchHub:
    """Watching on one replica: ``start`` it, ``notify`` it after commits, ``watch`` through it, ``stop`` it.

    ``connect_listener`` makes the connection that listens; None does without hints: polling alone.
    """

    def __init__(
        self,
        event_log: EventLog,
        snapshots: SnapshotReader,
        serialize: EventSerializer,
        *,
        connect_listener: Connect | None,
        settings: WatchSettings | None = None,
    ) -> None:
        self._settings = settings or WatchSettings()
        self.tokens = ResumeTokens()
        self.epoch = StoreEpoch(event_log)
        self.counts = Counts()
        self._closing = asyncio.Event()
        self._gone = asyncio.Event()
        self._streams = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._sender = uuid.uuid4().hex[:12]
        entries = Entries(serialize, self.tokens)
        self._follower = Follower(event_log, entries, self.epoch, self._settings)
        self._completion = CompletionWatcher(event_log, self._settings, follow=self._follower.look)
        self._snapshots = Snapshots(snapshots, self._settings)
        self._shared = Shared(
            self._follower,
            self._completion,
            self._snapshots,
            self.tokens,
            self._settings,
            self.counts,
            self._closing,
        )
        self._notifier = Notifier(event_log, self._sender, self._settings)
        self._listener: Listener | None = None
        if connect_listener is not None:
            self._listener = Listener(
                connect_listener,
                self._sender,
                self._settings,
                on_hint=self._look,
                on_listening=self._follower.look,
            )

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._streams

    @property
    def tails(self) -> int:
        """For how many tenants this replica follows the history."""
        return sum(1 for _ in self._follower.tails)

    @property
    def listener_connected(self) -> bool:
        """Whether hints arrive; without them events come with the next poll."""
        return self._listener is not None and self._listener.listener_connected.is_set()

    async def start(self) -> None:
        """Begin to follow the store. A store that is away is waited for in the background."""
        self._spawn(self._follower.run())
        self._spawn(self._notifier.run())
        self._spawn(self._completion.run())
        if self._listener is not None:
            self._spawn(self._listener.run())

    async def stop(self, grace_s: float) -> None:
        """End every stream with a bookmark and UNAVAILABLE, wait for them that long, then let go of everything."""
        self._closing.set()
        self._follower.wake_all()
        self._follower.give_up(shutting_down())
        if self._streams:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._gone.wait()
        await self._notifier.flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._follower.history.close()
        await self._snapshots.close()

    def notify(self, tenant_id: uuid.UUID) -> None:
        """Events of this tenant were committed: call it after the commit. Returns at once and never fails."""
        self._follower.look((tenant_id,))
        self._notifier.notify(tenant_id)

    async def watch(
        self,
        tenant: TenantRef,
        *,
        slugs: frozenset[str] | None = None,
        types: frozenset[str] | None = None,
        labels: frozenset[tuple[str, str]] = frozenset(),
        resume_token: str = "",
        until: Until | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The messages of one watcher, each a serialised WatchDeploymentsResponse.

        ``slugs`` are deployments' ids, ``types`` names of event types; None: all. ``labels``: only of deployments that
        have all of them, or had them until the event. Without end, unless ``until``: then until all ``slugs`` have
        come to an end of that kind. Raises InvalidArgument, ResourceExhausted and Unavailable. Close the generator
        (``aclosing``) when done.
        """
        token = self.tokens.decode(resume_token, tenant.tenant_id) if resume_token else None
        if self._closing.is_set():
            raise shutting_down()
        tail = self._enter(tenant)
        try:
            passing = Filter(Selection(slugs, labels), types)
            stream = Stream(self._shared, tail, passing, token, resume_token, until=until)
            async with aclosing(stream.messages()) as messages:
                async for message in messages:
                    yield message
        finally:
            self._leave(tail)

    def _enter(self, tenant: TenantRef) -> Tail:
        tail = self._follower.tail(tenant)
        if tail.streams >= self._settings.streams_per_tenant:
            raise ResourceExhausted(
                "TOO_MANY_WATCHES",
                f"'{tenant.slug}' has {tail.streams} watches on this replica, the most it may have: "
                "share one between those who need it.",
                retry_after_s=10.0,
            )
        tail.streams += 1
        self._streams += 1
        return tail

    def _leave(self, tail: Tail) -> None:
        tail.streams -= 1
        tail.idle_since = asyncio.get_running_loop().time()
        self._streams -= 1
        if self._closing.is_set() and not self._streams:
            self._gone.set()

    def _look(self, payload: str) -> None:
        sender, tenant_ids = read_hint(payload)
        if sender != self._sender:  # Our own commits we know of.
            self.counts.hints += 1
            self._follower.look(tenant_ids)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

"""The entry point of watching on one replica."""

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
    """Watching on one replica: ``start``, ``notify`` after each commit, ``watch``, ``stop``.

    ``connect_listener``: opens the connection for LISTEN; None: no hints, only polling.
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
        self._drained = asyncio.Event()
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
                on_hint=self._receive_hint,
                on_listening=self._follower.look,
            )

    @property
    def streams(self) -> int:
        """Return how many streams are open."""
        return self._streams

    @property
    def tails(self) -> int:
        """Return for how many tenants this replica follows the history."""
        return sum(1 for _ in self._follower.tails)

    @property
    def listener_connected(self) -> bool:
        """Return whether hints arrive. Without hints events arrive with the next poll."""
        return self._listener is not None and self._listener.listener_connected.is_set()

    async def start(self) -> None:
        """Start to follow the store, in background tasks. They retry while the store is unavailable."""
        self._spawn(self._follower.run())
        self._spawn(self._notifier.run())
        self._spawn(self._completion.run())
        if self._listener is not None:
            self._spawn(self._listener.run())

    async def stop(self, grace_s: float) -> None:
        """End every stream with a bookmark and UNAVAILABLE, wait up to ``grace_s`` seconds, then stop all tasks."""
        self._closing.set()
        self._follower.wake_all()
        self._follower.give_up(shutting_down())
        if self._streams:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._drained.wait()
        await self._notifier.flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._follower.history.close()
        await self._snapshots.close()

    def notify(self, tenant_id: uuid.UUID) -> None:
        """Announce that events of this tenant were committed. Call it after the commit; it never blocks or fails."""
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
        """Yield the messages of one watch, each a serialised WatchDeploymentsResponse.

        ``slugs``, ``types``: ids of deployments and names of event types; None matches all.
        ``labels``: only deployments that have all of these labels, or had them until the event.
        ``until``: end after all ``slugs`` have reached this kind of end; None: never end.
        Close the generator (``aclosing``) afterwards.

        Raises:
            InvalidArgument: the resume token is damaged or belongs to another tenant.
            ResourceExhausted: the tenant has too many watches on this replica.
            Unavailable: the store is unavailable, or the replica is shutting down.
        """
        token = self.tokens.decode(resume_token, tenant.tenant_id) if resume_token else None
        if self._closing.is_set():
            raise shutting_down()
        tail = self._enter(tenant)
        try:
            event_filter = Filter(Selection(slugs, labels), types)
            stream = Stream(self._shared, tail, event_filter, token, resume_token, until=until)
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
                "share one watch between several consumers.",
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
            self._drained.set()

    def _receive_hint(self, payload: str) -> None:
        sender, tenant_ids = read_hint(payload)
        if sender != self._sender:  # ``notify`` has handled commits of this replica already.
            self.counts.hints += 1
            self._follower.look(tenant_ids)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

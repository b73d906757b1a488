"""Watching against a real database: writers, hubs, watchers that check, and the database's own history."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from deployment_service.api.event_messages import to_bytes
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import Unavailable
from deployment_service.domain.events import End, Event, EventSource, EventType, NewEvent, Until
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.database.sessions import connect_listener
from deployment_service.storage.events import events
from deployment_service.storage.events.event_log import EventLog, list_events
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.watch.hub import WatchHub
from deployment_service.watch.ports import EventSerializer, Selection, SnapshotPage
from deployment_service.watch.settings import WatchSettings

TYPES = (EventType.DEPLOYMENT_STATUS_UPDATE, EventType.DEPLOYMENT_RUN_START)
FAST = WatchSettings(
    poll_interval_s=0.05, bookmark_after_s=0.2, probe_interval_s=0.2, reconnect_max_s=0.1
)


async def new_tenant(database: Database, slug: str = "demo") -> TenantRef:
    async with database.acquire() as connection:
        tenant_id = await connection.fetchval(
            "INSERT INTO tenants (slug) VALUES ($1) RETURNING tenant_id", slug
        )
    return TenantRef(tenant_id, slug)


class Writer:
    """Commits events of one tenant as transactions of the service do. One per task."""

    def __init__(self, database: Database, tenant: TenantRef, *slugs: str) -> None:
        self._database = database
        self._tenant = tenant
        self._slugs = slugs or ("web",)
        self._ids = {slug: uuid.uuid4() for slug in self._slugs}
        self._revisions: Counter[str] = Counter()
        self._count = 0

    async def commit(self, count: int = 1, *, message: str = "") -> int:
        """One transaction of so many events; the last sequence."""
        new = [self._next(message) for _ in range(count)]

        async def work(connection: Connection) -> int:
            return await events.append(connection, self._tenant.tenant_id, new)

        return await self._database.transaction(work)

    def _next(self, message: str) -> NewEvent:
        slug = self._slugs[self._count % len(self._slugs)]
        self._count += 1
        self._revisions[slug] += 1
        return NewEvent(
            deployment_id=self._ids[slug],
            deployment_slug=slug,
            revision=self._revisions[slug],
            type=TYPES[self._count % 3 % 2],
            source=EventSource.READ,
            old_status=DeploymentStatus.PENDING,
            status=DeploymentStatus.RUNNING,
            deployment_status=DeploymentStatus.RUNNING,
            run_number=1,
            message=message or f"{slug} {self._revisions[slug]}",
        )


async def history(database: Database, tenant: TenantRef, after: int = 0) -> list[Event]:
    """What the database has."""
    async with database.acquire() as connection:
        return await list_events(connection, tenant.tenant_id, after=after, limit=10**6)


def as_messages(tenant: TenantRef, history: Sequence[Event]) -> list[pb.DeploymentEvent]:
    return [pb.DeploymentEvent.FromString(to_bytes(tenant.slug, event)) for event in history]


class CountingLog(EventLog):
    """Counts statements, and can be made to fail or to give wrong answers."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.statements: Counter[str] = Counter()
        self.plant: Callable[[list[Event]], list[Event]] | None = None
        self.notifying = True
        self.hold_pages: asyncio.Event | None = None
        self.heads_take_s = 0.0
        self.away = False

    async def heads(self, tenant_ids: Sequence[uuid.UUID]) -> tuple[bytes, dict[uuid.UUID, int]]:
        self.statements["heads"] += 1
        await asyncio.sleep(self.heads_take_s)
        if self.away:
            raise ConnectionError("the store is away")
        return await super().heads(tenant_ids)

    async def news(
        self, positions: Mapping[uuid.UUID, int], limit: int
    ) -> tuple[bytes, dict[uuid.UUID, list[Event]]]:
        self.statements["news"] += 1
        epoch, news = await super().news(positions, limit)
        if self.plant is not None:
            news = {tenant_id: self.plant(found) for tenant_id, found in news.items()}
        return epoch, news

    async def page(
        self, tenant_id: uuid.UUID, after: int, through: int
    ) -> tuple[bytes, list[Event]]:
        self.statements["page"] += 1
        if self.hold_pages is not None:
            await self.hold_pages.wait()
        return await super().page(tenant_id, after, through)

    async def ends(
        self, names: Sequence[tuple[uuid.UUID, str]]
    ) -> tuple[bytes, dict[tuple[uuid.UUID, str], End]]:
        self.statements["ends"] += 1
        return await super().ends(names)

    async def notify(self, channel: str, payload: str) -> None:
        self.statements["notify"] += 1
        if not self.notifying:
            raise ConnectionError("notifications are off")
        await super().notify(channel, payload)


class StatesOfHistory:
    """A snapshot reader for tests without deployments: the fold of the events, two deployments a page."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.before_page: Callable[[str], object] | None = None
        self.pages = 0

    async def page(self, tenant: TenantRef, selection: Selection, after: str) -> SnapshotPage:
        slugs = selection.slugs
        self.pages += 1
        if self.before_page is not None:
            result = self.before_page(after)
            if asyncio.iscoroutine(result):
                await result
        states = fold(await history(self._database, tenant))
        found = sorted(slug for slug in states if slug > after and (not slugs or slug in slugs))
        return SnapshotPage(
            [
                pb.Deployment(
                    name=f"tenants/{tenant.slug}/deployments/{slug}", revision=states[slug]
                ).SerializeToString()
                for slug in found[:2]
            ],
            found[1] if len(found) > 2 else "",
        )


def fold(history: Sequence[Event]) -> dict[str, int]:
    """The revision of each deployment after these events."""
    return {event.deployment_slug: event.revision for event in history}


@dataclass
class Replica:
    hub: WatchHub
    log: CountingLog
    snapshots: StatesOfHistory


@asynccontextmanager
async def replica(
    database: Database,
    listen_url: str | None = None,
    *,
    settings: WatchSettings = FAST,
    hearing: bool = True,
    serialize: EventSerializer = to_bytes,
) -> AsyncIterator[Replica]:
    """A hub that runs; with a listen_url, one that hears."""
    log, snapshots = CountingLog(database), StatesOfHistory(database)
    connect = connect_listener(listen_url) if listen_url else None
    hub = WatchHub(log, snapshots, serialize, connect_listener=connect, settings=settings)
    await hub.start()
    try:
        if listen_url and hearing:
            await wait_for(lambda: hub.listener_connected)
        yield Replica(hub, log, snapshots)
    finally:
        await hub.stop(0.0)


async def wait_for(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - anything may change it
            await asyncio.sleep(0.005)


class Lost(AssertionError):
    """The stream broke its promise."""


@dataclass
class Watcher:
    """A client that believes nothing: it checks completeness as the contract says and keeps a record."""

    tenant: TenantRef
    slugs: Collection[str] = ()
    types: Collection[str] = ()
    token: str = ""
    events: list[pb.DeploymentEvent] = field(default_factory=list)
    state: dict[str, int] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    accounted: int = -1
    snapshots: int = 0
    until: Until | None = None
    ended: bool = False

    def take(self, message: pb.WatchDeploymentsResponse) -> None:
        kind = str(message.WhichOneof("response"))
        self.kinds.append(kind)
        if not message.resume_token:
            raise Lost(f"a {kind} without a token")
        match kind:
            case "reset":
                self.resets.append(message.reset.reason)
                self.events.clear()
                self.state.clear()
            case "deployment":
                self.state[message.deployment.name.rpartition("/")[2]] = message.deployment.revision
            case "snapshot_complete":
                self.snapshots += 1
                self.accounted = message.snapshot_complete.sequence
            case "bookmark":
                self._account(message.prev_sequence, message.bookmark.sequence)
            case "event":
                self._account(message.prev_sequence, message.event.sequence)
                self.events.append(message.event)
                slug = message.event.deployment.rpartition("/")[2]
                self.state[slug] = max(self.state.get(slug, 0), message.event.revision)
        self.token = message.resume_token

    def _account(self, prev_sequence: int, sequence: int) -> None:
        if self.accounted >= 0 and prev_sequence != self.accounted:
            raise Lost(f"accounted for {self.accounted}, but {sequence} follows {prev_sequence}")
        if sequence < prev_sequence:
            raise Lost(f"{sequence} comes after {prev_sequence}")
        self.accounted = sequence

    async def follow(self, replica: Replica, until: Callable[[Watcher], object]) -> None:
        """Watch (on, where it left) until something is true."""
        watching = replica.hub.watch(
            self.tenant,
            slugs=frozenset(self.slugs) or None,
            types=frozenset(self.types) or None,
            resume_token=self.token,
            until=self.until,
        )
        async with aclosing(watching) as messages:
            async for message in messages:
                self.take(pb.WatchDeploymentsResponse.FromString(message))
                if until(self):
                    return
        self.ended = True

    async def follow_to(self, replica: Replica, sequence: int) -> None:
        await self.follow(replica, lambda one: one.accounted >= sequence)

    def check(self, history: Sequence[Event], after: int = 0) -> None:
        """The record must be exactly the database's history under the filter."""
        expected = [
            message
            for event, message in zip(history, as_messages(self.tenant, history), strict=True)
            if event.sequence > after
            and (not self.slugs or event.deployment_slug in self.slugs)
            and (not self.types or event.type in self.types)
        ]
        if self.events != expected:
            seen = [one.sequence for one in self.events]
            raise Lost(f"saw {seen[:50]}, not {[one.sequence for one in expected][:50]}")


@asynccontextmanager
async def following(
    watchers: Collection[Watcher], replica: Replica, until: Callable[[Watcher], object]
) -> AsyncIterator[asyncio.TaskGroup]:
    """Watchers follow while the block runs, and after it until all have what they wait for."""
    async with asyncio.TaskGroup() as group:
        for watcher in watchers:
            group.create_task(watcher.follow(replica, until))
        await wait_for(lambda: all(one.kinds for one in watchers))
        yield group


async def until_readable(one: Replica, tenant: TenantRef) -> None:
    """Follow until a snapshot arrives. A read may exceed a short ``read_timeout_s``: then a client reconnects."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Unavailable):
                await Watcher(tenant).follow(one, lambda watcher: watcher.snapshots)
                return

"""Watchers of three replicas while everything fails that can: each record is exactly the history (P5, P8)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from deployment_service.client import DeploymentClient, DeploymentServiceError
from deployment_service.domain.access import TenantRef
from deployment_service.domain.events import Event
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.waiting import until
from tests.support.watch_cluster import Cluster, Quota, Writer, cluster, notifying
from tests.support.watch_records import Record, State, Wanted, problems

pytestmark = pytest.mark.timeout(180)
TENANTS = ("one", "two")
SLUGS = [f"web-{n}" for n in range(12)]
WRITERS = 3  # of each tenant, each with deployments of its own
BATCH = 10
START = pb.DeploymentEvent.DEPLOYMENT_RUN_START


@dataclass
class Watcher:
    """A client as it is meant to be: the library's watch, sometimes closed and taken up again by its token."""

    client: DeploymentClient
    record: Record
    naps: Sequence[int] = ()
    """Closes the watch after so many events, and goes on some time later."""
    position: int = -1
    disconnects: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        naps, token = list(self.naps), ""
        while True:
            watch = self.client.watch_messages(
                *self.record.wanted.slugs,
                types=[pb.DeploymentEvent.Type.Value(one) for one in self.record.wanted.types],  # type: ignore[misc]
                resume_token=token,
                on_disconnect=self._disconnected,
            )
            async with watch, asyncio.TaskGroup() as group:
                looking = group.create_task(self._look(watch))
                async for message in watch:
                    self.record.take(message)
                    if naps and len(self.record.events) >= naps[0]:
                        break
                looking.cancel()
            token = watch.resume_token
            naps.pop(0)
            self.woken.clear()
            await self.woken.wait()

    async def _look(self, watch: object) -> None:
        """Bookmarks stay inside the watch, so ask how far it has come."""
        while True:
            position = getattr(watch, "position", None)
            if position is not None:
                self.position = position
            await asyncio.sleep(0.05)

    def _disconnected(self, _: DeploymentServiceError, __: float) -> None:
        self.disconnects += 1


def new_watcher(client: DeploymentClient, tenant: str, number: int) -> Watcher:
    """One of eight follows everything, the others a few deployments or one type; one of five takes naps."""
    chosen = random.Random(number)
    slugs = frozenset(chosen.sample(SLUGS, k=1 + number % 3))
    wanted = Wanted(
        slugs=slugs if number % 8 not in (0, 1) else frozenset(),
        types=frozenset({"DEPLOYMENT_RUN_START"}) if number % 8 in (1, 2) else frozenset(),
    )
    return Watcher(client, Record(tenant, wanted), naps=(20, 90) if number % 5 == 0 else ())


@asynccontextmanager
async def watching(one: Cluster, count: int) -> AsyncIterator[list[Watcher]]:
    """So many watchers, spread over tenants and replicas: some know one replica only, the others move on."""
    async with AsyncExitStack() as stack:
        known = [*([target] for target in one.targets), one.targets]
        clients = {
            tenant: [
                await stack.enter_async_context(one.client(tenant, *targets)) for targets in known
            ]
            for tenant in TENANTS
        }
        watchers = []
        for number in range(count):
            tenant = TENANTS[number % 2]
            watchers.append(new_watcher(clients[tenant][number // 2 % 4], tenant, number // 2))
        tasks = [asyncio.create_task(watcher.follow()) for watcher in watchers]
        try:
            await until(lambda: all(w.record.snapshots for w in watchers), timeout_s=60)
            yield watchers
            for task in tasks:
                assert not task.done(), task.exception()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def storm(
    one: Cluster,
    tenants: Sequence[TenantRef],
    watchers: Sequence[Watcher],
    faults: Sequence[Callable[[], Awaitable[object]]],
    events_each: int,
) -> None:
    """A fault in the middle of each portion of events; writing goes on while it lasts."""
    quota = Quota()
    async with notifying(one) as notifier:
        writers = [
            Writer(one, tenant, SLUGS[n::WRITERS], notifier, seed=n)
            for tenant in tenants
            for n in range(WRITERS)
        ]
        tasks = [asyncio.create_task(writer.run(quota, BATCH)) for writer in writers]
        for fault in faults:
            begun = quota.allowed
            await quota.allow(events_each)
            await quota.reached(begun + events_each // 2)
            await fault()
            for watcher in watchers:
                watcher.woken.set()
        await quota.reached(quota.allowed)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def judge(
    one: Cluster, tenants: Sequence[TenantRef], watchers: Sequence[Watcher]
) -> dict[str, tuple[list[Event], State]]:
    """Wait until all have come to the end of the history, then compare everything with it."""
    truth: dict[str, tuple[list[Event], State]] = {
        tenant.slug: (await one.history(tenant), await one.table(tenant)) for tenant in tenants
    }

    def arrived() -> bool:
        for watcher in watchers:
            watcher.woken.set()
        return all(w.position >= len(truth[w.record.tenant][0]) for w in watchers)

    await until(arrived, timeout_s=120, what="all watchers at the end of the history")
    wrong = {
        number: found
        for number, watcher in enumerate(watchers)
        if (found := problems(watcher.record, *truth[watcher.record.tenant]))
    }
    assert wrong == {}
    return truth


def plant(record: Record, kind: str, place: int) -> Record:
    """The record with one defect."""
    events = list(record.events)
    match kind:
        case "lost":
            del events[place]
        case "doubled":
            events.insert(place, events[place])
        case "swapped":
            events[place - 1 : place + 1] = [events[place], events[place - 1]]
        case _:
            changed = pb.DeploymentEvent()
            changed.CopyFrom(events[place])
            changed.revision += 1
            events[place] = changed
    return record.with_events(events)


def check_the_judge(
    watchers: Sequence[Watcher], truth: dict[str, tuple[list[Event], State]]
) -> None:
    """What finds nothing is worth something only if it would have found a single defect, wherever it is."""
    chosen = random.Random(7)
    for watcher in watchers[:16]:
        record = watcher.record
        last = len(record.events) - 1
        for place in {1, last, chosen.randint(1, last)}:
            for kind in ("lost", "doubled", "swapped", "changed"):
                planted = plant(record, kind, place)
                assert problems(planted, *truth[record.tenant]), (kind, place)


async def run_storm(watchers_count: int, rounds: int, events_each: int) -> int:
    """How many events there were."""
    async with cluster(3) as one:
        tenants = [await one.new_tenant(slug, *SLUGS) for slug in TENANTS]
        async with watching(one, watchers_count) as watchers:
            cut_off: list[int] = []

            async def kill(number: int) -> None:
                before = [w.disconnects for w in watchers]
                await one.kill(number)
                cut_off.append(
                    sum(w.disconnects > n for w, n in zip(watchers, before, strict=True))
                )

            async def cut() -> None:
                assert await one.cut_listeners() >= 1

            async def crash() -> None:
                await one.postgres.kill()
                await one.postgres.start()

            faults = (
                lambda: kill(0),
                cut,
                lambda: kill(1),
                one.postgres.restart,
                lambda: kill(2),
                crash,
            )
            await storm(one, tenants, watchers, faults * rounds, events_each)
            truth = await judge(one, tenants, watchers)
            assert all(0 < count < watchers_count for count in cut_off[:3]), "spread over replicas"
            check_the_judge(watchers, truth)
            await one.sql("UPDATE store_epoch SET marker = gen_random_uuid()")
            await until(lambda: all(w.record.resets for w in watchers), timeout_s=60)
        return sum(len(history) for history, _ in truth.values())


async def test_every_record_is_the_history_whatever_fails():
    """P5, P8: replicas killed, listeners cut, the database restarted and crashed; then a restore, which resets."""
    assert await run_storm(watchers_count=50, rounds=1, events_each=400) >= 2_400


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_fifty_watchers_and_twenty_thousand_events():
    """P5, P8: the same, with 56 watchers and 24,000 events."""
    count = await run_storm(watchers_count=56, rounds=3, events_each=1_340)
    assert count >= 24_000
    print(f"{count} events, 56 watchers")

"""The leased worker: claims what fits, one task for each item, stops with a grace period."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room

A, B, C = (uuid.UUID(int=n) for n in (1, 2, 3))
LONG_S = 3600.0


@dataclass(eq=False)
class Item:
    """``done`` ends its work."""

    tenant_id: uuid.UUID = A
    provider_id: uuid.UUID = A
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    cancelled: bool = False


class Store:
    """What is due. ``claims`` are the rooms that were asked for; ``gate`` holds up a claim."""

    def __init__(self, *due: Item) -> None:
        self.due = list(due)
        self.claims: asyncio.Queue[Room] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.running: set[Item] = set()

    async def claim(self, room: Room) -> list[Item]:
        self.claims.put_nowait(room)
        await self.gate.wait()
        fit = [
            item
            for item in self.due
            if item.tenant_id not in room.full_tenants
            and item.provider_id not in room.full_providers
        ][: room.limit]
        self.due = [item for item in self.due if item not in fit]
        return fit

    async def work(self, item: Item) -> None:
        self.running.add(item)
        item.begun.set()
        try:
            await item.done.wait()
        except asyncio.CancelledError:
            item.cancelled = True
            raise
        finally:
            self.running.remove(item)
        if item.error is not None:
            raise item.error

    async def no_more_claims(self) -> None:
        """Return when the worker waits and has nothing to claim."""
        for _ in range(20):
            await asyncio.sleep(0)
        while not self.claims.empty():
            self.claims.get_nowait()


@asynccontextmanager
async def worker_of(
    store: Store, limits: Limits, *, stop_grace_s: float = 0.0, at_least_s: float = 0.0
) -> AsyncIterator[LeasedWorker[Item]]:
    worker = LeasedWorker(
        "test",
        store.claim,
        store.work,
        lambda item: {"provider_id": str(item.provider_id)},
        limits=limits,
        every_s=LONG_S,
        at_least_s=at_least_s,
        stop_grace_s=stop_grace_s,
    )
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def test_it_claims_again_while_claims_are_full_and_stops_at_its_limit() -> None:
    items = [Item() for _ in range(8)]
    store = Store(*items)
    async with worker_of(store, Limits(5, per_claim=2)):
        for item in items[:5]:
            await item.begun.wait()
        assert [store.claims.get_nowait().limit for _ in range(3)] == [2, 2, 1]
        await store.no_more_claims()
        assert len(store.running) == 5
        items[0].done.set()
        await items[5].begun.wait()
        assert not items[6].begun.is_set()


async def test_it_waits_after_a_claim_that_was_not_full_until_it_is_woken() -> None:
    items = [Item(), Item(), Item()]
    store = Store(*items[:2])
    async with worker_of(store, Limits(10, per_claim=5)) as worker:
        await items[1].begun.wait()
        await store.no_more_claims()
        store.due.append(items[2])
        items[0].done.set()
        await store.no_more_claims()
        assert not items[2].begun.is_set(), "there was room already: nothing was missed"
        worker.wake()
        await items[2].begun.wait()


@pytest.mark.parametrize(
    ("limits", "of"),
    [
        (Limits(10, per_tenant=2, per_claim=2), lambda key: Item(tenant_id=key)),
        (Limits(10, per_provider=2, per_claim=2), lambda key: Item(provider_id=key)),
    ],
    ids=["tenant", "provider"],
)
async def test_one_that_is_full_leaves_room_to_others_and_is_claimed_again_when_it_has_room(
    limits: Limits, of: Callable[[uuid.UUID], Item]
) -> None:
    slow, others = [of(A) for _ in range(5)], [of(B), of(C)]
    store = Store(*slow, *others)
    async with worker_of(store, limits):
        for item in (*slow[:2], *others):
            await item.begun.wait()
        await store.no_more_claims()
        assert store.due == slow[2:]
        others[0].done.set()
        await store.no_more_claims()
        assert store.due == slow[2:], "what ended was of another one"
        slow[0].done.set()
        await slow[2].begun.wait()


async def test_it_names_what_one_tenant_has_left() -> None:
    store = Store(Item(tenant_id=A), Item(tenant_id=A), Item(tenant_id=B))
    async with worker_of(store, Limits(10, per_tenant=3)) as worker:
        first = await store.claims.get()
        worker.wake()
        second = await store.claims.get()
        assert (first.left_of_tenant, second.left_of_tenant) == (3, 1)


async def test_an_item_that_fails_is_logged_with_its_ids_and_harms_no_other() -> None:
    broken, gone, fine = Item(A, B), Item(A, C), Item()
    broken.error, gone.error = RuntimeError("a defect"), ConnectionRefusedError()
    store = Store(broken, gone, fine)
    with capture_logs() as lines:
        async with worker_of(store, Limits(3)):
            for item in (broken, gone):
                await item.begun.wait()
                item.done.set()
            await store.no_more_claims()
            assert store.running == {fine}
    assert [line["event"] for line in lines] == ["worker.task_failed", "database.unavailable"]


async def test_it_stops_by_cancelling() -> None:
    item = Item()
    async with worker_of(Store(item), Limits(1)):
        await item.begun.wait()
    assert item.cancelled


async def test_with_a_grace_period_claims_and_tasks_under_way_finish() -> None:
    """What a cancelled claim has committed would wait until its lease ends."""
    item, later = Item(), Item()
    store = Store(item)
    store.gate.clear()
    async with worker_of(store, Limits(1, per_claim=1), stop_grace_s=LONG_S) as worker:
        await store.claims.get()
        store.due.append(later)
        stopping = asyncio.create_task(worker.stop())
        await store.no_more_claims()
        store.gate.set()
        await item.begun.wait()
        await store.no_more_claims()
        assert not stopping.done()
        item.done.set()
        await stopping
        assert not item.cancelled
        assert store.due == [later], "nothing more is claimed"


async def test_the_grace_period_ends() -> None:
    item = Item()
    async with worker_of(Store(item), Limits(1), stop_grace_s=0.01):
        await item.begun.wait()
    assert item.cancelled


async def test_it_can_be_started_again() -> None:
    items = [Item(), Item()]
    store = Store(items[0])
    async with worker_of(store, Limits(1)) as worker:
        await items[0].begun.wait()
        await worker.stop()
        store.due.append(items[1])
        await worker.start()
        await items[1].begun.wait()


async def test_woken_it_still_keeps_the_shortest_pause() -> None:
    """The comparer begins a bounded number of comparisons in a time, however soon they end."""
    items = [Item(), Item()]
    store = Store(*items)
    async with worker_of(store, Limits(1), at_least_s=LONG_S) as worker:
        await items[0].begun.wait()
        items[0].done.set()
        worker.wake()
        await store.no_more_claims()
        assert not items[1].begun.is_set()

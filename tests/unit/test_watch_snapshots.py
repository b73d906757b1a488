"""P5, P6: who starts afresh together reads together, and never reads what is older than the question."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid

import pytest

from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import Unavailable
from deployment_service.watch.ports import EVERYTHING, Selection, SnapshotPage
from deployment_service.watch.settings import WatchSettings
from deployment_service.watch.snapshots import Snapshots

TENANT = TenantRef(uuid.UUID(int=1), "demo")
SETTINGS = WatchSettings(read_timeout_s=5.0, snapshot_readers=2)


class Store:
    """What is committed shows in reads that begin later. ``hold`` keeps reads from ending."""

    def __init__(self) -> None:
        self.committed = 0
        self.reads = 0
        self.failure: Exception | None = None
        self.hold = asyncio.Event()

    async def page(self, tenant: TenantRef, selection: Selection, after: str) -> SnapshotPage:
        self.reads += 1
        seen = self.committed
        await self.hold.wait()
        if self.failure is not None:
            raise self.failure
        return SnapshotPage([str(seen).encode()])


def ask(
    snapshots: Snapshots, *, within_s: float = 5.0, selection: Selection = EVERYTHING
) -> asyncio.Task[SnapshotPage]:
    until = asyncio.get_running_loop().time() + within_s
    return asyncio.create_task(snapshots.page(TENANT, selection, "", until))


async def test_a_thousand_who_ask_at_once_share_a_read():
    store = Store()
    store.hold.set()
    snapshots = Snapshots(store, SETTINGS)
    pages = await asyncio.gather(*(ask(snapshots) for _ in range(1000)))
    assert store.reads <= 2
    assert {page.deployments[0] for page in pages} == {b"0"}
    selections = [Selection(frozenset(slug)) for slug in "ab"]
    selections += [Selection(labels=frozenset({("team", team)})) for team in "ab"]
    await asyncio.gather(*(ask(snapshots, selection=one) for one in selections for _ in "123"))
    assert store.reads <= 6, "one for each filter"


async def test_a_read_that_has_begun_is_not_joined():
    """P5: a stream's snapshot must hold all that was committed before it asked."""
    store = Store()
    snapshots = Snapshots(store, SETTINGS)
    early = ask(snapshots)
    while not store.reads:  # noqa: ASYNC110
        await asyncio.sleep(0)
    store.committed = 1
    late = [ask(snapshots) for _ in range(100)]
    await asyncio.sleep(0.01)
    store.hold.set()
    assert (await early).deployments == [b"0"]
    assert {page.deployments[0] for page in await asyncio.gather(*late)} == {b"1"}
    assert store.reads == 2


async def test_who_gives_up_costs_the_others_nothing():
    store = Store()
    snapshots = Snapshots(store, SETTINGS)
    hasty, gone, patient = ask(snapshots, within_s=0.05), ask(snapshots), ask(snapshots)
    await asyncio.sleep(0.01)
    gone.cancel()
    with pytest.raises(Unavailable) as caught:
        await hasty
    assert caught.value.reason == "STORE_UNAVAILABLE"
    store.hold.set()
    assert (await patient).deployments == [b"0"]
    assert store.reads == 1


async def test_a_read_that_fails_fails_for_all_and_the_next_is_another():
    store = Store()
    store.hold.set()
    store.failure = ConnectionError("away")
    snapshots = Snapshots(store, SETTINGS)
    ends = await asyncio.gather(*(ask(snapshots) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)
    assert len({id(end) for end in ends}) == 3, "a shared exception would grow with each raise"
    store.failure = None
    assert (await ask(snapshots)).deployments == [b"0"]


async def test_a_read_that_hangs_ends_and_makes_room():
    store = Store()
    snapshots = Snapshots(store, dataclasses.replace(SETTINGS, read_timeout_s=0.05))
    ends = await asyncio.gather(*(ask(snapshots) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)
    store.hold.set()
    assert (await ask(snapshots)).deployments == [b"0"]


async def test_closing_ends_reads_under_way_and_those_to_come():
    snapshots = Snapshots(Store(), SETTINGS)
    waiting = [ask(snapshots)]
    await asyncio.sleep(0.01)
    waiting += [ask(snapshots)]
    await asyncio.sleep(0.01)
    await snapshots.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)

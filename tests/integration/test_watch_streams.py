"""A watch sees every committed event once, in order, on any replica (P5, P8)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from contextlib import aclosing

import pytest

from deployment_service.domain.errors import ResourceExhausted, Unavailable
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.watch_harness import (
    FAST,
    TYPES,
    Lost,
    Watcher,
    Writer,
    fold,
    following,
    history,
    new_tenant,
    replica,
    until_readable,
    wait_for,
)


def longer_than(count: int) -> Callable[[Watcher], bool]:
    return lambda watcher: len(watcher.kinds) > count


async def test_concurrent_writers_and_watchers_on_two_replicas_see_one_history(databases):
    """P5, P8: dense, in the order of commits, the same on both, filtered and not; folding gives the state."""
    tenant = await new_tenant(databases.api)
    writers = [Writer(databases.api, tenant, f"one-{n}", f"two-{n}") for n in range(6)]
    await writers[0].commit(3)
    async with (
        replica(databases.worker, databases.url) as first,
        replica(databases.worker, databases.url) as second,
    ):
        total = 3 + 6 * 40 * 2
        watchers = [
            Watcher(tenant),
            Watcher(tenant, slugs=["one-1", "two-4", "unheard-of"]),
            Watcher(tenant, types=[TYPES[1]]),
            Watcher(tenant, slugs=["one-2"], types=[TYPES[0]]),
        ]
        others = [Watcher(tenant, slugs=one.slugs, types=one.types) for one in watchers]

        async def write(writer: Writer) -> None:
            for _ in range(40):
                await writer.commit(2)
                first.hub.notify(tenant.tenant_id)

        def done(watcher: Watcher) -> bool:
            return watcher.accounted >= total

        async with following(watchers, first, done), following(others, second, done):
            await wait_for(lambda: all(one.snapshots for one in (*watchers, *others)))
            async with asyncio.TaskGroup() as group:
                for writer in writers:
                    group.create_task(write(writer))
        found = await history(databases.api, tenant)
    assert [event.sequence for event in found] == list(range(1, total + 1))
    for watcher in (*watchers, *others):
        watcher.check(found, after=3)
        assert watcher.resets == []
    assert watchers[0].state == others[0].state == fold(found)


async def test_a_snapshot_stands_for_its_sequence(databases):
    """P5: what is committed while the snapshot is read comes as events after it, and the fold is right."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b", "c", "d", "e")
    await writer.commit(5)
    async with replica(databases.worker) as one:
        one.snapshots.before_page = lambda _: writer.commit(2)
        watcher = Watcher(tenant)
        await watcher.follow(one, lambda w: w.snapshots)
        one.snapshots.before_page = None
        assert watcher.kinds == ["start", *["deployment"] * 5, "snapshot_complete"]
        assert watcher.accounted == 5
        assert one.snapshots.pages == 3
        head = await writer.commit()
        await watcher.follow_to(one, head)
        found = await history(databases.api, tenant)
        watcher.check(found, after=5)
        assert watcher.state == fold(found)


async def test_a_snapshots_tokens_start_it_again(databases):
    """P5: half a snapshot is no position."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant, "a", "b", "c").commit(3)
    async with replica(databases.worker) as one:
        watcher = Watcher(tenant)
        await watcher.follow(one, lambda w: w.kinds.count("deployment") == 2)
        await watcher.follow(one, lambda w: w.snapshots)
        assert watcher.kinds == [
            *["start", "deployment", "deployment"],
            *["start", "deployment", "deployment", "deployment", "snapshot_complete"],
        ]


@pytest.mark.parametrize("settings", [FAST, dataclasses.replace(FAST, ring_events=3)])
async def test_a_watch_resumes_anywhere_on_any_replica(databases, settings):
    """P5: after every single message, from the ring and from history; filtered as well."""
    settings = dataclasses.replace(settings, history_page=4, batch_events=2)
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b", "c")
    async with (
        replica(databases.worker, settings=settings) as first,
        replica(databases.worker, settings=settings) as second,
    ):
        watchers = [Watcher(tenant), Watcher(tenant, slugs=["b"]), Watcher(tenant, types=TYPES[:1])]
        for watcher in watchers:
            await watcher.follow(first, lambda w: w.snapshots)
        await writer.commit(30)
        for watcher in watchers:
            turns = 0
            while watcher.accounted < 30:
                turns += 1
                received = len(watcher.kinds)
                # One message beyond the start of the stream, then away.
                await watcher.follow((first, second)[turns % 2], longer_than(received + 1))
            watcher.check(await history(databases.api, tenant))
            assert watcher.resets == []
            assert watcher.snapshots == 1


async def test_catching_up_ends_with_a_bookmark(databases):
    """P5: also when nothing passed the filter; the next stream needn't read that history again."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a")
    async with replica(databases.worker) as one:
        watcher = Watcher(tenant, slugs=["other"])
        await watcher.follow(one, lambda w: w.snapshots)
        async with following([Watcher(tenant)], one, lambda w: w.accounted == 10):
            await writer.commit(10)
        await watcher.follow_to(one, 10)
        assert watcher.kinds[-2:] == ["start", "bookmark"]
        assert watcher.events == []


async def test_an_idle_stream_sends_bookmarks(databases):
    """P5: silence is bounded, and the bookmark moves a filtered stream on."""
    settings = dataclasses.replace(FAST, bookmark_after_s=0.05, max_silence_s=10)
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a")
    async with replica(databases.worker, settings=settings) as one:
        watcher = Watcher(tenant, slugs=["other"])
        async with following([watcher], one, lambda w: w.accounted >= 3 and len(w.kinds) > 8):
            await wait_for(lambda: watcher.kinds.count("bookmark") >= 3)
            await writer.commit(3)
        assert set(watcher.kinds) == {"start", "snapshot_complete", "bookmark"}
    start = pb.WatchDeploymentsResponse()
    async with replica(databases.worker, settings=settings) as one:
        async with aclosing(one.hub.watch(tenant)) as messages:
            start.ParseFromString(await anext(messages))
    assert start.start.max_silence.seconds == 10


async def test_my_own_write_is_seen_although_the_replica_has_not_heard_of_it(databases):
    """P5: a token beyond what this replica has read is neither refused nor reset."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant)
    slow = dataclasses.replace(FAST, poll_interval_s=3600.0)
    async with replica(databases.worker, settings=slow) as one:
        await Watcher(tenant).follow(one, lambda w: w.snapshots)
        epoch = await one.hub.epoch.current()
        sequence = await writer.commit(5)
        watcher = Watcher(tenant, token=one.hub.tokens.position(tenant.tenant_id, epoch, sequence))
        async with following([watcher], one, lambda w: w.accounted > sequence):
            await writer.commit()
            one.hub.notify(tenant.tenant_id)
        watcher.check(await history(databases.api, tenant), after=sequence)
        assert watcher.resets == []


async def test_streams_of_a_tenant_are_limited(databases):
    """P6: one tenant can't take the streams of all."""
    settings = dataclasses.replace(FAST, streams_per_tenant=2)
    tenant, other = await new_tenant(databases.api), await new_tenant(databases.api, "other")
    async with replica(databases.worker, settings=settings) as one:
        open_streams = [one.hub.watch(tenant) for _ in range(2)]
        for stream in open_streams:
            await anext(stream)
        with pytest.raises(ResourceExhausted) as caught:
            await anext(one.hub.watch(tenant))
        assert caught.value.reason == "TOO_MANY_WATCHES"
        await Watcher(other).follow(one, lambda w: w.snapshots)
        await open_streams[0].aclose()
        await Watcher(tenant).follow(one, lambda w: w.snapshots)
        await open_streams[1].aclose()
        assert one.hub.streams == 0


async def test_who_gave_up_asking_a_store_that_is_away_is_forgotten(databases):
    """P6: an outage takes no memory, however many come, wait in vain and come again."""
    settings = dataclasses.replace(FAST, read_timeout_s=0.2)
    tenant = await new_tenant(databases.api)
    async with replica(databases.worker, settings=settings) as one:
        one.log.away = True
        for _ in range(3):
            tasks = [Watcher(tenant).follow(one, lambda _: False) for _ in range(50)]
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, Unavailable) for end in ends)
        failed = one.log.statements["heads"]
        await wait_for(lambda: one.log.statements["heads"] > failed + 1)
        assert one.hub._follower._asking == []
        one.log.away = False
        await until_readable(one, tenant)


async def test_shutdown_ends_streams_with_a_bookmark_and_a_hint(databases):
    """P5: the client moves on from exactly where it was."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a")
    watchers = [Watcher(tenant), Watcher(tenant, slugs=["other"])]
    async with replica(databases.worker) as one:
        tasks = [asyncio.create_task(w.follow(one, lambda _: False)) for w in watchers]
        await wait_for(lambda: all(w.snapshots for w in watchers))
        await writer.commit(4)
        await wait_for(lambda: len(watchers[0].events) == 4)
        await one.hub.stop(5.0)
        for task in tasks:
            with pytest.raises(Unavailable) as caught:
                await task
            assert caught.value.reason == "SHUTTING_DOWN"
            assert 0 <= caught.value.retry_after_s <= 1
        with pytest.raises(Unavailable):
            await anext(one.hub.watch(tenant))
    assert all(w.kinds[-1] == "bookmark" and w.accounted == 4 for w in watchers)


@pytest.mark.parametrize(
    "plant",
    [
        lambda found: [one for one in found if one.sequence != 5],
        lambda found: [one for one in found for _ in range(1 + (one.sequence == 5))],
        lambda found: sorted(found, key=lambda one: {5: 6, 6: 5}.get(one.sequence, one.sequence)),
    ],
    ids=["lost", "doubled", "swapped"],
)
@pytest.mark.expects_logged_errors
async def test_a_broken_order_is_noticed_and_leads_to_a_reset(databases, plant):
    """P5: the tail takes nothing that doesn't follow; watchers start afresh and are right again."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    async with replica(databases.worker) as one:
        watcher = Watcher(tenant)
        async with following([watcher], one, lambda w: w.resets and w.accounted >= 11):
            await wait_for(lambda: watcher.snapshots)
            one.log.plant = plant
            await writer.commit(10)
            await wait_for(lambda: watcher.resets)
            one.log.plant = None
            await wait_for(lambda: watcher.snapshots == 2)
            await writer.commit()
        assert watcher.resets == [pb.Reset.REASON_HISTORY_TRIMMED]
        assert watcher.state == fold(await history(databases.api, tenant))


async def test_the_validator_finds_a_single_lost_doubled_or_swapped_event(databases):
    """The tests above are worth what their validator is."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant, "a", "b").commit(9)
    found = await history(databases.api, tenant)
    async with replica(databases.worker) as one:
        epoch = await one.hub.epoch.current()
        token = one.hub.tokens.position(tenant.tenant_id, epoch, 0)
        watcher = Watcher(tenant, token=token)
        await watcher.follow_to(one, 9)
        watcher.check(found)
        messages = []
        async with aclosing(one.hub.watch(tenant, resume_token=token)) as stream:
            async for received in stream:
                messages.append(pb.WatchDeploymentsResponse.FromString(received))
                if messages[-1].WhichOneof("response") == "bookmark":
                    break
    events = messages[1:-1]
    for wrong in (
        [*events[:4], *events[5:]],
        [*events[:4], events[4], *events[4:]],
        [*events[:4], events[5], events[4], *events[6:]],
    ):
        with pytest.raises(Lost):
            take_all(Watcher(tenant), [messages[0], *wrong])
        victim = Watcher(tenant, events=[message.event for message in wrong])
        with pytest.raises(Lost):
            victim.check(found)


def take_all(watcher: Watcher, messages: Iterable[pb.WatchDeploymentsResponse]) -> None:
    for message in messages:
        watcher.take(message)

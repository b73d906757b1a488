"""Many watchers cost the database nothing, and none of them slows another (P5, P6)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import statistics
import time
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from deployment_service.domain.access import TenantRef
from deployment_service.storage.events import event_log
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.watch_harness import (
    FAST,
    Replica,
    Watcher,
    Writer,
    following,
    history,
    new_tenant,
    replica,
    wait_for,
)

pytestmark = pytest.mark.alone

MANY = 1000
CALM = dataclasses.replace(FAST, bookmark_after_s=6.0, streams_per_tenant=2 * MANY)


async def calls(connection: asyncpg.Connection) -> int:
    """Statements on events that the database has executed."""
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE '%deployment_events%'"
            " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    )


async def statements_per_poll(one: Replica, url: str) -> float:
    """How many statements a replica sends between two polls, counted by the server over twenty of them."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        polls = one.log.statements["heads"]
        before = await calls(connection)
        await wait_for(lambda: one.log.statements["heads"] >= polls + 20)
        return (await calls(connection) - before) / (one.log.statements["heads"] - polls)
    finally:
        await connection.close()


@pytest.mark.parametrize("tenants", [1, MANY])
async def test_idle_watchers_cost_no_statements(databases, tenants):
    """P6: a thousand of one tenant, or of a thousand tenants: one poll for all of them."""
    async with databases.api.acquire() as connection:
        rows = await connection.fetch(
            "INSERT INTO tenants (slug) SELECT 't' || n FROM generate_series(1, $1) AS n RETURNING *",
            tenants,
        )
    refs = [TenantRef(row["tenant_id"], row["slug"]) for row in rows]
    async with replica(databases.worker, settings=CALM) as one:
        alone = await statements_per_poll(one, databases.url)
        watchers = [Watcher(refs[n % tenants]) for n in range(MANY)]
        tasks = [asyncio.create_task(w.follow(one, lambda _: False)) for w in watchers]
        try:
            await wait_for(lambda: all(w.snapshots for w in watchers), 50)
            assert one.hub.tails == tenants
            crowded = await statements_per_poll(one, databases.url)
            assert one.log.statements["news"] == one.log.statements["page"] == 0
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert crowded <= alone + 0.2


@pytest.mark.parametrize(
    "watchers",
    [
        MANY // 5,
        pytest.param(MANY, marks=[pytest.mark.full, pytest.mark.timeout(300)]),
    ],
)
async def test_resuming_together_reads_each_page_once(databases, watchers):
    """P6: a thousand watchers 5,000 events behind: statements grow with pages, not with watchers."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b", "c")
    for _ in range(10):
        await writer.commit(500)
    settings = dataclasses.replace(CALM, ring_events=100)
    async with replica(databases.worker, settings=settings) as one:
        await Watcher(tenant).follow(one, lambda w: w.snapshots)
        token = one.hub.tokens.position(tenant.tenant_id, await one.hub.epoch.current(), 0)

        async def catch_up() -> int:
            last = 0
            async with aclosing(one.hub.watch(tenant, resume_token=token)) as messages:
                async for message in messages:
                    # The bytes of an event come first: sequence is the first field of the first field.
                    last += message[0] == 0x22
                    if last == 5000:
                        break
            return last

        start = time.perf_counter()
        counts = await asyncio.gather(*(catch_up() for _ in range(watchers)))
        seconds = time.perf_counter() - start
        print(f"{sum(counts) / seconds:.0f} messages per second, out of the hub")
        assert counts == [5000] * watchers
        assert one.log.statements["page"] <= 11


async def test_starting_afresh_together_reads_together(databases):
    """P6: after a failover all watchers want a snapshot at once: reads grow with pages, not with watchers."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, *(f"d{number}" for number in range(10)))
    await writer.commit(10)
    async with replica(databases.worker, settings=CALM) as one:
        watchers = [Watcher(tenant) for _ in range(MANY // 5)]
        async with following(watchers, one, lambda w: w.events):
            await wait_for(lambda: all(w.snapshots for w in watchers))
            await writer.commit()
        assert all(len(watcher.state) == 10 for watcher in watchers)
        print(f"{one.snapshots.pages} reads of 5 pages")
        assert one.snapshots.pages <= MANY // 10


async def test_a_watcher_that_stops_reading_delays_nobody(databases):
    """P6: it costs one batch of memory, the ring stays bounded, and later it gets everything."""
    settings = dataclasses.replace(CALM, ring_events=50, history_cache_bytes=100_000)
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    async with replica(databases.worker, settings=settings) as one:
        stuck = Watcher(tenant)
        async with aclosing(one.hub.watch(tenant)) as messages:
            while not stuck.snapshots:
                stuck.take(pb.WatchDeploymentsResponse.FromString(await anext(messages)))
            await writer.commit()
            stuck.take(pb.WatchDeploymentsResponse.FromString(await anext(messages)))
            brisk = Watcher(tenant)
            async with following([brisk], one, lambda w: w.accounted >= 2001):
                await wait_for(lambda: brisk.snapshots)
                for _ in range(100):
                    await writer.commit(20)
                    one.hub.notify(tenant.tenant_id)
            (tail,) = one.hub._follower.tails
            assert tail.ring is not None
            assert len(tail.ring) <= 50
            brisk.check(await history(databases.api, tenant), after=1)
            while stuck.accounted < 2001:
                stuck.take(pb.WatchDeploymentsResponse.FromString(await anext(messages)))
        stuck.check(await history(databases.api, tenant))
        assert one.hub._follower.history._bytes <= 100_000 + 600 * 500


async def test_rings_share_their_total(databases):
    """P6: many tenants' rings stay within one bound, also those that were filled while there were few."""
    settings = dataclasses.replace(FAST, rings_total_bytes=100_000)
    tenants = [await new_tenant(databases.api, f"t{n}") for n in range(5)]
    writers = [Writer(databases.api, tenant) for tenant in tenants]
    async with replica(databases.worker, settings=settings) as one:
        for tenant, writer in zip(tenants, writers, strict=True):
            async with following([Watcher(tenant)], one, lambda w: w.accounted >= 300):
                await writer.commit(300)
        total = 0
        polls = one.log.statements["heads"]
        await wait_for(lambda: one.log.statements["heads"] > polls + 1)
        for tail in one.hub._follower.tails:
            assert tail.ring is not None
            total += tail.ring.size
        assert 50_000 < total <= 100_000


async def test_an_event_reaches_a_watcher_of_another_replica_at_once(databases):
    """P5: by a hint, long before the poll."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant)
    slow_poll = dataclasses.replace(FAST, poll_interval_s=30.0, notify_interval_s=0.0)
    async with (
        replica(databases.worker, databases.url, settings=slow_poll) as here,
        replica(databases.worker, databases.url, settings=slow_poll) as there,
    ):
        watcher = Watcher(tenant)
        delays = []
        async with following([watcher], there, lambda w: w.accounted >= 101):
            await wait_for(lambda: watcher.snapshots)
            for sequence in range(1, 102):
                await writer.commit()
                committed = time.perf_counter()
                here.hub.notify(tenant.tenant_id)
                async with asyncio.timeout(10.0):
                    while watcher.accounted < sequence:  # noqa: ASYNC110 - measures in steps of the loop
                        await asyncio.sleep(0)
                delays.append(time.perf_counter() - committed)
        median = statistics.median(delays) * 1000
        print(f"median {median:.2f} ms from the commit to a watcher of another replica")
        assert median < 100
        # A hint at most per commit; the replica that committed doesn't hear its own.
        assert here.log.statements["notify"] <= 101
        assert there.log.statements["news"] <= 110


async def test_without_notifications_an_event_comes_within_the_poll_interval(databases):
    """P5: hints only make it faster. Here neither replica sends any, nor would hear one."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant)
    settings = dataclasses.replace(FAST, poll_interval_s=0.4)
    async with replica(databases.worker, settings=settings) as one:
        watcher = Watcher(tenant)
        delays = []
        async with following([watcher], one, lambda w: w.accounted >= 15):
            await wait_for(lambda: watcher.snapshots)
            for sequence in range(1, 16):
                await writer.commit()
                committed = time.perf_counter()
                await wait_for(lambda sequence=sequence: watcher.accounted >= sequence)  # type: ignore[misc]
                delays.append(time.perf_counter() - committed)
        print(
            f"median {statistics.median(delays):.2f} s by polls every {settings.poll_interval_s} s"
        )
        # The next event is committed right after a poll, so each waits for nearly a whole interval.
        assert statistics.median(delays) < settings.poll_interval_s + 0.3


async def test_hints_are_few_however_many_commits(databases):
    """P6: a notification takes a lock that all commits share."""
    settings = dataclasses.replace(FAST, notify_interval_s=0.05)
    tenant = await new_tenant(databases.api)
    async with replica(databases.worker, databases.url, settings=settings) as one:
        for _ in range(20):
            for _ in range(500):
                one.hub.notify(tenant.tenant_id)
            await asyncio.sleep(0.005)
        await wait_for(lambda: one.log.statements["notify"] >= 2)
        assert one.log.statements["notify"] <= 6


# After and before which sequence, how many, from and until when, types, sources.
LISTED = (
    1000,
    4000,
    100,
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(9999, 1, 1, tzinfo=UTC),
    None,
    None,
)


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (event_log._HEADS, lambda ids: [ids]),
        (event_log._NEWS, lambda ids: [ids, [4990] * len(ids), 100]),
        (event_log._PAGE, lambda ids: [ids[0], 1000, 1500]),
        (event_log._LIST_ALL, lambda ids: [ids[0], *LISTED]),
        (event_log._LIST_ONE, lambda ids: [ids[0], *LISTED, "a"]),
        (event_log._OLDEST, lambda ids: [ids[0]]),
        (event_log._ENDS, lambda ids: [ids * 2, ["a"] * len(ids) + ["b7"] * len(ids)]),
    ],
    ids=["heads", "news", "page", "list-all", "list-one", "oldest", "ends"],
)
async def test_hot_queries_read_by_index_what_they_return(databases, statement, arguments):
    """P6: with a long history and many tenants, no statement reads more than it returns."""
    tenants = [await new_tenant(databases.api, f"t{n}") for n in range(8)]
    async with databases.api.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO deployment_events (tenant_id, sequence, deployment_id, deployment_slug, revision, type,
                old_status, status, deployment_status, source)
            SELECT t.tenant_id, n, md5(t.slug || n % 50)::uuid, CASE n % 50 WHEN 0 THEN 'a' ELSE 'b' || n % 50 END,
                n / 50 + 1, 'DEPLOYMENT_STATUS_UPDATE', 'PENDING', 'RUNNING', 'RUNNING', 'READ'
            FROM tenants AS t, generate_series(1, 5000) AS n
            """
        )
    connection = await asyncpg.connect(databases.url)
    try:
        await connection.execute("ANALYZE deployment_events")
        text = statement.format(epoch=event_log._MARKER)
        plan = json.loads(
            await connection.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {text}",
                *arguments([one.tenant_id for one in tenants]),
            )
        )
    finally:
        await connection.close()
    nodes = list(_nodes(plan[0]["Plan"]))
    on_events = [node for node in nodes if node.get("Relation Name") == "deployment_events"]
    assert on_events
    assert {node["Node Type"] for node in on_events} <= {
        "Index Scan",
        "Index Only Scan",
        "Bitmap Heap Scan",
    }
    assert sum(node.get("Rows Removed by Filter", 0) for node in nodes) == 0
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in on_events)
    assert read <= 800


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)

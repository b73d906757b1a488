"""A stream with ``until`` ends once all it waits for has ended as asked for; it costs nothing before (P5, P6)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

from deployment_service.domain.access import TenantRef
from deployment_service.domain.events import EventSource, EventType, NewEvent, Until
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.events import events
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.test_watch_grpc import reason, serving
from tests.integration.watch_harness import (
    FAST,
    Watcher,
    following,
    history,
    new_tenant,
    replica,
    wait_for,
)

NO_POLL = dataclasses.replace(FAST, poll_interval_s=3600.0, bookmark_after_s=3600.0)

_PROVIDER = """
    INSERT INTO cicd_providers (tenant_id, slug, base_url) VALUES ($1, 'main', 'http://127.0.0.1:9/')
    ON CONFLICT (tenant_id, slug) DO UPDATE SET base_url = excluded.base_url RETURNING provider_id
"""
_DEPLOYMENT = """
    INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec) VALUES ($1, $2, $3, 'EXISTING', '{}')
    RETURNING deployment_id
"""
_RUN = """
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state)
    VALUES ($1, $2, $3, gen_random_uuid(), 'SERVICE', 'ENDED') RETURNING run_id
"""
_CURRENT = "UPDATE deployments SET current_run_id = $3 WHERE tenant_id = $1 AND deployment_id = $2"
_COMPLETE = """
    UPDATE deployment_runs SET status = 'COMPLETED', end_time = now(), rank = CASE WHEN $3 THEN 351 ELSE 331 END,
        certainty = CASE WHEN $3 THEN 'CONFIRMED' ELSE 'REPORTED' END, settle_time = CASE WHEN $3 THEN now() END
    WHERE tenant_id = $1 AND run_id = $2
"""
_DELETE = "DELETE FROM deployments WHERE tenant_id = $1 AND deployment_id = $2"


@dataclass
class Deployments:
    """Deployments and runs as the service's transactions leave them."""

    database: Database
    tenant: TenantRef
    ids: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    revisions: Counter[str] = field(default_factory=Counter)

    async def create(self, *slugs: str) -> None:
        async def work(connection: Connection) -> None:
            provider = await connection.fetchval(_PROVIDER, self.tenant.tenant_id)
            for slug in slugs:
                self.ids[slug] = await connection.fetchval(
                    _DEPLOYMENT, self.tenant.tenant_id, slug, provider
                )

        await self.database.transaction(work)

    async def run(self, slug: str) -> None:
        """A run begins."""

        async def work(connection: Connection) -> None:
            key = self.tenant.tenant_id, self.ids[slug]
            number = self.revisions[slug] + 1
            self.runs[slug] = await connection.fetchval(_RUN, *key, number)
            await connection.execute(_CURRENT, *key, self.runs[slug])
            await self._append(connection, slug, EventType.DEPLOYMENT_RUN_START, "RUNNING")

        await self.database.transaction(work)

    async def complete(self, slug: str, *, confirmed: bool) -> None:
        """The current run ends."""

        async def work(connection: Connection) -> None:
            await connection.execute(_COMPLETE, self.tenant.tenant_id, self.runs[slug], confirmed)
            await self._append(connection, slug, EventType.DEPLOYMENT_STATUS_UPDATE, "COMPLETED")

        await self.database.transaction(work)

    async def age(self, slug: str) -> None:
        """As if the run had ended a minute ago."""
        async with self.database.acquire() as connection:
            await connection.execute(
                "UPDATE deployment_runs SET settle_time = now(), certainty = 'UNVERIFIABLE' WHERE run_id = $1",
                self.runs[slug],
            )

    async def confirm(self, slug: str) -> None:
        """Jenkins was read, and says the same: no transition, no event."""
        async with self.database.acquire() as connection:
            await connection.execute(_COMPLETE, self.tenant.tenant_id, self.runs[slug], True)

    async def delete(self, slug: str) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(_DELETE, self.tenant.tenant_id, self.ids[slug])
            await self._append(connection, slug, EventType.DEPLOYMENT_DELETED, "RUNNING")

        await self.database.transaction(work)

    async def _append(
        self, connection: Connection, slug: str, kind: EventType, status: str
    ) -> None:
        self.revisions[slug] += 1
        event = NewEvent(
            deployment_id=self.ids[slug],
            deployment_slug=slug,
            revision=self.revisions[slug],
            type=kind,
            source=EventSource.READ,
            old_status=DeploymentStatus.PENDING,
            status=DeploymentStatus(status),
            deployment_status=DeploymentStatus(status),
        )
        await events.append(connection, self.tenant.tenant_id, [event])


@pytest.fixture
async def world(databases: Any) -> Deployments:
    world = Deployments(databases.api, await new_tenant(databases.api))
    await world.create("web", "db")
    return world


def waiting(world: Deployments, *slugs: str, **fields: Any) -> Watcher:
    fields.setdefault("until", Until.SETTLED)
    return Watcher(world.tenant, slugs=slugs, **fields)


def ended(watcher: Watcher) -> bool:
    return watcher.ended


def never(_: Watcher) -> bool:
    return False


@pytest.mark.parametrize("how", ["confirm", "age"])
async def test_it_ends_when_the_last_end_is_confirmed_and_not_before(databases, world, how):
    """P5: all that led to the end has been sent; then a bookmark, then OK. Neither appends an event."""
    await world.run("web")
    await world.run("db")
    async with replica(databases.worker) as one:
        watcher = waiting(world, "web", "db")
        async with following([watcher], one, never):
            await wait_for(lambda: watcher.snapshots)
            await world.complete("web", confirmed=True)
            await world.complete("db", confirmed=False)
            await wait_for(lambda: len(watcher.events) == 2)
            looks = one.log.statements["ends"]
            await wait_for(lambda: one.log.statements["ends"] >= looks + 3)
            assert not ended(watcher)
            await getattr(world, how)("db")
        assert ended(watcher)
        watcher.check(await history(databases.api, world.tenant), after=2)
        assert watcher.kinds[-1] == "bookmark"
        assert watcher.accounted == 4


async def test_it_may_end_at_a_reported_end(databases, world):
    """One that is only reported ends the stream that asked for that, beside one that waits for more."""
    await world.run("web")
    await world.run("db")
    async with replica(databases.worker) as one:
        soon = waiting(world, "web", "db", until=Until.REPORTED)
        sure = waiting(world, "web", "db")
        async with following([soon, sure], one, never):
            await wait_for(lambda: soon.snapshots and sure.snapshots)
            await world.complete("db", confirmed=True)
            await wait_for(lambda: len(soon.events) == 1 and len(sure.events) == 1)
            looks = one.log.statements["ends"]
            await wait_for(lambda: one.log.statements["ends"] > looks)
            assert not ended(soon), "web still runs"
            await world.complete("web", confirmed=False)
            await wait_for(lambda: ended(soon))
            assert soon.kinds[-1] == "bookmark"
            assert not ended(sure)
            await world.confirm("web")
        assert ended(sure)
        for watcher in (soon, sure):
            watcher.check(await history(databases.api, world.tenant), after=2)


async def test_a_deleted_deployment_holds_up_no_kind_of_end(databases, world):
    await world.run("web")
    await world.delete("web")
    async with replica(databases.worker) as one:
        for until in Until:
            watcher = waiting(world, "web", until=until)
            await watcher.follow(one, never)
            assert watcher.ended


async def test_all_must_have_ended_at_one_moment(databases, world):
    """P5: one that has run again meanwhile is waited for once more."""
    for slug in ("web", "db"):
        await world.run(slug)
    async with replica(databases.worker) as one:
        watcher = waiting(world, "web", "db")
        async with following([watcher], one, never):
            await wait_for(lambda: watcher.snapshots)
            await world.complete("web", confirmed=True)
            await wait_for(lambda: watcher.events)
            await world.run("web")
            await world.complete("db", confirmed=True)
            await wait_for(lambda: len(watcher.events) == 3)
            looks = one.log.statements["ends"]
            await world.complete("web", confirmed=False)
            await wait_for(lambda: one.log.statements["ends"] >= looks + 2)
            assert not ended(watcher)
            await world.confirm("web")
        assert ended(watcher)
        assert len(watcher.events) == 4


async def test_what_never_ran_or_does_not_exist_is_waited_for_and_what_was_deleted_is_not(
    databases, world
):
    """P5: a run that will come ends the stream; one that can't come any more doesn't hold it up."""
    async with replica(databases.worker) as one:
        watchers = [waiting(world, "web"), waiting(world, "later"), waiting(world, "db")]
        async with following(watchers, one, never):
            await wait_for(lambda: all(w.snapshots for w in watchers))
            await world.run("db")
            await world.delete("db")
            await wait_for(lambda: watchers[2].ended)
            assert not watchers[0].ended
            assert not watchers[1].ended
            await world.create("later")
            for slug in ("web", "later"):
                await world.run(slug)
                await world.complete(slug, confirmed=True)
        assert all(w.ended for w in watchers)
        again = waiting(world, "db")
        await again.follow(one, never)
        assert again.ended, "still known on any replica: the newest event stays"


async def test_it_is_told_all_that_led_to_the_end_although_its_replica_had_not_heard_of_it(
    databases, world
):
    """P5: no poll and no hint has told this replica of the events; the look at the end does."""
    async with replica(databases.worker, settings=NO_POLL) as one:
        first = Watcher(world.tenant)
        await first.follow(one, lambda w: w.snapshots)
        await world.run("web")
        await world.complete("web", confirmed=True)
        watcher = waiting(world, "web", token=first.token)
        await watcher.follow(one, never)
        assert ended(watcher)
        watcher.check(await history(databases.api, world.tenant))


async def test_after_a_restore_the_new_truth_decides(databases, world):
    """P5: what had ended before the restore may be running in the history that came back."""
    await world.run("web")
    async with replica(databases.worker) as one:
        watcher = waiting(world, "web")
        async with following([watcher], one, never):
            await wait_for(lambda: watcher.snapshots)
            async with databases.api.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL ROLE postgres")
                await connection.execute("UPDATE store_epoch SET marker = gen_random_uuid()")
            await wait_for(lambda: watcher.snapshots == 2)
            await world.complete("web", confirmed=True)
        assert ended(watcher)
        assert watcher.resets == [pb.Reset.REASON_STORE_CHANGED]


async def test_streams_that_wait_for_what_runs_cost_nothing_and_all_others_one_statement(
    databases, world
):
    """P6: however many wait. The database sees a look after an event, and one per poll while ends are unconfirmed."""
    await world.run("web")
    await world.run("db")
    async with replica(databases.worker) as one:
        watchers = [waiting(world, "web", "db") for _ in range(200)]
        async with following(watchers, one, never):
            await wait_for(lambda: all(w.snapshots for w in watchers))
            polls, looks = one.log.statements["heads"], one.log.statements["ends"]
            await wait_for(lambda: one.log.statements["heads"] >= polls + 12)
            assert one.log.statements["ends"] <= looks + 2, "only now and then"
            await world.complete("web", confirmed=False)
            await world.complete("db", confirmed=True)
            await wait_for(lambda: all(len(w.events) == 2 for w in watchers))
            polls, looks = one.log.statements["heads"], one.log.statements["ends"]
            await wait_for(lambda: one.log.statements["heads"] >= polls + 20)
            made = one.log.statements["ends"] - looks
            assert 0 < made <= one.log.statements["heads"] - polls + 2
            await world.confirm("web")
        assert all(w.ended for w in watchers)


@pytest.mark.parametrize("until", [pb.WATCH_UNTIL_REPORTED, pb.WATCH_UNTIL_SETTLED])
async def test_over_the_wire_it_ends_with_ok_and_names_are_required(databases, world, until):
    """P5: a clean end, with a token to go on from."""
    await world.run("web")
    await world.complete("web", confirmed=True)
    async with replica(databases.worker) as one, serving(one, world.tenant) as stub:
        call = stub.WatchDeployments(
            pb.WatchDeploymentsRequest(names=["tenants/demo/deployments/web"], until=until)
        )
        kinds = [message.WhichOneof("response") async for message in call]
        assert await call.code() is grpc.StatusCode.OK
        assert kinds[-1] == "bookmark"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(stub.WatchDeployments(pb.WatchDeploymentsRequest(until=until))))
        assert reason(caught.value) == "REQUIRED_FIELD"
        await wait_for(lambda: one.hub.streams == 0)


async def test_a_store_that_is_away_is_asked_again(databases, world):
    """P5: the stream lives on and ends when the store says so."""
    await world.run("web")
    async with replica(databases.worker) as one:
        read, failed = one.log.ends, asyncio.Event()

        async def fail(names: Any) -> Any:
            failed.set()
            raise ConnectionError("the store is away")

        one.log.ends = fail  # type: ignore[method-assign]
        watcher = waiting(world, "web")
        async with following([watcher], one, never):
            await wait_for(lambda: watcher.snapshots and failed.is_set())
            await world.complete("web", confirmed=True)
            await wait_for(lambda: watcher.events)
            assert not ended(watcher)
            one.log.ends = read  # type: ignore[method-assign]
        assert ended(watcher)

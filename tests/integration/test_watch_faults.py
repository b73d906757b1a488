"""What goes wrong between the store and a watcher ends in a delay or in a reset, never in a gap (P5)."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import shutil
import uuid
from pathlib import Path

import asyncpg
import pytest

from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import InvalidArgument, Unavailable
from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE, Database
from deployment_service.storage.events.event_log import EventLog
from deployment_service.storage.schema.migrate import migrate
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.postgres import EmbeddedPostgres
from tests.integration.watch_harness import (
    FAST,
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

TRIMMED, CHANGED = pb.Reset.REASON_HISTORY_TRIMMED, pb.Reset.REASON_STORE_CHANGED
NO_POLL = dataclasses.replace(FAST, poll_interval_s=3600.0)
TINY_RING = dataclasses.replace(FAST, ring_events=2, history_page=4, batch_events=2)


async def sql(url: str, statement: str, *arguments: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()


def has_accounted(watcher: Watcher, sequence: int) -> bool:
    return watcher.accounted >= sequence


async def trim(url: str, tenant: TenantRef, *sequences: int) -> None:
    await sql(
        url,
        "DELETE FROM deployment_events WHERE tenant_id = $1 AND sequence = ANY ($2)",
        tenant.tenant_id,
        list(sequences),
    )


@pytest.mark.parametrize(
    ("gone", "seen"),
    [
        ([1, 2, 3, 4, 5], []),  # right after the token
        ([1, 2, 3, 7], [4, 5, 6]),  # a hole: the newest of another deployment stayed
        ([10], [4, 5, 6, 7, 8, 9]),
    ],
)
async def test_a_token_behind_retention_gets_a_reset_and_a_fresh_snapshot(databases, gone, seen):
    """P5: what is still whole is sent, then comes the reset; on a replica that never had it in memory."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    await writer.commit(12)
    async with replica(databases.worker, settings=TINY_RING) as one:
        token = one.hub.tokens.position(tenant.tenant_id, await one.hub.epoch.current(), 3)
        await trim(databases.url, tenant, *gone)
        watcher = Watcher(tenant, token=token)
        before: list[int] = []

        def until_reset(w: Watcher) -> bool:
            if w.events:
                before[:] = [event.sequence for event in w.events]
            return w.kinds[-1] == "reset"

        await watcher.follow(one, until_reset)
        assert before == seen
        # Who lost the connection right here starts afresh too.
        await watcher.follow(one, lambda w: w.snapshots)
        await writer.commit()
        await watcher.follow_to(one, 13)
    assert watcher.resets == [TRIMMED]
    assert watcher.state == fold(await history(databases.api, tenant))


async def test_trimming_that_overtakes_a_read_of_history_ends_in_a_reset(databases):
    """P5: between two pages of a slow reader."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant, "a", "b").commit(40)
    async with replica(databases.worker, settings=TINY_RING) as one:
        token = one.hub.tokens.position(tenant.tenant_id, await one.hub.epoch.current(), 0)
        watcher = Watcher(tenant, token=token)

        def until(w: Watcher) -> object:
            if len(w.events) == 6:
                one.log.hold_pages = asyncio.Event()
            return w.resets and w.snapshots

        async with following([watcher], one, until):
            await wait_for(lambda: len(watcher.events) == 8)
            await trim(databases.url, tenant, *range(1, 20))
            assert one.log.hold_pages is not None
            one.log.hold_pages.set()
        assert watcher.resets == [TRIMMED]
        assert watcher.state == fold(await history(databases.api, tenant))


@pytest.mark.expects_logged_errors
async def test_another_epoch_resets_watchers_and_old_tokens(databases):
    """P5: after a restore, by its runbook's marker: those who watch, and those who come back later to any replica."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    await writer.commit(5)
    async with replica(databases.worker) as one:
        watcher, away = Watcher(tenant), Watcher(tenant)
        await away.follow(one, lambda w: w.snapshots)
        old_epoch = await one.hub.epoch.current()
        async with following([watcher], one, lambda w: w.snapshots == 2):
            await wait_for(lambda: watcher.snapshots)
            await sql(databases.url, "UPDATE store_epoch SET marker = gen_random_uuid()")
        assert watcher.resets == [CHANGED]
        assert await one.hub.epoch.current() != old_epoch
        fresh = Watcher(tenant, token=watcher.token)
        await writer.commit(1)
        await fresh.follow_to(one, 6)
        assert fresh.resets == []
    async with replica(databases.worker) as other:
        await away.follow(other, lambda w: w.kinds[-1] == "reset")
        assert away.resets == [CHANGED]
        await away.follow(other, lambda w: w.snapshots == 2)
        assert away.kinds[-5:] == [
            "reset",
            "start",
            "deployment",
            "deployment",
            "snapshot_complete",
        ]


async def test_a_sequence_that_never_was_gets_a_reset(databases):
    """P5: a position beyond the head, as after a loss that nothing else shows."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant).commit(5)
    async with replica(databases.worker) as one:
        epoch = await one.hub.epoch.current()
        watcher = Watcher(tenant, token=one.hub.tokens.position(tenant.tenant_id, epoch, 6))
        await watcher.follow(one, lambda w: w.snapshots)
        assert watcher.kinds == ["start", "reset", "deployment", "snapshot_complete"]
        assert watcher.resets == [CHANGED]


@pytest.mark.expects_logged_errors
async def test_a_history_that_goes_back_resets_watchers(databases):
    """P5: committed events vanish although the epoch stays the same."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant).commit(5)
    async with replica(databases.worker) as one:
        watcher = Watcher(tenant)
        async with following([watcher], one, lambda w: w.snapshots == 2):
            await wait_for(lambda: watcher.snapshots)
            await trim(databases.url, tenant, 5)
        assert watcher.resets == [CHANGED]
        assert watcher.accounted == 4


async def test_damaged_and_foreign_tokens_are_refused(databases):
    """P5, P6: before anything is sent; a tenant made again under an old name is another tenant."""
    tenant, other = await new_tenant(databases.api), await new_tenant(databases.api, "other")
    async with replica(databases.worker) as one:
        epoch = await one.hub.epoch.current()
        theirs = one.hub.tokens.position(other.tenant_id, epoch, 0)
        mine = one.hub.tokens.position(tenant.tenant_id, epoch, 0)
        namesake = one.hub.tokens.position(uuid.uuid4(), epoch, 0)
        snapshot = one.hub.tokens.snapshot(other.tenant_id)
        altered = mine[:20] + ("B" if mine[20] == "A" else "A") + mine[21:]
        for token in (theirs, namesake, snapshot, mine[:-1], altered, "x", "é"):
            with pytest.raises(InvalidArgument) as caught:
                await anext(one.hub.watch(tenant, resume_token=token))
            assert caught.value.reason == "RESUME_TOKEN_INVALID"
        assert one.hub.streams == 0


async def test_a_cut_listener_listens_again_and_looks_at_what_it_missed(databases):
    """P5: with polling out of the way, everything must come by hints and by the look after LISTEN."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant)
    async with (
        replica(databases.worker, databases.url, settings=NO_POLL) as one,
        replica(databases.worker, databases.url) as other,
    ):
        watcher = Watcher(tenant)
        async with following([watcher], one, lambda w: w.accounted >= 8):
            await wait_for(lambda: watcher.snapshots)
            for sequence in range(1, 9):
                if sequence % 3 == 0:
                    await sql(
                        databases.url,
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
                        "current_database() AND application_name = 'deployment-service/listener'",
                    )
                await writer.commit()
                other.hub.notify(tenant.tenant_id)
                await wait_for(functools.partial(has_accounted, watcher, sequence))
        watcher.check(await history(databases.api, tenant))
        await wait_for(lambda: one.hub.listener_connected)
        assert watcher.resets == []


async def test_without_notifications_polling_brings_everything(databases):
    """P5."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant)
    async with replica(databases.worker) as deaf, replica(databases.worker, databases.url) as mute:
        mute.log.notifying = False
        watchers = [Watcher(tenant), Watcher(tenant)]
        async with following(watchers[:1], deaf, lambda w: w.accounted >= 20):
            async with following(watchers[1:], mute, lambda w: w.accounted >= 20):
                await wait_for(lambda: all(w.snapshots for w in watchers))
                for _ in range(20):
                    await writer.commit()
                    mute.hub.notify(tenant.tenant_id)
        for watcher in watchers:
            watcher.check(await history(databases.api, tenant))
        assert mute.log.statements["notify"]
        assert not deaf.hub.listener_connected


def _make_standby(data_dir: Path) -> None:
    signal = data_dir / "standby.signal"
    signal.touch()
    shutil.chown(signal, data_dir.stat().st_uid, data_dir.stat().st_gid)


@pytest.mark.expects_logged_errors
async def test_restarts_delay_and_a_new_timeline_resets(tmp_path):
    """P5: PostgreSQL restarted and killed under watchers; then promoted, as a failover or a restore to a time does."""
    for (
        parent
    ) in tmp_path.parents:  # pytest closes its folders to other users, such as the server's
        if parent.owner() == tmp_path.owner() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    data_dir = tmp_path / "pg"
    async with EmbeddedPostgres(data_dir, durable=False) as server:
        await migrate(server.url())
        api = await Database.open(server.url(), role=API_ROLE, max_connections=4)
        worker = await Database.open(server.url(), role=WORKER_ROLE, max_connections=4)
        tenant = await new_tenant(api)
        writer = Writer(api, tenant, "a", "b")
        async with replica(worker, server.url()) as one:
            watcher = Watcher(tenant)
            async with following([watcher], one, lambda w: w.snapshots == 2):
                await wait_for(lambda: watcher.snapshots)
                await writer.commit(3)
                await server.restart()
                await writer.commit(3)
                await server.kill()
                await server.start()
                await writer.commit(3)
                await wait_for(lambda: watcher.accounted == 9)
                watcher.check(await history(api, tenant))
                assert watcher.resets == []
                await server.stop()
                _make_standby(data_dir)
                await server.start()
                await sql(server.url(), "SELECT pg_promote()")
            assert watcher.resets == [CHANGED]
            assert watcher.state == fold(await history(api, tenant))
            await wait_for(lambda: one.hub.listener_connected)
        await api.close()
        await worker.close()


async def test_where_the_server_keeps_its_identity_to_itself_the_marker_must_do(databases):
    """P5: managed servers may refuse pg_control_system(); watching works, with a coarser epoch."""
    full, _ = await EventLog(databases.worker).heads([])
    await sql(databases.url, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
    without_system, _ = await EventLog(databases.worker).heads([])
    await sql(databases.url, "REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM public")
    marker_only, _ = await EventLog(databases.worker).heads([])
    assert len({full, without_system, marker_only}) == 3
    await sql(databases.url, "UPDATE store_epoch SET marker = gen_random_uuid()")
    assert (await EventLog(databases.worker).heads([]))[0] != marker_only


async def test_one_hint_brings_however_much_there_is(databases):
    """P5: what is read at a time is bounded; the rest follows without waiting for a poll."""
    settings = dataclasses.replace(NO_POLL, news_limit=40)
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    async with replica(databases.worker, settings=settings) as one:
        watcher = Watcher(tenant)
        async with following([watcher], one, lambda w: w.accounted >= 1000):
            await wait_for(lambda: watcher.snapshots)
            await writer.commit(1000)
            one.hub.notify(tenant.tenant_id)
        watcher.check(await history(databases.api, tenant))


async def test_who_cannot_be_told_the_truth_in_time_is_sent_elsewhere(databases):
    """P5: a stream without a position can't send bookmarks, so it ends before it would be silent for too long."""
    settings = dataclasses.replace(FAST, read_timeout_s=0.2)
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a")
    await writer.commit(3)
    async with replica(databases.worker, settings=settings) as one:
        never = asyncio.Event()

        async def hang(_: str) -> None:
            await never.wait()

        def fail(_: str) -> None:
            raise ConnectionError("the store is away")

        for trouble in (hang, fail):
            one.snapshots.before_page = trouble
            with pytest.raises(Unavailable) as caught:
                await Watcher(tenant).follow(one, lambda _: False)
            assert caught.value.reason == "STORE_UNAVAILABLE"
        one.snapshots.before_page = None
        await until_readable(one, tenant)


@pytest.mark.parametrize("sequence", [None, 4])
async def test_all_that_a_stream_must_read_first_has_one_deadline(databases, sequence):
    """P5: `max_silence` is promised once; each of several slow reads in a row stays below it, their sum doesn't."""
    settings = dataclasses.replace(NO_POLL, read_timeout_s=1.0)
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant, "a").commit(3)
    async with replica(databases.worker, settings=settings) as one:
        epoch = await one.hub.epoch.current()
        await wait_for(lambda: one.log.statements["heads"] >= 2)
        one.log.heads_take_s = 0.7
        one.snapshots.before_page = lambda _: asyncio.sleep(60)
        # Beyond the head: the store is asked once more, before it is known that a reset must come.
        token = one.hub.tokens.position(tenant.tenant_id, epoch, sequence) if sequence else ""
        before = asyncio.get_running_loop().time()
        watcher = Watcher(tenant, token=token)
        with pytest.raises(Unavailable) as caught:
            await watcher.follow(one, lambda _: False)
        assert caught.value.reason == "STORE_UNAVAILABLE"
        assert watcher.kinds == ["start"]
        assert asyncio.get_running_loop().time() - before < 1.35


async def test_a_read_of_history_that_began_earlier_trims_nothing(databases):
    """P5: who joins it further on than it reaches isn't behind retention, and gets no reset."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    await writer.commit(6)
    async with replica(databases.worker, settings=TINY_RING) as one:
        epoch = await one.hub.epoch.current()
        held = one.log.hold_pages = asyncio.Event()
        early, late = (
            Watcher(tenant, token=one.hub.tokens.position(tenant.tenant_id, epoch, sequence))
            for sequence in (4, 6)
        )
        async with following([early], one, lambda w: w.accounted >= 20):
            await wait_for(lambda: one.log.statements["page"])
            await writer.commit(14)
            (tail,) = one.hub._follower.tails
            await wait_for(lambda: tail.ring is not None and tail.ring.last == 20)
            async with following([late], one, lambda w: w.accounted >= 20):
                await asyncio.sleep(0.05)
                held.set()
        for watcher, after in ((early, 4), (late, 6)):
            assert watcher.resets == []
            watcher.check(await history(databases.api, tenant), after=after)


async def test_a_stream_with_a_position_sends_bookmarks_while_history_is_out_of_reach(databases):
    """P5: it has something true to say, and goes on when history can be read again."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant, "a", "b").commit(20)
    async with replica(databases.worker, settings=TINY_RING) as one:
        one.log.hold_pages = asyncio.Event()
        token = one.hub.tokens.position(tenant.tenant_id, await one.hub.epoch.current(), 5)
        watcher = Watcher(tenant, token=token)
        async with following([watcher], one, lambda w: w.accounted >= 20):
            await wait_for(lambda: watcher.kinds.count("bookmark") >= 2)
            assert watcher.accounted == 5
            one.log.hold_pages.set()
        watcher.check(await history(databases.api, tenant), after=5)
